"""From a row of review_tasks to a task: severity, skills, due time and the order that never has to be recomputed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.review.queue import build_task
from labelproof.spec.errors import StoreError
from labelproof.spec.labels import LabelSchema
from labelproof.spec.review import TASK_KINDS, ReviewPolicy, TaskKind

SCHEMA = LabelSchema.model_validate(
    {
        "classes": [
            {"name": "safe"},
            {"name": "spam", "severity": "medium"},
            {"name": "hate", "severity": "high"},
            {"name": "terror", "severity": "critical"},
        ]
    }
)
MULTI = LabelSchema.model_validate(
    {"kind": "multi", "classes": [{"name": "hate", "severity": "high"}, {"name": "spam"}]}
)
MADE = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
HIDDEN: tuple[TaskKind, ...] = ("audit", "gold", "check")
TOLD: tuple[TaskKind, ...] = ("routed", "disagreement", "appeal")
UNITS = st.floats(0, 1, allow_nan=False)


def row(**given: Any) -> dict[str, Any]:
    return {
        "task_id": "b2:1",
        "project": "mini",
        "kind": "routed",
        "item_id": "i1",
        "run_id": "r1",
        "strategy_fp": "b2:s",
        "label": "spam",
        "confidence": 1.0,
        "blind": True,
        "votes_wanted": 1,
        "reason": "below threshold",
        "ts": MADE,
    } | given


def made(
    policy: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    schema: LabelSchema = SCHEMA,
    **given: Any,
) -> Any:
    return build_task(row(**given), ReviewPolicy.model_validate(policy or {}), schema, meta or {})


@pytest.mark.parametrize("kind", TASK_KINDS)
def test_severity_is_the_labels_unless_the_kind_hides_it(kind: TaskKind) -> None:
    assert made(kind=kind, label="hate").severity == ("high" if kind in TOLD else None)


@pytest.mark.parametrize("label", [None, "", "no longer a label"])
def test_an_unknown_label_has_no_severity_and_is_due_like_medium(label: str | None) -> None:
    task = made(label=label)
    assert task.severity is None
    assert task.due_at == MADE + timedelta(hours=24)


def test_the_worst_of_several_labels_counts() -> None:
    assert made(schema=MULTI, label="hate+spam").severity == "high"
    assert made(schema=MULTI, label="none").severity == "low"
    assert made(schema=MULTI, label="hate+gone").severity is None


@pytest.mark.parametrize(
    ("kind", "label", "hours"),
    [("routed", "terror", 4), ("appeal", "hate", 12), ("routed", "safe", 72), ("audit", "terror", 72), ("gold", "hate", 168)],
)  # fmt: skip
def test_due_by_severity_or_by_kind(kind: TaskKind, label: str, hours: float) -> None:
    assert made(kind=kind, label=label).due_at == MADE + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("confidence", "hours_before_due"), [(1.0, 0), (0.5, 3), (0.0, 6), (None, 6), (float("nan"), 6), (1.5, 0)]
)
def test_uncertain_items_come_earlier(confidence: float | None, hours_before_due: float) -> None:
    task = made({"uncertainty_pull": 0.5}, label="hate", confidence=confidence)
    assert task.rank == pytest.approx((task.due_at - timedelta(hours=hours_before_due)).timestamp())


def test_without_pull_the_order_is_the_due_time() -> None:
    task = made({"uncertainty_pull": 0}, confidence=0.1)
    assert task.rank == task.due_at.timestamp()


@given(
    kind=st.sampled_from(HIDDEN),
    label=st.sampled_from([None, "safe", "terror"]),
    confidence=st.none() | UNITS,
    blind=st.booleans() | st.none(),
)
def test_nothing_about_an_audit_follows_from_the_models_answer(
    kind: TaskKind, label: str | None, confidence: float | None, blind: bool | None
) -> None:
    policy = {"skills": {"grave": {"labels": ["terror"]}, "any": {"kinds": list(HIDDEN)}}}
    plain = made(policy, kind=kind, label="spam", confidence=1.0)
    task = made(policy, kind=kind, label=label, confidence=confidence, blind=blind)
    assert task.blind
    assert (task.rank, task.due_at, task.severity, task.skills) == (
        plain.rank, plain.due_at, None, frozenset(("any",)),
    )  # fmt: skip


@given(st.sampled_from(HIDDEN), st.datetimes(datetime(2026, 3, 2), datetime(2026, 3, 2, 23, 59)), st.text())
def test_audits_of_a_day_are_shuffled_within_it(kind: TaskKind, ts: datetime, task_id: str) -> None:
    task = made(kind=kind, task_id=task_id, ts=ts.replace(tzinfo=UTC))
    start = datetime(2026, 3, 2, tzinfo=UTC) + (task.due_at - task.made_at)
    assert 0 <= task.rank - start.timestamp() < 86_400
    assert task.rank == made(kind=kind, task_id=task_id).rank


def test_the_shuffle_spreads_over_the_day() -> None:
    hours = {int(made(kind="audit", task_id=f"b2:{n}").rank // 3600) for n in range(400)}
    assert len(hours) == 24


SLA_H = {"safe": 72, "hate": 12, "terror": 4}
ROWS = st.tuples(st.sampled_from(sorted(SLA_H)), UNITS, st.integers(0, 10**6))


@given(st.lists(ROWS, min_size=2), st.integers(0, 10**7))
def test_rank_is_the_order_of_what_is_left_of_each_budget_at_any_time(
    rows: list[tuple[str, float, int]], later: int
) -> None:
    now = MADE + timedelta(seconds=later)
    left = []
    for label, confidence, age in rows:
        made_at = MADE - timedelta(seconds=age)
        budget_s = SLA_H[label] * 3600 * (1 - 0.5 * (1 - confidence))
        task = made(label=label, confidence=confidence, ts=made_at)
        left.append((task.rank, budget_s - (now - made_at).total_seconds()))
    left.sort()
    assert all(b[1] - a[1] > -1e-3 for a, b in pairwise(left))


@pytest.mark.parametrize(
    ("meta", "language"),
    [({}, None), ({"language": None}, None), ({"language": " "}, None), ({"language": " es "}, "es"), ({"language": 5}, "5")],
)  # fmt: skip
def test_language_of_the_metadata(meta: dict[str, Any], language: str | None) -> None:
    assert made(meta=meta).language == language


def test_language_column_is_the_projects_choice() -> None:
    assert made({"language_column": "lang"}, {"lang": "de", "language": "es"}).language == "de"


def test_skills_ask_for_every_part_of_a_rule() -> None:
    policy = {
        "skills": {
            "grave": {"labels": ["hate", "terror"]},
            "appeals": {"kinds": ["appeal"]},
            "forum": {"meta": {"source": ["forum", "chat"], "adult": "true"}},
            "grave-forum": {"labels": ["hate"], "meta": {"source": "forum"}},
        }
    }
    forum = {"source": "forum", "adult": True}
    assert made(policy, forum, label="hate").skills == {"grave", "forum", "grave-forum"}
    assert made(policy, {"source": "mail", "adult": True}, label="hate").skills == {"grave"}
    assert made(policy, {"source": "chat"}, label="spam", kind="appeal").skills == {"appeals"}
    assert made(policy, forum, label="hate", kind="audit").skills == {"forum"}
    assert made(policy, {}, label=None).skills == frozenset()


def test_a_skill_for_a_class_covers_the_sets_it_is_in() -> None:
    policy = {"skills": {"grave": {"labels": ["hate"]}}}
    assert made(policy, schema=MULTI, label="hate+spam").skills == {"grave"}
    assert made(policy, schema=MULTI, label="spam").skills == frozenset()


@pytest.mark.parametrize(("stored", "wanted"), [(3, 3), (0, 1), (-2, 1), (None, 2)])
def test_votes_wanted_come_from_the_row(stored: int | None, wanted: int) -> None:
    assert made(kind="audit", votes_wanted=stored).votes_wanted == wanted


def test_a_row_that_does_not_say_so_is_blind() -> None:
    assert not made(blind=False).blind
    assert made(blind=None).blind
    assert made(blind=True).blind


@pytest.mark.parametrize(
    ("given", "named"),
    [({"kind": "riddle"}, "riddle"), ({"ts": None}, "ts"), ({"ts": datetime(2026, 3, 2)}, "time zone")],
)
def test_a_row_that_cannot_be_used_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(StoreError, match=named) as caught:
        made(**given)
    assert "b2:1" in str(caught.value)
    assert "->" in str(caught.value)


def test_every_kind_is_either_told_or_hidden() -> None:
    assert set(TOLD) | set(HIDDEN) == set(get_args(TaskKind))
