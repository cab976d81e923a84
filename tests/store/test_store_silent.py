"""Native connections print nothing: DuckDB would draw a progress bar on stdout in an interactive Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.store_helpers import start_python

WATCHED = """
import sys
import duckdb

opened, native = [], duckdb.connect

class Watched:
    def __init__(self, connection):
        self.__dict__["connection"] = connection
        opened.append(self)
    def execute(self, sql, *rest):
        if "enable_progress_bar" not in sql:
            (shown,) = self.connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
            assert not shown, f"a progress bar may be drawn over: {sql}"
        return self.connection.execute(sql, *rest)
    def __getattr__(self, name):
        return getattr(self.connection, name)

duckdb.connect = lambda *given, **named: Watched(native(*given, **named))
"""
STORE = """
from labelproof.store import open_store
with open_store(sys.argv[1]) as store:
    store.append("decisions", {"item_id": ["a"]})
    assert store.drain_all(60).left == 0
    assert store.query("SELECT count(*) AS n FROM decisions").to_pylist() == [{"n": 1}]
"""
SOURCE = """
from labelproof.store.interchange._duck import connect_for, connect_for_query, extension_problem
from pathlib import Path
with connect_for([sys.argv[1]]) as one, connect_for_query("SELECT 1", Path(sys.argv[1])) as other:
    one.execute("SELECT 1")
    other.execute("SELECT 1")
assert extension_problem("httpfs") is None
"""
SHOWN = "(shown,) = native().execute(\"SELECT current_setting('enable_progress_bar')\").fetchone()\nprint(len(opened) > 0, shown)"


@pytest.mark.parametrize(
    ("work", "where"),
    [(STORE, "{}"), (STORE, "ducklake:sqlite:{}/catalog.sqlite?data={}/data"), (SOURCE, "{}")],
    ids=["file", "lake", "source"],
)
def test_no_connection_starts_work_while_it_would_draw_a_progress_bar(
    work: str, where: str, tmp_path: Path
) -> None:
    started = start_python(WATCHED + work + SHOWN, where.replace("{}", str(tmp_path)))
    assert started.communicate()[0] == "True True\n", "opened; and DuckDB alone would have drawn one here"
    assert started.returncode == 0
