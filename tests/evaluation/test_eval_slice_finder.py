"""Slices: a planted one is found, nothing is found where nothing is, and the score is SliceLine's."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.slice_finder import find_slices
from evaluation.text_clusters import cluster_texts
from labelproof.spec.errors import ConfigError

N = 1200


def _columns(rng: np.random.Generator, n: int = N) -> dict[str, list[str]]:
    return {
        "language": rng.choice(["en", "es", "de"], n, p=[0.7, 0.2, 0.1]).tolist(),
        "length": rng.choice(["short", "middle", "long"], n).tolist(),
        "source": rng.choice([f"s{i}" for i in range(8)], n).tolist(),
        "day": rng.choice([f"d{i}" for i in range(7)], n).tolist(),
    }


def test_a_planted_slice_comes_first_and_is_certain() -> None:
    rng = np.random.default_rng(1)
    columns = _columns(rng)
    planted = (np.array(columns["language"]) == "es") & (np.array(columns["length"]) == "long")
    wrong = rng.random(N) < np.where(planted, 0.5, 0.05)
    found = find_slices(columns, wrong, seed=3)
    worst = found.slices[0]
    assert set(worst.conditions) == {("language", "es"), ("length", "long")}
    assert worst.name == "language = es & length = long"
    assert worst.p_value < 0.01
    assert worst.lift > 3
    assert worst.n == planted.sum()
    assert np.array_equal(np.flatnonzero(planted), worst.rows)
    assert all(one.p_value > 0.05 for one in found.slices[1:] if not set(one.rows) & set(worst.rows))


def test_without_a_cause_hardly_any_analysis_finds_one() -> None:
    rng = np.random.default_rng(2)
    runs, alarms = 100, 0
    for _ in range(runs):
        columns = _columns(rng, 400)
        found = find_slices(columns, rng.random(400) < 0.08, permutations=99, seed=int(rng.integers(2**31)))
        alarms += any(one.p_value <= 0.05 for one in found.slices)
    assert alarms / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_the_score_is_that_of_the_paper() -> None:
    columns = {"a": ["x"] * 40 + ["y"] * 60}
    wrong = np.array([True] * 10 + [False] * 30 + [True] * 5 + [False] * 55)
    (only,) = find_slices(columns, wrong, alpha=0.9, permutations=9).slices
    assert only.conditions == (("a", "x"),)
    assert only.score == pytest.approx(0.9 * ((10 / 40) / (15 / 100) - 1) - 0.1 * (100 / 40 - 1))
    assert only.excess == pytest.approx(10 - 40 * 0.15)
    assert only.error.value == 0.25


def test_weights_say_how_many_items_one_stands_for() -> None:
    columns = {"a": ["x"] * 50 + ["y"] * 50}
    wrong = np.array([True] * 10 + [False] * 40 + [True] * 10 + [False] * 40)
    heavy = np.where(wrong & (np.arange(100) < 50), 5.0, 1.0)
    (only,) = find_slices(columns, wrong, weight=heavy, permutations=99).slices
    assert only.conditions == (("a", "x"),)
    assert only.weighted_error == pytest.approx(50 / 90)
    assert not any(one.score > 0.1 for one in find_slices(columns, wrong, permutations=9).slices)


def test_the_same_items_are_told_once() -> None:
    rng = np.random.default_rng(4)
    spanish = rng.random(600) < 0.3
    columns = {
        "language": np.where(spanish, "es", "en").tolist(),
        "script": np.where(spanish, "latin", "other").tolist(),
        "half": rng.choice(["a", "b"], 600).tolist(),
    }
    found = find_slices(columns, rng.random(600) < np.where(spanish, 0.6, 0.05), permutations=99)
    assert len(found.slices[0].conditions) == 1
    assert all(
        len(set(one.rows) & set(found.slices[0].rows)) < one.n / 2 or one.n < 120 for one in found.slices[1:]
    )


def test_what_cannot_be_searched_says_why() -> None:
    assert find_slices({"a": ["x", "y"] * 50}, [False] * 100).reason == "there are no errors"
    assert "slices of 20" in (find_slices({"a": ["x"] * 100}, [True] + [False] * 99).reason or "")
    assert find_slices({}, [True, False]).slices == ()
    with pytest.raises(ConfigError, match="weights"):
        find_slices({"a": ["x", "y"]}, [True, False], weight=[1, 0])


def test_the_same_seed_gives_the_same_answer() -> None:
    rng = np.random.default_rng(5)
    columns, wrong = _columns(rng), rng.random(N) < 0.1
    assert find_slices(columns, wrong, seed=7) == find_slices(columns, wrong, seed=7)


def test_texts_are_clustered_by_what_they_speak_of() -> None:
    topics = (
        ["refund money order late", "parcel delivery order money"],
        ["goal match player team", "team league goal"],
    )
    texts = [f"{topics[i % 2][i // 2 % 2]} please" for i in range(120)]
    found = cluster_texts(texts, k=2, seed=1)
    assert found is not None
    by_topic = [set(found.codes[i::2].tolist()) for i in (0, 1)]
    assert not by_topic[0] & by_topic[1]
    assert any("team" in name or "goal" in name for name in found.names)
    again = cluster_texts(texts, k=2, seed=1)
    assert again is not None
    assert again.names == found.names
    assert cluster_texts(texts[:10]) is None
    assert cluster_texts(["1", "2"] * 60) is None
    same = cluster_texts(["one and the same text"] * 100)
    assert same is None
