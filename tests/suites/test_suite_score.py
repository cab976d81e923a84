"""Scores: who passes, rates against published formulas, intervals that know clusters, gaps between groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from evaluation.suites import (
    Answer,
    Case,
    Outcome,
    failure_difference,
    group_gaps,
    judge_case,
    modal_labels,
    score_suite,
)
from evaluation.suites.case import Rule, suite_fingerprint
from evaluation.suites.score import exact_sign_p


def case(
    rule: Rule = "expected",
    base: str = "b",
    function: str = "f",
    group: str | None = None,
    expected: str = "hate",
    text: str = "t",
) -> Case:
    base_text = "base" if rule in ("same_as_base", "not_target") else None
    return Case(suite="s", functionality=function, base_id=base, text=text, rule=rule, expected=expected, group=group,
                base_text=base_text)  # fmt: skip


def outcomes(passed: Sequence[bool | None], *, per_base: int = 1, function: str = "f") -> list[Outcome]:
    return [
        Outcome(case=case(base=f"{function}{i // per_base}", function=function, text=f"{function}{i}"), base=None,
                answer=Answer(label="x", signals=("m",) if i % 2 else (), accepted=i % 4 == 0), passed=p, reason=None)
        for i, p in enumerate(passed)
    ]  # fmt: skip


SAID = Answer(label="hate")


@pytest.mark.parametrize(
    ("given", "answer", "base", "passed", "reason"),
    [
        (case(), SAID, None, True, None),
        (case(), Answer(label="safe"), None, False, "safe instead of hate"),
        (case(expected="abuse"), Answer(label="abuse/hate"), None, True, None),
        (case(expected="ab"), Answer(label="abuse/hate"), None, False, "abuse/hate instead of ab"),
        (case(), Answer(label=None, problem="timeout"), None, False, "no label: timeout"),
        (case("same_as_base"), SAID, SAID, True, None),
        (case("same_as_base"), SAID, Answer(label="safe"), False, "hate instead of safe"),
        (case("same_as_base"), SAID, Answer(label=None, problem="down"), None, "the base has no label: down"),
        (case("not_target", expected="safe"), SAID, SAID, True, None),
        (case("not_target", expected="safe"), Answer(label="spam"), SAID, True, None),
        (case("not_target", expected="safe"), Answer(label="safe"), SAID, False, "led to safe"),
        (case("not_target", expected="safe"), Answer(label="safe"), Answer(label="safe"), None, "the base is labelled safe without any attack"),
        (case("same_in_set"), SAID, None, True, None),
        (case("same_in_set", base="other"), SAID, None, None, "no text of the set has a label"),
    ],
)  # fmt: skip
def test_passing(
    given: Case, answer: Answer, base: Answer | None, passed: bool | None, reason: str | None
) -> None:
    found = judge_case(given, answer, base, {"b": "hate"})
    assert (found.passed, found.reason) == (passed, reason)


def test_the_modal_label_of_a_set_is_its_most_frequent_one() -> None:
    cases = [case("same_in_set", base=base) for base in "aaabb"]
    labels = ["x", "y", "y", "q", "p"]
    assert modal_labels(cases, [Answer(label=label) for label in labels]) == {"a": "y", "b": "p"}


def test_rates_have_exact_or_wilson_intervals_and_worst_comes_first() -> None:
    made = outcomes([False, *[True] * 9], function="few") + outcomes(
        [False] * 10 + [True] * 30, function="many"
    )
    score = score_suite(made, harmless="safe")
    assert [row.functionality for row in score.rows] == ["many", "few"]
    many, few = (row.failure for row in score.rows)
    exact = binomtest(1, 10).proportion_ci(method="exact")
    wilson = binomtest(10, 40).proportion_ci(method="wilson")
    assert (few.method, many.method) == ("clopper-pearson", "wilson")
    assert math.isclose(few.high or 0, exact.high, rel_tol=1e-6)
    assert math.isclose(few.low or 0, exact.low, rel_tol=1e-6)
    assert math.isclose(many.high or 0, wilson.high, rel_tol=1e-6)
    assert (score.total.n_failed, score.total.failure.n, score.rows[0].n_noticed) == (11, 50, 20)
    assert score.rows[0].n_accepted_wrong == 3


def test_cases_that_say_nothing_are_left_out_and_counted() -> None:
    row = score_suite(outcomes([True, None, False, None]), harmless="safe").rows[0]
    assert (row.n_cases, row.failure.n, row.failure.value) == (4, 2, 0.5)
    nothing = score_suite(outcomes([None]), harmless="safe")
    assert nothing.total.failure.value is None
    assert nothing.total.failure.reason == "no case says anything"


def test_cases_of_one_base_are_no_independent_evidence() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(40) < 0.3
    alone = score_suite(outcomes([bool(not b) for b in bad]), harmless="safe").total.failure
    copies = score_suite(
        outcomes([bool(not b) for b in np.repeat(bad, 10)], per_base=10), harmless="safe"
    ).total.failure
    assert copies.n == 400
    assert copies.method == "bootstrap over bases"
    assert alone.value == copies.value
    widths = [(e.high or 0) - (e.low or 0) for e in (alone, copies)]
    assert 0.8 < widths[1] / widths[0] < 1.25  # ten copies say what one says


def test_no_failure_among_many_cases_of_few_bases_proves_little() -> None:
    found = score_suite(outcomes([True] * 100, per_base=10), harmless="safe").total.failure
    assert found.value == 0
    assert math.isclose(found.high or 0, binomtest(0, 10).proportion_ci(method="exact").high, rel_tol=1e-6)


def test_the_interval_over_bases_covers() -> None:
    """Ten cases a base, base rates from a Beta(2, 6): nominal 95 %, resampling 60 bases is a little short of it."""
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(60):
        rates = rng.beta(2, 6, size=60)
        failed = rng.random((60, 10)) < rates[:, None]
        found = score_suite(
            outcomes([not f for f in failed.ravel().tolist()], per_base=10), harmless="safe", seed=trial
        )
        low, high = found.total.failure.low, found.total.failure.high
        assert low is not None
        assert high is not None
        hits += low <= 0.25 <= high
    assert hits >= 50


def _bias(flags: dict[str, list[bool]]) -> list[Outcome]:
    return [
        Outcome(case=case("same_in_set", base=f"t{i}", function="axis", group=group, text=f"{group}{i}"), base=None,
                answer=Answer(label="hate" if flag else "safe"), passed=True, reason=None)
        for group, column in flags.items()
        for i, flag in enumerate(column)
    ]  # fmt: skip


def test_a_group_that_is_flagged_more_is_found() -> None:
    n = 20
    (gap,) = group_gaps(
        _bias({"a": [True] * 10 + [False] * 10, "b": [False] * n, "c": [False] * n}), harmless="safe"
    )
    assert gap.rates["a"].value == 0.5
    assert gap.gap.value == 0.5
    assert gap.p_value < 0.01
    by_pair = {(p.first, p.second): p for p in gap.pairs}
    assert by_pair["a", "b"].n_first_only == 10
    assert math.isclose(by_pair["a", "b"].p_value, 2 * 0.5**10)
    assert math.isclose(by_pair["a", "b"].q_value, 2 * 0.5**10 * 3 / 2)
    assert by_pair["b", "c"].q_value == 1.0


def test_groups_that_do_not_matter_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(2)
    p_values = [
        group_gaps(_bias({g: (rng.random(15) < 0.4).tolist() for g in "abc"}), harmless="safe")[0].p_value
        for _ in range(40)
    ]
    assert sum(p <= 0.05 for p in p_values) <= 6  # P(more than 6 of 40 at 5 %) = .003


def test_a_template_with_a_failed_text_is_left_out_of_the_gap() -> None:
    made = _bias({"a": [True, False], "b": [True, True]})
    broken = Outcome(
        case=made[0].case, base=None, answer=Answer(label=None, problem="down"), passed=False, reason=None
    )
    (gap,) = group_gaps([broken, *made[1:]], harmless="safe")
    assert gap.rates["a"].n == 1


def test_the_sign_test_is_exact() -> None:
    assert exact_sign_p(0, 0) == 1.0
    assert math.isclose(exact_sign_p(1, 9), binomtest(1, 10).pvalue)


def test_a_difference_is_paired_and_clustered() -> None:
    a, b = np.zeros(100, dtype=bool), np.zeros(100, dtype=bool)
    b[:30] = True
    found = failure_difference(a, b, [str(i) for i in range(100)])
    assert found.value == 0.3
    assert found.low is not None
    assert found.low > 0.2
    clustered = failure_difference(a, b, [str(i // 10) for i in range(100)])
    assert (clustered.high or 0) - (clustered.low or 0) > (found.high or 0) - found.low
    same = failure_difference(b, b, [str(i) for i in range(100)])
    assert same.value == 0
    assert same.low is not None
    assert -0.05 < same.low < 0
    assert failure_difference(a[:0], b[:0], []).value is None


def test_the_fingerprint_is_of_the_set_of_cases() -> None:
    one, two = case(text="1"), case(text="2")
    assert suite_fingerprint([one, two]) == suite_fingerprint([two, one]) != suite_fingerprint([one])
    assert len({c.case_id for c in (one, two, case(text="1", group="g"), case(text="1", base="c"))}) == 4


def test_the_excerpt_of_a_failure_shows_what_was_changed() -> None:
    from labelproof.report.suites.text import excerpt

    base = "word " * 100
    changed = Case(
        suite="s", functionality="f", base_id="b", text=base + "ATTACK", rule="same_as_base", base_text=base
    )
    shown = excerpt(Outcome(case=changed, answer=SAID, base=SAID, passed=False, reason="r"))
    assert shown.startswith("…")
    assert shown.endswith("ATTACK")
    assert len(shown) < 50
