"""Targets and the monitoring policy as project files write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from labelproof.spec.monitoring import ESCALATE_AFTER_HOURS, MonitorPolicy, Target
from labelproof.spec.project import Project


def test_a_target_says_its_promise_in_the_direction_of_its_metric() -> None:
    target = Target(metric="recall:hate", at_least=0.9)
    assert (target.name, target.of, target.bound, target.promise) == ("recall", "hate", 0.9, "≥ 0.9")
    assert Target(metric="review_age_hours", at_most=24).promise == "≤ 24"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "speed", "at_least": 1}, "unknown target metric 'speed'"),
        ({"metric": "recall", "at_least": 0.9}, "recall names a label"),
        ({"metric": "coverage:hate", "at_least": 0.9}, "recall names a label"),
        ({"metric": "coverage"}, "exactly one of at_least and at_most"),
        ({"metric": "coverage", "at_least": 0.5, "at_most": 0.9}, "exactly one of at_least and at_most"),
        ({"metric": "failed_rate", "at_least": 0.5}, "a promise of `at_most`"),
        ({"metric": "coverage", "at_least": 50}, "a share between 0 and 1, found 50"),
    ],
)
def test_a_target_that_means_nothing_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Target.model_validate(fields)


def test_levels_left_out_keep_their_usual_hours_and_hours_must_rise() -> None:
    policy = MonitorPolicy.model_validate({"escalate_after_hours": {"critical": [0, 1]}})
    assert policy.escalate_after_hours == {**ESCALATE_AFTER_HOURS, "critical": (0, 1)}
    with pytest.raises(ValidationError, match="rising hours"):
        MonitorPolicy.model_validate({"escalate_after_hours": {"critical": [4, 1]}})


def test_a_recall_target_names_a_label_of_the_project() -> None:
    spec = {
        "name": "p",
        "labels": {"classes": [{"name": "ok"}, {"name": "hate"}]},
        "items": {"path": "items.jsonl"},
        "targets": [{"metric": "recall:hat", "at_least": 0.9}],
    }
    with pytest.raises(ValidationError, match="targets names label 'hat'"):
        Project.model_validate(spec)
