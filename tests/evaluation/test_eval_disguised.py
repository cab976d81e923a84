"""A text that is hidden in another is found, and others are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.disguised import LONG, SHORT, bare_form, holds_any

LETTERS = st.text("abcd", max_size=60)


def held_the_slow_way(text: str, others: list[str]) -> bool:
    return any(
        other == text
        or (len(other) >= LONG and other in text)
        or (len(other) >= SHORT and len(text) <= 2 * len(other) and other in text)
        for other in others
        if other
    )


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS, max_size=5), st.data())
def test_what_is_held_is_what_a_plain_search_finds(
    texts: list[str], others: list[str], data: st.DataObject
) -> None:
    if others:  # some that are held
        texts = [*texts, *(data.draw(LETTERS) + other + data.draw(LETTERS) for other in others)]
    found = holds_any(texts, others)
    assert found.tolist() == [held_the_slow_way(text, others) for text in texts]


def test_texts_longer_than_a_part_are_searched_to_their_ends() -> None:
    secret = "asecretoftwentyfourchars"
    texts = ["x" * 399_990 + secret, "y" * 900_000, secret + "z" * 500_000, secret[:-1]]
    assert holds_any(texts, [secret]).tolist() == [True, False, True, False]
    assert holds_any([], [secret]).tolist() == holds_any([], []).tolist() == []
    assert np.array_equal(holds_any(["a", ""], ["", "b"]), [False, False])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Free pills", "F r e e, pills!"), ("Free pills", "frее рills"), ("Free pills", "FREE \u034fpi\ufe0flls"),
        ("Free pills", "fr33 p\u0131lls".replace("\u0131", "i")), ("Café olé", "cafe ole"), ("ﬁne", "f\u00adine"),
        ("free\u3164pills", "free pills"), ("ｆｒｅｅ pills", "free pills"), ("Привет", "привет!"),
    ],
)  # fmt: skip
def test_disguises_make_no_difference(one: str, other: str) -> None:
    assert bare_form(one) == bare_form(other) != ""


def test_numbers_and_words_that_differ_stay_apart() -> None:
    assert len({bare_form(f"text number {i}") for i in range(500)}) == 500
    assert bare_form("?! ...") == ""
