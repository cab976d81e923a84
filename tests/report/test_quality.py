"""The answer from audits by hand: rates, promises, monitors, what is refused and what is voided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from agents.certificates import GroupProof, StoredCertificate, issue, standings
from labelproof.report.numbers import plain_count as count
from labelproof.report.quality import QualityReport, interval_text, quality_report
from labelproof.report.quality_data import filled_in
from labelproof.report.quality_promises import judge
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import T0, add_run, add_tasks, add_votes, days, project


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    """A project that promises nothing: a plain threshold."""
    return project(tmp_path / "mini", routing="mode: threshold")


def decide(
    store: TraceStore,
    labels: Sequence[str],
    *,
    audited: Sequence[bool],
    prob: float | Sequence[float | None] | None = 0.5,
    confidence: float | Sequence[float | None] | None = 0.9,
    decision: str = "auto_accept",
    certificate: str | None = None,
    run: str = "r1",
    fp: str = "b2:s1",
    first: int = 0,
    start: datetime = T0,
) -> list[str]:
    """Store one decision an item (a minute apart) and return the item ids."""
    n = len(labels)
    ids = [f"b2:item{first + i:05d}" for i in range(n)]
    store.append(
        "decisions",
        {
            "run_id": [run] * n,
            "item_id": ids,
            "strategy_fp": [fp] * n,
            "label": list(labels),
            "confidence": list(confidence) if isinstance(confidence, Sequence) else [confidence] * n,
            "decision": [decision] * n,
            "certificate_id": [certificate] * n,
            "inclusion_prob": list(prob) if isinstance(prob, Sequence) else [prob] * n,
            "audited": list(audited),
            "ts": [start + timedelta(minutes=first + i) for i in range(n)],
        },
    )
    return ids


def settle(
    store: TraceStore, ids: Sequence[str], truths: Sequence[str], *, at: datetime = T0 + timedelta(days=1)
) -> None:
    """Store the audit tasks of items, and two agreeing votes on each."""
    tasks = add_tasks(store, ids)
    for who in ("ann", "bob"):
        add_votes(store, tasks, ids, truths, annotator=who, at=at)


def certificate(
    store: TraceStore, *, alpha: float = 0.05, groups: tuple[GroupProof, ...] = (), now: datetime = T0
) -> str:
    """Issue a certificate for project mini and return its id."""
    issued = StoredCertificate.of(
        project="mini",
        strategy="champion",
        strategy_fp="b2:s1",
        answers_fp="b2:a1",
        calibrator_ids=(),
        gold_fp="b2:g",
        split_fp="b2:g1",
        design="simple_random",
        alpha=alpha,
        delta=0.05,
        groups=groups,
        coverage=0.5,
        pool_n=1000,
        pool_fp="b2:p",
        finite_pool=False,
        n_looks=1,
        audit_plan=None,
        run_id="r1",
        issued_at=now.isoformat(),
        expires_at=(now + days(90)).isoformat(),
    )
    issue(store, issued, now)
    return issued.certificate_id


def proof(group: str, alpha: float, upper: float | None = None) -> GroupProof:
    return GroupProof(
        group=group,
        certified=True,
        threshold=0.8,
        alpha=alpha,
        delta=0.05,
        n_gold=500,
        n_accepted=300,
        n_errors=2,
        coverage=0.6,
        upper=upper,
        method="fst",
    )


def every(n: int, step: int) -> list[bool]:
    return [i % step == 0 for i in range(n)]


def one_in_four_audited(store: TraceStore, *, n_wrong: int, **more: Any) -> list[str]:
    """400 decisions `safe`, 100 of them audited, ``n_wrong`` of these, evenly spread, found to be hate."""
    ids = decide(store, ["safe"] * 400, audited=every(400, 4), prob=0.25, **more)
    wrong = {int((i + 0.5) * 100 / n_wrong) for i in range(n_wrong)}
    settle(store, ids[::4], ["hate" if i in wrong else "safe" for i in range(100)])
    return ids


# --- the answer --------------------------------------------------------------------------------


def test_the_answer_is_the_rate_among_audits_and_says_what_it_rests_on(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_run(store)
    one_in_four_audited(store, n_wrong=4)
    report = quality_report(store, folder)
    assert report.quality is not None
    right = report.quality.correct
    assert right.value == pytest.approx(0.96)
    assert right.low is not None
    assert right.high is not None
    low, high = proportion_confint(96, 100, method="beta")
    # 100 of 400 are known for certain, which can only narrow Clopper-Pearson's interval.
    assert low <= right.low < 0.96 < right.high <= high
    assert report.sentence.startswith("Auto-decisions were right 96.0 % (95 % interval ")
    assert report.sentence.endswith("; 100 audited of 400).")
    assert report.promise_sentence.startswith("Nothing was promised")
    assert report.exit_code == 0
    assert report.assumptions[0].endswith("stored at routing (0.25)")
    assert "recall over all items cannot be told" in report.assumptions[-1]


def test_audits_are_weighted_by_their_stored_probability(store: TraceStore, folder: ProjectFolder) -> None:
    add_run(store)
    # 100 unsure items audited always (20 wrong), 900 sure ones one in nine (2 of 100 wrong).
    decide(store, ["safe"] * 1000, audited=[False] * 1000, decision="review", first=5000)
    unsure = decide(store, ["safe"] * 100, audited=[True] * 100, prob=1.0, confidence=0.6)
    sure = decide(store, ["safe"] * 900, audited=every(900, 9), prob=1 / 9, confidence=0.95, first=100)
    settle(store, unsure + sure[::9], ["spam"] * 20 + ["safe"] * 80 + ["hate"] * 2 + ["safe"] * 98)
    report = quality_report(store, folder)
    assert (report.n_decisions, report.audits.n_settled) == (1000, 200)
    assert report.quality is not None
    assert report.quality.correct.value == pytest.approx(1 - (20 + 18) / 1000)
    assert "weighted by their inclusion probability" in report.quality.method


def test_open_audits_widen_what_looked_like_a_census(store: TraceStore, folder: ProjectFolder) -> None:
    add_run(store)
    ids = decide(store, ["safe"] * 100, audited=[True] * 100, prob=1.0)
    settle(store, ids[:50], ["hate"] * 5 + ["safe"] * 45)
    add_tasks(store, ids[50:])
    half = quality_report(store, folder)
    assert half.quality is not None
    assert half.quality.correct.value == pytest.approx(0.9)
    assert half.quality.correct.low is not None
    assert half.quality.correct.low < 0.87
    assert (half.audits.n_open, half.audits.response) == (50, 0.5)
    assert "the settled audits (50 of 100 drawn) are a random part of the drawn ones" in half.assumptions
    assert half.next_step == "labelproof review export mini --kind audit --to audits.csv"
    settle(store, ids[50:], ["hate"] * 5 + ["safe"] * 45)
    whole = quality_report(store, folder)
    assert whole.quality is not None
    assert (whole.quality.correct.low, whole.quality.correct.high) == (0.9, 0.9)
    assert whole.next_step is None


def test_classes_by_hand(store: TraceStore, folder: ProjectFolder) -> None:
    add_run(store)
    ids = decide(store, ["hate"] * 40 + ["safe"] * 60, audited=[True] * 100, prob=1.0)
    truths = ["hate"] * 30 + ["safe"] * 10 + ["safe"] * 50 + ["hate"] * 10
    settle(store, ids, truths)
    rows = {row.label: row for row in quality_report(store, folder).classes}
    assert (rows["hate"].n_decisions, rows["hate"].n_audited, rows["hate"].n_wrong) == (40, 40, 10)
    assert rows["hate"].precision.value == pytest.approx(30 / 40)
    assert rows["hate"].recall.value == pytest.approx(30 / 40)
    assert rows["safe"].precision.value == pytest.approx(50 / 60)
    assert rows["safe"].recall.value == pytest.approx(50 / 60)
    assert rows["spam"].precision.value is None
    assert "no item with the class's label was audited" in str(rows["spam"].precision.reason)
    assert "no item of the class" in str(rows["spam"].recall.reason)


def test_multi_labels_count_class_by_class(store: TraceStore, tmp_path: Path) -> None:
    folder = project(tmp_path / "many", routing="mode: threshold", kind="multi")
    add_run(store)
    ids = decide(store, ["hate+spam"] * 20 + ["none"] * 20, audited=[True] * 40, prob=1.0)
    settle(store, ids, ["hate"] * 20 + ["none"] * 20)
    report = quality_report(store, folder)
    assert report.quality is not None
    assert report.quality.correct.value == 0.5
    rows = {row.label: row for row in report.classes}
    assert rows["hate"].precision.value == 1
    assert rows["spam"].precision.value == 0
    assert rows["safe"].n_decisions == 0


def test_disputed_audits_are_told_and_keep_a_promise_from_being_proven(
    store: TraceStore, tmp_path: Path
) -> None:
    folder = project(tmp_path / "mini", routing="mode: threshold, alpha: 0.05")
    add_run(store)
    ids = decide(store, ["safe"] * 1000, audited=every(1000, 2))
    drawn = ids[::2]
    settle(store, drawn[:470], ["safe"] * 470)
    tasks = add_tasks(store, drawn[470:])
    add_votes(store, tasks, drawn[470:], ["safe"] * 30, annotator="ann", at=T0 + days(1))
    add_votes(store, tasks, drawn[470:], ["hate"] * 30, annotator="bob", at=T0 + days(1))
    report = quality_report(store, folder)
    assert report.quality is not None
    assert report.quality.correct.value == 1
    assert report.if_disputed_wrong is not None
    assert report.if_disputed_wrong.value == pytest.approx(0.94)
    assert report.verdict == "not yet provable"
    assert "30 disputed audits need an adjudicator first" in report.promise_sentence
    assert report.next_step == "labelproof review export mini --kind disputed --to disputed.csv"
    assert any("if every disputed one were wrong: 94.0 %" in text for _, text in report.lines())


def test_days_and_over_long_periods_weeks_from_monday(store: TraceStore, folder: ProjectFolder) -> None:
    add_run(store)
    settled = decide(store, ["safe"] * 4, audited=[True] * 4)  # T0 is a Monday
    decide(store, ["safe"] * 2, audited=[True] * 2, first=10, start=T0 + days(3))
    settle(store, settled, ["safe", "safe", "hate", "safe"])
    first, second = quality_report(store, folder).days
    assert (first.day.isoformat(), first.n_decisions, first.n_audited, first.right.value) == (
        "2026-03-02",
        4,
        4,
        0.75,
    )
    assert (second.day.isoformat(), second.n_decisions, second.right.value) == ("2026-03-05", 2, None)
    decide(store, ["safe"], audited=[False], first=20, start=T0 + days(100))
    weeks = quality_report(store, folder).days
    assert [(row.day.isoformat(), row.n_decisions) for row in weeks] == [("2026-03-02", 6), ("2026-06-08", 1)]


# --- what is refused ---------------------------------------------------------------------------


def test_what_cannot_be_answered_says_what_to_do(store: TraceStore, folder: ProjectFolder) -> None:
    def ask() -> QualityReport:
        report = quality_report(store, folder)
        assert report.exit_code == 2
        assert report.quality is None
        assert report.sentence == f"Cannot be answered: {report.why_not}."
        assert orjson.loads(orjson.dumps(report.to_json()))["right"] is None
        return report

    add_run(store)
    assert ask().why_not == "no automatic decision was made in this period"
    decide(store, ["safe"] * 5, audited=[False] * 5)
    assert ask().why_not == "none of 5 auto-decisions was drawn for audit"
    ids = decide(store, ["safe"] * 5, audited=[True] * 5, first=5)
    add_tasks(store, ids)
    waiting = ask()
    assert waiting.why_not == "none of the 5 drawn audits of 10 auto-decisions is settled"
    assert waiting.next_step == "labelproof review export mini --kind audit --to audits.csv"


def test_decisions_that_cannot_be_weighed_are_left_out_with_the_reason(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_run(store)
    old = decide(store, ["safe"] * 10, audited=[True] * 10, prob=None)
    settle(store, old, ["hate"] * 10)
    report = quality_report(store, folder)
    assert report.quality is None
    assert report.why_not == (
        "10 auto-decisions are not covered: no inclusion probability was stored when they were routed"
    )
    new = decide(store, ["safe"] * 10, audited=[True] * 10, first=10)
    decide(store, ["safe"] * 3, audited=[False] * 3, prob=0.0, first=20)
    decide(store, ["safe"] * 2, audited=[False] * 2, prob=1.5, first=30)
    decide(store, ["safe"], audited=[True], confidence=None, first=40)
    settle(store, new, ["safe"] * 10)
    report = quality_report(store, folder)
    assert report.quality is not None
    assert report.quality.correct.value == 1
    assert report.n_decisions == 10
    assert list(report.outside.values()) == [10, 3, 2, 1]


def test_a_raised_question_leaves_an_audit_to_an_adjudicator(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_run(store)
    ids = decide(store, ["safe"] * 4, audited=[True] * 4)
    settle(store, ids[:2], ["safe", "safe"])
    tasks = add_tasks(store, ids[2:])
    add_votes(store, tasks, ids[2:], [None, "safe"], annotator="ann", at=T0)
    audits = quality_report(store, folder).audits
    assert (audits.n_settled, audits.n_open, audits.n_disputed, audits.n_undecided) == (2, 1, 1, 0)


# --- which decisions ---------------------------------------------------------------------------


def test_period_strategy_and_the_latest_decision(store: TraceStore, folder: ProjectFolder) -> None:
    add_run(store)
    add_run(store, "r2", strategy="challenger", fp="b2:s2")
    store.append(
        "runs",
        {"run_id": ["x"], "event": ["started"], "project": ["theirs"], "strategy": ["champion"], "ts": [T0]},
    )
    decide(store, ["safe"] * 10, audited=[True] * 10)
    decide(store, ["safe"] * 10, audited=[True] * 10, start=T0 + days(2))  # decided again
    decide(store, ["safe"] * 7, audited=[True] * 7, run="r2", fp="b2:s2", start=T0 + days(3))
    decide(store, ["safe"] * 50, audited=[True] * 50, run="x", first=100)
    report = quality_report(store, folder)
    assert (report.n_decisions, report.audits.n_drawn) == (17, 17)
    for kwargs, n in (
        ({"strategy": "champion"}, 10),
        ({"strategy": "challenger"}, 7),
        ({"strategy": "b2:s2"}, 7),
        ({"strategy": "none"}, 0),
        ({"since": T0 + days(2.5)}, 7),
        ({"until": T0 + days(1)}, 10),
        ({"since": T0 + days(1), "until": T0 + days(2.5)}, 10),
        ({"since": T0 + days(5)}, 0),
    ):
        chosen: dict[str, Any] = dict(kwargs)
        assert quality_report(store, folder, **chosen).n_decisions == n, kwargs
    ids = [f"b2:item{i:05d}" for i in range(10)]
    settle(store, ids, ["safe"] * 10)
    both = quality_report(store, folder)
    assert any(
        line.startswith("7 decisions are of items that another strategy version") for line in both.assumptions
    )


ROWS = st.lists(
    st.tuples(
        st.integers(0, 6),  # item
        st.sampled_from(["b2:s1", "b2:s2"]),
        st.sampled_from(["auto_accept", "auto_accept", "review", "failed"]),
        st.sampled_from(["safe", "hate"]),
        st.sampled_from([None, 0.0, 0.25, 1.0]),
        st.booleans(),
        st.integers(0, 3),  # day
    ),
    max_size=25,
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, truths=st.lists(st.sampled_from([None, "safe", "hate"]), min_size=7, max_size=7))
def test_population_and_audits_are_those_of_brute_force_sql(
    rows: list[tuple[int, str, str, str, float | None, bool, int]], truths: list[str | None]
) -> None:
    with TemporaryDirectory() as temporary, open_store(Path(temporary) / "store") as store:
        folder = project(Path(temporary) / "mini", routing="mode: threshold")
        for fp in ("b2:s1", "b2:s2"):
            add_run(store, f"run of {fp}", strategy=fp[-2:], fp=fp)
        store.append(
            "decisions",
            {
                "run_id": [f"run of {row[1]}" for row in rows],
                "item_id": [f"i{row[0]}" for row in rows],
                "strategy_fp": [row[1] for row in rows],
                "decision": [row[2] for row in rows],
                "label": [row[3] for row in rows],
                "inclusion_prob": [row[4] for row in rows],
                "audited": [row[5] for row in rows],
                "confidence": [0.9] * len(rows),
                "ts": [T0 + days(row[6]) + timedelta(seconds=i) for i, row in enumerate(rows)],
            },
        )
        known = [(f"i{i}", truth) for i, truth in enumerate(truths) if truth is not None]
        settle(store, [item for item, _ in known], [truth for _, truth in known])
        since, until = T0 + days(1), T0 + days(3)
        report = quality_report(store, folder, since=since, until=until)
        latest: dict[tuple[int, str], tuple[Any, ...]] = {}
        for row in sorted(rows, key=lambda row: row[6]):  # stable: later rows of a day come later
            if 1 <= row[6] < 3:
                latest[row[0], row[1]] = row
        auto = [row for row in latest.values() if row[2] == "auto_accept"]
        inside = [row for row in auto if row[4] and row[4] > 0]
        settled = [row for row in inside if row[5] and truths[row[0]] is not None]
        assert report.n_decisions == len(inside)
        assert sum(report.outside.values()) == len(auto) - len(inside)
        assert report.audits.n_drawn == sum(row[5] for row in inside)
        assert report.audits.n_settled == len(settled)
        (found,) = store.query(report.panels()["answer"], fresh=True).to_pylist()
        wrong = sum(truths[row[0]] != row[3] for row in settled)
        assert (found["auto_accepted"], found["drawn"], found["audited"], found["wrong"]) == (
            len(inside),
            report.audits.n_drawn,
            len(settled),
            wrong,
        )
        if report.quality is not None:
            assert report.quality.wrong_n == wrong
        assert sum(row.n_decisions for row in report.classes) in (0, len(inside))
        for sql in report.panels().values():
            store.query(sql, fresh=True)


# --- promises ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_wrong", "verdict", "code"), [(0, "met", 0), (4, "not yet provable", 0), (20, "not met", 1)]
)
def test_the_verdict_on_a_certificate(
    store: TraceStore, tmp_path: Path, n_wrong: int, verdict: str, code: int
) -> None:
    folder = project(tmp_path / "mini")
    add_run(store)
    one_in_four_audited(store, n_wrong=n_wrong, certificate=certificate(store))
    report = quality_report(store, folder, void_certificates=False)
    assert report.promised == pytest.approx(0.95)
    assert report.verdict == verdict
    assert report.exit_code == code
    assert report.promise_sentence.startswith(f"We promise >= 95 %: {verdict}")
    if verdict == "not yet provable":
        assert "even auditing all of these decisions would not prove it" in report.promise_sentence


def test_what_the_project_file_promises(store: TraceStore, tmp_path: Path) -> None:
    add_run(store)
    one_in_four_audited(store, n_wrong=20)
    silent = quality_report(store, project(tmp_path / "a", routing="mode: threshold"))
    assert (silent.promised, silent.checks, silent.exit_code) == (None, (), 0)
    said = quality_report(store, project(tmp_path / "b", routing="mode: threshold, alpha: 0.1"))
    assert said.promised == pytest.approx(0.9)
    assert said.verdict == "not met"
    assert said.checks[0].promise.source == "routing.alpha in project.yaml"


def test_classes_with_their_own_promise_are_checked_apart(store: TraceStore, tmp_path: Path) -> None:
    key = certificate(store, groups=(proof("hate", 0.01), proof("*", 0.05)))
    folder = project(tmp_path / "mini")
    add_run(store)
    ids = decide(store, ["hate"] * 100 + ["safe"] * 300, audited=[True] * 400, prob=1.0, certificate=key)
    settle(store, ids, ["safe"] * 4 + ["hate"] * 96 + ["safe"] * 300)
    report = quality_report(store, folder, void_certificates=False)
    assert report.promised == pytest.approx(1 - (100 * 0.01 + 300 * 0.05) / 400)
    checks = {check.promise.group: check for check in report.checks}
    assert (checks["hate"].verdict, checks["*"].verdict) == ("not met", "met")
    assert report.verdict == "met"
    assert report.exit_code == 1
    assert any("label hate: >= 99 % of 100: not met" in text for _, text in report.lines())


def test_some_decisions_without_promise_give_no_overall_promise(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_run(store)
    ids = decide(store, ["safe"] * 50, audited=[True] * 50, certificate=certificate(store))
    more = decide(store, ["safe"] * 50, audited=[True] * 50, first=50)
    settle(store, ids + more, ["safe"] * 100)
    report = quality_report(store, folder)
    assert report.promised is None
    assert report.promise_sentence.startswith("Not all of these decisions carry a promise")
    assert [check.n_decisions for check in report.checks] == [50]


# --- alarms ------------------------------------------------------------------------------------


def drifting(store: TraceStore, key: str | None) -> None:
    """300 audits, 1 in 50 wrong, then 100 of which every third is wrong, a day later."""
    ids = decide(store, ["safe"] * 300, audited=[True] * 300, certificate=key)
    late = decide(store, ["safe"] * 100, audited=[True] * 100, certificate=key, first=300, start=T0 + days(1))
    truths = ["hate" if i % 50 == 25 else "safe" for i in range(300)]
    truths += ["hate" if i % 3 == 0 else "safe" for i in range(100)]
    settle(store, ids + late, truths, at=T0 + days(2))


def test_a_drift_alarm_names_the_change_and_voids_the_certificate_once(
    store: TraceStore, tmp_path: Path
) -> None:
    folder = project(tmp_path / "mini")
    key = certificate(store)
    add_run(store)
    drifting(store, key)
    report = quality_report(store, folder, now=T0 + days(3))
    (reading,) = report.monitors
    assert reading.drift_alarm
    assert reading.change_at is not None
    assert 295 <= reading.change_at <= 305
    assert reading.drift_alarm_at is not None
    assert 300 < reading.drift_alarm_at <= 340
    assert reading.change_from is not None
    assert abs(reading.change_from - (T0 + days(1) + timedelta(minutes=300))) < days(1.1)
    assert list(report.voided) == [key]
    assert any(heading == "VOIDED" and "no longer relies on it" in text for heading, text in report.lines())
    (standing,) = standings(store, "mini", T0 + days(3))
    assert standing.state == "void"
    assert str(standing.reason).startswith("drift alarm at audit")
    again = quality_report(store, folder, now=T0 + days(4))
    assert again.voided == {}
    assert store.query("SELECT count(*) AS n FROM certificate_events", fresh=True)["n"].to_pylist() == [2]


def test_monitors_read_the_whole_history_whatever_the_dates(store: TraceStore, tmp_path: Path) -> None:
    folder = project(tmp_path / "mini")
    add_run(store)
    drifting(store, certificate(store))
    whole = quality_report(store, folder, void_certificates=False)
    part = quality_report(store, folder, since=T0 + days(1), void_certificates=False)
    assert part.audits.n_settled == 100
    assert part.monitors == whole.monitors
    assert part.monitors[0].n == 400
    assert quality_report(store, folder, since=T0 + days(9), void_certificates=False).monitors == ()


def test_an_sla_alarm_breaks_the_promise(store: TraceStore, tmp_path: Path) -> None:
    folder = project(tmp_path / "mini", routing="mode: threshold, alpha: 0.05")
    add_run(store)
    ids = decide(store, ["safe"] * 200, audited=[True] * 200)
    settle(store, ids, ["hate" if i % 5 == 0 else "safe" for i in range(200)])
    report = quality_report(store, folder)
    (reading,) = report.monitors
    assert reading.sla_alarm
    assert reading.e_needed == pytest.approx(20)
    assert reading.certificate_id is None
    assert (report.exit_code, report.voided) == (1, {})


def test_quiet_monitors_say_how_far_they_are(store: TraceStore, tmp_path: Path) -> None:
    folder = project(tmp_path / "mini")
    add_run(store)
    one_in_four_audited(store, n_wrong=3, certificate=certificate(store))
    lines = [text for _, text in quality_report(store, folder).lines()]
    assert any(
        "no alarm; e-value" in text and "of 20 needed against at most 5 % wrong" in text for text in lines
    )
    assert any("no alarm; evidence" in text and "of 1 000 needed" in text for text in lines)


def test_unequal_probabilities_go_to_the_weighted_monitors(store: TraceStore, tmp_path: Path) -> None:
    folder = project(tmp_path / "mini", routing="mode: threshold, alpha: 0.05")
    add_run(store)
    ids = decide(store, ["safe"] * 200, audited=[True] * 200, prob=[0.2, 0.8] * 100)
    settle(store, ids, ["safe"] * 200)
    (reading,) = quality_report(store, folder).monitors
    assert reading.e_value is not None
    assert reading.e_value < 1
    assert not reading.sla_alarm


def test_without_a_promise_the_first_audits_say_what_is_usual(
    store: TraceStore, folder: ProjectFolder
) -> None:
    add_run(store)
    few = decide(store, ["safe"] * 100, audited=[True] * 100)
    settle(store, few, ["safe"] * 100)
    (early,) = quality_report(store, folder).monitors
    assert early.e_value is None
    assert "it takes more than 200 audits" in str(early.reason)
    more = decide(store, ["safe"] * 250, audited=[True] * 250, first=100)
    settle(store, more, ["safe"] * 150 + ["hate"] * 100)
    (late,) = quality_report(store, folder).monitors
    assert late.drift_alarm
    assert late.change_at == 251


# --- words -------------------------------------------------------------------------------------


def test_intervals_are_rounded_outward_and_counts_grouped() -> None:
    from evaluation.intervals import Estimate

    found = Estimate(value=0.962, low=0.94999, high=0.97101, n=600, method="m")
    assert interval_text(found) == "95 % interval 94.9-97.2"
    assert interval_text(Estimate(value=0.962, low=0.951, high=0.971, n=600, method="m")).endswith(
        "95.1-97.1"
    )
    assert count(41300) == "41 300"
    assert judge(found, 0.95) == "not yet provable"


def test_sql_is_written_out_safely() -> None:
    sql = filled_in("SELECT $a, $b, $c", {"a": "it's", "b": None, "c": T0})
    assert sql == "SELECT 'it''s', NULL, TIMESTAMPTZ '2026-03-02T12:00:00+00:00'"


def test_markdown_holds_the_answer_and_hostile_labels_as_text(store: TraceStore, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    (root / "project.yaml").write_text(
        "name: mini\nlabels: {classes: [{name: 'a|b'}, {name: '<i>'}]}\nitems: {path: i.jsonl}\n"
        "routing: {mode: threshold}\n"
    )
    add_run(store)
    ids = decide(store, ["a|b"] * 5, audited=[True] * 5)
    settle(store, ids, ["a|b"] * 4 + ["<i>"])
    text = quality_report(store, str(root)).markdown()
    assert "**Auto-decisions were right 80.0 %" in text
    assert "| a\\|b | 5 | 5 |" in text
    assert "| &lt;i> | 0 | 0 |" in text
