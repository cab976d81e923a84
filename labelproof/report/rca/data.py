"""The rows of an analysis: labels of both periods whose truth is known, each with what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from labelproof.report.quality_data import filled_in
from labelproof.report.rca import queries as sql
from labelproof.report.rca.metrics import Rate
from labelproof.report.rca.periods import Period
from labelproof.spec.labels import LabelSchema
from labelproof.store import TraceStore

MOST_ROWS = 4000
"""Read of each kind of decision and period, drawn by hash; they stand for all of their kind."""
LEAST_ROWS = 10
"""A period with fewer rows of known truth is not compared."""
_READS = ("decisions", "runs", "review_tasks", "review_events", "votes", "gold")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """One label of a run with its truth. ``truth``: what people or gold say; None where the metric needs none."""

    item_id: str
    run_id: str
    strategy_fp: str
    label: str | None
    truth: str | None
    confidence: float | None
    decision: str
    reason: str
    ts: datetime
    task_id: str | None
    state: str | None
    later: bool
    right: bool
    weight: float
    right_one_gold: bool
    """Right by the later gold; as ``right`` where people decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All rows, earlier ones first. ``population``: decisions (or votes) of each period they stand for."""

    rows: tuple[JudgedRow, ...]
    population: tuple[int, int]
    counts: tuple[Mapping[str, int], Mapping[str, int]]
    truth_from: str
    notes: tuple[str, ...]
    sql: Mapping[str, str]
    why_not: str | None = None

    @property
    def later(self) -> Bools:
        return np.array([row.later for row in self.rows], dtype=np.bool_)

    @property
    def right(self) -> Bools:
        return np.array([row.right for row in self.rows], dtype=np.bool_)

    @property
    def weight(self) -> Floats:
        return np.array([row.weight for row in self.rows], dtype=np.float64)

    @property
    def right_one_gold(self) -> Bools:
        return np.array([row.right_one_gold for row in self.rows], dtype=np.bool_)


def read_judged(
    store: TraceStore, project: str, schema: LabelSchema, rate: Rate, earlier: Period | None, later: Period
) -> Judged:
    """Return the rows of both periods (of ``later`` alone without ``earlier``)."""
    periods = ([] if earlier is None else [(earlier, False)]) + [(later, True)]
    if rate.kind in ("task", "check"):
        return _votes(store, project, rate, periods)
    counts = {is_later: _counts(store, project, period) for period, is_later in periods}
    notes: list[str] = []
    if rate.kind == "decision":
        found = {
            is_later: _read(store, sql.DECISIONS, project, period, most=MOST_ROWS)
            for period, is_later in periods
        }
        truth_from, used = "decisions", {"auto_accept", "review", "failed"}
        statements = {"rows": _shown(sql.DECISIONS, project, later, most=MOST_ROWS)}
    else:
        found, truth_from, statements, reason = _with_truth(store, project, periods, counts)
        if reason is not None:
            return _no_answer(counts, truth_from, statements, reason)
        used, notes = _used(rate, found, counts, truth_from)
    statements["counts"] = _shown(sql.COUNTS, project, later)
    rows: list[JudgedRow] = []
    population = [0, 0]
    for _, is_later in periods:
        kept = [row for row in found[is_later] if row["decision"] in used and _belongs(row, rate, schema)]
        weight = (
            dict.fromkeys(used, (1.0, False))
            if truth_from == "gold"
            else _weights(found[is_later], counts[is_later], used, by_design=truth_from == "people")
        )
        rows += [_row(row, rate, schema, is_later, weight) for row in kept]
        population[is_later] = sum(n for decision, n in counts[is_later].items() if decision in used)
    why_not = _too_few(rows, periods, rate, truth_from)
    return Judged(
        rows=tuple(rows),
        population=(population[0], population[1]),
        counts=(counts.get(False, {}), counts[True]),
        truth_from=truth_from,
        notes=tuple(notes),
        sql=statements,
        why_not=why_not,
    )


def _with_truth(
    store: TraceStore,
    project: str,
    periods: Sequence[tuple[Period, bool]],
    counts: Mapping[bool, Mapping[str, int]],
) -> tuple[dict[bool, list[dict[str, Any]]], str, dict[str, str], str | None]:
    """Return rows that people judged; where they are too few in some period, rows with gold."""
    later = periods[-1][0]
    people = {
        is_later: _read(store, sql.PEOPLE, project, period, most=MOST_ROWS) for period, is_later in periods
    }
    judged = {is_later: sum(row["truth"] is not None for row in rows) for is_later, rows in people.items()}
    statements = {"rows": _shown(sql.PEOPLE, project, later, most=MOST_ROWS)}
    if all(n >= LEAST_ROWS for n in judged.values()):
        return people, "people", statements, None
    versions = store.query(sql.GOLD_VERSIONS, {"project": project}, fresh=True, only=["gold"]).to_pylist()
    if versions:
        at = {is_later: _gold_at(versions, period.end) for period, is_later in periods}
        gold = {
            is_later: _read(
                store, sql.GOLD, project, period, most=MOST_ROWS, gold_fp=at[is_later], last_gold_fp=at[True]
            )
            for period, is_later in periods
        }
        if all(len(rows) >= LEAST_ROWS for rows in gold.values()):
            shown = _shown(sql.GOLD, project, later, most=MOST_ROWS, gold_fp=at[True], last_gold_fp=at[True])
            return gold, "gold", {"rows": shown}, None
    if not sum(counts[True].values()):
        reason = f"nothing was decided in {later.name} ({later.dates}){_span(store, project)}"
    elif not all(sum(counts[is_later].values()) for _, is_later in periods):
        first = periods[0][0]
        reason = f"nothing was decided in {first.name} ({first.dates}){_span(store, project)}"
    else:
        least = " and ".join(f"{judged[is_later]} in {period.name}" for period, is_later in periods)
        reason = (
            f"too few labels have a known truth ({least}; {LEAST_ROWS} are needed): answer the audits "
            "(labelproof serve), or add gold"
        )
    return people, "people", statements, reason


def _span(store: TraceStore, project: str) -> str:
    """Return when there were decisions."""
    (row,) = store.query(sql.SPAN, {"project": project}, fresh=True, only=_READS).to_pylist()
    if row["first"] is None:
        return "; nothing has been decided at all: run `labelproof run` first"
    return f"; decisions lie between {row['first']:%Y-%m-%d} and {row['last']:%Y-%m-%d}"


def _gold_at(versions: Sequence[Mapping[str, Any]], end: datetime) -> str:
    """Return the gold version in use at the end of a period: the latest stored by then, else the first one."""
    known = [row["gold_fp"] for row in versions if row["ts"] is not None and row["ts"] < end]
    return str(known[-1] if known else versions[0]["gold_fp"])


def _used(
    rate: Rate,
    found: Mapping[bool, Sequence[Mapping[str, Any]]],
    counts: Mapping[bool, Mapping[str, int]],
    truth_from: str,
) -> tuple[set[str], list[str]]:
    """Return the kinds of decision whose truth is known in every period, and what was left out."""
    wanted = {"auto_accept"} if rate.name == "auto_accuracy" else {"auto_accept", "review", "failed"}
    if rate.name == "precision":
        wanted.discard("failed")
    if truth_from == "gold":
        return wanted, ["rows are gold items in the traffic: they need not be like the rest of it"]
    used, notes = set(), []
    for decision in sorted(wanted):
        known = {
            is_later: sum(row["decision"] == decision and row["truth"] is not None for row in rows)
            for is_later, rows in found.items()
        }
        there = {is_later: counts[is_later].get(decision, 0) for is_later in found}
        if decision == "failed":
            if rate.name == "accuracy":
                used.add(decision)
        elif all(not there[one] or known[one] >= LEAST_ROWS for one in found):
            used.add(decision)
        elif any(there.values()):
            what = "automatic decisions" if decision == "auto_accept" else "items routed to people"
            least = min(known.values())
            notes.append(
                f"{what} are left out: of {there[True]} in the later period {known[True]} were answered"
                + (f", of the earlier one {known[False]}" if False in known else "")
                + ("" if least else " (nobody has said what is right)")
            )
    if used == {"failed"}:  # failures alone are no accuracy
        used = set()
    return used, notes


def _belongs(row: Mapping[str, Any], rate: Rate, schema: LabelSchema) -> bool:
    if rate.name == "recall":
        return row["truth"] is not None and str(rate.of) in schema.members(row["truth"])
    if rate.name == "precision":
        return row["label"] is not None and str(rate.of) in schema.members(row["label"])
    return True


def _weights(
    rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], used: set[str], *, by_design: bool
) -> dict[str, tuple[float, bool]]:
    """Return decision -> (factor, whether 1 / inclusion probability counts): rows stand for all of their kind."""
    found = {}
    for decision in used:
        mine = [row for row in rows if row["decision"] == decision]
        weighted = decision == "auto_accept" and by_design
        total = sum(1 / row["inclusion_prob"] if weighted else 1.0 for row in mine)
        found[decision] = (counts.get(decision, 0) / total if total else 1.0, weighted)
    return found


def _row(
    row: Mapping[str, Any],
    rate: Rate,
    schema: LabelSchema,
    is_later: bool,
    weight: Mapping[str, tuple[float, bool]],
) -> JudgedRow:
    factor, weighted = weight[row["decision"]]
    truth = row["truth"]
    return JudgedRow(
        item_id=row["item_id"],
        run_id=row["run_id"],
        strategy_fp=row["strategy_fp"],
        label=None if row["decision"] == "failed" else row["label"],
        truth=truth,
        confidence=row["confidence"],
        decision=row["decision"],
        reason=row["reason"] or "",
        ts=row["ts"],
        task_id=row["task_id"],
        state=row["state"],
        later=is_later,
        right=_is_right(row, rate, schema, truth),
        weight=factor / row["inclusion_prob"] if weighted else factor,
        right_one_gold=_is_right(row, rate, schema, row.get("last_truth", truth)),
    )


def _is_right(row: Mapping[str, Any], rate: Rate, schema: LabelSchema, truth: str | None) -> bool:
    if rate.name == "coverage":
        return bool(row["decision"] == "auto_accept")
    if rate.name == "failed_rate":
        # "Right" is what the rate counts: its errors are the failed ones (see ``wrong_of``).
        return bool(row["decision"] == "failed")
    if row["decision"] == "failed" or row["label"] is None or truth is None:
        return False
    if rate.name in ("recall", "precision"):
        other = row["label"] if rate.name == "recall" else truth
        return str(rate.of) in schema.members(other)
    return bool(row["label"] == truth)


def wrong_of(judged: Judged, rate: Rate) -> Bools:
    """Return which rows are errors: what must not be."""
    return judged.right if rate.lower_is_better else ~judged.right


def _votes(store: TraceStore, project: str, rate: Rate, periods: Sequence[tuple[Period, bool]]) -> Judged:
    """Return tasks with several votes (right: all agree), or answered checks (right: as gold)."""
    statement = sql.TASKS if rate.kind == "task" else sql.CHECKS
    rows: list[JudgedRow] = []
    population = [0, 0]
    for period, is_later in periods:
        found = _read(store, statement, project, period, most=MOST_ROWS)
        population[is_later] = len(found)
        for row in found:
            right = row["n_labels"] == 1 if rate.kind == "task" else row["label"] == row["truth"]
            rows.append(
                JudgedRow(
                    **{
                        name: row[name]
                        for name in (
                            "item_id", "run_id", "strategy_fp", "label", "truth", "confidence", "decision", "ts",
                            "task_id", "state",
                        )
                    },
                    reason=row["reason"] or "",
                    later=is_later,
                    right=bool(right),
                    weight=1.0,
                    right_one_gold=bool(right),
                )
            )  # fmt: skip
    return Judged(
        rows=tuple(rows),
        population=(population[0], population[1]),
        counts=({}, {}),
        truth_from="votes" if rate.kind == "task" else "hidden gold",
        notes=(),
        sql={"rows": _shown(statement, project, periods[-1][0], most=MOST_ROWS)},
        why_not=_too_few(rows, periods, rate, "votes"),
    )


def _too_few(
    rows: Sequence[JudgedRow], periods: Sequence[tuple[Period, bool]], rate: Rate, truth_from: str
) -> str | None:
    for period, is_later in periods:
        n = sum(row.later == is_later for row in rows)
        if n < LEAST_ROWS:
            what = {"people": "labels that people checked", "gold": "gold items"}.get(truth_from, "answers")
            return f"{period.name} ({period.dates}) has {n} {what} for {rate.text}; {LEAST_ROWS} are needed to say anything"
    return None


def _no_answer(
    counts: Mapping[bool, Mapping[str, int]], truth_from: str, statements: Mapping[str, str], reason: str
) -> Judged:
    totals = [sum(counts.get(one, {}).values()) for one in (False, True)]
    return Judged(
        rows=(),
        population=(totals[0], totals[1]),
        counts=(counts.get(False, {}), counts[True]),
        truth_from=truth_from,
        notes=(),
        sql=statements,
        why_not=reason,
    )


def _counts(store: TraceStore, project: str, period: Period) -> dict[str, int]:
    return {str(row["decision"]): int(row["n"]) for row in _read(store, sql.COUNTS, project, period)}


def _read(
    store: TraceStore, statement: str, project: str, period: Period, **more: Any
) -> list[dict[str, Any]]:
    params = {"project": project, "start": period.start, "end": period.end, **more}
    found: list[dict[str, Any]] = store.query(statement, params, fresh=True, only=_READS).to_pylist()
    return found


def _shown(statement: str, project: str, period: Period, **more: Any) -> str:
    """Return a statement with its parameters written out."""
    most = more.pop("most", None)
    params = {"project": project, "start": period.start, "end": period.end, **more}
    return filled_in(statement.replace("$most", str(most)), params)
