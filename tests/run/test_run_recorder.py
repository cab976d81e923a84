"""The recorder writes every row once, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from agents.run.recorder import Recorder
from agents.run.rows import RunInfo
from agents.state import ItemState
from labelproof.spec.items import Item
from labelproof.store import TraceStore, open_store

RUN = RunInfo(run_id="r1", project="p", project_fp="pf", strategy="s", strategy_fp="sf", repeat_idx=0)


def decided(text: str, *, audited: bool) -> ItemState:
    state = ItemState(Item.of(text, external_id=text), label="ok", confidence=0.9)
    state.decision, state.reason, state.inclusion_prob, state.audited = "auto_accept", "sure", 0.5, audited
    return state


async def test_a_write_under_way_when_the_run_ends_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    write = Recorder._write

    def slow(
        self: Recorder, rows: Mapping[str, Sequence[tuple[object, ...]]], texts: Mapping[str, str]
    ) -> None:
        begun.set()
        assert go_on.wait(30)
        write(self, rows, texts)

    with open_store(tmp_path) as store:
        recorder = Recorder(store, RUN)
        recorder.start()
        recorder.decision(decided("a", audited=False))
        monkeypatch.setattr(Recorder, "_write", slow)
        assert await asyncio.to_thread(begun.wait, 30)
        closing = asyncio.create_task(recorder.aclose())
        await asyncio.sleep(0.05)
        go_on.set()
        await closing
        assert count(store, "decisions") == 1


@pytest.mark.parametrize(("purpose", "n"), [("label", 1), ("judge", 0)])
async def test_an_audited_item_becomes_a_blind_task_with_its_decision(
    tmp_path: Path, purpose: Literal["label", "judge"], n: int
) -> None:
    run = replace(RUN, purpose=purpose)
    with open_store(tmp_path) as store:
        recorder = Recorder(store, run)
        recorder.decision(decided("a", audited=True))
        recorder.decision(decided("b", audited=False))
        await recorder.aclose()
        assert (count(store, "decisions"), count(store, "review_tasks")) == (2 * n, n)
        for task in store.query("FROM review_tasks", fresh=True).to_pylist():
            assert (task["kind"], task["blind"], task["votes_wanted"]) == ("audit", True, 2)
            assert (task["inclusion_prob"], task["item_id"]) == (0.5, Item.of("a", external_id="a").id)


def count(store: TraceStore, table: str) -> int:
    return int(store.query(f"FROM {table}", fresh=True).num_rows)
