"""The check language: what it reads, what it refuses and where, and that it writes every check one way."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.report.findings.predicate import MAX_CLAUSES, Check, Clause, parse_check, target_check
from labelproof.spec.errors import ConfigError
from labelproof.spec.monitoring import DRIFT_KINDS, LOWER_IS_BETTER, TARGET_METRICS, Target


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("auto_accuracy >= 0.95", "auto_accuracy >= 0.95"),
        ("auto_accuracy≥95 %", "auto_accuracy >= 0.95"),
        ("AUTO_ACCURACY >= 95%  AND  sentinel quiet", "auto_accuracy >= 0.95 and sentinel quiet"),
        ("recall:hate >= .8 proven", "recall:hate >= 0.8 proven"),
        ('recall:"hate speech" >= 0.8 with n >= 50', 'recall:"hate speech" >= 0.8 with n >= 50'),
        ("review_age_hours <= 24", "review_age_hours <= 24"),
        ("cost_per_1000 ≤ 1.5", "cost_per_1000 <= 1.5"),
        ("suite:robustness fail_rate <= 0.1", "suite:robustness fail_rate <= 0.1"),
        ("suite:injection/role_play fail_rate <= 5 %", "suite:injection/role_play fail_rate <= 0.05"),
        ("drift:label_mix quiet", "drift:label_mix quiet"),
        ("items right >= 0.9", "items right >= 0.9"),
    ],
)
def test_a_check_is_read_and_written_one_way(text: str, canonical: str) -> None:
    assert parse_check(text).text == canonical
    assert parse_check(canonical).text == canonical


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("", 1, "expected a metric"),
        ("   ", 4, "expected a metric"),
        ("auto_acuracy >= 0.95", 1, "unknown metric 'auto_acuracy'"),
        ("auto_accuracy <= 0.95", 15, "promised with `>=`"),
        ("auto_accuracy >= 1.2", 18, "between 0 and 1"),
        ("auto_accuracy >=", 17, "expected a number, found the end"),
        ("auto_accuracy >= nan", 18, "expected a number"),
        ("auto_accuracy >= 0.9 or coverage >= 0.1", 22, "expected `and`"),
        ("auto_accuracy >= 0.9 and", 25, "expected a metric"),
        ("recall >= 0.9", 1, "recall names a label"),
        ("recall: >= 0.9", 1, "expected recall:LABEL"),
        ("coverage:x >= 0.9", 1, "recall names a label"),
        ("drift:weather quiet", 1, "label_mix"),
        ("drift:text loud", 12, "expected `quiet`"),
        ("suite:x passes", 9, "expected `fail_rate`"),
        ("suite: fail_rate <= 1", 1, "expected suite:NAME"),
        ("review_age_hours <= 24 proven", 24, "no sampling error"),
        ("auto_accuracy >= 0.9 with n >= 0", 32, "at least 1"),
        ("auto_accuracy == 0.9", 15, "unexpected '='"),
        ("__import__('os') >= 1", 1, "unknown metric"),
        ("items wrong >= 0.9", 7, "expected `right`"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_position(text: str, where: int, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_check(text)
    assert f"position {where}:" in refused.value.message
    assert said in refused.value.message


def test_a_near_miss_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_check("auto_acuracy >= 0.9")
    assert refused.value.hint == "did you mean `auto_accuracy`?"


def test_length_and_clauses_end_somewhere() -> None:
    with pytest.raises(ConfigError, match="at most 500 characters"):
        parse_check("coverage >= 0.1 " * 100)
    with pytest.raises(ConfigError, match="at most 10 clauses"):
        parse_check(" and ".join(["coverage >= 0.1"] * (MAX_CLAUSES + 1)))


def test_a_target_is_a_check() -> None:
    assert target_check(Target(metric="recall:hate speech", at_least=0.8)) == 'recall:"hate speech" >= 0.8'
    assert target_check(Target(metric="cost_per_1000", at_most=2.5)) == "cost_per_1000 <= 2.5"


_names = st.text(st.characters(codec="utf-8", exclude_characters='"\n'), min_size=1, max_size=12).filter(
    lambda name: bool(name.strip()) and "\n" not in name
)
_shares = st.integers(0, 1000).map(lambda n: n / 1000)
_strength: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.just({"proven": True}), st.integers(1, 5000).map(lambda n: {"min_n": n})
)


@st.composite
def _clauses(draw: st.DrawFn) -> Clause:
    kind = draw(st.sampled_from(["metric", "suite", "items", "drift", "sentinel"]))
    if kind == "drift":
        return Clause(kind="drift", metric="drift", of=draw(st.sampled_from(DRIFT_KINDS)))
    if kind == "sentinel":
        return Clause(kind="sentinel", metric="sentinel")
    more = draw(_strength)
    if kind == "suite":
        name = draw(_names)
        return Clause(kind="suite", metric="suite", of=name, side="at_most", bound=draw(_shares), **more)
    if kind == "items":
        return Clause(kind="items", metric="items right", side="at_least", bound=draw(_shares), **more)
    metric = draw(st.sampled_from(TARGET_METRICS))
    if metric in ("review_age_hours", "cost_per_1000", "throughput_per_hour"):
        more.pop("proven", None)
    return Clause(
        kind="metric",
        metric=metric,
        of=draw(_names) if metric == "recall" else None,
        side="at_most" if metric in LOWER_IS_BETTER else "at_least",
        bound=draw(_shares),
        **more,
    )


@given(st.lists(_clauses(), min_size=1, max_size=4))
def test_what_is_written_is_read_again(clauses: list[Clause]) -> None:
    check = Check(clauses=tuple(clauses))
    if len(check.text) <= 500:
        assert parse_check(check.text) == check


_scraps = st.sampled_from(["coverage", "drift:text", " >= ", "quiet", "and", *'a_:"%<>=≥.0129 \t\n'])


@given(st.lists(_scraps, max_size=12).map("".join))
def test_any_text_is_read_or_refused_with_a_position(text: str) -> None:
    said = ""
    try:
        check = parse_check(text)
    except ConfigError as error:
        said = error.message
    else:
        assert parse_check(check.text) == check
    assert not said or re.match(r"check, position \d+: ", said)
