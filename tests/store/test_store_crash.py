"""Writers killed at random moments, and many processes at once: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labelproof.store import TraceStore, open_store
from tests.store.store_helpers import start_python

WRITER = """
import sys
from labelproof.store import open_store
name, n_batches = sys.argv[2], int(sys.argv[3])
with open_store(sys.argv[1]) as store, store.background_drain(interval_s=0.02):
    for batch in range(n_batches):
        ids = [f"{name}-{batch}-{row}" for row in range(20)]
        store.append_many({
            "decisions": {"run_id": [name] * 20, "item_id": ids, "label": ["x"] * 20},
            "texts": {"text_hash": ids, "text": ids},
        })
        print(batch, flush=True)
"""
READER = """
import sys
from labelproof.store import open_store
seen = 0
with open_store(sys.argv[1]) as store:
    while True:
        row = store.query(
            "SELECT count(*) AS n, count(DISTINCT item_id) AS ids FROM decisions", fresh=True
        ).to_pylist()[0]
        assert row["n"] == row["ids"], row
        assert row["n"] >= seen and row["n"] % 20 == 0, (row, seen)
        seen = row["n"]
        print(seen, flush=True)
        if seen == int(sys.argv[2]):
            break
"""


def counts(store: TraceStore, table: str, column: str, name: str) -> tuple[int, int]:
    (row,) = store.query(
        f"SELECT count(*) AS n, count(DISTINCT {column}) AS ids FROM {table} WHERE starts_with({column}, ?)",
        [name + "-"],
    ).to_pylist()
    return row["n"], row["ids"]


def test_killed_writers_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    moments = random.Random(7)
    with open_store(tmp_path):
        pass
    for n in range(6):
        name = f"w{n}"
        writer = start_python(WRITER, str(tmp_path), name, "100000")
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"
        time.sleep(moments.uniform(0.0, 0.25))
        writer.kill()
        acknowledged = 1 + sum(line.endswith("\n") for line in writer.stdout)
        writer.communicate()
        with open_store(tmp_path) as store:
            assert store.drain_all(60).left == 0
            for table, column in [("decisions", "item_id"), ("texts", "text_hash")]:
                rows, ids = counts(store, table, column, name)
                assert rows == ids
                # The last batch may be durable without its acknowledgement having come through.
                assert rows in (acknowledged * 20, (acknowledged + 1) * 20)


def test_threads_of_one_process_read_append_and_drain_at_once(tmp_path: Path) -> None:
    problems: list[BaseException] = []
    with open_store(tmp_path) as store, open_store(tmp_path) as other:

        def write(name: int) -> None:
            for batch in range(8):
                ids = [f"{name}-{batch}-{row}" for row in range(5)]
                (store if name else other).append("decisions", {"item_id": ids})
                other.drain()

        def read() -> None:
            seen = 0
            while seen < 80:
                table = store.query("SELECT count(DISTINCT item_id), count(*) FROM decisions", fresh=True)
                ids, rows = (column[0].as_py() for column in table.columns)
                assert ids == rows
                assert rows >= seen
                seen = rows

        def guarded(act: Callable[..., None], *args: int) -> None:
            try:
                act(*args)
            except BaseException as problem:
                problems.append(problem)

        threads = [threading.Thread(target=guarded, args=args) for args in [(write, 0), (write, 1)]]
        threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert problems == []
        assert store.drain_all(30).left == 0
        assert store.query("FROM decisions").num_rows == 80


@pytest.mark.slow
def test_four_writers_and_a_reader_at_once(tmp_path: Path) -> None:
    n_batches = 30
    reader = start_python(READER, str(tmp_path), str(4 * n_batches * 20))
    writers = [start_python(WRITER, str(tmp_path), f"w{n}", str(n_batches)) for n in range(4)]
    for writer in writers:
        out, _ = writer.communicate()
        assert writer.returncode == 0
        assert out.split() == [str(n) for n in range(n_batches)]
    reader.communicate()
    assert reader.returncode == 0
    with open_store(tmp_path) as store:
        assert store.drain_all(60).left == 0
        for n in range(4):
            assert counts(store, "decisions", "item_id", f"w{n}") == (n_batches * 20, n_batches * 20)
