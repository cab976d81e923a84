"""What goes in comes out, and what does not fit is refused whole."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelproof.spec.errors import StoreError
from labelproof.store import TraceStore, open_store
from labelproof.store.schema import TABLES
from tests.store.store_helpers import at, decisions

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = {
    "VARCHAR": TEXT,
    "DOUBLE": st.floats(allow_nan=False),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "BOOLEAN": st.booleans(),
    "TIMESTAMPTZ": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
}
ROW = st.fixed_dictionaries({c.name: st.none() | VALUES[c.type] for c in TABLES["calls"].columns})


def test_rows_survive_outbox_and_drain_unchanged(store: TraceStore) -> None:
    examples = itertools.count()

    @settings(max_examples=25, deadline=None)
    @given(rows=st.lists(ROW, min_size=1, max_size=4))
    def round_trip(rows: list[dict[str, object]]) -> None:
        run = f"r{next(examples)}"
        rows = [{**row, "run_id": run, "call_key": str(n)} for n, row in enumerate(rows)]
        store.append("calls", {name: [row[name] for row in rows] for name in rows[0]})
        stored = "FROM calls WHERE run_id = ? ORDER BY call_key"
        assert store.query(stored, [run], fresh=True).to_pylist() == rows
        assert store.drain().left == 0
        assert store.query(stored, [run]).to_pylist() == rows

    round_trip()


def test_control_characters_and_nul_are_kept(store: TraceStore) -> None:
    nasty = "a\x00b\x1b[2J\u200b\ufeff\u202e\U0001f600'\"\\\r\n"
    store.append("texts", {"text_hash": ["h"], "text": [nasty]})
    store.drain()
    assert store.query("SELECT text FROM texts").to_pylist() == [{"text": nasty}]


def test_missing_columns_are_null(store: TraceStore) -> None:
    store.append("runs", {"run_id": ["r1"]})
    (row,) = store.query("FROM runs", fresh=True).to_pylist()
    assert row.pop("run_id") == "r1"
    assert set(row.values()) == {None}


def test_a_batch_is_one_file_and_all_its_tables_appear_together(store: TraceStore) -> None:
    store.append_many({"decisions": decisions(["a"]), "runs": {"run_id": ["r1"]}})
    outbox = store.location.outbox
    assert len(list(outbox.glob("*.arrows"))) == 1
    store.drain(max_segments=1)
    assert list(outbox.glob("*.arrows")) == []
    assert store.query("SELECT count(*) AS n FROM decisions, runs").to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("decision", {"item_id": ["a"]}, "event tables"),
        ("ledger_batches", {"batch_id": ["a"]}, "event tables"),
        ("decisions", {"item": ["a"]}, "no column 'item'"),
        ("decisions", {"item_id": ["a"], "label": []}, "equally long"),
        ("decisions", {"item_id": ["a", 7]}, "row 1: 7"),
        ("decisions", {"confidence": [0.5, "high"]}, "row 1: 'high'"),
        ("decisions", {"label": ["\ud800"]}, "decisions.label"),
        ("decisions", {"ts": ["2026-01-01"]}, "decisions.ts"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(
    store: TraceStore, table: str, columns: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        store.append_many({"runs": {"run_id": ["r1"]}, table: columns})
    assert store.query("FROM runs", fresh=True).num_rows == 0


def test_an_empty_append_writes_nothing(store: TraceStore) -> None:
    store.append("decisions", {"item_id": []})
    store.append_many({})
    assert list(store.location.outbox.glob("*.arrows")) == []


def test_a_text_is_stored_once(store: TraceStore, tmp_path: Path) -> None:
    texts = {"text_hash": ["h1", "h2", "h1"], "text": ["one", "two", "one"]}
    store.append("texts", texts)
    store.append("texts", texts)
    with open_store(tmp_path / "store") as other:  # knows nothing of the first one's writes
        other.append("texts", texts)
    store.drain()
    assert store.query("SELECT text FROM texts ORDER BY text")["text"].to_pylist() == ["one", "two"]
    with open_store(tmp_path / "store") as other:
        other.append("texts", texts)
        other.drain()
    assert store.query("FROM texts").num_rows == 4
    assert store.query("FROM text_by_hash").num_rows == 2


def test_a_text_refused_by_the_disk_is_not_taken_for_stored(store: TraceStore) -> None:
    folder = store.location.outbox
    moved = folder.rename(folder.with_name("gone"))
    with pytest.raises(StoreError, match="could not be written"):
        store.append("texts", {"text_hash": ["h"], "text": ["t"]})
    moved.rename(folder)
    store.append("texts", {"text_hash": ["h"], "text": ["t"]})
    assert store.query("FROM texts", fresh=True).num_rows == 1


def test_leftovers_of_killed_writers_are_removed_after_an_hour(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    old, new = outbox / ".tmp-old", outbox / ".tmp-new"
    old.touch()
    new.touch()
    os.utime(old, (at(0).timestamp(), at(0).timestamp()))
    with open_store(tmp_path):
        assert (old.exists(), new.exists()) == (False, True)


def test_a_writer_may_rename_its_file_while_another_process_opens_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path):
        gone = tmp_path / "outbox" / ".tmp-renamed"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone] if pattern == ".tmp-*" else []))
    with open_store(tmp_path) as store:
        assert store.append("texts", {"text_hash": ["h"], "text": ["t"]})
