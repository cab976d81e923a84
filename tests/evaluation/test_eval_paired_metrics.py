"""Metrics as weighted sums, against scikit-learn on repeated items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from evaluation import score
from evaluation.paired_metrics import metric_values
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric
from tests.evaluation.paired_answers import paired, random_answers

CLASSES = ["c0", "c1", "c2", "c3"]


def _one_class(of: Callable[..., Any], c: int) -> Callable[..., float]:
    return lambda gold, said: of(gold, said, labels=[c], average=None, zero_division=np.nan)[0]


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("accuracy", accuracy_score),
        ("recall:c1", _one_class(recall_score, 1)),
        ("precision:c2", _one_class(precision_score, 2)),
        ("f1:c3", _one_class(f1_score, 3)),
        (
            "macro_f1",
            lambda gold, said: f1_score(
                gold, said, average="macro", labels=sorted({*gold, *said} - {-1}), zero_division=np.nan
            ),
        ),
    ],
)
def test_integer_weights_are_repeated_items(name: str, oracle: Callable[..., float]) -> None:
    x = random_answers(80, 4, 3)
    assert x.gold is not None
    repeat = np.random.default_rng(1).integers(0, 3, (20, 80))
    found = metric_values(
        x.gold,
        x.b,
        x.accepted_b,
        members=x.members,
        classes=x.classes,
        metric=parse_metric(name),
        weights=repeat.astype(np.float64),
    )
    expected = [oracle(np.repeat(x.gold, r), np.repeat(x.b, r)) for r in repeat]
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_multi_label_sets_score_as_the_score_card_says() -> None:
    gold = ["a+b", "none", "b", "a", "a+c", "none"]
    said = ["a", "none", "b+c", None, "a+c", "b"]
    x = paired(gold, said, said, classes=["a", "b", "c"])
    card = score(gold, said, classes=["a", "b", "c"], kind="multi")
    ones = np.ones((1, 6))

    def found(name: str) -> float:
        return float(
            metric_values(
                x.gold, x.a, x.accepted_a, members=x.members, classes=x.classes, metric=parse_metric(name), weights=ones
            )[0]
        )  # fmt: skip

    by_name = {(m.metric, m.slice): m.estimate.value for m in card.metrics}
    assert found("accuracy") == by_name["exact_match", "all"] == pytest.approx(2 / 6)
    assert found("macro_f1") == pytest.approx(by_name["macro_f1", "all"])
    for c in "abc":
        for metric in ("recall", "precision", "f1"):
            assert found(f"{metric}:{c}") == pytest.approx(by_name[metric, f"class={c}"])
    assert found("failed_rate") == pytest.approx(1 / 6)


def test_acceptance() -> None:
    flags = [True, True, False, False, True]
    x = paired(
        list("aabbb"), ["a", "b", "b", "a", None], list("aabbb"), classes="ab", accepted=(flags, flags)
    )
    weights = np.array([[1.0, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]])

    def found(name: str) -> list[float]:
        return list(
            metric_values(
                x.gold, x.a, x.accepted_a, members=x.members, classes=x.classes, metric=parse_metric(name), weights=weights
            )
        )  # fmt: skip

    assert found("auto_accuracy") == pytest.approx([1 / 3, 1, np.nan], nan_ok=True)
    assert found("auto_accept_rate") == pytest.approx([0.6, 1, 0])


def test_what_cannot_be_asked_is_refused() -> None:
    x = paired(None, ["a"], ["b"], classes="ab")
    arguments: dict[str, Any] = {"members": x.members, "classes": x.classes, "weights": np.ones((1, 1))}
    for name, text in (("accuracy", "expected gold"), ("latency_ms", "money or time")):
        with pytest.raises(ConfigError, match=text):
            metric_values(None, x.a, x.accepted_a, metric=parse_metric(name), **arguments)
    with pytest.raises(ConfigError, match="labels a, b, found 'z'"):
        metric_values(x.a, x.a, x.accepted_a, metric=parse_metric("f1:z"), **arguments)
