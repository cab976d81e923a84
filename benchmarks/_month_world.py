"""A simulated production: each day's traffic, the model's stored answers, audits and people's votes, as store rows.

Days differ without a fault: weekends bring 30 % less, and the share of toxic texts moves from day to day (standard
deviation 0.15 on the logit scale). Texts are drawn with replacement; an item is a new submission of a text, so its id
is new while its text is the shared one. Answers are the model's own; as with a hosted model, an uncertain answer
sometimes comes out differently when asked again (with probability 0.05 x (1 - confidence)).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

from agents.review_tasks import ReviewTask, audit_task_id, check_task_id, routed_task_id, task_columns
from agents.routing import Evidence, decide
from agents.run.register import gold_rows, item_rows
from agents.run.workload import Workload, load_workload
from benchmarks._month_data import CLASSES, Answer, Condition, Entry, Pool
from benchmarks._month_plan import (
    ATTACK_SHARE,
    BAD_ACCURACY,
    BAD_REVIEWER,
    SPANISH_SHARE,
    WARMUP_DAYS,
    IncidentKind,
    morning,
)
from benchmarks.month_labels import EDITED_GUIDELINE
from labelproof.spec.hashing import digest, digest_parts, digest_text
from labelproof.spec.project import RoutingPolicy
from labelproof.spec.review import VOTES_WANTED, TaskKind
from labelproof.store import TraceStore

Tables = dict[str, Mapping[str, Sequence[Any]]]
PROJECT = "month"
REVIEWERS: Mapping[str, float] = {"ann": 0.985, "bob": 0.98, "cyd": 0.97, "dan": 0.99, "eve": 0.975}
"""Five people with the probability that they are right."""
LEAD = "lea"
CHECKS_A_DAY = 4
"""Hidden gold for each reviewer: about a tenth of their tasks."""
AUDIT_PROB = 0.1
COST_USD = 0.0003
FINGERPRINTS = ("fp-2026-01", "fp-2026-03")
"""The provider's version mark before and after it swaps the model."""
SENTINEL_ITEMS = 40
GUIDELINE = "Toxic: a reader would feel attacked or leave the discussion. Strong criticism without abuse is not toxic."
THRESHOLD_PROB = 0.9


def targets(pool: Pool) -> list[dict[str, Any]]:
    """Return the promises: rates five points below an ordinary day's (agreement 0.90, reviewers 0.98), rounded."""
    usual = pool.ordinary(THRESHOLD_PROB)
    levels = {"auto_accuracy": "critical", "recall:Toxic": "critical", "coverage": "major"}
    return [
        *(
            {"metric": name, "at_least": round(usual[name] - 0.05, 2), "level": level}
            for name, level in levels.items()
        ),
        {"metric": "failed_rate", "at_most": 0.02, "level": "major"},
        {"metric": "agreement", "at_least": 0.85, "level": "major"},
        {"metric": "reviewer_accuracy", "at_least": 0.93, "level": "major"},
        {"metric": "review_age_hours", "at_most": 48, "level": "minor"},
        {"metric": "cost_per_1000", "at_most": 1.0, "level": "minor"},
        {"metric": "throughput_per_hour", "at_least": 300, "level": "minor"},
    ]


def write_project(folder: Path, pool: Pool) -> None:
    """Write the project of the month: gold is the hidden gold of reviewers (calibration) and the traffic's texts (test)."""
    (folder / "strategies").mkdir(parents=True)
    project = {
        "name": PROJECT,
        "description": "You label social-media comments for a content-safety team.",
        "labels": {"classes": [{"name": name, "description": text} for name, text in CLASSES.items()]},
        "guideline_short": "guideline.md",
        "items": {"path": "items.jsonl"},
        "gold": {"path": "gold.jsonl", "split_column": "split"},
        "routing": {"mode": "threshold", "threshold_prob": THRESHOLD_PROB, "audit_rate_prob": AUDIT_PROB},
        "targets": targets(pool),
        "contacts": [{"role": role} for role in ("QA lead", "policy", "vendor")],
        "monitoring": {"sentinel": {"items": SENTINEL_ITEMS}},
    }
    strategy = {
        "name": "champion",
        "models": {"main": {"provider": "embedded"}},
        "steps": [
            {"kind": "normalize"},
            {"kind": "label", "method": "logprob", "guideline": "short"},
            {"kind": "calibrate", "encoder": "minilm" if pool.method == "encoder" else "none"},
            {"kind": "route"},
        ],
    }
    split = [(entry, "calibration") for entry in pool.checks] + [(entry, "test") for entry in pool.traffic]
    rows = [
        {"id": f"g{k}", "text": entry.text, "label": entry.gold, "split": name}
        for k, (entry, name) in enumerate(split)
    ]
    (folder / "project.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    (folder / "strategies" / "champion.yaml").write_text(yaml.safe_dump(strategy, sort_keys=False))
    (folder / "guideline.md").write_text(GUIDELINE + "\n")
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "items.jsonl").write_text(
        "".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An item of a day with the model's answer to it."""

    item_id: str
    external_id: str
    entry: Entry
    answer: Answer
    source: str
    ts: datetime


@dataclass(slots=True)
class Versions:
    """The two versions of the strategy: as it was, and with the edited guideline."""

    works: dict[bool, Workload] = field(default_factory=dict)

    def of(self, folder: Path, *, edited: bool) -> Workload:
        """Return the version, with the project folder changed to it."""
        text = (EDITED_GUIDELINE if edited else GUIDELINE) + "\n"
        path = folder / "guideline.md"
        if path.read_text() != text:
            path.write_text(text)
        if edited not in self.works:
            self.works[edited] = load_workload(str(folder), None)
        return self.works[edited]


class World:
    """Writes one day after another into a store; the same seed and day are the same traffic whatever is planted."""

    def __init__(self, store: TraceStore, folder: Path, pool: Pool, *, seed: int, items_per_day: int) -> None:
        self.store = store
        self.folder = folder
        self.pool = pool
        self.seed = seed
        self.items_per_day = items_per_day
        self.versions = Versions()
        self.policy = RoutingPolicy(
            mode="threshold", threshold_prob=THRESHOLD_PROB, audit_rate_prob=AUDIT_PROB
        )
        gold = np.array([entry.gold == "Toxic" for entry in pool.traffic])
        self._toxic, self._fine = np.flatnonzero(gold), np.flatnonzero(~gold)
        self._entries = {
            digest_text(entry.text): entry for entry in (*pool.traffic, *pool.spanish, *pool.attacked)
        }
        self._stored_versions: set[str] = set()

    # --- one day -------------------------------------------------------------------------------

    def play(self, day: int, wrong: set[IncidentKind]) -> str:
        """Store a day: run, items, decisions, review tasks, votes. Returns the run id."""
        work = self.versions.of(self.folder, edited="guideline" in wrong)
        draw = np.random.default_rng([self.seed, day + WARMUP_DAYS, 1])
        begun = morning(day) + timedelta(hours=6)
        run_id = f"r{begun:%Y%m%d-%H%M%S}-{digest(['month', self.seed, day])[3:9]}"
        items = self._traffic(day, begun, wrong, draw)
        tables: Tables = self._registered(work, begun)
        tables |= self._run_rows(run_id, work, begun, items)
        tables |= self._item_rows(items)
        fingerprint = FINGERPRINTS["provider" in wrong]
        decided, tasks = self._decide(run_id, work, items, draw)
        tables["decisions"] = decided
        tables |= self._step_rows(run_id, items, decided, fingerprint)
        checks = self._checks(day, begun)
        tables["review_tasks"] = task_columns([*tasks, *(task for task, _ in checks)])
        people = np.random.default_rng([self.seed, day + WARMUP_DAYS, 2])
        tables["votes"] = self._votes(day, items, tasks, checks, "reviewer" in wrong, people)
        self.store.append_many(tables)
        return run_id

    def condition(self, wrong: set[IncidentKind]) -> Condition:
        """Return under which condition the model answers; the edited guideline hides a swapped model."""
        if "guideline" in wrong:
            return "guideline"
        return "provider" if wrong & {"provider", "silent_provider"} else "base"

    def answer(self, entry: Entry, wrong: set[IncidentKind], draw: np.random.Generator) -> Answer:
        """Return what the model says this time."""
        said = entry.answer(self.condition(wrong))
        if draw.random() >= 0.05 * (1 - said.confidence):
            return said
        other = next(name for name in CLASSES if name != said.label)
        return Answer(
            label=other, confidence=max(0.5, 1 - said.confidence), raw_confidence=said.raw_confidence
        )

    def _traffic(
        self, day: int, begun: datetime, wrong: set[IncidentKind], draw: np.random.Generator
    ) -> list[Submission]:
        weekend = morning(day).weekday() >= 5
        n = round(self.items_per_day * (0.7 if weekend else 1.0))
        usual = len(self._toxic) / len(self.pool.traffic)
        logit = np.log(usual / (1 - usual)) + 0.15 * draw.standard_normal()
        share = 1 / (1 + np.exp(-logit))
        found = []
        for k in range(n):
            # Every draw is made whatever is planted, so that months with and without an incident differ by it alone.
            toxic, place, kind, other, asked, source = draw.random(6)
            group = self._toxic if toxic < share else self._fine
            entry = self.pool.traffic[group[int(place * len(group))]]
            if "injection" in wrong and kind < ATTACK_SHARE:
                entry = self.pool.attacked[int(other * len(self.pool.attacked))]
            elif "spanish" in wrong and kind >= 1 - SPANISH_SHARE:
                entry = self.pool.spanish[int(other * len(self.pool.spanish))]
            again = np.random.default_rng(int(asked * 2**32))
            found.append(
                Submission(
                    item_id=digest(["month", self.seed, day, k]),
                    external_id=f"d{day:+03d}-{k:04d}",
                    entry=entry,
                    answer=self.answer(entry, wrong, again),
                    source=("forum", "chat", "app")[int(source * 3)],
                    ts=begun + timedelta(seconds=3000 * k / n),
                )
            )
        return found

    def _registered(self, work: Workload, now: datetime) -> Tables:
        """Return rows of project, strategy and gold the first time a version is used."""
        fp = work.resolved.fingerprint
        if fp in self._stored_versions or self._is_stored(fp):
            self._stored_versions.add(fp)
            return {}
        self._stored_versions.add(fp)
        tables: Tables = {
            "projects": {
                "project_fp": [work.project_fp],
                "project": [PROJECT],
                "spec_json": [orjson.dumps(work.folder.spec.model_dump(mode="json")).decode()],
                "ts": [now],
            },
            "strategies": {
                "strategy_fp": [fp],
                "project": [PROJECT],
                "strategy": [work.resolved.name],
                "spec_json": [orjson.dumps(work.resolved.snapshot).decode()],
                "ts": [now],
            },
        }
        self.store.append_many(
            {**item_rows(self.store, PROJECT, work, now), **gold_rows(self.store, PROJECT, work, now)}
        )
        return tables

    def _is_stored(self, fp: str) -> bool:
        sql = "SELECT count(*) AS n FROM strategies WHERE strategy_fp = ?"
        return bool(self.store.query(sql, [fp], fresh=True)["n"][0].as_py())

    def _run_rows(self, run_id: str, work: Workload, begun: datetime, items: Sequence[Submission]) -> Tables:
        ended = begun + timedelta(minutes=50)
        summary = orjson.dumps({"done": len(items), "failed": 0}).decode()
        return {
            "runs": {
                "run_id": [run_id] * 2,
                "ts": [begun, ended],
                "event": ["started", "finished"],
                "project": [PROJECT] * 2,
                "project_fp": [work.project_fp] * 2,
                "strategy": ["champion"] * 2,
                "strategy_fp": [work.resolved.fingerprint] * 2,
                "n_items": [len(items)] * 2,
                "repeat_idx": [0] * 2,
                "orchestrated": [False] * 2,
                "params_json": ["{}"] * 2,
                "summary_json": [None, summary],
            }
        }

    def _item_rows(self, items: Sequence[Submission]) -> Tables:
        hashes = [digest_text(one.entry.text) for one in items]
        texts = {key: one.entry.text for key, one in zip(hashes, items, strict=True)}
        return {
            "items": {
                "item_id": [one.item_id for one in items],
                "external_id": [one.external_id for one in items],
                "project": [PROJECT] * len(items),
                "text_hash": hashes,
                "meta_json": [orjson.dumps({"source": one.source}).decode() for one in items],
                "source": ["items.jsonl"] * len(items),
                "ts": [one.ts for one in items],
            },
            "texts": {"text_hash": list(texts), "text": list(texts.values())},
        }

    # --- the machine -----------------------------------------------------------------------------

    def _decide(
        self, run_id: str, work: Workload, items: Sequence[Submission], draw: np.random.Generator
    ) -> tuple[dict[str, list[Any]], list[ReviewTask]]:
        """Route each item with the product's own rule; return rows of decisions and the tasks they make."""
        rows: dict[str, list[Any]] = defaultdict(list)
        tasks: list[ReviewTask] = []
        fp = work.resolved.fingerprint
        for one, audit_draw in zip(items, draw.random(len(items)), strict=True):
            said = one.answer
            evidence = Evidence(
                item_id=one.item_id,
                label=said.label,
                members=frozenset((said.label,)),
                confidence=said.confidence,
                failure=None,
                manipulation=said.manipulation,
                rests_on_gold=True,
            )
            verdict = decide(self.policy, evidence, certificate=None, audit_draw=float(audit_draw))
            for name, value in {
                "run_id": run_id,
                "item_id": one.item_id,
                "strategy_fp": fp,
                "label": said.label,
                "confidence": said.confidence,
                "raw_confidence": said.raw_confidence,
                "decision": verdict.decision,
                "reason": verdict.reason,
                "certificate_id": None,
                "inclusion_prob": verdict.inclusion_prob,
                "audited": verdict.audited,
                "calibrator_id": "b2:" + "c" * 40,
                "ts": one.ts + timedelta(seconds=2),
                "cost_usd": COST_USD,
                "latency_ms": 400.0,
            }.items():
                rows[name].append(value)
            if verdict.decision == "review" or verdict.audited:
                kind: TaskKind = "audit" if verdict.audited else "routed"
                tasks.append(_task(kind, one, run_id, fp, verdict.reason))
        return dict(rows), tasks

    def _step_rows(
        self,
        run_id: str,
        items: Sequence[Submission],
        decided: Mapping[str, Sequence[Any]],
        fingerprint: str,
    ) -> Tables:
        steps: dict[str, list[Any]] = defaultdict(list)
        calls: dict[str, list[Any]] = defaultdict(list)
        model = "small-moderator"
        for place, one in enumerate(items):
            said = one.answer
            outputs: dict[str, Any] = {
                "normalize": {"text": None, "language": None, "manipulation": list(said.manipulation)},
                "label": {"label": said.label, "signal": "name_token", "manipulation": []},
                "calibrate": {"label": said.label, "confidence": said.confidence, "changed": False},
                "route": {"decision": decided["decision"][place], "reason": decided["reason"][place]},
            }
            for seq, (kind, output) in enumerate(outputs.items()):
                steps["item_id"].append(one.item_id)
                steps["seq"].append(seq)
                steps["kind"].append(kind)
                steps["step_key"].append(f"{one.item_id}-{seq}")
                steps["output_json"].append(orjson.dumps(output).decode())
                steps["n_calls"].append(int(kind == "label"))
                steps["cost_usd"].append(COST_USD * (kind == "label"))
                steps["ts"].append(one.ts + timedelta(seconds=1))
            calls["item_id"].append(one.item_id)
            calls["call_key"].append(digest_parts("call", run_id, one.item_id))
            calls["step_key"].append(f"{one.item_id}-1")
            calls["ts"].append(one.ts + timedelta(seconds=1))
        n, m = len(steps["item_id"]), len(items)
        steps |= {"run_id": [run_id] * n, "name": steps["kind"], "status": ["ok"] * n}
        steps |= {"cache_hit": [False] * n, "repeat_idx": [0] * n}
        calls |= {"run_id": [run_id] * m, "call_idx": [0] * m, "model": [model] * m}
        calls |= {"provider": ["hosted"] * m, "provider_fingerprint": [fingerprint] * m}
        calls |= {"cost_usd": [COST_USD] * m, "finish_reason": ["stop"] * m, "attempts": [1] * m}
        return {"steps": dict(steps), "calls": dict(calls)}

    # --- people ------------------------------------------------------------------------------------

    def _checks(self, day: int, begun: datetime) -> list[tuple[ReviewTask, str]]:
        """Return the day's hidden gold with the right label: each reviewer walks through all of it once."""
        made = []
        for k, name in enumerate(sorted(REVIEWERS)):
            order = np.random.default_rng([self.seed, k, 3]).permutation(len(self.pool.checks))
            for turn in range(CHECKS_A_DAY):
                at = (day + WARMUP_DAYS) * CHECKS_A_DAY + turn
                if at >= len(order):
                    break
                entry = self.pool.checks[int(order[at])]
                item_id = digest_text(entry.text)
                task = ReviewTask(
                    task_id=check_task_id(PROJECT, item_id, name),
                    project=PROJECT,
                    kind="check",
                    item_id=item_id,
                    label=entry.gold,
                    votes_wanted=1,
                    reason=f"hidden gold for {name}",
                    ts=begun + timedelta(hours=1),
                )
                made.append((task, name))
        return made

    def _votes(
        self,
        day: int,
        items: Sequence[Submission],
        tasks: Sequence[ReviewTask],
        checks: Sequence[tuple[ReviewTask, str]],
        bad: bool,
        draw: np.random.Generator,
    ) -> dict[str, list[Any]]:
        """Return the day's votes: audits by two people (the lead settles what they dispute), the rest by one."""
        gold = {one.item_id: one.entry.gold for one in items}
        names = sorted(REVIEWERS)
        rows: dict[str, list[Any]] = defaultdict(list)
        start = morning(day) + timedelta(hours=9)

        def vote(task: ReviewTask, who: str, truth: str, minutes: float, role: str = "reviewer") -> str:
            click, took = draw.random(), draw.lognormal(2.6, 0.5)
            turned = bad and who == BAD_REVIEWER
            accuracy = 1.0 if role == "adjudicator" else BAD_ACCURACY if turned else REVIEWERS[who]
            label = truth if click < accuracy else next(name for name in CLASSES if name != truth)
            for name, value in {
                "vote_id": digest_parts("vote", task.task_id, who, role),
                "project": PROJECT,
                "task_id": task.task_id,
                "item_id": task.item_id,
                "annotator": who,
                "role": role,
                "answer": "label",
                "label": label,
                "source": "web",
                "seconds": round(took * (0.4 if turned else 1.0), 1),
                "ts": start + timedelta(minutes=minutes),
            }.items():
                rows[name].append(value)
            return label

        for place, task in enumerate(tasks):
            minutes = 360 * place / max(1, len(tasks))
            chosen = draw.permutation(len(names))[: task.votes_wanted]
            said = {vote(task, names[k], gold[task.item_id], minutes + 3 * i) for i, k in enumerate(chosen)}
            if len(said) > 1:
                vote(task, LEAD, gold[task.item_id], 480 + place * 0.1, "adjudicator")
        for place, (task, name) in enumerate(checks):
            assert task.label is not None
            vote(task, name, task.label, 5 * place)
        return dict(rows)


def _task(kind: TaskKind, one: Submission, run_id: str, fp: str, reason: str) -> ReviewTask:
    name = audit_task_id if kind == "audit" else routed_task_id
    return ReviewTask(
        task_id=name(PROJECT, one.item_id),
        project=PROJECT,
        kind=kind,
        item_id=one.item_id,
        run_id=run_id,
        strategy_fp=fp,
        label=one.answer.label,
        confidence=one.answer.confidence,
        votes_wanted=VOTES_WANTED[kind],
        reason=reason,
        design="audit" if kind == "audit" else None,
        inclusion_prob=AUDIT_PROB if kind == "audit" else None,
        ts=one.ts + timedelta(seconds=2),
    )
