"""Identity terms: templates are complete, swaps keep form, case and article, group gaps are what they are."""

from __future__ import annotations

import pytest

from evaluation.suites.bias import (
    Axis,
    BaseText,
    Template,
    Term,
    article,
    filled,
    swap_cases,
    swapped,
    template_cases,
)
from labelproof.spec.errors import ConfigError

MUSLIM = Term(group="muslim", forms={"adj": "Muslim", "noun": "Muslim", "plural": "Muslims"})
JEW = Term(group="jewish", forms={"adj": "Jewish", "noun": "Jew", "plural": "Jews"})
ATHEIST = Term(group="atheist", forms={"adj": "atheist", "noun": "atheist", "plural": "atheists"})
AXIS = Axis(name="religion", language="en", terms=[MUSLIM, JEW, ATHEIST])


@pytest.mark.parametrize(
    ("text", "new", "wanted"),
    [
        ("My Muslim neighbours", JEW, "My Jewish neighbours"),
        ("a Muslim.", JEW, "a Jew."),
        ("As a Muslim I say", ATHEIST, "As an atheist I say"),
        ("A Muslim colleague", ATHEIST, "An atheist colleague"),
        ("Muslims are here", ATHEIST, "Atheists are here"),
        ("two muslims", JEW, "two jews"),
        ("MUSLIMS OUT", ATHEIST, "ATHEISTS OUT"),
        ("Muslims and Muslims", JEW, "Jews and Jews"),
        ("Muslimsx, xMuslim", JEW, "Muslimsx, xMuslim"),
        ('"Muslims" he said', ATHEIST, '"Atheists" he said'),
    ],
)
def test_a_swap_keeps_form_case_and_article(text: str, new: Term, wanted: str) -> None:
    assert swapped(text, MUSLIM, new) == wanted


def test_a_lower_case_term_gets_a_capital_only_where_the_text_had_one() -> None:
    assert swapped("Atheists meet", ATHEIST, JEW) == "Jews meet"
    assert swapped("an atheist who sings", ATHEIST, MUSLIM) == "a Muslim who sings"
    assert swapped("an atheist choir", ATHEIST, JEW) == "a Jewish choir"


@pytest.mark.parametrize(("word", "wanted"), [("atheist", "an"), ("European", "a"), ("Ukrainian", "a"), ("Indian", "an"),
                                             ("unemployed", "an"), ("elderly", "an"), ("Jew", "a")])  # fmt: skip
def test_articles(word: str, wanted: str) -> None:
    assert article(word) == wanted


def test_templates_are_filled_for_all_groups_of_an_axis_or_none() -> None:
    short = Axis(
        name="age",
        language="en",
        terms=[Term(group="old", forms={"adj": "old"}), Term(group="young", forms={})],
    )
    templates = [
        Template(name="t", text="{Plural} and {a_noun} sing."),
        Template(name="u", text="I am {adj}."),
        Template(name="v", text="{plural}", language="es"),
    ]
    cases = template_cases([AXIS, short], templates)
    assert {(c.functionality, c.base_id, c.group) for c in cases} == {
        ("religion", f"religion/en/{name}", group)
        for name in "tu"
        for group in ("muslim", "jewish", "atheist")
    }
    assert {c.text for c in cases if c.group == "atheist"} == {
        "Atheists and an atheist sing.",
        "I am atheist.",
    }
    assert filled(templates[0], Term(group="x", forms={})) is None


def test_items_that_name_one_group_are_swapped_for_each_other_group() -> None:
    bases = [
        BaseText(base_id="1", text="My Muslim friend", meta={"language": "en-GB"}),
        BaseText(base_id="2", text="Muslims and Jews"),
        BaseText(base_id="3", text="nobody"),
        BaseText(base_id="4", text="Los Muslims", meta={"language": "es"}),
    ]
    cases = swap_cases([AXIS], bases)
    assert [(c.base_id, c.group, c.text) for c in cases] == [
        ("1", "jewish", "My Jewish friend"),
        ("1", "atheist", "My atheist friend"),
    ]
    assert all(c.base_text == "My Muslim friend" and c.rule == "same_as_base" for c in cases)


def test_forms_that_also_describe_things_stay_out_of_items() -> None:
    black = Term(group="black", forms={"adj": "Black", "plural": "Black people"})
    white = Term(group="white", forms={"adj": "white", "plural": "white people"})
    axis = Axis(name="ethnicity", language="en", terms=[black, white], swap_forms=("plural",))
    bases = [
        BaseText(base_id="1", text="a white wine"),
        BaseText(base_id="2", text="White people can't dance"),
    ]
    assert [c.text for c in swap_cases([axis], bases)] == ["Black people can't dance"]


def test_an_axis_needs_two_groups() -> None:
    with pytest.raises(ConfigError, match="two or more groups"):
        Axis(name="x", language="en", terms=[MUSLIM])
    with pytest.raises(ConfigError, match="each once"):
        Axis(name="x", language="en", terms=[MUSLIM, MUSLIM])
