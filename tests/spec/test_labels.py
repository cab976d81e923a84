"""Every label has one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labelproof.spec.labels import EMPTY_SET, LabelClass, LabelSchema

NAME = (
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="+/"),
        min_size=1,
        max_size=8,
    )
    .map(str.strip)
    .filter(lambda name: bool(name) and name != EMPTY_SET)
)


@st.composite
def schemas(draw: st.DrawFn, kind: str | None = None) -> LabelSchema:
    chosen = kind or draw(st.sampled_from(["single", "multi", "taxonomy"]))
    names = draw(st.lists(NAME, min_size=2, max_size=5, unique=True))
    children = st.lists(NAME, max_size=3, unique=True) if chosen == "taxonomy" else st.just([])
    classes = [{"name": name, "children": [{"name": c} for c in draw(children)]} for name in names]
    return LabelSchema.model_validate({"kind": chosen, "classes": classes})


@given(data=st.data(), schema=schemas())
def test_canonical_is_stable_and_members_give_it_back(data: st.DataObject, schema: LabelSchema) -> None:
    if schema.kind == "multi":
        chosen = data.draw(st.lists(st.sampled_from(schema.leaves)))
        label = schema.canonical(chosen)
        assert schema.members(label) == frozenset(chosen)
        assert schema.canonical(data.draw(st.permutations(chosen))) == label
        assert schema.canonical(sorted(schema.members(label))) == label
    else:
        leaf = data.draw(st.sampled_from(schema.leaves))
        label = schema.canonical(f" {leaf} ")
        assert label == leaf
        assert schema.members(label) == {leaf}
    assert schema.canonical(label) == label
    assert schema.severity(label) == "low"


@given(schema=schemas(), text=st.text())
def test_unknown_labels_raise_value_error_naming_the_allowed(schema: LabelSchema, text: str) -> None:
    try:
        label = schema.canonical(text)
    except ValueError as error:
        assert schema.leaves[0] in str(error)  # noqa: PT017  # only some texts are unknown
        return
    assert schema.canonical(label) == label


@pytest.mark.parametrize("value", [None, 3, ["ok"], {"a": 1}])
def test_single_label_is_a_string(value: object) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        LabelSchema.model_validate({"classes": [{"name": "ok"}, {"name": "bad"}]}).canonical(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 3, [3], [["ok"]]])
def test_multi_label_is_a_list_of_strings(value: object) -> None:
    schema = LabelSchema.model_validate({"kind": "multi", "classes": [{"name": "ok"}, {"name": "bad"}]})
    with pytest.raises(ValueError, match="expected"):
        schema.canonical(value)  # type: ignore[arg-type]


def test_case_is_forgiven_only_where_it_is_clear() -> None:
    schema = LabelSchema.model_validate({"classes": [{"name": "Spam"}, {"name": "ok"}, {"name": "OK"}]})
    assert schema.canonical("SPAM") == "Spam"
    assert schema.canonical("ok") == "ok"
    with pytest.raises(ValueError, match="is not in the schema"):
        schema.canonical("Ok")


def test_severity_is_the_worst_of_the_set() -> None:
    schema = LabelSchema(
        kind="multi",
        classes=(LabelClass(name="a", severity="critical"), LabelClass(name="b", severity="medium")),
    )
    assert schema.severity("a+b") == "critical"
    assert schema.severity("b") == "medium"
    assert schema.severity(EMPTY_SET) == "low"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"classes": [{"name": "a"}]}, "at least two labels"),
        ({"classes": [{"name": "a"}, {"name": "a"}]}, "class names must differ"),
        ({"kind": "multi", "classes": [{"name": "none"}]}, "how the empty set is written"),
        ({"classes": [{"name": "a", "children": [{"name": "b"}]}, {"name": "c"}]}, "needs kind: taxonomy"),
        (
            {"kind": "taxonomy", "classes": [{"name": "a", "children": [{"name": "b"}, {"name": "b"}]}]},
            "must differ",
        ),
        (
            {
                "kind": "taxonomy",
                "classes": [
                    {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}, {"name": "d"}]}]}
                ],
            },
            "two levels|at least two",
        ),
        ({"classes": [{"name": "a+b"}, {"name": "c"}]}, "may not hold"),
        ({"classes": [{"name": " a"}, {"name": "c"}]}, "may not hold"),
        ({"classes": [{"name": "a\rb"}, {"name": "c"}]}, "may not hold"),
        ({"classes": [{"name": "a\u2028b"}, {"name": "c"}]}, "may not hold"),
        ({"classes": []}, "at least 1 item"),
    ],
)
def test_inconsistent_schemas_are_refused(schema: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LabelSchema.model_validate(schema)
