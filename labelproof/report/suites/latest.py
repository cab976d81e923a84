"""What stored suite runs say: of one strategy version, of two on the same cases, and whether a guardrail is broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evaluation.intervals import Estimate
from evaluation.paired import BoolArray
from evaluation.suites import failure_difference
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import short
from labelproof.spec.metrics import parse_metric
from labelproof.store import TraceStore

State = Literal["holds", "broken", "unproven", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCases:
    """Cases that both versions answered, in the order of their ids: (n,) arrays, True where a version failed."""

    failed_a: BoolArray
    failed_b: BoolArray
    base_ids: Sequence[str]
    """Which cases belong together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteGuardrail:
    """One guardrail on a suite for one strategy version, held against the version in use.

    ``difference``: failure rate minus the reference's on the same cases. holds: worse by less than the margin, proven;
    broken: worse by more than the margin, and proven worse; unproven: neither. ``reason`` says what is missing.
    """

    metric: str
    margin: float
    state: State
    failure: float | None
    difference: Estimate | None
    reference: str | None
    reason: str | None = None


def latest_rate(store: TraceStore, project: str, strategy_fp: str, of: str) -> tuple[int, int] | None:
    """Return failures and judged cases of a version's newest run of a suite; None when there is none.

    ``of``: the suite's name, with `/functionality` behind it for that part only.
    """
    suite, functionality = _parts(of)
    run = _newest(store, project, strategy_fp, suite)
    if run is None:
        return None
    rows = _results(store, run["suite_run_id"], functionality)
    return sum(not row["passed"] for row in rows), len(rows)


def latest_pairs(
    store: TraceStore, project: str, fp_a: str, fp_b: str, of: str
) -> tuple[BoolArray, BoolArray] | None:
    """Return which cases A failed and which B, on the cases both answered; None when one has no run of the suite."""
    cases = paired_cases(store, project, fp_a, fp_b, of)
    return None if cases is None else (cases.failed_a, cases.failed_b)


def paired_cases(store: TraceStore, project: str, fp_a: str, fp_b: str, of: str) -> PairedCases | None:
    """Return the cases that both versions answered, in their newest runs of the suite; None without any.

    The newest pair of runs over the very same cases is preferred; otherwise the cases that the newest runs share.
    """
    suite, functionality = _parts(of)
    runs_a, runs_b = (_runs(store, project, fp, suite) for fp in (fp_a, fp_b))
    if not runs_a or not runs_b:
        return None
    shared = {run["suite_fp"] for run in runs_a} & {run["suite_fp"] for run in runs_b}
    run_a = next((run for run in runs_a if run["suite_fp"] in shared), runs_a[0])
    wanted = run_a["suite_fp"] if shared else None
    run_b = next((run for run in runs_b if run["suite_fp"] == wanted), runs_b[0])
    a = {row["case_id"]: row for row in _results(store, run_a["suite_run_id"], functionality)}
    b = {row["case_id"]: row for row in _results(store, run_b["suite_run_id"], functionality)}
    both = sorted(a.keys() & b.keys())
    if not both:
        return None
    return PairedCases(
        failed_a=np.array([not a[case_id]["passed"] for case_id in both], dtype=np.bool_),
        failed_b=np.array([not b[case_id]["passed"] for case_id in both], dtype=np.bool_),
        base_ids=[a[case_id]["base_id"] for case_id in both],
    )


def suite_guardrails(
    store: TraceStore,
    project: str,
    policy: ExperimentPolicy,
    strategy_fp: str,
    reference: tuple[str, str] | None,
    *,
    suites: Sequence[str] | None = None,
) -> list[SuiteGuardrail]:
    """Return the state of every guardrail on a suite for one version.

    ``reference``: name and fingerprint of the version it must not be worse than, None when there is none (nothing can
    be broken then). ``suites``: only guardrails on these.
    """
    found = []
    for guardrail in policy.guardrails:
        ref = parse_metric(guardrail.metric)
        if ref.name != "suite" or ref.of is None:
            continue
        if suites is not None and _parts(ref.of)[0] not in suites:
            continue
        found.append(_guardrail(store, project, ref.of, guardrail.margin, strategy_fp, reference))
    return found


def _guardrail(
    store: TraceStore,
    project: str,
    of: str,
    margin: float,
    strategy_fp: str,
    reference: tuple[str, str] | None,
) -> SuiteGuardrail:
    counted = latest_rate(store, project, strategy_fp, of)
    failure = counted[0] / counted[1] if counted and counted[1] else None
    difference: Estimate | None = None
    state: State = "not measured"
    reason: str | None = None
    named: str | None = None
    if failure is None:
        reason = f"no judged case of suite {of} for this version"
    elif reference is None:
        reason = "there is no other version to hold it against"
    else:
        named = f"{reference[0]}@{short(reference[1])}"
        cases = paired_cases(store, project, reference[1], strategy_fp, of)
        if cases is None:
            reason = f"{named} has not answered these cases: run the suite with it"
        else:
            difference = failure_difference(cases.failed_a, cases.failed_b, cases.base_ids)
            state = _state(difference, margin)
    return SuiteGuardrail(
        metric=f"suite:{of}",
        margin=margin,
        state=state,
        failure=failure,
        difference=difference,
        reference=named,
        reason=reason,
    )


def _state(difference: Estimate, margin: float) -> State:
    assert difference.value is not None
    assert difference.low is not None
    assert difference.high is not None
    if difference.value > margin and difference.low > 0:
        return "broken"
    return "holds" if difference.high <= margin else "unproven"


def reference_version(
    store: TraceStore, project: str, *, champion: tuple[str, str], strategy_fp: str
) -> tuple[str, str] | None:
    """Return what a version is held against: the strategy in use, or for that one its version before it."""
    name, fp = champion
    if fp != strategy_fp:
        return champion
    rows = store.query(
        "SELECT strategy_fp FROM suite_runs WHERE project = ? AND strategy = ? AND strategy_fp <> ?"
        " ORDER BY ts DESC, suite_run_id DESC LIMIT 1",
        [project, name, fp],
        fresh=True,
    ).to_pylist()
    return (name, str(rows[0]["strategy_fp"])) if rows else None


def _parts(of: str) -> tuple[str, str | None]:
    suite, _, functionality = of.partition("/")
    return suite, functionality or None


def _newest(store: TraceStore, project: str, strategy_fp: str, suite: str) -> dict[str, Any] | None:
    return next(iter(_runs(store, project, strategy_fp, suite)), None)


def _runs(store: TraceStore, project: str, strategy_fp: str, suite: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.query(
        "SELECT suite_run_id, suite_fp FROM suite_runs WHERE project = ? AND strategy_fp = ? AND suite = ?"
        " ORDER BY ts DESC, suite_run_id DESC",
        [project, strategy_fp, suite],
        fresh=True,
    ).to_pylist()
    return rows


def _results(store: TraceStore, suite_run_id: str, functionality: str | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.query(
        "SELECT case_id, base_id, passed FROM suite_results WHERE suite_run_id = $run AND passed IS NOT NULL"
        " AND (functionality = $part OR $part IS NULL)",
        {"run": suite_run_id, "part": functionality},
        fresh=True,
    ).to_pylist()
    return rows
