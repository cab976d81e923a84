"""Eight weeks of simulated work on the bundled project, for the pictures of reports and for their tests.

Nothing here says anything about a model or about people: decisions, audits, votes, prices, alarms and findings are drawn
from one seed. Most items have no text: reports need none. In the last week harmful items are missed more often, which is
what the finding, the alarm and the analysis of causes are about.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from agents.review_tasks import ReviewTask, audit_task_id, check_task_id, routed_task_id, task_columns
from agents.run.register import gold_rows, item_rows
from agents.run.workload import Workload, load_workload
from labelproof.spec.hashing import digest
from labelproof.store import TraceStore, open_store

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "content_safety"
END = datetime(2026, 10, 12, tzinfo=UTC)
"""Midnight after the last day of week 2026-W41."""
NOW = END + timedelta(hours=6)
WEEKS = 8
_CHANGED = 7 * (WEEKS - 1) + 1
"""Day on which a new version came into use: the second of the last week."""
AUDIT_PROB = 0.1
USD = 0.00042
_MIX: Mapping[str, float] = {
    "safe": 0.71, "harassment": 0.1, "hate": 0.06, "violence_threat": 0.04, "self_harm": 0.02, "minor_safety": 0.01,
    "spam_scam": 0.06,
}  # fmt: skip
_CAUSES = {
    "language": 14,
    "guideline_ambiguity": 9,
    "no_similar_example": 6,
    "manipulation": 4,
    "gold_doubt": 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much work is simulated."""

    per_day: int = 760
    checks_per_week: int = 18


def make_scene(folder: Path, size: Size = Size()) -> Path:
    """Fill a store in ``folder`` and return its path; the same every time."""
    work = load_workload(PROJECT, "champion", root=ROOT)
    made = _Simulation(work=work, size=size)
    made.run()
    with open_store(folder / "store") as store:
        store.append_many(
            {**item_rows(store, PROJECT, work, made.start), **gold_rows(store, PROJECT, work, made.start)}
        )
        made.write(store)
        store.drain_all()
    return folder / "store"


class _Simulation:
    """Rows by table, drawn day by day."""

    def __init__(self, *, work: Workload, size: Size) -> None:
        self.work, self.size = work, size
        self.rng = random.Random(20261012)
        self.start = END - timedelta(days=7 * WEEKS)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.tasks: list[ReviewTask] = []
        self.fp = work.resolved.fingerprint
        self.old_fp = digest(["report scene", "version before"])

    def run(self) -> None:
        for day in range(7 * WEEKS):
            self._day(day)
        self._versions()
        self._watched()

    def write(self, store: TraceStore) -> None:
        store.append_many({name: _columns(rows) for name, rows in self.rows.items()})
        store.append("review_tasks", task_columns(self.tasks))

    def add(self, table: str, **row: Any) -> None:
        self.rows.setdefault(table, []).append(row)

    # --- decisions, audits, reviews ----------------------------------------------------------------

    def _day(self, day: int) -> None:
        morning = self.start + timedelta(days=day, hours=6)
        last_week = day >= 7 * (WEEKS - 1)
        fp = self.fp if day >= _CHANGED else self.old_fp
        run_id = f"r{morning:%Y%m%d}-060000-scene"
        weekend = morning.weekday() >= 5
        n = int(self.size.per_day * (0.55 if weekend else 1.0) * self.rng.uniform(0.93, 1.07))
        for event, at in (("started", morning), ("finished", morning + timedelta(hours=2))):
            self.add("runs", run_id=run_id, ts=at, event=event, project=PROJECT, project_fp=self.work.project_fp,
                     strategy="champion", strategy_fp=fp, n_items=n, repeat_idx=0, orchestrated=True)  # fmt: skip
        for place in range(n):
            self._item(
                day, place, morning + timedelta(seconds=7200 * place / n), run_id, fp, last_week=last_week
            )
        for place in range(self.size.checks_per_week // 6 if not weekend else 0):
            self._check(day, place, morning)

    def _item(self, day: int, place: int, at: datetime, run_id: str, fp: str, *, last_week: bool) -> None:
        rng = self.rng
        item_id = digest(["report scene", day, place])
        truth = rng.choices(list(_MIX), weights=list(_MIX.values()))[0]
        confidence = round(min(0.995, rng.betavariate(8, 1.4)), 3)
        miss = (0.045 if last_week else 0.025) if truth != "safe" else 0.028
        wrong = rng.random() < miss * (1.9 if confidence < 0.85 else 0.9)
        label = truth
        if wrong:
            label = (
                "safe"
                if truth != "safe" and rng.random() < 0.7
                else rng.choice([x for x in _MIX if x != truth])
            )
        decision = "auto_accept" if confidence >= 0.8 and label != "minor_safety" else "review"
        if rng.random() < 0.004:
            decision = "failed"
        audited = decision == "auto_accept" and rng.random() < AUDIT_PROB
        self.add("decisions", run_id=run_id, item_id=item_id, strategy_fp=fp, label=None if decision == "failed" else label,
                 confidence=None if decision == "failed" else confidence, raw_confidence=confidence, decision=decision,
                 reason="simulated", inclusion_prob=AUDIT_PROB if decision == "auto_accept" else None, audited=audited, ts=at,
                 cost_usd=round(USD * rng.uniform(0.8, 1.25), 7), latency_ms=820.0)  # fmt: skip
        if audited or (decision == "review" and rng.random() < 0.25):
            waits = last_week and day >= 7 * WEEKS - 2 and rng.random() < 0.12
            self._ask(
                "audit" if audited else "routed",
                item_id,
                at,
                run_id,
                fp,
                label,
                confidence,
                truth,
                waits=waits,
            )

    def _ask(
        self,
        kind: Any,
        item_id: str,
        at: datetime,
        run_id: str,
        fp: str,
        label: str,
        confidence: float,
        truth: str,
        *,
        waits: bool,
    ) -> None:
        name = audit_task_id if kind == "audit" else routed_task_id
        wanted = 2 if kind == "audit" else 1
        self.tasks.append(
            ReviewTask(task_id=name(PROJECT, item_id), project=PROJECT, kind=kind, item_id=item_id, run_id=run_id, strategy_fp=fp,
                       label=label, confidence=confidence, blind=True, votes_wanted=wanted, reason="simulated", design=kind,
                       inclusion_prob=AUDIT_PROB if kind == "audit" else None, ts=at)
        )  # fmt: skip
        if waits:
            return
        people = self.rng.sample(["ann", "bob", "cyd", "dee"], wanted)
        said = [
            truth if self.rng.random() < 0.985 else "harassment" if truth != "harassment" else "safe"
            for _ in people
        ]
        for who, answer in zip(people, said, strict=True):
            self._vote(self.tasks[-1], who, answer, at + timedelta(hours=3, minutes=self.rng.uniform(0, 90)))
        if len(set(said)) > 1:
            self._vote(self.tasks[-1], "lea", truth, at + timedelta(hours=6), role="adjudicator")

    def _check(self, day: int, place: int, morning: datetime) -> None:
        who = ["ann", "bob", "cyd", "dee"][(day + place) % 4]
        item_id = digest(["report scene", "check", day, place])
        truth = self.rng.choice(list(_MIX))
        self.tasks.append(
            ReviewTask(task_id=check_task_id(PROJECT, item_id, who), project=PROJECT, kind="check", item_id=item_id, label=truth,
                       blind=True, votes_wanted=1, reason="hidden gold", ts=morning)
        )  # fmt: skip
        right = self.rng.random() < (0.8 if who == "dee" else 0.96)
        self._vote(
            self.tasks[-1],
            who,
            truth if right else "spam_scam" if truth != "spam_scam" else "safe",
            morning + timedelta(hours=4),
        )

    def _vote(self, task: ReviewTask, who: str, label: str, at: datetime, *, role: str = "reviewer") -> None:
        self.add("votes", vote_id=digest([task.task_id, who, role]), project=PROJECT, task_id=task.task_id, item_id=task.item_id,
                 annotator=who, role=role, answer="label", label=label, source="web",
                 seconds=round(self.rng.lognormvariate(2.9, 0.5), 1), ts=at)  # fmt: skip

    # --- versions, targets, alarms, findings -------------------------------------------------------

    def _versions(self) -> None:
        first = self.start + timedelta(days=_CHANGED, hours=6)
        snapshot = dict(self.work.resolved.snapshot)
        before = orjson.loads(orjson.dumps(snapshot))
        label = next(step for step in before["steps"] if step["name"] == "label")
        label["fingerprint"] = digest(["report scene", "label before"])
        label["components"]["guideline"]["text"] += "\nAn older version."
        for fp, spec, at in ((self.old_fp, before, self.start), (self.fp, snapshot, first)):
            self.add(
                "strategies",
                strategy_fp=fp,
                project=PROJECT,
                strategy="champion",
                spec_json=orjson.dumps(spec).decode(),
                ts=at,
            )
        common = {
            "project": PROJECT,
            "strategy": "champion",
            "fp_from": self.old_fp,
            "fp_to": self.fp,
            "rollout_id": "R-scene1",
        }
        self.add(
            "rollouts",
            **common,
            event="promoted",
            actor="lea",
            reason="the experiment says ship",
            ts=first - timedelta(hours=1),
        )
        self.add("rollouts", **{**common, "rollout_id": "R-scene2", "strategy": "few_shot", "fp_from": self.fp,
                                "fp_to": digest(["report scene", "few_shot"])},
                 event="proposed", actor="ann", reason="more hate found on the certify split", ts=END - timedelta(days=2))  # fmt: skip

    def _watched(self) -> None:
        measured = [
            ("auto_accuracy", 0.951, 0.934, 0.966, 402, 0.90, "at_least", "met"),
            ("recall:minor_safety", None, None, None, 0, 0.90, "at_least", "unknown"),
            ("recall:self_harm", 0.92, 0.78, 0.98, 41, 0.90, "at_least", "not yet provable"),
            ("failed_rate", 0.0042, 0.0026, 0.0066, 4600, 0.02, "at_most", "met"),
            ("review_age_hours", 81.0, None, None, 212, 72.0, "at_most", "breached"),
            ("agreement", 0.83, 0.79, 0.87, 400, 0.60, "at_least", "met"),
            ("coverage", 0.742, 0.729, 0.755, 4600, 0.20, "at_least", "met"),
            ("cost_per_1000", 0.43, None, None, 4600, 2.0, "at_most", "met"),
        ]
        for metric, value, low, high, n, bound, side, state in measured:
            self.add("measurements", measurement_id=f"m-{metric}", project=PROJECT, kind="target", subject=metric,
                     window_from=END - timedelta(days=7), window_to=END, value=value, low=low, high=high, n=n, bound=bound,
                     side=side, state=state, method="simulated", reason="no audited item has this label" if value is None else "",
                     ts=END - timedelta(minutes=15))  # fmt: skip
        for event, hours, role in (("breached", 40, "QA lead"), ("escalated", 16, "policy owner")):
            self.add("alarms", alarm_id="a-age", project=PROJECT, kind="target", subject="review_age_hours", event=event,
                     level="major", role=role, contact=role, value=81.0, bound=72.0,
                     reason="open questions wait longer than promised", actor="monitor", ts=END - timedelta(hours=hours))  # fmt: skip
        common = {"project": PROJECT, "event": "opened", "actor": "monitor"}
        self.add("findings", **common, finding_id="F-hate", title="Harmful items in Spanish are let pass", severity="critical",
                 owner="policy owner", source="rca", source_id="rca-scene", cause="language",
                 action="collect Spanish examples; clarify clause H-2", check_text="recall:hate >= 0.9", check_runs=3, check_held=1,
                 due_ts=END + timedelta(days=5), ts=END - timedelta(days=3))  # fmt: skip
        self.add("findings", **common, finding_id="F-age", title="Open questions wait longer than promised", severity="major",
                 owner="QA lead", source="monitor", source_id="a-age", check_text="review_age_hours <= 72", check_runs=2, check_held=0,
                 due_ts=END + timedelta(days=1), ts=END - timedelta(hours=40))  # fmt: skip
        self.add("root_causes", rca_id="rca-scene", project=PROJECT, metric="accuracy", from_start=END - timedelta(days=14),
                 from_end=END - timedelta(days=7), to_start=END - timedelta(days=7), to_end=END, change=-0.012,
                 headline="simulated", report_json="{}", ts=END - timedelta(hours=5))  # fmt: skip
        for cause, n in _CAUSES.items():
            for place in range(n):
                self.add("error_causes", rca_id="rca-scene", project=PROJECT, item_id=digest([cause, place]), strategy_fp=self.fp,
                         label="safe", right_label="hate", cause=cause, evidence_json="{}", ts=END - timedelta(hours=5))  # fmt: skip


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
