"""Every row of a source is an item, a duplicate or an error with its line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.spec.errors import ConfigError
from labelproof.spec.items import item_id
from labelproof.spec.project import Columns, SourceSpec
from labelproof.store.interchange import iter_items, read_items

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_malformed_jsonl_rows_are_located_and_the_good_ones_kept(
    tmp_path: Path,
) -> None:
    lines = [
        b'\xef\xbb\xbf{"id": "a", "text": "good", "lang": "en", "votes": {"x": 1}}',
        b'{"id": "b", "text": "cut of',
        b"",
        b'["not", "an object"]',
        b'{"id": "c"}',
        b'{"id": "d", "text": ""}',
        b'{"id": "e", "text": "   "}',
        b'{"id": "f", "text": 7}',
        b'{"id": "a", "text": "another text under the same id"}',
        b'{"id": "g", "text": "nul \\u0000 inside"}',
        b'{"id": "h", "text": "bad \xff utf"}',
        b'{"id": "i", "text": "' + b"x" * 200_001 + b'"}',
        b'{"id": "j", "text": "good"}',
        b'{"id": ["k"], "text": "list id"}',
        b'{"id": 12, "text": "integer id"}\r',
        b'{"text": "no id"}',
    ]
    write(tmp_path, "rows.jsonl", b"\n".join(lines))
    report = read_items(SourceSpec(path="rows.jsonl"), tmp_path)

    assert [(i.external_id, i.text) for i in report.items] == [
        ("a", "good"),
        ("12", "integer id"),
        (item_id("no id"), "no id"),
    ]
    assert report.items[0].meta == {"lang": "en"}
    assert [(d.external_id, d.item_id, d.line) for d in report.duplicates] == [("j", item_id("good"), 13)]
    assert report.item_ids["j"] == report.item_ids["a"] == item_id("good")
    said = {error.line: error.reason for error in report.errors}
    assert sorted(said) == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]
    assert said[2].startswith("not valid JSON")
    assert said[4] == "expected a JSON object, found an array"
    assert said[5] == "no 'text'; found id"
    assert said[8] == "'text' must be a string, found a number"
    assert "appears twice with different texts" in said[9]
    assert "NUL" in said[10]
    assert said[11] == "invalid UTF-8 at byte 26 of the line"
    assert "200001 characters" in said[12]
    assert report.n_rows == 15
    for error in report.errors:
        assert len(error.raw) <= 200
        assert error.raw_hash.startswith("b2:")
        error.raw.encode()
    assert str(report.errors[0]).startswith("rows.jsonl:2: not valid JSON")


def test_csv_errors_name_the_line_where_the_record_begins(tmp_path: Path) -> None:
    content = (
        b"id,text,lang\n"
        b'1,"two\nlines",en\n'
        b"2,too,many,fields\n"
        b'3,"stray" quote,en\n'
        b"4,fine after the stray quote,\n"
        b"\n"
        b"5,bad \xff byte,en\n"
        b'6,"never closed,en\n'
        b"7,still read,en\n"
    )
    write(tmp_path, "rows.csv", content)
    report = read_items(SourceSpec(path="rows.csv"), tmp_path)

    assert [(i.external_id, i.text) for i in report.items] == [
        ("1", "two\nlines"),
        ("4", "fine after the stray quote"),
        ("7", "still read"),
    ]
    assert report.items[1].meta == {"lang": None}
    assert [(e.line, e.reason.split(":")[0]) for e in report.errors] == [
        (4, "expected 3 fields as in the header, found 4"),
        (5, "not valid CSV"),
        (8, "invalid UTF-8"),
        (9, "not valid CSV"),
    ]
    assert report.errors[2].raw == "5,bad \\xff byte,en"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiter_is_the_one_that_yields_the_text_column(tmp_path: Path, delimiter: str) -> None:
    write(tmp_path, "rows.csv", f"id{delimiter}body\n1{delimiter}hello\n")
    spec = SourceSpec(path="rows.csv", columns=Columns(text="body"))
    assert read_items(spec, tmp_path).items[0].text == "hello"


def test_missing_csv_column_names_the_closest_and_those_found(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "id,txt\n1,hello\n")
    with pytest.raises(ConfigError, match=r"no column 'text'; did you mean 'txt'\? Found: id, txt"):
        read_items(SourceSpec(path="rows.csv"), tmp_path)


def test_parquet_query_gzip_and_wildcards_yield_the_same_items(tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] folder"
    folder.mkdir()
    table = pa.table({"id": [1, 2], "text": ["one", "two"], "score": [0.5, float("nan")]})
    pq.write_table(table, folder / "rows*[1].parquet")
    with gzip.open(folder / "part-1.jsonl.gz", "wb") as stream:
        stream.write(b'{"id": 1, "text": "one", "score": 0.5}\n')
    write(folder, "part-2.jsonl", '{"id": 2, "text": "two", "score": null}\n')
    from_parquet = read_items(SourceSpec(path="rows*[1].parquet"), folder)
    from_parts = read_items(SourceSpec(path="part-*"), folder)
    from_query = read_items(
        SourceSpec(query="SELECT * FROM read_json('part-*', format = 'newline_delimited')"),
        folder,
    )
    assert from_parquet.items == from_parts.items == from_query.items
    assert from_parquet.items[1].meta == {"score": None}
    assert [error.line for error in from_parquet.errors] == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SELECT 1; DROP TABLE x", "found SELECT, DROP"),
        ("COPY (SELECT 1) TO 'x'", "found COPY"),
        ("SELEKT", "syntax error"),
        ("", "found nothing"),
    ],
)
def test_a_query_must_be_one_select(tmp_path: Path, query: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        read_items(SourceSpec(query=query), tmp_path)


def test_parquet_row_errors_are_counted_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", None, "", "one"]}), tmp_path / "rows.parquet")
    report = read_items(SourceSpec(path="rows.parquet"), tmp_path)
    assert [(e.line, e.reason) for e in report.errors] == [
        (2, "'text' is null"),
        (3, "'text' is empty"),
    ]
    assert [d.line for d in report.duplicates] == [4]


def test_fail_lists_the_first_five_errors(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", "x\n" * 7)
    with pytest.raises(ConfigError) as caught:
        read_items(SourceSpec(path="rows.jsonl", on_error="fail"), tmp_path)
    said = str(caught.value)
    assert "7 malformed" in said
    assert "rows.jsonl:5:" in said
    assert "rows.jsonl:6:" not in said
    assert "and 2 more" in said
    assert "on_error: skip" in said


def test_named_id_column_is_required_and_default_one_is_not(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"text": "hello"}\n')
    assert read_items(SourceSpec(path="rows.jsonl"), tmp_path).errors == ()
    named = SourceSpec(path="rows.jsonl", columns=Columns(id="id"))
    assert [e.reason for e in read_items(named, tmp_path).errors] == ["no id in 'id'"]


def test_named_metadata_must_be_plain(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"text": "hello", "votes": {"a": 1}, "x": 1, "y": 2}\n')
    nested = SourceSpec(path="rows.jsonl", columns=Columns(meta=("votes",)))
    assert "found an object" in read_items(nested, tmp_path).errors[0].reason
    plain = SourceSpec(path="rows.jsonl", columns=Columns(meta=("y",)))
    assert read_items(plain, tmp_path).items[0].meta == {"y": 2}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "no such file"),
        ("rows.xlsx", b"PK", "cannot tell the format"),
        ("rows.jsonl", b"\xff\xfe{\x00", "found UTF-16"),
        ("rows.csv", b"", "expected a header line"),
        ("rows.parquet", b"not parquet", "cannot read rows.parquet"),
        ("rows.jsonl.gz", b"\x1f\x8bbroken", "cannot read"),
    ],
)
def test_unreadable_sources_say_why(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        write(tmp_path, name, content)
    with pytest.raises(ConfigError, match=says):
        read_items(SourceSpec(path=name), tmp_path)


def test_batches_are_bounded_and_deduplicate_across_each_other(tmp_path: Path) -> None:
    write(
        tmp_path,
        "rows.jsonl",
        '{"text": "a"}\n{"text": "b"}\n{"text": "a"}\n?\n{"text": "c"}\n',
    )
    batches = list(iter_items(SourceSpec(path="rows.jsonl"), tmp_path, batch_size=2))
    assert [b.n_rows for b in batches] == [2, 2, 1]
    assert [len(b.items) for b in batches] == [2, 0, 1]
    assert (len(batches[1].duplicates), len(batches[1].errors)) == (1, 1)


def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    rows = "".join(f"{n},text {n}\n" for n in range(2000))
    write(tmp_path, "rows.csv", 'id,text\nx,"open\n' + rows)
    report = read_items(SourceSpec(path="rows.csv"), tmp_path)
    assert (len(report.items), [e.line for e in report.errors]) == (2000, [2])


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, max_size=8))
def test_jsonl_and_csv_agree_on_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("source")
    write(folder, "rows.jsonl", b"".join(orjson.dumps({"text": t}) + b"\n" for t in texts))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["n", "text"])
    writer.writerows((n, text) for n, text in enumerate(texts))
    write(folder, "rows.csv", out.getvalue())
    ours = read_items(SourceSpec(path="rows.jsonl"), folder)
    theirs = read_items(SourceSpec(path="rows.csv", columns=Columns(meta=())), folder)
    assert ours.items == theirs.items
    assert ours.n_rows == theirs.n_rows == len(texts)
    assert {i.text for i in ours.items} == {t for t in texts if not t.isspace()}


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from(["f.jsonl", "f.csv"]))
def test_hostile_bytes_are_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("source")
    write(folder, name, b"id,text\n" + content)
    try:
        report = read_items(SourceSpec(path=name), folder)
    except ConfigError:
        return
    assert report.n_rows == len(report.items) + len(report.duplicates) + len(report.errors)
    if name == "f.jsonl":
        assert report.n_rows == 1 + sum(bool(line.strip()) for line in content.split(b"\n"))
