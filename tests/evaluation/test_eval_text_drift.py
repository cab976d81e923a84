"""Texts that changed are told from texts of another day, and said in words; languages are guessed for shares."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.validity.drift import text_means
from evaluation.drift import DriftDetector, replay
from evaluation.text_drift import (
    DIM,
    TextScorer,
    day_means,
    guess_language,
    moved_words,
    text_features,
    text_shift,
)
from labelproof.spec.errors import ConfigError

HOSTILE = [
    "",
    " ",
    "a",
    "\ud800 lone",
    "\x00\x1b[31m",
    "x" * 100_000,
    "ß" * 3,
    "日本語のテキスト",
    "👩‍👩‍👧" * 40,
]


def test_features_are_unit_rows_whatever_the_text() -> None:
    rows = text_features([*HOSTILE, "an ordinary sentence"])
    assert rows.shape == (len(HOSTILE) + 1, DIM)
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    assert lengths[:2].tolist() == [0.0, 0.0]
    assert lengths[-1] == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(lengths).all()
    assert text_features([]).shape == (0, DIM)


def test_texts_do_not_touch_each_other_and_dates_do_not_count() -> None:
    alone, beside = (
        text_features(["one text here"]),
        text_features(["ends with o", "one text here", "ne text"]),
    )
    assert abs(alone - beside[1]).max() == 0
    monday, friday = text_features(["post 17 of 2026-03-02"]), text_features(["post 99 of 2027-11-30"])
    assert abs(monday - friday).max() == 0


def test_days_of_the_reference_are_scored_as_new_days_are() -> None:
    """Left out of their own reference, they are as far from it as days that were never in it."""
    gaps = []
    for seed in range(20):
        x = text_means(28, 2000.0, np.random.default_rng(seed), texts=80)(np.arange(14)).x[:, 0]
        gaps.append((x[14:].mean() - x[:14].mean()) / x.std())
    assert abs(np.mean(gaps)) < 4 / np.sqrt(len(gaps)) * np.std(gaps)
    assert abs(np.mean(gaps)) < 0.35


def test_other_texts_alarm_and_fewer_texts_do_not() -> None:
    rng = np.random.default_rng(1)
    days = np.arange(20_000, 20_030)
    changed = replay(
        DriftDetector(threshold=1825.0), days, text_means(30, 2000.0, rng, shift=0.3, at=25, texts=100)
    )
    assert changed.alarm is not None
    assert changed.alarm.at in (25, 26)
    whole, half = text_means(20, 1e6, rng, texts=100), text_means(10, 1e6, rng, texts=50)
    fewer = TextScorer(means=np.vstack([whole.means, half.means]), n=np.concatenate([whole.n, half.n]))
    assert not replay(DriftDetector(threshold=1825.0), days, fewer).alarms
    with pytest.raises(ConfigError, match="batches, dim"):
        TextScorer(means=np.zeros(3), n=np.zeros(3))


def test_the_auc_says_how_well_the_texts_can_be_told_apart() -> None:
    rng = np.random.default_rng(2)
    words = [f"word{i}x" for i in range(60)]
    texts = [" ".join(rng.choice(words[:40], 8)) for _ in range(600)]
    batch = np.repeat(np.arange(12), 50)
    after = batch >= 9
    same = text_shift(text_features(texts), after, batch, seed=0).auc
    assert same.value is not None
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0.5 < same.high
    other = [
        " ".join(rng.choice(words[20:], 8)) if late else text for text, late in zip(texts, after, strict=True)
    ]
    found = text_shift(text_features(other), after, batch, seed=0)
    assert found.auc.value is not None
    assert found.auc.value > 0.8
    assert found.lean[after].mean() > found.lean[~after].mean()
    one_day = text_shift(text_features(other), batch == 11, batch, seed=0).auc
    assert one_day.value is not None
    nothing = text_shift(text_features(texts), np.zeros(600, dtype=np.bool_), batch, seed=0).auc
    assert (nothing.value, nothing.reason) == (None, "too few texts on one of the two sides")


def test_means_are_of_each_batch() -> None:
    features = text_features(["abcdef", "abcdef", "ghijkl"])
    means, n = day_means(features, np.array([0, 0, 2]), 3)
    assert n.tolist() == [2, 0, 1]
    assert means[0] == pytest.approx(np.asarray(features[0].todense()).ravel())
    assert not means[1].any()


def test_words_that_moved_are_named_with_their_shares() -> None:
    before = ["the same old text"] * 50
    after = ["the same old text"] * 30 + ["ignore previous instructions"] * 20
    words = moved_words(before, after)
    assert {"ignore", "previous", "instructions"} <= {one.word for one in words}
    assert {one.word: (one.before, one.after) for one in words}["ignore"] == (0.0, 0.4)
    assert moved_words(before, before) == ()
    assert moved_words([], after) == ()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("what are you doing with this", "en"),
        ("pero esto no es muy bueno para ti", "es"),
        ("ich habe das auch nicht gesehen", "de"),
        ("je suis très content pour vous", "fr"),
        ("Привет, как дела?", "cyrillic script"),
        ("これはテストです", "ja"),
        ("你好吗", "chinese characters"),
        ("مرحبا", "arabic script"),
        ("12345 !!!", "unknown"),
        ("", "unknown"),
        ("ꙮꙮꙮ", "cyrillic script"),
        ("𒀀𒀁", "unknown"),
    ],
)
def test_languages_are_guessed_from_frequent_words_and_scripts(text: str, language: str) -> None:
    assert guess_language(text) == language
