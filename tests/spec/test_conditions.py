"""Conditions are read, never run by Python; unknown signals do not open doors."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labelproof.spec.conditions import SIGNALS, parse_condition

SIGNAL_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "confidence": st.none() | st.floats(0, 1),
        "margin": st.floats(0, 1),
        "agreement": st.floats(0, 1),
        "label": st.none() | st.sampled_from(["spam", "ok"]),
        "manipulation": st.booleans(),
        "language": st.sampled_from(["en", "de"]),
        "n_chars": st.integers(0, 10_000),
        "failed": st.booleans(),
    },
)
NUMBER = st.floats(0, 1).map(repr)
COMPARISON = st.builds(
    "{} {} {}".format,
    st.sampled_from(["confidence", "margin", "agreement", "n_chars"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    NUMBER,
)
CONDITION = st.recursive(
    COMPARISON | st.sampled_from(["failed", "manipulation", "label in ['spam']", "language == 'de'"]),
    lambda inner: (
        st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("source", "signals", "expected"),
    [
        ("confidence < 0.7", {"confidence": 0.69}, True),
        ("confidence < 0.7", {"confidence": 0.7}, False),
        ("confidence < 0.7", {}, True),
        ("confidence < 0.7", {"confidence": None}, True),
        ("confidence >= 0.7", {}, False),
        ("n_chars > -1", {}, True),
        ("label == 'spam'", {}, False),
        ("label != 'spam'", {}, False),
        ("not label == 'spam'", {}, True),
        ("label in ['spam', 'ok']", {"label": "ok"}, True),
        ("label not in ('spam',)", {"label": "ok"}, True),
        ("0.2 < margin <= 0.5", {"margin": 0.5}, True),
        ("0.2 < margin <= 0.5", {"margin": 0.2}, False),
        ("failed or manipulation", {"manipulation": True}, True),
        ("failed", {}, False),
        ("label < 3", {"label": "ok"}, False),
        ("language in 5", {"language": "en"}, False),
    ],
)
def test_meaning(source: str, signals: dict[str, Any], expected: bool) -> None:
    assert parse_condition(source).holds(signals) is expected


@given(source=CONDITION, signals=SIGNAL_VALUES)
def test_agrees_with_python_where_python_may_be_trusted(source: str, signals: dict[str, Any]) -> None:
    """The generated conditions hold no calls, so Python itself is the oracle, unknowns filled in."""
    known: dict[str, Any] = dict.fromkeys(("confidence", "margin", "agreement", "n_chars"), 0.0)
    known |= {"failed": None, "manipulation": None, "label": None, "language": None}
    known |= {name: value for name, value in signals.items() if value is not None}
    assert parse_condition(source).holds(signals) is bool(eval(source, {}, known))
    assert parse_condition(source).names <= SIGNALS.keys()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("confidnce < 0.7", "unknown signal 'confidnce'"),
        ("confidence <", "cannot read condition"),
        ("", "cannot read condition"),
        ("confidence < 0.7; failed", "cannot read condition"),
        ("__import__('os').system('true')", "unknown signal '__import__'"),
        ("label.upper() == 'X'", "is not allowed in a condition"),
        ("label.__class__", "is not allowed in a condition"),
        ("label[0] == 'x'", "is not allowed in a condition"),
        ("[label for label in 'ab']", "is not allowed in a condition"),
        ("(lambda: label)()", "is not allowed in a condition"),
        ("confidence + 1 < 2", "is not allowed in a condition"),
        ("f'{label}' == 'x'", "is not allowed in a condition"),
        ("(label := 'x')", "is not allowed in a condition"),
        ("label is True", "operator not allowed"),
        ("label == b'x'", "is not allowed in a condition"),
        ("label == None", "is not allowed in a condition"),
        ("label if failed else label", "is not allowed in a condition"),
        ("not " * 5000 + "failed", "at most"),
        ("label == '\x00'", "cannot read condition"),
        ("confidence < " + "9" * 5000, "at most"),
    ],
)
def test_anything_else_is_refused_with_a_reason(source: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("'", ".").replace("(", ".")):
        parse_condition(source)


@given(
    source=st.text(max_size=60) | st.text("confidence label<>=!()[]'\".,_0 notandrifel:\\x{}", max_size=60)
)
@example(source="label == '\\d'")
@example(source="1if failed else 2")
@example(source="(" * 300)
@example(source="-" * 400 + "1")
def test_any_text_is_read_or_refused_and_never_run(source: str) -> None:
    try:
        condition = parse_condition(source)
    except ValueError:
        return
    for node in ast.walk(condition._body):
        assert not isinstance(
            node, ast.Call | ast.Attribute | ast.Subscript | ast.Lambda | ast.comprehension | ast.NamedExpr
        )
    assert condition.holds({}) in (True, False)
