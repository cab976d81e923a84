"""Native connections outlive the store that made them, and carry nothing into the next one."""

from __future__ import annotations

from pathlib import Path

from labelproof.store import TraceStore, _gate, open_store


def used(store: TraceStore) -> list[str]:
    """Write, drain and read; returns the ids of all runs."""
    store.append("runs", {"run_id": [f"of {store.location.root.name}"]})
    store.drain_all()
    store.append("runs", {"run_id": ["waiting"]})
    found: list[str] = store.query("SELECT run_id FROM runs ORDER BY run_id", fresh=True)[
        "run_id"
    ].to_pylist()
    return found


def test_the_next_store_takes_the_connections_of_the_last_and_sees_nothing_of_it(tmp_path: Path) -> None:
    with open_store(tmp_path / "first") as store:
        assert used(store) == ["of first", "waiting"]
    kept = dict(_gate._spare)
    assert set(kept) == {"reader", "writer"}
    with open_store(tmp_path / "second") as store:
        assert used(store) == ["of second", "waiting"]
        assert _gate._spare == {}, "nobody else can take what is in use"
        shown = store.query("SELECT database_name AS name FROM duckdb_databases() WHERE NOT internal")
        assert sorted(shown["name"].to_pylist()) == ["memory", "trace"]
    assert _gate._spare == kept


def test_two_stores_at_once_have_connections_of_their_own_and_one_pair_is_kept(tmp_path: Path) -> None:
    with open_store(tmp_path / "first") as first, open_store(tmp_path / "second") as second:
        assert used(first) == ["of first", "waiting"]
        assert used(second) == ["of second", "waiting"]
    assert set(_gate._spare) == {"reader", "writer"}
    assert not _gate._files


def test_a_forked_child_takes_no_connection_of_its_parent(tmp_path: Path) -> None:
    with open_store(tmp_path / "first") as store:
        used(store)
    assert _gate._spare
    _gate._forget_in_child()
    assert _gate._spare == {}
    with open_store(tmp_path / "second") as store:
        assert used(store) == ["of second", "waiting"]
