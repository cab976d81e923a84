"""Fresh reads, current views, and the two look-ups a resumed run lives on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labelproof.spec.errors import StoreError
from labelproof.store import TraceStore, default_store, open_store
from tests.store.store_helpers import at, call, decisions


def step(item: str, key: str, **more: Any) -> dict[str, Any]:
    row = {"run_id": "r1", "item_id": item, "step_key": key, "spec_fp": "f1", "status": "ok"}
    return {**row, "repeat_idx": 0, "seq": 0, "ts": at(0), "output_json": "{}", **more}


def append_rows(store: TraceStore, table: str, *rows: dict[str, Any]) -> None:
    store.append(table, {name: [row[name] for row in rows] for name in rows[0]})


def test_fresh_reads_see_waiting_rows_once_in_tables_and_views(store: TraceStore) -> None:
    store.append("decisions", decisions(["a", "b"], second=1, label="old"))
    store.drain()
    store.append("decisions", decisions(["b", "c"], second=2, label="new"))
    assert store.query("FROM decisions").num_rows == 2
    assert store.query("FROM decisions", fresh=True).num_rows == 4
    current = store.query("FROM current_decisions ORDER BY item_id", fresh=True)
    assert current["label"].to_pylist() == ["old", "new", "new"]


def test_parameters_are_bound_by_position_and_by_name(store: TraceStore) -> None:
    store.append("decisions", decisions(["a'b", "c"]))
    by_position = store.query("FROM decisions WHERE item_id = ?", ["a'b"], fresh=True)
    by_name = store.query("FROM decisions WHERE item_id = $id", {"id": "c"}, fresh=True)
    assert (by_position.num_rows, by_name.num_rows) == (1, 1)


def test_queries_cannot_write_and_do_not_see_python_variables(store: TraceStore) -> None:
    hidden = store.query("SELECT 1 AS a")
    assert hidden.num_rows == 1
    with pytest.raises(StoreError, match="read-only"):
        store.query("DROP TABLE steps")
    with pytest.raises(StoreError, match="does not exist"):
        store.query("FROM hidden")
    with pytest.raises(StoreError, match="labelproof sql --schema"):
        store.query("SELECT run_id, no_such_column FROM runs")


def test_a_slow_query_prints_no_progress_bar_into_the_output(store: TraceStore) -> None:
    setting = store.query("SELECT current_setting('enable_progress_bar') AS bar")
    assert setting["bar"].to_pylist() == [False]


def test_steps_for_returns_the_newest_good_step_of_the_asked_items_and_specs(
    store: TraceStore,
) -> None:
    append_rows(
        store,
        "steps",
        step("a", "k1", output_json="old"),
        step("a", "k2", status="failed"),
        step("a", "k3", spec_fp="f2"),
        step("a", "k4", repeat_idx=1),
        step("b", "k1", output_json="b's", seq=1),
        step("b", "k1", output_json=None, cache_hit=True, seq=1, ts=at(9)),
        step("z", "k1"),
    )
    store.drain()
    append_rows(store, "steps", step("a", "k1", output_json="new", ts=at(5)))
    found = store.steps_for(["a", "b"], ["f1"], 0)
    assert [(row["item_id"], row["output_json"]) for row in found] == [("a", "new"), ("b", "b's")]
    assert store.steps_for([], ["f1"], 0) == store.steps_for(["a"], [], 0) == []


def test_calls_for_finds_calls_in_database_outbox_and_journal_once(store: TraceStore) -> None:
    for key in ("k1", "k2"):
        append_rows(
            store,
            "calls",
            {"run_id": "r1", "item_id": "i1", "step_key": "k", "call_idx": 0, "call_key": key}
            | {"response_hash": f"h{key}"},
        )
        store.append("texts", {"text_hash": [f"h{key}"], "text": [f"answer {key}"]})
        if key == "k1":
            store.drain()
    journal = store.journal("r1")
    for key in ("k2", "k3"):
        journal.write(call(key))
    journal.write(call("k9", item_id="other"))
    found = {row["call_key"]: row["response_text"] for row in store.calls_for(["i1"])}
    assert found == {"k1": "answer k1", "k2": "answer k2", "k3": "answer k3"}
    assert len(store.calls_for(["i1"])) == 3
    assert store.calls_for([]) == []


def test_current_runs_shows_state_first_start_and_latest_summary(store: TraceStore) -> None:
    for second, event, summary in [(0, "started", None), (5, "stopped", "{}"), (9, "resumed", None)]:
        append_rows(
            store,
            "runs",
            {"run_id": "r1", "ts": at(second), "event": event, "n_items": 3}
            | {"summary_json": summary, "reason": "budget" if event == "stopped" else None},
        )
    (row,) = store.query("FROM current_runs", fresh=True).to_pylist()
    assert (row["state"], row["started_at"], row["changed_at"]) == ("resumed", at(0), at(9))
    assert (row["summary_json"], row["stop_reason"], row["n_resumed"]) == ("{}", "budget", 1)


def test_item_trace_lists_steps_in_order_without_repeats(store: TraceStore) -> None:
    append_rows(
        store,
        "steps",
        step("a", "k2", seq=1),
        step("a", "k1", seq=0, output_json="old"),
        step("a", "k1", seq=0, output_json="new", ts=at(1)),
    )
    trace = store.query("SELECT seq, output_json FROM item_trace WHERE item_id = 'a'", fresh=True)
    assert trace.to_pydict() == {"seq": [0, 1], "output_json": ["new", "{}"]}


def test_a_certificates_latest_event_is_its_state(store: TraceStore) -> None:
    append_rows(store, "certificates", {"certificate_id": "c1", "project": "p", "ts": at(0)})
    for second, event in [(1, "issued"), (2, "suspended")]:
        append_rows(
            store,
            "certificate_events",
            {"certificate_id": "c1", "event": event, "reason": event, "ts": at(second)},
        )
    (row,) = store.query("FROM current_certificates", fresh=True).to_pylist()
    assert (row["state"], row["changed_at"]) == ("suspended", at(2))


def test_a_secret_is_made_once_and_is_the_stores_own(store: TraceStore, tmp_path: Path) -> None:
    first = store.secret("spotlight")
    with open_store(tmp_path / "store") as again, open_store(tmp_path / "elsewhere") as elsewhere:
        assert again.secret("spotlight") == first
        assert elsewhere.secret("spotlight") != first
    assert store.secret("other") != first
    assert len(first) == 32


def test_the_default_store_is_named_by_the_environment_or_lies_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABELPROOF_STORE", raising=False)
    assert default_store() == str(tmp_path / ".labelproof" / "store")
    monkeypatch.setenv("LABELPROOF_STORE", "ducklake:sqlite:/x?data=/y")
    assert default_store() == "ducklake:sqlite:/x?data=/y"


def test_a_held_store_answers_many_queries_from_one_opening_and_sees_what_is_appended(
    store: TraceStore,
) -> None:
    store.append("decisions", decisions(["a"]))
    store.drain()
    with store.held(), store.held():
        assert store.query("FROM decisions").num_rows == 1
        store.append("decisions", decisions(["b"]))
        assert store.query("FROM decisions", fresh=True).num_rows == 2
        assert store.query("FROM decisions").num_rows == 1
    assert store.drain(wait_s=5.0).drained == 1
    assert store.query("FROM decisions").num_rows == 2


def test_a_held_file_keeps_writers_out_until_the_block_ends_also_by_an_error(tmp_path: Path) -> None:
    with open_store(tmp_path) as store, open_store(tmp_path) as other:
        other.append("decisions", decisions(["a"]))
        with pytest.raises(ValueError, match="in between"), store.held():
            assert other.drain().drained == 0
            raise ValueError("in between")
        assert other.drain(wait_s=5.0).drained == 1
