"""Labels are written whole or not at all; a spreadsheet runs nothing that came from an item."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.spec.errors import ConfigError, StoreError
from labelproof.store.interchange import format_of, write_labels

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROWS = pa.table(
    {
        "external_id": ["=cmd()", "b"],
        "text": ["-1+2", 'plain, with "quotes"\nand a line'],
        "confidence": [-0.5, None],
        "labels": [["a", "b"], []],
        "at": pa.array([AT, AT], pa.timestamp("us", tz="UTC")),
    }
)


def test_csv_guards_text_cells_and_leaves_numbers_alone(tmp_path: Path) -> None:
    assert write_labels(ROWS, tmp_path / "out.csv") == 2
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["external_id"] == "'=cmd()"
    assert rows[0]["text"] == "'-1+2"
    assert rows[0]["confidence"] == "-0.5"
    assert rows[0]["labels"] == '["a","b"]'
    assert rows[0]["at"] == "2026-01-02T03:04:05+00:00"
    assert rows[1]["text"] == ROWS["text"][1].as_py()
    assert rows[1]["confidence"] == ""


def test_guard_can_be_switched_off(tmp_path: Path) -> None:
    write_labels(ROWS, tmp_path / "out.csv", guard_formulas=False)
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("=cmd()")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_every_formula_start_is_guarded(tmp_path: Path, start: str) -> None:
    write_labels(pa.table({"text": [f"{start}x"]}), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert list(csv.reader(stream))[1] == [f"'{start}x"]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "text": st.text(st.characters(exclude_categories=["Cs"])),
                "confidence": st.none() | st.floats(0, 1),
                "audited": st.booleans(),
            }
        ),
        max_size=5,
    )
)
def test_jsonl_and_parquet_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    schema = pa.schema([("text", pa.string()), ("confidence", pa.float64()), ("audited", pa.bool_())])
    table = pa.Table.from_pylist(rows, schema=schema)
    write_labels(table, folder / "out.jsonl")
    lines = (folder / "out.jsonl").read_bytes().split(b"\n")[:-1]
    assert [orjson.loads(line) for line in lines] == rows
    write_labels(table, folder / "out.parquet")
    assert pq.read_table(folder / "out.parquet").to_pylist() == rows


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    unwritable = pa.table({"x": pa.array([b"\xff"], pa.binary())})
    with pytest.raises(TypeError):
        write_labels(unwritable, target)
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert target.read_text() == "old"


def test_an_unwritable_place_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_labels(ROWS, tmp_path / "file" / "out.csv")


def test_format_is_declared_or_read_off_the_name() -> None:
    assert format_of(Path("x.pq")) == "parquet"
    assert format_of(Path("x.dat"), "csv") == "csv"
    with pytest.raises(ConfigError, match=r"cannot tell the format of 'x\.xlsx'"):
        format_of(Path("x.xlsx"))
    with pytest.raises(ConfigError, match="unknown format 'xlsx'"):
        format_of(Path("x.csv"), "xlsx")
