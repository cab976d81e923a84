"""Whether a reading keeps a clause, and that watching a closed finding seldom opens it by chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.intervals import Estimate, clopper_pearson, wilson
from labelproof.report.findings.judge import (
    Reading,
    is_missed,
    judge_clause,
    miss_level,
    together,
)
from labelproof.report.findings.predicate import Clause, parse_check


def clause(text: str) -> Clause:
    return parse_check(text).clauses[0]


def share(right: int, n: int) -> Reading:
    found = wilson(right, n)
    return Reading(value=found.value, low=found.low, high=found.high, n=n)


@pytest.mark.parametrize(
    ("text", "reading", "outcome"),
    [
        ("auto_accuracy >= 0.95", share(96, 100), "holds"),
        ("auto_accuracy >= 0.95", share(95, 100), "holds"),  # the bound itself is kept
        ("auto_accuracy >= 0.95", share(94, 100), "fails"),
        ("auto_accuracy >= 0.95", share(29, 29), "waits"),  # fewer than 30 decide nothing
        ("auto_accuracy >= 0.95 with n >= 20", share(29, 29), "holds"),
        ("auto_accuracy >= 0.95 proven", share(96, 100), "waits"),
        ("auto_accuracy >= 0.95 proven", share(990, 1000), "holds"),
        ("auto_accuracy >= 0.95 proven", share(94, 100), "fails"),
        ("failed_rate <= 0.02", share(2, 100), "holds"),
        ("failed_rate <= 0.02 proven", share(0, 400), "holds"),
        ("review_age_hours <= 24", Reading(value=25.0, n=3), "fails"),
        ("review_age_hours <= 24", Reading(value=3.0, n=1), "holds"),
        ("review_age_hours <= 24", Reading(value=0.0, n=0), "holds"),  # nothing waits
        ("cost_per_1000 <= 2", Reading(reason="a price is unknown"), "waits"),
        ("items right >= 0.9", Reading(value=1.0, n=9, expected_n=10), "waits"),
        ("items right >= 0.9", Reading(value=0.9, n=10, expected_n=10), "holds"),
        ("items right >= 0.9 with n >= 5", Reading(value=0.5, n=6, expected_n=10), "fails"),
        ("drift:text quiet", Reading(quiet=True), "holds"),
        ("drift:text quiet", Reading(quiet=False, reason="AUC 0.7"), "fails"),
        ("sentinel quiet", Reading(reason="not measured since"), "waits"),
    ],
)
def test_what_a_look_says(text: str, reading: Reading, outcome: str) -> None:
    found = judge_clause(clause(text), reading)
    assert found.outcome == outcome
    assert found.words.startswith(clause(text).text)


def test_a_check_fails_with_one_clause_and_holds_with_all() -> None:
    good = judge_clause(clause("coverage >= 0.5"), share(60, 100))
    bad = judge_clause(clause("coverage >= 0.5"), share(40, 100))
    none = judge_clause(clause("coverage >= 0.5"), Reading(reason="nothing"))
    assert together([good, good]) == "holds"
    assert together([good, none]) == "waits"
    assert together([none, bad]) == "fails"
    assert together([]) == "waits"


def test_a_closed_finding_opens_only_by_proof() -> None:
    text = clause("auto_accuracy >= 0.95")
    slightly, clearly = share(94, 100), share(80, 100)
    assert not judge_clause(text, slightly, watching=True).proven
    assert judge_clause(text, clearly, watching=True).proven
    assert judge_clause(text, clearly, watching=True, look=200).outcome == "fails"
    assert not judge_clause(
        text, share(88, 100), watching=True, look=200
    ).proven  # the 200th look asks for more
    assert (
        judge_clause(clause("auto_accuracy >= 0.95 proven"), share(96, 100), watching=True).outcome == "holds"
    )


def test_what_has_no_sampling_error_must_fail_twice_or_by_far() -> None:
    text = clause("review_age_hours <= 24")
    late, hopeless = Reading(value=30.0, n=5), Reading(value=37.0, n=5)
    assert not judge_clause(text, late, watching=True).proven
    assert judge_clause(text, late, watching=True, failed_before=True).proven
    assert judge_clause(text, hopeless, watching=True).proven
    slow = clause("throughput_per_hour >= 300")
    assert not judge_clause(slow, Reading(value=250.0, n=5), watching=True).proven
    assert judge_clause(slow, Reading(value=150.0, n=5), watching=True).proven


def test_an_alarm_of_an_anytime_valid_test_is_proof() -> None:
    assert judge_clause(clause("drift:text quiet"), Reading(quiet=False), watching=True).proven


def test_the_first_look_asks_for_the_interval_itself() -> None:
    """At look 1 with delta 0.05 the level is 2.5 % one-sided: the 95 % interval as it is."""
    text = clause("coverage >= 0.9")
    assert miss_level(1, 0.05) == pytest.approx(0.025)
    for right in range(60, 90):
        exact = clopper_pearson(right, 100)
        assert exact.high is not None
        found = Reading(value=exact.value, low=exact.low, high=exact.high, n=100)
        assert is_missed(text, found, miss_level(1, 0.05)) == (exact.high < 0.9)


def test_all_looks_together_err_at_most_delta() -> None:
    spent = sum(look * miss_level(look, 0.05) for look in range(1, 100_000))
    assert spent == pytest.approx(0.05, rel=1e-4)


def test_agreement_below_chance_is_judged_too() -> None:
    text = clause("agreement >= 0.6")
    assert judge_clause(text, Reading(value=-0.1, low=-0.3, high=0.1, n=50), watching=True).proven
    assert not judge_clause(text, Reading(value=0.5, low=0.2, high=0.8, n=50), watching=True).proven


def test_extremes_do_not_break_the_stretch() -> None:
    assert judge_clause(clause("suite:x fail_rate <= 0"), share(1, 20), watching=True).proven
    assert judge_clause(clause("coverage >= 0.5"), share(0, 30), watching=True).proven
    assert judge_clause(clause("failed_rate <= 0.1"), share(30, 30), watching=True).proven


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
@pytest.mark.parametrize(("rate", "n"), [(0.95, 40), (0.7, 60), (0.99, 100)])
def test_watching_seldom_opens_a_finding_whose_rate_sits_at_its_bound(
    rate: float, n: int, interval: Callable[[int, int], Estimate]
) -> None:
    """120 looks at fresh work, after each of which the window starts anew only when the estimate kept the bound."""
    generator = np.random.default_rng(7)
    text = clause(f"auto_accuracy >= {rate}")
    n_months, n_opened = 200, 0
    for _ in range(n_months):
        right = total = 0
        for look in range(1, 121):
            right += int(generator.binomial(n, rate))
            total += n
            found = interval(right, total)
            reading = Reading(value=found.value, low=found.low, high=found.high, n=total)
            judged = judge_clause(text, reading, watching=True, look=look)
            if judged.proven:
                n_opened += 1
                break
            if judged.outcome == "holds":
                right = total = 0
    # 5 % are allowed, and three standard errors of 200 months.
    assert n_opened / n_months <= 0.05 + 3 * (0.05 * 0.95 / n_months) ** 0.5


def test_a_real_fall_opens_it_within_days() -> None:
    """A rate that falls from 97 % to 85 % with 60 audits a day, after a month of quiet days."""
    generator = np.random.default_rng(3)
    text = clause("auto_accuracy >= 0.95")
    delays = []
    for _ in range(40):
        right = total = 0
        for day in range(1, 40):
            right += int(generator.binomial(60, 0.85))
            total += 60
            found = clopper_pearson(right, total)
            reading = Reading(value=found.value, low=found.low, high=found.high, n=total)
            judged = judge_clause(text, reading, watching=True, look=30 + day)
            if judged.proven:
                delays.append(day)
                break
            if judged.outcome == "holds":
                right = total = 0
    assert len(delays) == 40
    assert np.median(delays) <= 7
