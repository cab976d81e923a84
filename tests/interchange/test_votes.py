"""Votes are read in four shapes; rows that cannot be used say where and why."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.store.interchange import Votes, read_labels, read_votes

SINGLE = LabelSchema(classes=(LabelClass(name="harassment"), LabelClass(name="ok")))
MULTI = LabelSchema(kind="multi", classes=(LabelClass(name="hate"), LabelClass(name="spam")))
ITEMS = {"1": "b2:one", "2": "b2:two"}


def triples(votes: Votes) -> list[tuple[str, str, str | None]]:
    return [(vote.item, vote.annotator, vote.label) for vote in votes.votes]


def lines(path: Path, rows: list[object]) -> str:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


LONG = [("1", "ann", "ok"), ("1", "bob", "harassment"), ("2", "ann", "ok")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_row_per_vote_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"votes.{suffix}"
    rows = [{"item": item, "annotator": who, "label": label} for item, who, label in LONG]
    if suffix == "csv":
        path.write_text("item,annotator,label\n" + "".join(",".join(row) + "\n" for row in LONG))
    elif suffix == "jsonl":
        lines(path, list(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    found = read_votes(str(path), labels=SINGLE)
    assert found.form == "long"
    assert triples(found) == LONG
    assert found.errors == ()
    assert found.n_rows == 3


def test_a_column_per_annotator(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("id,text,ann,bob\n1,hello,ok,harassment\n2,there,ok,\n")
    found = read_votes(str(path), labels=SINGLE)
    assert found.form == "wide"
    assert triples(found) == LONG
    only = read_votes(str(path), labels=SINGLE, annotators=("bob",), form="wide")
    assert triples(only) == [("1", "bob", "harassment")]
    with pytest.raises(ConfigError, match="no column 'bobb'; did you mean 'bob'"):
        read_votes(str(path), annotators=("bobb",), form="wide")


def test_mappings_of_votes_and_of_counts(tmp_path: Path) -> None:
    named = lines(tmp_path / "v.jsonl", [{"id": 1, "votes": {"ann": "ok", "bob": "harassment"}}])
    assert read_votes(named).form == "votes"
    counted = lines(tmp_path / "c.jsonl", [{"id": "1", "votes": {"ok": 3, "harassment": 1}}])
    found = read_votes(counted, labels=("harassment", "ok"))
    assert found.form == "counts"
    assert [(row.item, dict(row.counts)) for row in found.counts] == [("1", {"ok": 3, "harassment": 1})]


def test_a_mapping_to_numbers_is_not_guessed(tmp_path: Path) -> None:
    path = lines(tmp_path / "v.jsonl", [{"id": "1", "votes": {"ann": 1, "bob": -2}}])
    with pytest.raises(ConfigError, match="annotator -> label or label -> how many") as caught:
        read_votes(path)
    assert "--form votes or --form counts" in str(caught.value.hint)
    assert triples(read_votes(path, form="votes")) == [("1", "ann", "1"), ("1", "bob", "-2")]
    assert read_votes(path, labels=("-2", "1")).form == "votes"
    bad = read_votes(path, form="counts")
    assert bad.counts == ()
    assert "votes for 'bob' must be a whole number from 0" in bad.errors[0].reason


def test_every_bad_row_is_listed_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(
        "item,annotator,label,answer,seconds\n"
        "1,ann,harasment,,\n"  # 2: misspelt
        "9,ann,ok,,\n"  # 3: unknown item
        "1,,ok,,\n"  # 4: nobody
        "1,ann,,,\n"  # 5: no label
        "1,ann,,skip,4.5\n"  # 6: fine: skipped
        "2,ann,ok,maybe,\n"  # 7: unknown answer
        "2,bob,OK,label,-1\n"  # 8: negative time
        ",bob,ok,,\n"  # 9: no item
        "b2:two,bob,OK,label,2\n"  # 10: fine, by item id
    )
    found = read_votes(str(path), labels=SINGLE, items=ITEMS)
    assert triples(found) == [("b2:one", "ann", None), ("b2:two", "bob", "ok")]
    assert found.n_unanswered == 1
    assert [vote.seconds for vote in found.votes] == [4.5, 2.0]
    said = {error.line: error.reason for error in found.errors}
    assert sorted(said) == [2, 3, 4, 5, 7, 8, 9]
    assert "'harasment' is not in the schema" in said[2]
    assert "not among the project's items" in said[3]
    assert said[4] == "no annotator in 'annotator'"
    assert said[5] == "no label in 'label'"
    assert "skip" in said[7]
    assert "seconds" in said[8]
    assert found.n_rows == 9


def test_a_bad_cell_costs_only_its_own_vote(tmp_path: Path) -> None:
    path = lines(tmp_path / "v.jsonl", [{"id": "1", "votes": {"ann": "ok", "bob": "nope", "eve": None}}])
    found = read_votes(path, labels=("ok", "not"))
    assert triples(found) == [("1", "ann", "ok")]
    assert [str(error.reason) for error in found.errors] == [
        "bob: label 'nope' is not one of ok, not; closest: 'not'"
    ]


def test_a_later_vote_replaces_the_earlier(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "v.jsonl",
        [{"item": "1", "annotator": "ann", "label": label} for label in ("ok", "harassment")],
    )
    found = read_votes(path)
    assert triples(found) == [("1", "ann", "harassment")]
    assert found.n_replaced == 1


def test_label_sets_are_written_canonically(tmp_path: Path) -> None:
    rows: list[object] = [
        {"item": "1", "annotator": "ann", "label": ["spam", "hate"]},
        {"item": "1", "annotator": "bob", "label": []},
    ]
    path = lines(tmp_path / "v.jsonl", rows)
    for labels in (MULTI, None):
        assert [label for _, _, label in triples(read_votes(path, labels=labels))] == ["hate+spam", "none"]


@pytest.mark.parametrize(
    ("content", "n_rows", "n_errors"), [(b"", 0, 0), (b"[1]\n{\n", 2, 2)], ids=["empty", "unreadable"]
)
def test_a_file_without_a_row_has_no_votes(
    tmp_path: Path, content: bytes, n_rows: int, n_errors: int
) -> None:
    path = tmp_path / "v.jsonl"
    path.write_bytes(content)
    found = read_votes(str(path))
    assert (found.votes, found.n_rows, len(found.errors)) == ((), n_rows, n_errors)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("thing,annotator,label\n1,ann,ok\n")
    with pytest.raises(ConfigError, match="no column names the item") as caught:
        read_votes(str(path))
    assert "--item-column" in str(caught.value.hint)
    assert triples(read_votes(str(path), item_column="thing")) == [("1", "ann", "ok")]
    path.write_text("item,annotator,lable\n1,ann,ok\n")
    with pytest.raises(ConfigError, match="no column 'label'; did you mean 'lable'"):
        read_votes(str(path))


def test_a_model_s_labels_keep_its_failures(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    path.write_text("item,label\n1,ok\n2,\n1,OK\n3,ok\n")
    found = read_labels(str(path), labels=SINGLE, items=ITEMS)
    assert found.labels == {"b2:one": "ok", "b2:two": None}
    assert [error.line for error in found.errors] == [5]
    assert found.n_rows == 4
