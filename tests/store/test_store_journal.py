"""The call journal: a paid answer outlives its process, and is stored once."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelproof.spec.errors import StoreError
from labelproof.spec.hashing import digest_text
from labelproof.store import TraceStore, open_store
from labelproof.store.journal import JournalPart, journal_paths, read_journal
from tests.store.store_helpers import call, start_python

KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from labelproof.store import open_store
store = open_store(sys.argv[1])
journal = store.journal("r1")
rows = [
    dict(item_id="i1", step_key="k", call_idx=0, call_key=f"k{n}", response_text=f"answer k{n}",
         ts=datetime(2026, 1, 1, tzinfo=UTC))
    for n in range(3)
]
for row in rows:
    journal.write(row)
if sys.argv[2] == "appended":
    token = journal.rotate()
    journal.write({**rows[0], "call_key": "k3", "response_text": "answer k3"})
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "response_text"}
    store.append("calls", {"run_id": ["r1"] * 3, **columns})
if sys.argv[2] == "alive":
    print("alive", flush=True)
    sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def stored_keys(store: TraceStore) -> list[str]:
    keys: list[str] = store.query("SELECT call_key FROM calls ORDER BY 1")["call_key"].to_pylist()
    return keys


def append_calls(store: TraceStore, *keys: str) -> None:
    rows = [call(key) for key in keys]
    names = set(rows[0]) - {"response_text"}
    columns = {name: [row[name] for row in rows] for name in names}
    store.append("calls", {"run_id": ["r1"] * len(rows), **columns})


def files(store: TraceStore) -> list[Path]:
    return journal_paths(store.location.outbox)


@pytest.mark.parametrize(
    ("state", "keys"), [("journalled", ["k0", "k1", "k2"]), ("appended", ["k0", "k1", "k2", "k3"])]
)
def test_a_killed_process_calls_are_taken_over_once(tmp_path: Path, state: str, keys: list[str]) -> None:
    killed = start_python(KILLED, str(tmp_path), state)
    killed.communicate()
    with open_store(tmp_path) as store:
        assert [row["call_key"] for row in store.calls_for(["i1"])] == keys
        assert files(store) == []
        store.drain_all(10)
        assert stored_keys(store) == keys
        assert store.calls_for(["i1"])[-1]["response_text"] == f"answer {keys[-1]}"
    with open_store(tmp_path) as store:
        store.drain_all(10)
        assert stored_keys(store) == keys


def test_a_crash_while_taking_over_adds_nothing_twice(tmp_path: Path) -> None:
    killed = start_python(KILLED, str(tmp_path), "journalled")
    killed.communicate()
    (journal,) = journal_paths(tmp_path / "outbox")
    content = journal.read_bytes()
    with open_store(tmp_path) as store:
        journal.write_bytes(content)  # as if killed after the segment, before the deletion
        assert store.fold_orphans() == 0
        store.drain_all(10)
        journal.write_bytes(content)
        assert store.fold_orphans() == 0
        assert stored_keys(store) == ["k0", "k1", "k2"]


def test_a_living_processs_journal_is_read_but_not_taken(tmp_path: Path) -> None:
    alive = start_python(KILLED, str(tmp_path), "alive")
    try:
        assert alive.stdout is not None
        assert alive.stdout.readline() == "alive\n"
        with open_store(tmp_path) as store:
            assert store.fold_orphans() == 0
            assert len(store.calls_for(["i1"])) == 3
            assert len(files(store)) == 1
    finally:
        alive.kill()
        alive.communicate()
    with open_store(tmp_path) as store:
        assert files(store) == []
        assert len(store.calls_for(["i1"])) == 3


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_costs_that_line_only(tmp_path: Path, cut: int) -> None:
    start_python(KILLED, str(tmp_path), "journalled").communicate()
    (journal,) = journal_paths(tmp_path / "outbox")
    journal.write_bytes(journal.read_bytes()[:-cut])
    with open_store(tmp_path) as store:
        found = [row["call_key"] for row in store.calls_for(["i1"])]
        assert found == (["k0", "k1", "k2"] if cut == 1 else ["k0", "k1"])


def test_entries_vanish_only_after_their_calls_are_durable(store: TraceStore) -> None:
    journal = store.journal("r1")
    for key in ("k0", "k1"):
        journal.write(call(key))
    token = journal.rotate()
    journal.write(call("k2"))
    append_calls(store, "k0")
    journal.discard(token)  # k1 belongs to a batch that is not appended yet
    (path,) = files(store)
    assert [row["call_key"] for row in read_journal(path)] == ["k2", "k1"]
    append_calls(store, "k1", "k2")
    journal.discard(journal.rotate())
    assert files(store) == []
    assert [row["call_key"] for row in store.calls_for(["i1"])] == ["k0", "k1", "k2"]


def test_rotating_an_unused_journal_and_discarding_twice_do_nothing(store: TraceStore) -> None:
    journal = store.journal("r1")
    assert journal.rotate() is None
    journal.discard(None)
    journal.write(call("k0"))
    append_calls(store, "k0")
    token = journal.rotate()
    assert isinstance(token, JournalPart)
    journal.discard(token)
    journal.discard(token)
    assert files(store) == []


def test_closing_leaves_unstored_calls_for_the_next_opener(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.journal("r1").write(call("k0"))
        store.journal("r1").write(call("k1"))
        append_calls(store, "k1")
    with open_store(tmp_path) as store:
        store.drain_all(10)
        assert stored_keys(store) == ["k0", "k1"]
        (row,) = store.query("FROM calls WHERE call_key = 'k0'").to_pylist()
        assert (row["run_id"], row["response_hash"]) == ("r1", digest_text("answer k0"))


def test_a_short_write_is_reported_and_does_not_spoil_the_next_line(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    journal = store.journal("r1")
    journal.write(call("k0"))
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
        with pytest.raises(StoreError, match="took 10 of"):
            journal.write(call("k1"))
    journal.write(call("k2"))
    (path,) = files(store)
    assert [row["call_key"] for row in read_journal(path)] == ["k0", "k2"]


@pytest.mark.parametrize("row", [{"answer": "x"}, {"call_key": {1}}, {"response_text": "\ud800"}])
def test_a_line_that_is_not_a_call_is_refused(store: TraceStore, row: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="journal line"):
        store.journal("r1").write(row)


def test_a_journal_that_cannot_become_rows_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(tmp_path) as store:
        store.journal("r1").write(call("k0", tokens_in="many"))
    with open_store(tmp_path) as store:
        assert files(store) == []
        assert len(list(store.location.outbox.glob("*.damaged"))) == 1
    assert "set aside" in caplog.text
