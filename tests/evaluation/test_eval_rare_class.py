"""Recall and precision of a rare class: exact where everything is known, honest where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.validity.audits import make_class
from benchmarks.validity.harness import at_least
from evaluation import Estimate, active_probabilities, class_precision, class_recall
from labelproof.spec.errors import ConfigError

# 20 items: 6 of the class; the model gives the label to 4 of them and to 2 others.
TRUTH = [True] * 6 + [False] * 14
LABEL = [True] * 4 + [False] * 2 + [True] * 2 + [False] * 12


def test_active_probabilities_sum_to_n_and_keep_a_floor() -> None:
    score = np.array([0.0] * 90 + [0.1] * 8 + [5.0] * 2)
    pi = active_probabilities(score, n=20)
    assert pi.sum() == pytest.approx(20)
    assert pi.max() == 1.0
    assert pi.min() >= 0.2 * 20 / 100
    assert pi[90] > pi[0]
    assert active_probabilities([0.0] * 10, n=3) == pytest.approx(np.full(10, 0.3))
    assert active_probabilities([1.0, 2.0], n=2) == pytest.approx([1.0, 1.0])
    assert active_probabilities([1.0, 3.0], n=1, uniform=1.0) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("score", "n", "uniform", "message"),
    [
        ([0.1, -0.1], 1, 0.2, "index 1"),
        ([0.1, float("nan")], 1, 0.2, "index 1"),
        ([0.1], 2, 0.2, "at most 1"),
        ([], 1, 0.2, "at most 0"),
        ([0.1], 1, 0.0, "share"),
    ],
)
def test_bad_active_designs_are_refused(score: list[float], n: float, uniform: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        active_probabilities(score, n=n, uniform=uniform)


def test_everything_audited_is_the_confusion_table() -> None:
    ones = [1.0] * 20
    recall = class_recall(TRUTH, LABEL, ones, predicted_all=LABEL)
    precision = class_precision(TRUTH, LABEL, ones, predicted_all=LABEL)
    assert (recall.value, recall.low, recall.high) == pytest.approx((4 / 6, 4 / 6, 4 / 6))
    assert (precision.value, precision.low, precision.high, precision.n) == pytest.approx(
        (4 / 6, 4 / 6, 4 / 6, 6)
    )


def test_weights_stand_for_the_items_not_drawn() -> None:
    # 4 hits at pi .5 stand for 8, 3 misses at pi .1 for 30: recall 8/38, while 4/7 were found as hits.
    truth, label = [True] * 7 + [False] * 9, [True] * 4 + [False] * 3 + [True] * 2 + [False] * 7
    pi = np.where(label, 0.5, 0.1)
    everyone = [True] * 20 + [False] * 400
    recall = class_recall(truth, label, pi, predicted_all=everyone)
    precision = class_precision(truth, label, pi, predicted_all=everyone)
    assert recall.value == pytest.approx(8 / 38)
    assert precision.value == pytest.approx(4 / 6)
    for found in (recall, precision):
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert 0 < found.low < found.value < found.high < 1


def test_a_good_guess_for_all_items_narrows_recall() -> None:
    rng = np.random.default_rng(1)
    truth, guess, label = make_class(0.05, "useful", rng)
    pi = active_probabilities(np.sqrt(guess * (1 - guess)), n=800)
    a = rng.random(pi.size) < pi
    alone = class_recall(truth[a], label[a], pi[a], predicted_all=label)
    helped = class_recall(
        truth[a], label[a], pi[a], predicted_all=label, probability=guess[a], probability_all=guess
    )
    assert _width(helped) < 0.95 * _width(alone)


def _width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


@pytest.mark.parametrize(
    ("truth", "label", "never", "reason"),
    [
        ([], [], 0, "no audited items"),
        ([False] * 3, [True, False, False], 0, "no item of the class among 3 audited"),
        ([True] * 2, [True, True], 0, "no item with another label was audited"),
        ([True, False], [True, False], 12, "12 items had no chance of being audited"),
    ],
    ids=["none", "no-positive", "only-labelled", "unsampled"],
)
def test_recall_that_cannot_be_known_is_refused(
    truth: list[bool], label: list[bool], never: int, reason: str
) -> None:
    found = class_recall(
        truth, label, [0.5] * len(truth), predicted_all=[True] * 5 + [False] * 5, never_sampled_n=never
    )
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.reason is not None
    assert reason in found.reason


def test_precision_that_cannot_be_known_is_refused() -> None:
    found = class_precision([True], [False], [0.5], predicted_all=[True, False])
    assert found.reason == "no item with the class's label was audited: precision cannot be told"
    assert class_precision([], [], [], predicted_all=[True]).reason == "no audited items"
    unsampled = class_precision([True], [True], [0.5], predicted_all=[True] * 5, never_sampled_n=4)
    assert unsampled.value is None


def test_only_hits_or_only_misses_leave_one_end_open() -> None:
    # 10 hits at pi .5 stand for 20 items; ln(40) = 3.69 misses at pi .02 would each stand for 50.
    truth, label = [True] * 10 + [False] * 30, [True] * 10 + [False] * 30
    pi = np.where(label, 0.5, 0.02)
    everyone = [True] * 20 + [False] * 2000
    hits = class_recall(truth, label, pi, predicted_all=everyone)
    assert (hits.value, hits.high, hits.method) == (1.0, 1.0, "poisson bound")
    assert hits.low == pytest.approx(20 / (20 + 50 * np.log(40)))
    misses = class_recall(truth, np.invert(label), 1.02 - pi - 0.5, predicted_all=np.invert(everyone))
    assert (misses.value, misses.low) == (0.0, 0.0)
    assert misses.high is not None
    assert 0 < misses.high < 1
    seen = class_recall(truth, label, pi, predicted_all=[True] * 20 + [False] * 31)
    assert seen.low == pytest.approx(20 / 21), "only one item with another label was not looked at"


def test_all_right_or_all_wrong_labels() -> None:
    label, everyone = [True] * 10, [True] * 100
    right = class_precision([True] * 10, label, [0.1] * 10, predicted_all=everyone)
    wrong = class_precision([False] * 10, label, [0.1] * 10, predicted_all=everyone)
    assert (right.value, right.high, wrong.value, wrong.low) == (1.0, 1.0, 0.0, 0.0)
    assert right.low == pytest.approx(1 - np.log(40) / 10)
    assert wrong.high == pytest.approx(np.log(40) / 10)
    whole = class_precision([True] * 10, label, [1.0] * 10, predicted_all=[True] * 10)
    assert (whole.low, whole.high, whole.method) == (1.0, 1.0, "census")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": [0.5, 0.5]}, "together"),
        ({"probability": [0.5], "probability_all": [0.5] * 4}, "one value per item"),
        ({"probability": [0.5, 0.5], "probability_all": [0.5]}, "one value per item"),
        ({"inclusion_prob": [0.5, 0.0]}, "index 1"),
        ({"predicted_all": [False] * 4}, "population's 0 items with the class's label"),
        ({"predicted_all": [True] * 4}, "population's 0 items with another label"),
        ({"confidence": 0.0}, "level"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {
        "is_class": [True, True],
        "predicted": [True, False],
        "inclusion_prob": [0.5, 0.5],
        "predicted_all": [True, True, False, False],
    }
    for function in (class_recall, class_precision):
        with pytest.raises(ConfigError, match=message):
            function(**{**usual, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("score", ["useful", "useless", "overconfident"])
def test_recall_coverage_in_small(score: str) -> None:
    rng = np.random.default_rng([2, len(score)])
    truth, guess, label = make_class(0.03, score, rng)
    pi = active_probabilities(np.sqrt(guess * (1 - guess)), n=600)
    recall = float((truth & label).sum() / truth.sum())
    covered = []
    for _ in range(200):
        a = rng.random(pi.size) < pi
        found = class_recall(
            truth[a], label[a], pi[a], predicted_all=label, probability=guess[a], probability_all=guess
        )
        assert found.low is not None
        assert found.high is not None
        covered.append(found.low <= recall <= found.high)
    assert np.mean(covered) >= at_least(0.93, 200)
