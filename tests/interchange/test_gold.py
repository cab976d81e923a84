"""Gold labels are checked against the schema, joined to items and kept out of two splits at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.spec.errors import ConfigError
from labelproof.spec.items import item_id
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.project import GoldSpec
from labelproof.store.interchange import GoldSet, read_gold

SINGLE = LabelSchema(classes=(LabelClass(name="harassment"), LabelClass(name="ok")))
MULTI = LabelSchema(kind="multi", classes=(LabelClass(name="hate"), LabelClass(name="spam")))
IDS = {f"i{n}": item_id(f"text {n}") for n in range(6)}


def by_hash(identity: str, fractions: Mapping[str, float], seed: int) -> str:
    assert sum(fractions.values()) == pytest.approx(1)
    names = sorted(fractions)
    return names[(sum(map(ord, identity)) + seed) % len(names)]


def read(
    folder: Path,
    rows: list[dict[str, object]],
    schema: LabelSchema = SINGLE,
    items: Mapping[str, str] = IDS,
    **gold: object,
) -> GoldSet:
    (folder / "gold.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    spec = GoldSpec.model_validate({"path": "gold.jsonl", **gold})
    return read_gold(spec, folder, items, schema, assign=by_hash)


def test_rows_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        [
            {"id": "i0", "label": "OK"},
            {"id": "i1", "label": "harasment"},
            {"id": "i9", "label": "ok"},
            {"label": "ok"},
            {"id": "i2"},
            {"id": "i3", "label": 3},
            {"id": IDS["i4"], "label": "ok"},
        ],
    )
    assert [(r.external_id, r.label) for r in found.rows] == [
        ("i0", "ok"),
        (IDS["i4"], "ok"),
    ]
    said = {error.line: error.reason for error in found.errors}
    assert sorted(said) == [2, 3, 4, 5, 6]
    assert "'harasment' is not in the schema" in said[2]
    assert said[2].endswith("closest: 'harassment'")
    assert said[3] == "id 'i9' is not among the items"
    assert said[5] == "no label in 'label'"
    assert found.name == "gold"
    assert found.n_rows == 7


def test_contradictions_leave_the_whole_item_out(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "i0", "label": "ok", "split": "test"},
        {"id": "i1", "label": "ok", "split": "test"},
        {"id": "i0", "label": "harassment", "split": "test"},
        {"id": "i2", "label": "ok", "split": "test"},
        {"id": "i2", "label": "ok", "split": "certify"},
        {"id": "i1", "label": "ok", "split": "test"},
        {"id": "i3", "label": "ok", "split": "train"},
    ]
    found = read(tmp_path, rows, split_column="split")
    assert [r.external_id for r in found.rows] == ["i1"]
    assert found.n_duplicates == 1
    assert [e.line for e in found.errors] == [1, 3, 4, 5, 7]
    assert "more than one label: harassment, ok" in found.errors[0].reason
    assert "more than one split: certify, test" in found.errors[2].reason
    assert "one of examples, calibration, certify, test; found 'train'" in found.errors[4].reason


def test_one_content_under_two_ids_may_not_leak_between_splits(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "a", "label": "ok", "split": "certify"},
        {"id": "b", "label": "ok", "split": "examples"},
    ]
    found = read(tmp_path, rows, items={"a": "b2:same", "b": "b2:same"}, split_column="split")
    assert found.rows == ()
    assert "the same content (a, b) has more than one split" in found.errors[0].reason


def test_gold_may_bring_its_own_text(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "i0", "text": "text 0", "label": "ok"},
        {"id": "i1", "text": "not what the items say", "label": "ok"},
        {"id": "new", "text": "never seen", "label": "ok"},
        {"id": "x", "text": "", "label": "ok"},
    ]
    found = read(tmp_path, rows, text_column="text")
    assert [(i.external_id, i.text) for i in found.items] == [
        ("i0", "text 0"),
        ("new", "never seen"),
    ]
    assert [e.reason for e in found.errors] == [
        "text differs from that of item 'i1' in the items",
        "'text' is empty",
    ]


def test_multi_labels_come_as_lists_or_strings(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "i0", "label": ["spam", "hate"]},
        {"id": "i1", "label": "spam+hate"},
        {"id": "i2", "label": []},
        {"id": "i3", "label": ["spam", "hat"]},
    ]
    found = read(tmp_path, rows, MULTI)
    assert [r.label for r in found.rows] == ["hate+spam", "hate+spam", "none"]
    assert found.errors[0].reason.endswith("closest: 'hate'")


@pytest.mark.parametrize("value", [0, 1.01, -0.5, "x", None, "nan"])
def test_inclusion_probabilities_are_in_range(tmp_path: Path, value: object) -> None:
    rows: list[dict[str, object]] = [
        {"id": "i0", "label": "ok", "p": value},
        {"id": "i1", "label": "ok", "p": 0.25},
    ]
    found = read(tmp_path, rows, inclusion_prob_column="p", design="active")
    assert [r.inclusion_prob for r in found.rows] == [0.25]
    assert "must be a probability above 0" in found.errors[0].reason


def test_absent_label_column_of_a_csv_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("id,lable\ni0,ok\n")
    with pytest.raises(ConfigError, match="no column 'label'; did you mean 'lable'"):
        read_gold(GoldSpec(path="gold.csv"), tmp_path, IDS, SINGLE, assign=by_hash)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_fingerprint_is_of_what_the_gold_says_not_of_its_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("gold")
    rows: list[dict[str, object]] = [{"id": key, "label": "ok"} for key in IDS]
    first = read(folder, rows).fingerprint
    assert read(folder, data.draw(st.permutations(rows))).fingerprint == first
    changed = data.draw(st.integers(0, len(rows) - 1))
    rows[changed] = {**rows[changed], "label": "harassment"}
    assert read(folder, rows).fingerprint != first


def test_each_item_may_carry_its_own_design(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "i0", "label": "ok", "how": "", "p": "", "draw": ""},
        {"id": "i1", "label": "ok", "how": "region", "p": 0.25, "draw": "S1"},
        {"id": "i2", "label": "ok", "how": "guessed", "p": 0.5, "draw": ""},
    ]
    found = read(tmp_path, rows, inclusion_prob_column="p", design_column="how", sample_column="draw")
    assert [(r.design, r.inclusion_prob, r.sample_id) for r in found.rows] == [
        ("simple_random", None, None),
        ("region", 0.25, "S1"),
    ]
    assert (
        "must be one of simple_random, stratified, active, region; found 'guessed'" in found.errors[0].reason
    )


def test_a_weighted_item_without_its_probability_is_refused(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": "i0", "label": "ok", "how": "active"}]
    found = read(tmp_path, rows, design_column="how")
    assert found.rows == ()
    assert "design active needs the item's inclusion probability" in found.errors[0].reason
