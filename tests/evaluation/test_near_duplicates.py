"""Near-duplicates: every pair above the threshold is found, none below is, and a long list takes seconds."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.near_duplicates import N_GRAM, near_any, near_pairs, normal_form
from labelproof.spec.errors import ConfigError


def jaccard(a: str, b: str) -> float:
    """The definition, without hashes."""
    one, other = ({t[i : i + N_GRAM] for i in range(len(t) - N_GRAM + 1)} or {t} for t in (a, b))
    return len(one & other) / len(one | other)


def words(rng: np.random.Generator, n: int) -> str:
    letters = list(string.ascii_lowercase)
    return " ".join("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(n))


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_pairs_are_those_of_the_definition(threshold: float) -> None:
    rng = np.random.default_rng(3)
    texts = [words(rng, 24) for _ in range(60)]
    for text in texts[:40]:
        at = int(rng.integers(len(text)))
        texts.append(text[:at] + "x" + text[at + int(rng.integers(0, 20)) :])
    found = near_pairs(texts, threshold=threshold)
    given_pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    wanted = {
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if jaccard(texts[i], texts[j]) >= threshold
    }
    assert len(wanted) > 10
    assert given_pairs == wanted
    for i, j, value in zip(found.left.tolist(), found.right.tolist(), found.similarity.tolist(), strict=True):
        assert value == pytest.approx(jaccard(texts[i], texts[j]))


def test_groups_chain_pairs_and_name_their_first_member() -> None:
    base = "the quick brown fox jumps over the lazy dog and runs away into the dark green forest tonight"
    texts = ["something else entirely, long enough to be compared", base, base + " ok", base + " okay"]
    assert near_pairs(texts).groups().tolist() == [0, 1, 1, 1]
    assert near_pairs([]).groups().tolist() == []
    assert near_pairs(["a"]).groups().tolist() == [0]


@pytest.mark.parametrize("text", ["", "a", "ab", "abcd", "🙂", "日本"])
def test_short_texts_are_near_equal_ones_only(text: str) -> None:
    assert near_any([text, text + "z"], [text]).tolist() == [True, False]


def test_boilerplate_is_one_group() -> None:
    texts = [
        f"dear customer, your parcel is waiting at the depot, please pay the fee now {i % 7}"
        for i in range(300)
    ]
    assert len(set(near_pairs(texts).groups().tolist())) == 1


def test_normal_form_ignores_what_readers_do_not_see() -> None:
    assert normal_form("  He\u200bLLO\n wor\u00adld ") == normal_form("ＨＥＬＬＯ world")
    assert normal_form("hello") != normal_form("hallo")


def test_a_threshold_that_would_be_missed_is_refused() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        near_pairs(["a", "b"], threshold=0.3)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_equal_texts_are_always_one_group(texts: list[str]) -> None:
    groups = near_pairs([*texts, *texts]).groups()
    n = len(texts)
    assert (groups[:n] == groups[n:]).all()
    assert (groups <= np.arange(2 * n)).all()
