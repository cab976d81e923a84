"""The rule by which strategies are judged, and the names of its metrics."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy, Guardrail
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import MetricRef, parse_metric
from labelproof.spec.project import Project, SourceSpec


@pytest.mark.parametrize(
    "text", ["accuracy", "macro_f1", "recall:a/b", "suite:robustness/leetspeak", "cost_per_1k_usd"]
)
def test_a_metric_is_written_as_it_is_read(text: str) -> None:
    assert parse_metric(text).text == text


@pytest.mark.parametrize("text", ["acuracy", "recall", "recall:", "accuracy:hate", "suite", ""])
def test_an_unknown_metric_names_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected"):
        parse_metric(text)


def test_what_is_better_when_lower_is_known() -> None:
    assert parse_metric("suite:bias").lower_is_better
    assert not parse_metric("macro_f1").lower_is_better
    assert parse_metric("f1:x") == MetricRef(name="f1", of="x")


def test_a_policy_refuses_what_cannot_be_judged() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        ExperimentPolicy(guardrails=(Guardrail(metric="accuracy"), Guardrail(metric="accuracy")))
    with pytest.raises(ValidationError, match="not what must get better"):
        ExperimentPolicy(primary="suite:bias")
    with pytest.raises(ValidationError, match="no metric 'speed'"):
        ExperimentPolicy(secondary=("speed",))


def test_a_label_that_the_project_does_not_have_is_refused() -> None:
    labels = LabelSchema.model_validate({"kind": "single", "classes": [{"name": "safe"}, {"name": "hate"}]})
    policy = ExperimentPolicy(primary="recall:spam")
    with pytest.raises(ValidationError, match=r"experiments names label 'spam'"):
        Project(name="p", labels=labels, items=SourceSpec(path="x.jsonl"), experiments=policy)
