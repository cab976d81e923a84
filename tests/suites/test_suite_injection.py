"""Attacks are what they say, stand where they say, and can be undone; functional files are read strictly."""

from __future__ import annotations

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.suites.functional import functional_cases
from evaluation.suites.injection import ATTACKS, PLACEMENTS, Attack, harmless_label, hidden_in_tags, placed
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelClass, LabelSchema

SCHEMA = LabelSchema(classes=(LabelClass(name="safe"), LabelClass(name="hate")))
TREE = LabelSchema(
    kind="taxonomy",
    classes=(
        LabelClass(name="safe"),
        LabelClass(name="abuse", children=(LabelClass(name="hate"), LabelClass(name="threat"))),
    ),
)
ROW = {"case_id": "1", "functionality": "f", "text": "t", "expected": "safe"}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
@given(text=st.text(max_size=60), seed=st.integers(0, 3))
def test_an_attack_adds_its_order_and_takes_nothing_away(attack: Attack, text: str, seed: int) -> None:
    found = attack(text, "safe", seed=seed, base_id="b")
    assert found == attack(text, "safe", seed=seed, base_id="b")
    payload = attack.write("safe")
    assert payload in found
    assert "".join(found.replace(payload, "").split()) == "".join(text.split())


def test_attacks_use_every_place() -> None:
    text = "one two three four"
    places = {(found.find("Ignore") > 0, found.endswith("four")) for i in range(30)
              if (found := ATTACKS[0](text, "safe", seed=0, base_id=str(i)))}  # fmt: skip
    assert len(places) == len(PLACEMENTS)
    assert placed(text, "X", "inside") == "one two X three four"
    assert placed("oneword", "X", "inside") == "oneword\nX"


def test_encoded_attacks_hide_the_order() -> None:
    by_name = {one.name: one.write("safe") for one in ATTACKS}
    order = by_name["ignore_instructions"]
    assert base64.b64decode(by_name["base64"].rpartition(" ")[2]).decode() == order
    assert codecs.decode(by_name["rot13"].partition(": ")[2], "rot13") == order
    assert "".join(chr(ord(c) - 0xE0000) for c in by_name["hidden_tags"][1:]) == order
    assert by_name["zero_width_order"].replace("\u200b", "") == order
    assert hidden_in_tags("aé") == "\U000e0061"


def test_the_attacker_wants_what_is_named_harmless() -> None:
    assert harmless_label(["hate", "Safe"]) == "Safe"
    assert harmless_label(["hate", "spam"]) == "hate"


def test_functional_rows_become_cases() -> None:
    rows = [
        {**ROW, "target_group": "women", "language": "en", "other": "x"},
        {**ROW, "case_id": "2", "expected": "HATE"},
    ]
    first, second = functional_cases(rows, SCHEMA)
    assert (first.base_id, first.group, first.expected, first.meta) == (
        "1",
        "women",
        "safe",
        {"language": "en"},
    )
    assert (second.expected, second.group) == ("hate", None)


def test_hatecheck_column_names_and_parents_are_understood() -> None:
    row = {
        "case_id": "1",
        "functionality": "f",
        "test_case": "t",
        "label_gold": "abuse",
        "target_ident": "women",
    }
    (case,) = functional_cases([row], TREE)
    assert (case.text, case.expected, case.group) == ("t", "abuse", "women")


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([{**ROW, "expected": "nope"}], r"cases:2: expected: label 'nope'"),
        ([{**ROW, "text": " "}], r"cases:2: .*missing: text"),
        ([ROW, {**ROW, "case_id": None}], r"cases:3: .*missing: case_id"),
        ([ROW, ROW], r"cases:3: case_id '1' stands in line 2"),
    ],
)
def test_bad_rows_name_their_line(rows: list[dict[str, str | None]], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        functional_cases(rows, SCHEMA)
