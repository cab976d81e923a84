"""Scores against scikit-learn, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from evaluation import ABSTAINED, FAILED, score, wilson
from labelproof.spec.errors import ConfigError

CLASSES = ("safe", "hate", "sexual")


def _noisy(n: int, seed: int, classes: tuple[str, ...] = CLASSES) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    gold = rng.choice(len(classes), size=n, p=np.arange(len(classes), 0, -1) / sum(range(len(classes) + 1)))
    said = np.where(rng.random(n) < 0.7, gold, rng.integers(0, len(classes), n))
    return [classes[g] for g in gold], [classes[s] for s in said]


@pytest.mark.parametrize("seed", range(5))
def test_single_label_agrees_with_scikit_learn(seed: int) -> None:
    gold, said = _noisy(200, seed)
    card = score(gold, said, classes=CLASSES, resamples=200)
    assert card.get("accuracy").value == pytest.approx(metrics.accuracy_score(gold, said))
    assert card.get("macro_f1").value == pytest.approx(metrics.f1_score(gold, said, average="macro"))
    assert card.get("cohen_kappa").value == pytest.approx(metrics.cohen_kappa_score(gold, said))
    assert np.array_equal(
        card.confusion[0].counts[:, :3], metrics.confusion_matrix(gold, said, labels=CLASSES)
    )
    p, r, f, _ = metrics.precision_recall_fscore_support(gold, said, labels=CLASSES)
    for c, name in enumerate(CLASSES):
        where = f"class={name}"
        assert card.get("precision", where).value == pytest.approx(p[c])
        assert card.get("recall", where).value == pytest.approx(r[c])
        assert card.get("f1", where).value == pytest.approx(f[c])
    for row in card.rows():
        assert list(row) == ["metric", "slice", "value", "low", "high", "n", "method", "reason"]
        if row["low"] is not None:
            assert float(row["low"]) <= float(row["value"] or 0.0) <= float(row["high"] or 0.0)


def test_failed_and_abstained_are_wrong_and_reported_apart() -> None:
    gold = ["safe"] * 6 + ["hate"] * 4
    said: list[str | None] = ["safe"] * 5 + [None] + ["hate"] * 2 + [ABSTAINED, FAILED]
    card = score(gold, said, classes=CLASSES)
    assert (card.n, card.n_failed, card.n_abstained) == (10, 2, 1)
    assert card.get("accuracy").value == 0.7
    assert card.get("accuracy_of_answered").value == 1.0
    assert card.get("failed_rate").value == 0.2
    assert card.get("abstained_rate").value == 0.1
    assert card.get("recall", "class=hate").value == 0.5
    assert card.get("precision", "class=hate").value == 1.0
    assert card.confusion[0].counts.tolist() == [[5, 0, 0, 1, 0], [0, 2, 0, 1, 1], [0, 0, 0, 0, 0]]


def test_all_right_and_all_wrong() -> None:
    gold, _ = _noisy(60, 1)
    right = score(gold, gold, classes=CLASSES)
    assert right.get("accuracy") == wilson(60, 60)
    assert right.get("macro_f1").value == 1.0
    assert right.get("macro_f1").low is None
    f1 = right.get("f1", "class=hate")
    assert (f1.value, f1.high, f1.method) == (1.0, 1.0, "wilson-jaccard")
    assert f1.low is not None
    assert 0.5 < f1.low < 1.0
    shifted = {"safe": "hate", "hate": "sexual", "sexual": "safe"}
    wrong = score(gold, [shifted[g] for g in gold], classes=CLASSES)
    assert wrong.get("accuracy").value == 0.0
    assert wrong.get("macro_f1").value == 0.0
    kappa = wrong.get("cohen_kappa").value
    assert kappa is not None
    assert kappa < 0


def test_one_class_only_and_no_items_have_reasons() -> None:
    one = score(["safe"] * 5, ["safe"] * 5, classes=CLASSES)
    assert one.get("cohen_kappa").value is None
    assert "one class only" in str(one.get("cohen_kappa").reason)
    assert one.get("precision", "class=hate").reason == "never predicted"
    assert one.get("recall", "class=hate").reason == "no gold item of this class"
    assert one.get("f1", "class=hate").value is None
    for kind in ("single", "multi", "taxonomy"):
        empty = score([], [], classes=CLASSES, kind=kind)
        assert all(row["value"] is None and row["reason"] for row in empty.rows())


def test_unknown_labels_and_lengths_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"gold: expected one of safe, hate, sexual; found 'spam' at index 1"
    ):
        score(["safe", "spam"], ["safe", "safe"], classes=CLASSES)
    with pytest.raises(ConfigError, match="predicted"):
        score(["safe"], ["Safe"], classes=CLASSES)
    with pytest.raises(ConfigError, match="gold 2, predicted 1"):
        score(["safe", "hate"], ["safe"], classes=CLASSES)
    with pytest.raises(ConfigError, match="predicted: expected classes among"):
        score(["hate+safe"], ["hate+spam"], classes=CLASSES, kind="multi")
    with pytest.raises(ConfigError, match="no metric accuracy"):
        score(["none"], ["none"], classes=CLASSES, kind="multi").get("accuracy")


@pytest.mark.parametrize("seed", range(3))
def test_multi_label_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((150, 3)) < [0.5, 0.2, 0.3]
    said = truth ^ (rng.random((150, 3)) < 0.15)
    gold, predicted = _sets(truth), _sets(said)
    card = score(gold, predicted, classes=CLASSES, kind="multi", resamples=200)
    assert card.get("exact_match").value == pytest.approx((truth == said).all(axis=1).mean())
    assert card.get("micro_f1").value == pytest.approx(metrics.f1_score(truth, said, average="micro"))
    assert card.get("macro_f1").value == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    both = truth.any(axis=1) | said.any(axis=1)
    jaccard = metrics.jaccard_score(truth[both], said[both], average="samples")
    assert card.get("jaccard").value == pytest.approx((jaccard * both.sum() + (~both).sum()) / 150)
    for c, name in enumerate(CLASSES):
        assert card.get("f1", f"class={name}").value == pytest.approx(
            metrics.f1_score(truth[:, c], said[:, c])
        )
        assert (
            card.confusion[c].counts[:, :2].tolist()
            == metrics.confusion_matrix(truth[:, c], said[:, c]).tolist()
        )


def test_multi_label_failures_are_never_a_match() -> None:
    gold = ["none", "hate", "hate+sexual", "none"]
    card = score(gold, [None, "hate", ABSTAINED, "none"], classes=CLASSES, kind="multi")
    assert card.get("exact_match").value == 0.5
    assert card.get("exact_match_of_answered").value == 1.0
    assert card.get("jaccard").value == 0.5
    assert card.get("accuracy", "class=safe").value == 0.5
    assert card.get("precision", "class=hate").value == 1.0
    assert card.get("recall", "class=hate").value == 0.5
    assert card.confusion[1].counts.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_taxonomy_counts_the_right_parent() -> None:
    leaves = ("abuse/threat", "abuse/insult", "spam", "fine")
    gold = ["abuse/threat", "abuse/threat", "abuse/insult", "spam", "fine"]
    said = ["abuse/threat", "abuse/insult", "spam", "spam", None]
    card = score(gold, said, classes=leaves, kind="taxonomy")
    assert card.get("leaf_accuracy").value == 0.4
    assert card.get("parent_accuracy").value == 0.6


def test_macro_f1_interval_covers() -> None:
    """R = 200: misses at most .05 + 3·sqrt(.05·.95/200) = .096 of runs around the population's value."""
    population = score(*_noisy(200_000, 99), classes=CLASSES, resamples=2).get("macro_f1").value
    assert population is not None
    missed = 0
    for seed in range(200):
        e = score(*_noisy(150, seed), classes=CLASSES, resamples=300, seed=seed).get("macro_f1")
        assert e.low is not None
        assert e.high is not None
        missed += not e.low <= population <= e.high
    assert missed / 200 <= 0.096


def _sets(rows: np.ndarray) -> list[str]:
    return ["+".join(sorted(n for n, yes in zip(CLASSES, row, strict=True) if yes)) or "none" for row in rows]
