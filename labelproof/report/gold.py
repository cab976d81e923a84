"""Drawing gold where it helps, turning answered questions into a new gold version, and showing its wear."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from agents.certificates import answers_fingerprint
from agents.review_tasks import ReviewTask, gold_task_id, task_columns
from agents.run.drive import Drive, Listen
from agents.run.judge import Answers, judge, pool_sample
from agents.run.workload import Workload
from evaluation.certificates import region_for_sampling
from labelproof.report.gold_looks import all_looks
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.items import Item
from labelproof.store import TraceStore

SampleDesign = Literal["region", "simple_random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldDraw:
    """A draw of items to be labelled by people: each of ``pool_n`` items had the chance ``inclusion_prob``."""

    sample_id: str
    project: str
    strategy: str
    design: SampleDesign
    n: int
    pool_n: int
    inclusion_prob: float
    region_low: float | None
    """Lower end of the region of confidences drawn from; None for a draw from everything."""
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def sample_gold(
    store: TraceStore,
    work: Workload,
    budget: int,
    *,
    now: datetime,
    design: SampleDesign = "region",
    alpha: float | None = None,
    at_least: float | None = None,
    pool: int | None = None,
    seed: int = 0,
    listen: Listen | None = None,
    drive: Drive | None = None,
) -> GoldDraw:
    """Draw ``budget`` items for the certify split and write a blind review task for each.

    ``region``: uniformly among the items whose confidence could end up accepted, judged on the calibration split; gold
    below it would tell nothing about the threshold. ``at_least`` sets the lower end instead. ``simple_random``: uniformly among all items. Items that are
    gold already, or drawn before, are not drawn. ``ConfigError`` when nothing is left to draw.
    """
    asked = store.query(
        "SELECT item_id FROM review_tasks WHERE project = ? AND kind = 'gold'", [work.folder.name], fresh=True
    )
    if design == "simple_random" and _region_draws(store, work.folder.name):
        raise ConfigError(
            "a draw from everything is no longer uniform: an earlier draw took items out of a region of confidences",
            hint="draw with --design region, or add items to the project's source and start new gold",
        )
    taken = {row.item_id for row in work.gold.rows} if work.gold else set()
    taken |= set(asked["item_id"].to_pylist())
    candidates = pool_sample(work, pool, seed)
    fresh = [item for item in candidates if item.id not in taken]
    low: float | None = None
    spec: dict[str, Any] = {}
    if design == "region":
        calibration = work.gold_items("calibration")
        answers = judge(work, store, [*candidates, *calibration], listen=listen, drive=drive)
        low = at_least
        if low is None:
            low = _region(work, answers, candidates, calibration, alpha or work.resolved.routing.alpha)
        fresh = [item for item in fresh if _open_confidence(answers, item) >= low]
        spec = {
            "region_low": low,
            "answers_fp": answers_fingerprint(work.resolved.snapshot),
            "calibrator_ids": list(answers.calibrator_ids),
        }
    if not fresh:
        raise ConfigError(
            "no item is left to draw gold from: every candidate is gold already or has been drawn",
            hint="add items to the project's source, or answer what is drawn: labelproof review export --kind gold",
        )
    chosen = random.Random(seed).sample(sorted(fresh, key=lambda item: item.id), min(budget, len(fresh)))
    prob = len(chosen) / len(fresh)
    sample_id = "S-" + digest([work.folder.name, design, seed, now.isoformat()]).removeprefix("b2:")[:12]
    draw = GoldDraw(
        sample_id=sample_id,
        project=work.folder.name,
        strategy=work.strategy.name,
        design=design,
        n=len(chosen),
        pool_n=len(fresh),
        inclusion_prob=prob,
        region_low=low,
        seed=seed,
    )
    tasks = [_task(work, item, draw, now) for item in chosen]
    store.append_many(
        {
            "gold_samples": {
                "sample_id": [sample_id],
                "project": [work.folder.name],
                "strategy_fp": [work.resolved.fingerprint],
                "design": [design],
                "n": [len(chosen)],
                "pool_n": [len(fresh)],
                "spec_json": [orjson.dumps({**draw.to_json(), **spec}).decode()],
                "ts": [now],
            },
            "review_tasks": task_columns(tasks),
            **_texts(store, work, chosen, now),
        }
    )
    return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldBuild:
    """A new gold file: the old rows, and what people have decided since."""

    path: Path
    n_old: int
    n_new: int
    n_waiting: int
    n_disputed: int
    fields: Mapping[str, str]
    """What `gold:` in project.yaml has to say for it."""


def build_gold(store: TraceStore, work: Workload, target: Path, *, partial: bool = False) -> GoldBuild:
    """Write a new version of the gold set with the drawn items whose label people agree on (or adjudicated).

    Versions are immutable: an existing file is refused. New items join the split ``certify``. ``ConfigError`` when
    nothing is new, and, unless ``partial``, while drawn items wait: the items that are answered first, or that people
    agree on, are not a random part of a draw.
    """
    if target.suffix != ".jsonl":
        raise ConfigError(f"gold is written as JSONL, found {target.name!r}", hint="--to data/gold_v2.jsonl")
    if target.exists():
        raise ConfigError(
            f"{target} exists; gold versions are immutable",
            hint="write another file: --to data/gold_v3.jsonl",
        )
    outcomes = store.query(
        "SELECT o.*, i.external_id FROM task_outcomes o LEFT JOIN current_items i"
        " ON i.item_id = o.item_id AND i.project = o.project"
        " WHERE o.project = ? AND o.kind = 'gold' ORDER BY o.item_id",
        [work.folder.name],
        fresh=True,
    ).to_pylist()
    old = list(work.gold.rows) if work.gold else []
    known = {row.item_id for row in old}
    lines = [
        {
            "id": row.external_id,
            "label": row.label,
            "split": row.split,
            "design": row.design,
            "inclusion_prob": row.inclusion_prob,
            "sample": row.sample_id,
        }
        for row in old
    ]
    new = [o for o in outcomes if o["final_label"] is not None and o["item_id"] not in known]
    waiting = sum(o["state"] in ("open", "closed") for o in outcomes)
    disputed = sum(o["state"] in ("disputed", "escalated") for o in outcomes)
    if not new:
        raise ConfigError(
            f"no drawn item has been decided since the last version; {waiting} wait for votes, {disputed} for an adjudicator",
            hint=_ask(work.folder.name, waiting),
        )
    if (waiting or disputed) and not partial:
        raise ConfigError(
            f"{waiting} drawn items wait for votes and {disputed} for an adjudicator; those that are decided already are not a "
            "random part of the draw",
            hint=f"{_ask(work.folder.name, waiting)}; or build all the same with --partial if what was answered was left "
            "to chance",
        )
    lines += [
        {
            "id": o["external_id"],
            "label": o["final_label"],
            "split": "certify",
            "design": o["design"],
            "inclusion_prob": o["inclusion_prob"],
            "sample": o["sample_id"],
        }
        for o in new
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.writelines(orjson.dumps(line) + b"\n" for line in lines)
    return GoldBuild(
        path=target,
        n_old=len(old),
        n_new=len(new),
        n_waiting=waiting,
        n_disputed=disputed,
        fields={
            "label_column": "label",
            "split_column": "split",
            "design_column": "design",
            "inclusion_prob_column": "inclusion_prob",
            "sample_column": "sample",
        },
    )


def _ask(project: str, waiting: int) -> str:
    """Return the command with which people answer what is drawn, or decide what they differ on."""
    kind, page = ("gold", "the review queue") if waiting else ("disputed", "the page Adjudication")
    return f"labelproof serve {project} ({page}), or labelproof review export {project} --kind {kind} --to {kind}.csv"


def gold_versions(store: TraceStore, project: str) -> list[dict[str, Any]]:
    """Return each stored gold version, newest first: size by split and design, and who has looked at it."""
    rows = store.query(
        "SELECT gold_fp, any_value(gold_set) AS gold_set, min(ts) AS ts, split, design, count(*) AS n FROM current_gold"
        " WHERE project = ? GROUP BY gold_fp, split, design ORDER BY min(ts) DESC, split, design",
        [project],
        fresh=True,
    ).to_pylist()
    looks = all_looks(store, project)
    versions: dict[str, dict[str, Any]] = {}
    for row in rows:
        version = versions.setdefault(
            row["gold_fp"],
            {"gold_fp": row["gold_fp"], "gold_set": row["gold_set"], "ts": row["ts"], "n": 0, "splits": {}},
        )
        split = version["splits"].setdefault(row["split"], {"n": 0, "designs": {}})
        split["n"] += row["n"]
        split["designs"][row["design"]] = row["n"]
        version["n"] += row["n"]
    for version in versions.values():
        for name, split in version["splits"].items():
            mine = [k for k in looks if k.gold_fp == version["gold_fp"] and k.split == name]
            split["n_looks"] = len({look.answers_fp for look in mine})
            split["opened"] = any(look.purpose != "certify" for look in mine)
    return list(versions.values())


def _region_draws(store: TraceStore, project: str) -> bool:
    rows = store.query(
        "SELECT 1 FROM gold_samples WHERE project = ? AND design = 'region' LIMIT 1", [project], fresh=True
    )
    return bool(rows.num_rows)


def _region(
    work: Workload, answers: Answers, pool: Sequence[Item], calibration: Sequence[Item], alpha: float
) -> float:
    gold = work.gold_labels.get("calibration", {})
    judged = [answers.by_item[item.id] for item in calibration if answers.by_item[item.id].is_open]
    found = [_open_confidence(answers, item) for item in pool]
    found = [confidence for confidence in found if confidence >= 0]
    if not found:
        raise ConfigError(
            "no item has a confidence that could be accepted: all failed or go to people anyway",
            hint="draw from everything: --design random",
        )
    return region_for_sampling(
        [answer.confidence or 0.0 for answer in judged],
        [answer.label == gold[answer.item_id] for answer in judged],
        pool_confidence=found,
        alpha=alpha,
    )


def _open_confidence(answers: Answers, item: Item) -> float:
    """Return the confidence of an item that could be auto-accepted, -1 for others."""
    answer = answers.by_item[item.id]
    return answer.confidence if answer.is_open and answer.confidence is not None else -1.0


def _task(work: Workload, item: Item, draw: GoldDraw, now: datetime) -> ReviewTask:
    return ReviewTask(
        task_id=gold_task_id(work.folder.name, item.id),
        project=work.folder.name,
        kind="gold",
        item_id=item.id,
        strategy_fp=work.resolved.fingerprint,
        blind=True,
        votes_wanted=work.folder.spec.review.votes("gold"),
        reason="drawn for gold",
        design=draw.design,
        inclusion_prob=draw.inclusion_prob,
        sample_id=draw.sample_id,
        ts=now,
    )


def _texts(store: TraceStore, work: Workload, items: Sequence[Item], now: datetime) -> dict[str, Any]:
    """Return item rows for drawn items that no run has stored yet: reviewers need their texts."""
    from agents.run.register import item_rows

    return dict(item_rows(store, work.folder.name, work, now, only=items))
