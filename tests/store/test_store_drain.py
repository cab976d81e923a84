"""Draining is bounded, never doubles, and leaves alone what others hold."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from labelproof.spec.errors import StoreError
from labelproof.store import DrainReport, StoreBusy, TraceStore, open_store
from labelproof.store.engine import Cursor
from tests.store.store_helpers import decisions, start_python

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
connection.execute("FROM meta").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


def count(store: TraceStore, *, fresh: bool = False) -> int:
    return int(store.query("SELECT count(*) AS n FROM decisions", fresh=fresh)["n"][0].as_py())


def test_a_drain_is_bounded_by_segments_and_by_bytes(store: TraceStore) -> None:
    for n in range(7):
        store.append("decisions", decisions([f"i{n}"]))
    assert store.drain(max_segments=3) == DrainReport(drained=3, left=4)
    assert store.drain(max_bytes=1) == DrainReport(drained=1, left=3)
    assert store.drain_all(10) == DrainReport(drained=3, left=0)
    assert store.drain() == DrainReport(drained=0, left=0)
    assert count(store) == 7


def test_a_segment_left_by_a_crash_after_the_commit_is_not_drained_twice(store: TraceStore) -> None:
    store.append("decisions", decisions(["a", "b"]))
    (segment,) = store.location.outbox.glob("*.arrows")
    copy = shutil.copy(segment, store.location.root / "copy")
    store.drain()
    shutil.move(copy, segment)  # as if the process had died between commit and unlink
    assert count(store, fresh=True) == 2
    assert store.drain() == DrainReport(drained=1, left=0)
    assert count(store) == 2


def test_a_failed_drain_changes_nothing_and_the_next_succeeds(
    store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("decisions", decisions(["a"]))
    store.append("runs", {"run_id": ["r1"]})
    real = store._engine.write

    def break_after_insert(work: object, *, wait_s: float) -> object:
        def broken(cursor: Cursor) -> None:
            work(cursor)  # type: ignore[operator]
            raise RuntimeError("power cut")

        return real(broken, wait_s=wait_s)

    with monkeypatch.context() as patch:
        patch.setattr(store._engine, "write", break_after_insert)
        with pytest.raises(RuntimeError, match="power cut"):
            store.drain()
    assert count(store) == 0
    assert store.drain() == DrainReport(drained=2, left=0)
    assert count(store) == 1


def test_a_damaged_segment_is_set_aside_and_the_others_are_drained(
    store: TraceStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.append("decisions", decisions(["a"]))
    (bad,) = store.location.outbox.glob("*.arrows")
    bad.write_bytes(bad.read_bytes()[:-30])
    store.append("decisions", decisions(["b"]))
    assert store.drain() == DrainReport(drained=1, left=0)
    assert count(store) == 1
    assert bad.with_suffix(".damaged").exists()
    assert "damaged" in caplog.text


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_another_process_with_the_file_open_delays_draining_not_appending(
    store: TraceStore, mode: str
) -> None:
    holder = start_python(HOLD, store.location.target, mode)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store.append("decisions", decisions(["a"]))
        assert store.drain() == DrainReport(drained=0, left=1)
        if mode == "ro":
            assert count(store, fresh=True) == 1
        else:
            with pytest.raises(StoreBusy, match=str(holder.pid)):
                store._engine.read(lambda cursor: None, wait_s=0.05)
    finally:
        holder.kill()
        holder.communicate()
    assert store.drain(wait_s=5) == DrainReport(drained=1, left=0)


def test_a_reader_in_this_process_and_a_drain_wait_for_each_other(store: TraceStore) -> None:
    store.append("decisions", decisions(["a"]))
    inside, release = threading.Event(), threading.Event()

    def read_slowly(cursor: Cursor) -> int:
        inside.set()
        release.wait(10)
        return len(cursor.execute("FROM decisions").fetchall())

    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(store._engine.read(read_slowly)))
    reader.start()
    inside.wait(10)
    assert store.drain() == DrainReport(drained=0, left=1)
    release.set()
    assert store.drain(wait_s=10) == DrainReport(drained=1, left=0)
    reader.join()
    assert (seen, count(store)) == ([0], 1)


def test_the_background_thread_drains_while_the_block_runs(store: TraceStore) -> None:
    drained = threading.Event()
    real = store.drain

    def noting(**options: float) -> DrainReport:
        report = real(**options)  # type: ignore[arg-type]
        if report.drained:
            drained.set()
        return report

    store.drain = noting  # type: ignore[method-assign]
    with store.background_drain(interval_s=0.01) as background:
        store.append("decisions", decisions(["a"]))
        assert drained.wait(20)
        assert count(store) == 1
    assert background.cpu_s > 0


def test_the_block_drains_what_is_left_at_its_end(store: TraceStore) -> None:
    with store.background_drain(interval_s=1000):
        store.append("decisions", decisions(["a"]))
    assert count(store) == 1


def test_the_background_thread_outlives_a_failing_drain(
    store: TraceStore, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()
    real = store.drain

    def failing_once(**options: float) -> DrainReport:
        if not failed.is_set():
            failed.set()
            raise StoreError("disk full")
        return real(**options)  # type: ignore[arg-type]

    store.drain = failing_once  # type: ignore[method-assign]
    with store.background_drain(interval_s=0.01):
        store.append("decisions", decisions(["a"]))
        assert failed.wait(20)
    assert count(store) == 1
    assert "disk full" in caplog.text


def test_after_a_drain_no_log_is_left_for_readers_to_replay(store: TraceStore) -> None:
    store.append("decisions", decisions(["a"]))
    store.drain()
    assert not Path(f"{store.location.target}.wal").exists()


def test_two_stores_in_one_process_share_the_file(store: TraceStore, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as other:
        other.append("decisions", decisions(["a"]))
        assert store.drain().drained == 1
        assert count(other) == 1
    assert count(store) == 1
