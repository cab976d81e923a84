"""Findings that open by themselves: one a subject, with the target's owner and check; regressions and guardrails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.intervals import Estimate
from labelproof.report.findings.book import close, find_finding, findings_of
from labelproof.report.findings.checks import run_checks
from labelproof.report.findings.hooks import (
    open_from_alarms,
    open_from_experiment,
    open_from_rca,
    open_from_suite,
)
from labelproof.report.findings.predicate import parse_check
from labelproof.report.monitor.model import AlarmEvent, alarm_rows
from labelproof.report.rca.model import Action, CauseRow, ErrorCase, RootCauseReport
from labelproof.report.rca.periods import Period, parse_period
from labelproof.report.suites.latest import SuiteGuardrail
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.findings.findings_helpers import HOSTILE, PROJECT, T0, days, hours, measure_of, project_folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return project_folder(tmp_path)


def alarm(event: str = "breached", **more: Any) -> AlarmEvent:
    given: dict[str, Any] = {
        "alarm_id": "A-1",
        "project": PROJECT,
        "kind": "target",
        "subject": "auto_accuracy",
        "event": event,
        "level": "critical",
        "role": "qa",
        "contact": "Quinn",
        "value": 0.91,
        "bound": 0.95,
        "change_from": None,
        "reason": "91 of 100 were right",
        "evidence": {"sql": "SELECT 91", "items": ["i1"]},
        "actor": "monitor",
        "ts": T0,
        **more,
    }
    return AlarmEvent(**given)


def test_a_breach_opens_a_finding_with_the_targets_owner_and_check(
    store: TraceStore, folder: ProjectFolder
) -> None:
    (found,) = open_from_alarms(store, folder, [alarm()], now=T0)
    one = find_finding(store, PROJECT, found)
    assert one.title == "auto_accuracy broke its promise (0.91), promised ≥ 0.95"
    assert (one.severity, one.owner, one.source) == ("critical", "Olga", "monitor")
    assert (one.check, one.check_runs) == ("auto_accuracy >= 0.95", 3)
    assert one.due == T0 + days(3)
    assert (one.item_ids(), one.evidence["sql"], one.evidence["alarm_id"]) == (["i1"], "SELECT 91", "A-1")


def test_a_finding_of_an_alarm_closes_only_when_the_alarm_is_over(
    store: TraceStore, folder: ProjectFolder
) -> None:
    store.append("alarms", alarm_rows([alarm()]))
    (found,) = open_from_alarms(store, folder, [alarm()], now=T0)

    def look(day: int) -> str:
        (result,) = run_checks(store, folder, now=T0 + days(day), measure=measure_of(lambda _: (0.97, 200)))
        return result.verdict

    assert [look(day) for day in range(1, 5)] == ["held"] * 4
    held = find_finding(store, PROJECT, found)
    assert (held.state, held.check_held) == ("open", 3)
    assert "closes when its alarm is over" in (held.events[-1].reason or "")
    store.append("alarms", alarm_rows([alarm("recovered", ts=T0 + days(4.5))]))
    assert look(5) == "closed"
    assert "held on 3 runs in a row" in (find_finding(store, PROJECT, found).events[-1].reason or "")


@pytest.mark.parametrize(
    ("kind", "subject", "cause"),
    [
        ("drift", "provider", "provider change: why"),
        ("drift", "language", "language: why"),
        ("drift", "manipulation", "manipulation: why"),
        ("sentinel", "answers", "provider change: why"),
        ("drift", "text", None),
        ("target", "coverage", None),
    ],
)
def test_an_alarm_that_says_what_happened_is_the_root_cause_and_its_day_leads_to_the_analysis(
    store: TraceStore, folder: ProjectFolder, kind: str, subject: str, cause: str | None
) -> None:
    event = alarm(kind=kind, subject=subject, reason="why", change_from=T0)
    (found,) = open_from_alarms(store, folder, [event], now=T0 + days(2))
    one = find_finding(store, PROJECT, found)
    assert one.cause == cause
    before = f"{T0 - days(14):%Y-%m-%d}..{T0 - days(1):%Y-%m-%d}"
    after = f"{T0:%Y-%m-%d}..{T0 + days(2):%Y-%m-%d}"
    assert one.action == f"look: labelproof rca {PROJECT} --from {before} --to {after}"
    for period in (before, after):
        parse_period(period, T0 + days(2))


def test_what_becomes_of_the_alarm_is_noted_and_the_next_one_opens_the_same_finding(
    store: TraceStore, folder: ProjectFolder
) -> None:
    (found,) = open_from_alarms(store, folder, [alarm()], now=T0)
    later = [alarm("escalated"), alarm("acknowledged", actor="lea"), alarm("recovered")]
    assert open_from_alarms(store, folder, later, now=T0 + hours(5)) == ()
    one = find_finding(store, PROJECT, found)
    assert [(event.reason or "").partition(":")[0] for event in one.events[1:]] == [
        "the alarm was escalated to qa Quinn",
        "the alarm was acknowledged by lea",
        "the alarm recovered",
    ]
    close(store, one, why="done", actor="olga", now=T0 + days(1))
    assert open_from_alarms(store, folder, [alarm("recovered")], now=T0 + days(2)) == ()
    (again,) = open_from_alarms(store, folder, [alarm(alarm_id="A-2")], now=T0 + days(9))
    assert again == found
    assert find_finding(store, PROJECT, found).n_seen == 2
    assert len(findings_of(store, PROJECT)) == 1


def test_each_kind_of_alarm_has_its_check(store: TraceStore, folder: ProjectFolder) -> None:
    events = [
        alarm(kind="drift", subject="label_mix", change_from=T0 - days(2)),
        alarm(kind="sentinel", subject="answers"),
        alarm(subject="review_age_hours", value=30.0, bound=24.0),
        alarm(kind="run", subject="stopped", contact=None, role=None),
        alarm(subject="coverage"),  # a target that has left the project file since
    ]
    ids = open_from_alarms(store, folder, events, now=T0)
    found = [find_finding(store, PROJECT, one) for one in ids]
    assert [one.check for one in found] == [
        "drift:label_mix quiet",
        "sentinel quiet",
        "review_age_hours <= 24",
        None,
        None,
    ]
    assert found[0].title == "Drift of label_mix since 2026-05-02"
    assert found[3].owner == "Quinn"  # the first contact


def cause(name: str, status: str, **more: Any) -> CauseRow:
    given: dict[str, Any] = {
        "cause": name,
        "status": status,
        "n_errors": 12,
        "n_marked": 14,
        "share_errors": 0.6,
        "share_right": 0.1,
        "lift": 6.0,
        "q_value": 0.001,
        "explained": 0.02,
        "low": 0.01,
        "high": 0.03,
        "by_timing": False,
        "covered_by": None,
        "line": "12 of 20 errors",
        "items": ("i2", "i3"),
        "action": Action(kind="add examples", what="add three like these", items=("i1", "i2")),
        **more,
    }
    return CauseRow(**given)


def analysis(metric: str, causes: Sequence[CauseRow]) -> RootCauseReport:
    week = Period(start=T0, end=T0 + days(7), name="W19")
    case = ErrorCase(
        item_id="i1",
        external_id="m1",
        run_id="r",
        strategy_fp="b2:s1",
        label="safe",
        right_label="hate",
        confidence=0.9,
        cause="language",
        fits={},
        excerpt="",
    )
    return RootCauseReport(
        rca_id="rca-1",
        project=PROJECT,
        metric=metric,
        earlier=None,
        later=week,
        before=None,
        after=None,
        change=None,
        low=None,
        high=None,
        lower_is_better=False,
        parts=(),
        decomposition=None,
        mixed_by=None,
        mixed=(),
        slices=None,
        slice_before={},
        causes=tuple(causes),
        ruled_out=(),
        unmeasured=(),
        errors=(case,),
        n_errors=20,
        notes=(),
        sql={"errors": "SELECT 20"},
        at=T0 + days(7),
    )


def test_each_explaining_cause_is_a_finding(store: TraceStore, folder: ProjectFolder) -> None:
    causes = [cause("language", "explains"), cause("length", "covered"), cause("unexplained", "explains")]
    (found,) = open_from_rca(store, folder, analysis("accuracy", causes), now=T0 + days(7))
    one = find_finding(store, PROJECT, found)
    assert one.title == "language behind accuracy in W19: 12 errors"
    assert (one.source, one.severity, one.owner, one.check) == (
        "rca",
        "critical",
        "Olga",
        "auto_accuracy >= 0.95",
    )
    assert (one.cause, one.action) == ("language: 12 of 20 errors", "add examples: add three like these")
    assert one.items() == [("i1", "hate"), ("i2", None), ("i3", None)]
    assert one.evidence["sql"] == "SELECT 20"
    again = open_from_rca(store, folder, analysis("accuracy", causes), now=T0 + days(14))
    assert again == (found,)


def test_without_a_target_its_items_must_be_right_again(store: TraceStore, folder: ProjectFolder) -> None:
    (found,) = open_from_rca(store, folder, analysis("coverage", [cause("language", "explains")]), now=T0)
    one = find_finding(store, PROJECT, found)
    assert (one.check, one.check_runs, one.severity, one.owner) == (
        "items right >= 0.9",
        1,
        "major",
        "Quinn",
    )


def guardrail(state: str, **more: Any) -> SuiteGuardrail:
    difference = Estimate(value=0.15, low=0.05, high=0.25, n=100, method="paired")
    given: dict[str, Any] = {
        "metric": "suite:robustness/leet speak",
        "margin": 0.02,
        "state": state,
        "failure": 0.25,
        "difference": difference,
        "reference": "champion@abc123",
        **more,
    }
    return SuiteGuardrail(**given)


def test_a_broken_guardrail_opens_a_finding_that_one_good_run_closes(
    store: TraceStore, folder: ProjectFolder
) -> None:
    rails = [guardrail("holds"), guardrail("broken"), guardrail("unproven"), guardrail("not measured")]
    (found,) = open_from_suite(store, folder, rails, strategy="candidate", suite_run_id="S-1", now=T0)
    one = find_finding(store, PROJECT, found)
    assert one.check == 'suite:"robustness/leet speak" fail_rate <= 0.12'  # 0.25 - 0.15 + 0.02
    assert parse_check(one.check).clauses[0].of == "robustness/leet speak"
    assert (one.check_runs, one.evidence["strategy"], one.source) == (1, "candidate", "suite")
    assert "suite_run_id = 'S-1'" in one.evidence["sql"]
    assert store.query(one.evidence["sql"], fresh=True).num_rows == 0
    assert one.title == "candidate fails 25.0% of suite robustness/leet speak, +15.0% against champion@abc123"


def add_comparison(store: TraceStore, verdict: str, comparison_id: str = "cmp-1") -> None:
    flips = [
        {"item_id": "i1", "kind": "broke", "gold": "hate"},
        {"item_id": "i2", "kind": "fixed", "gold": "safe"},
    ]
    store.append(
        "comparisons",
        {
            "comparison_id": [comparison_id],
            "project": [PROJECT],
            "strategy_a": ["champion"],
            "fp_a": ["b2:aaaaaaaa"],
            "strategy_b": ["candidate"],
            "fp_b": ["b2:bbbbbbbb"],
            "verdict": [verdict],
            "reason": [HOSTILE * 4],
            "report_json": [orjson.dumps({"flips": flips}).decode()],
            "ts": [T0],
        },
    )


def test_a_regression_opens_a_finding_on_request(store: TraceStore, folder: ProjectFolder) -> None:
    add_comparison(store, "regression")
    found = open_from_experiment(store, folder, "cmp", now=T0, actor="ann")
    assert found == open_from_experiment(store, folder, "cmp-1", now=T0 + hours(1), actor="ann")
    one = find_finding(store, PROJECT, found)
    assert one.items() == [("i1", "hate")]
    assert (one.check, one.evidence["strategy"]) == ("items right >= 0.9", "candidate")
    assert len(one.title) == 200
    assert store.query(one.evidence["sql"], fresh=True).num_rows == 1


def test_other_verdicts_open_none(store: TraceStore, folder: ProjectFolder) -> None:
    add_comparison(store, "ship")
    add_comparison(store, "ship", "cmp-2")
    with pytest.raises(ConfigError, match="says ship, not regression"):
        open_from_experiment(store, folder, "cmp-1", now=T0, actor="ann")
    with pytest.raises(ConfigError, match="several comparisons begin with 'cmp'"):
        open_from_experiment(store, folder, "cmp", now=T0, actor="ann")
    with pytest.raises(ConfigError, match="no comparison begins"):
        open_from_experiment(store, folder, "nothing", now=T0, actor="ann")
