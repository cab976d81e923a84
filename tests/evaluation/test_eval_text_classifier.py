"""The text classifier is scikit-learn's balanced logistic regression, serialisable and without leaks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evaluation import TextClassifier, cross_fit_text_classifier, fit_text_classifier
from labelproof.spec.errors import ConfigError

CLASSES = ("a", "b", "c")


def _embedded(n: int, d: int, seed: int, signal: float = 1.5) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    x = rng.normal(size=(n, d))
    x[np.arange(n), codes] += signal
    return x, [CLASSES[c] for c in codes]


@pytest.mark.parametrize("d", [8, 200])
def test_same_model_as_scikit_learn(d: int) -> None:
    """Two convex solvers at one optimum; scikit-learn at a tight tolerance is the reference."""
    x, labels = _embedded(120, d, 1)
    ours = fit_text_classifier(x, labels, classes=CLASSES)
    theirs = LogisticRegression(C=ours.c, class_weight="balanced", tol=1e-8, max_iter=5000).fit(x, labels)
    assert np.exp(ours.log_probs(x)) == pytest.approx(theirs.predict_proba(x), abs=2e-3)


def test_round_trip_through_json() -> None:
    x, labels = _embedded(60, 20, 2)
    ours = fit_text_classifier(x, labels, classes=CLASSES)
    again = TextClassifier.from_params(json.loads(json.dumps(ours.to_params())))
    assert np.array_equal(again.log_probs(x), ours.log_probs(x))


def test_out_of_fold_scores_do_not_know_the_labels() -> None:
    """Random labels, more dimensions than items: memorised in-sample, chance (1/3 ± 4 sd) out of fold."""
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(150, 300)), [CLASSES[c] for c in rng.integers(0, 3, 150)]
    found = cross_fit_text_classifier(x, labels, classes=CLASSES)
    gold = np.array([CLASSES.index(v) for v in labels])
    memorised = fit_text_classifier(x, labels, classes=CLASSES).log_probs(x).argmax(axis=1)
    assert (memorised == gold).mean() > 0.6
    oof = (found.log_probs_oof.argmax(axis=1) == gold).mean()
    assert abs(oof - 1 / 3) < 4 * np.sqrt(2 / 9 / 150)


def test_learns_what_is_there() -> None:
    """Within .05 of the rule that knows which dimension stands for which class (30 dimensions, 300 items)."""
    x, labels = _embedded(300, 30, 4)
    test_x, test_labels = _embedded(2000, 30, 5)
    found = cross_fit_text_classifier(x, labels, classes=CLASSES)
    top = found.classifier.log_probs(test_x).argmax(axis=1)
    gold = np.array([CLASSES.index(v) for v in test_labels])
    known = test_x[:, :3].argmax(axis=1)
    assert (top == gold).mean() > (known == gold).mean() - 0.05
    own = np.array([CLASSES.index(v) for v in labels])
    assert abs((found.log_probs_oof.argmax(axis=1) == own).mean() - (top == gold).mean()) < 4 * 0.5 / np.sqrt(
        300
    )


def test_a_class_never_seen_keeps_a_small_probability() -> None:
    x, labels = _embedded(80, 10, 6)
    labels = ["a" if v == "c" else v for v in labels]
    p = np.exp(fit_text_classifier(x, labels, classes=CLASSES).log_probs(x))
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert (p[:, 2] > 0).all()
    assert 0.001 < p[:, 2].mean() < 0.05
    only = fit_text_classifier(x, ["b"] * 80, classes=CLASSES)
    assert (only.log_probs(x).argmax(axis=1) == 1).all()


def test_bad_input_is_refused() -> None:
    x, labels = _embedded(20, 5, 7)
    with pytest.raises(ConfigError, match="labels: expected one of"):
        fit_text_classifier(x, [*labels[:-1], "z"], classes=CLASSES)
    with pytest.raises(ConfigError, match="1 not finite"):
        fit_text_classifier(np.where(np.arange(100).reshape(20, 5) == 3, np.nan, x), labels, classes=CLASSES)
    with pytest.raises(ConfigError, match="found none"):
        fit_text_classifier(np.zeros((0, 5)), [], classes=CLASSES)
    with pytest.raises(ConfigError, match="expected 5 dimensions, found 4"):
        fit_text_classifier(x, labels, classes=CLASSES).log_probs(x[:, :4])
    with pytest.raises(ConfigError, match="at least two labelled items"):
        cross_fit_text_classifier(x[:1], labels[:1], classes=CLASSES)
