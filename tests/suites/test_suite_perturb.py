"""Perturbations: each keeps what it promises, changes something, and is the same for the same seed."""

from __future__ import annotations

import re
import unicodedata
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.steps.normalize import _HIDDEN, _JOINERS_IN_WORD
from agents.text import decode_disguises, fold_homoglyphs
from evaluation.suites.case import edit_share
from evaluation.suites.perturb import PERTURBATIONS, Perturbation, _letters, perturbation

SENTENCE = "Nobody wanted to carry the broken piano upstairs, so we sold it (cheaply) to Martha's brother!"
WORDS = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", min_size=1, max_size=9), min_size=1, max_size=12
)
PLAIN = WORDS.map(" ".join)
ANY = st.text(max_size=60)
IN_WORDS = ("typo_swap", "typo_neighbour", "typo_missing", "leetspeak", "homoglyphs", "zero_width", "diacritics", "full_width",
            "spaced_letters", "dotted_letters", "repeated_letters")  # fmt: skip


def changed(name: str, text: str, seed: int = 0) -> str:
    """The changed text, or the text itself where there is nothing to change."""
    return perturbation(name)(text, seed=seed) or text


def test_names_are_unique_and_say_their_strength() -> None:
    names = [one.name for one in PERTURBATIONS]
    assert len(set(names)) == len(names) >= 20
    assert all(one.strength and 0 <= one.share <= 1 for one in PERTURBATIONS)


@pytest.mark.parametrize("one", PERTURBATIONS, ids=lambda one: one.name)
def test_a_sentence_is_changed_and_stays_readable(one: Perturbation) -> None:
    found = one(SENTENCE, seed=3)
    assert found is not None
    assert found != SENTENCE
    if not one.name.startswith("case_"):
        assert 0 < edit_share(SENTENCE, found) < 0.4


@pytest.mark.parametrize("one", PERTURBATIONS, ids=lambda one: one.name)
@given(text=ANY, seed=st.integers(0, 5))
def test_any_text_changes_repeatably_or_not_at_all(one: Perturbation, text: str, seed: int) -> None:
    found = one(text, seed=seed, base_id="b")
    assert found == one(text, seed=seed, base_id="b")
    assert found != text


@given(text=PLAIN, seed=st.integers(0, 9))
def test_zero_width_characters_taken_out_give_the_original(text: str, seed: int) -> None:
    found = changed("zero_width", text, seed)
    assert _JOINERS_IN_WORD.sub("", _HIDDEN.sub("", found)) == text


@given(text=PLAIN, seed=st.integers(0, 9))
def test_homoglyphs_fold_back(text: str, seed: int) -> None:
    assert fold_homoglyphs(changed("homoglyphs", text, seed))[0] == text


@given(text=PLAIN, seed=st.integers(0, 9))
def test_full_width_and_accents_fold_back(text: str, seed: int) -> None:
    assert unicodedata.normalize("NFKC", changed("full_width", text, seed)) == text
    parts = unicodedata.normalize("NFD", changed("diacritics", text, seed))
    assert "".join(c for c in parts if not unicodedata.combining(c)) == text


@given(text=PLAIN, seed=st.integers(0, 9))
def test_leetspeak_is_read_back(text: str, seed: int) -> None:
    back = str.maketrans("431057", "aeiost")
    assert changed("leetspeak", text, seed).translate(back).casefold() == text.casefold()


def test_the_pipeline_sees_through_leetspeak_and_spaced_letters() -> None:
    assert decode_disguises(changed("leetspeak", "weather"))["leetspeak"] == "weather"
    assert decode_disguises(changed("spaced_letters", "weather"))["spaced_letters"] == "weather"


@pytest.mark.parametrize("name", ["case_upper", "case_lower", "case_random", "case_alternating"])
@given(text=ANY, seed=st.integers(0, 5))
def test_case_changes_only_the_case(name: str, text: str, seed: int) -> None:
    found = changed(name, text, seed)
    assert len(found) == len(text)
    assert all(a.casefold() == b.casefold() for a, b in zip(text, found, strict=True))


@given(text=PLAIN, seed=st.integers(0, 9))
def test_typos_keep_the_first_and_the_last_letter_of_every_word(text: str, seed: int) -> None:
    for name in ("typo_swap", "typo_neighbour", "typo_missing"):
        found = changed(name, text, seed).split(" ")
        assert [(w[0], w[-1]) for w in found] == [(w[0], w[-1]) for w in text.split(" ")]
    swapped = changed("typo_swap", text, seed)
    assert sorted(swapped) == sorted(text)
    assert len(text) - len(changed("typo_missing", text, seed)) in range(len(text.split(" ")) + 1)


@given(text=PLAIN, seed=st.integers(0, 9))
def test_spacing_and_drawing_out_add_nothing_else(text: str, seed: int) -> None:
    assert re.sub(r"\s", "", changed("spacing", text, seed)) == re.sub(r"\s", "", text)
    assert changed("spaced_letters", text, seed).replace(" ", "") == text.replace(" ", "")
    assert changed("dotted_letters", text, seed).replace(".", "") == text

    def once(t: str) -> str:
        return re.sub(r"([aeiouAEIOU])\1+", r"\1", t)

    assert once(changed("repeated_letters", text, seed)) == once(text)


@pytest.mark.parametrize("name", ["emoji", "framing_before", "framing_after", "html"])
@given(text=PLAIN, seed=st.integers(0, 9))
def test_what_is_added_leaves_the_words_in_order(name: str, text: str, seed: int) -> None:
    found = changed(name, text, seed)
    rest = iter(re.findall(r"\w+", found))
    assert all(word in rest for word in re.findall(r"\w+", text))


def test_links_mentions_numbers_codes_and_negations_stay() -> None:
    text = (
        "don't tell @Someone42 about https://example.com/PaGe #TopSecret b00k2 V29ybGQgcGVhY2UgaXMgZ29vZA=="
    )
    for name in IN_WORDS:
        for seed in range(5):
            found = changed(name, text, seed)
            for kept in text.split(" "):
                assert kept in found or kept in ("tell", "about"), (name, kept)
    for name in ("case_upper", "case_alternating", "case_random"):
        assert "https://example.com/PaGe" in changed(name, text)
        assert "V29ybGQgcGVhY2UgaXMgZ29vZA==" in changed(name, text)


def test_texts_without_anything_to_change_are_left_out() -> None:
    assert perturbation("typo_swap")("天气很好", seed=0) is None
    assert perturbation("case_upper")("天气很好", seed=0) is None
    assert perturbation("case_upper")("ALL UP", seed=0) is None
    assert perturbation("spacing")("one", seed=0) is None
    assert (
        _letters("ßtraße", lambda _: True) == "ßTRAßE"
    )  # ß has no single upper-case letter that folds to it alone


def test_a_rate_by_word_touches_that_share_of_the_words() -> None:
    text = " ".join(["weather"] * 100)
    touched = changed("leetspeak", text).split(" ")
    assert sum(word != "weather" for word in touched) == 40
    assert sum(word != "weather" for word in changed("typo_swap", text).split(" ")) == 15


def test_generators_of_other_cases_are_not_disturbed() -> None:
    one = perturbation("typo_swap")
    assert len({one(SENTENCE, seed=1, base_id=str(i)) for i in range(20)}) > 1
    assert one.change(SENTENCE, Random(1)) == one.change(SENTENCE, Random(1))
