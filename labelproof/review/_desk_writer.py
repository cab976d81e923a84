"""Votes into durable segments: those that arrive together share one, and each waits for its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from labelproof.review.model import Vote
from labelproof.store import TraceStore

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> rows."""
_STOP_WAIT_S = 30.0


def vote_row(vote: Vote) -> dict[str, Any]:
    """Return a vote as a row of ``votes``."""
    return {
        "vote_id": vote.vote_id,
        "project": vote.project,
        "task_id": vote.task_id,
        "item_id": vote.item_id,
        "annotator": vote.annotator,
        "role": vote.role,
        "answer": vote.answer,
        "label": vote.label,
        "note": vote.note,
        "source": vote.source,
        "seconds": vote.seconds,
        "ts": vote.at,
        "signature": vote.signature,
    }


@dataclass(slots=True)
class _Ask:
    rows: Rows
    done: Future[None] = field(default_factory=Future)


class GroupWriter:
    """A thread that appends what waits as one segment: one fsync for all who are waiting.

    While one segment is on its way to the disk the next one fills, so twenty people who answer at the same moment
    cost two segments, not twenty.
    """

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._asked: SimpleQueue[_Ask | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="labelproof-votes", daemon=True)
        self._closed = False
        self._lock = threading.Lock()
        self.n_segments = 0
        self._thread.start()

    def submit(self, rows: Rows) -> Future[None]:
        """Return a future that is done when ``rows`` are durable; it raises what the store raised."""
        ask = _Ask(rows)
        with self._lock:
            if self._closed:
                raise RuntimeError("the desk is closed")
            self._asked.put(ask)
        return ask.done

    def close(self) -> None:
        """Write what waits and stop."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._asked.put(None)
        self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        while True:
            first = self._asked.get()
            if first is None:
                return
            asks, stop = [first], False
            while True:
                try:
                    more = self._asked.get_nowait()
                except Empty:
                    break
                if more is None:
                    stop = True
                    break
                asks.append(more)
            self._write(asks)
            if stop:
                return

    def _write(self, asks: Sequence[_Ask]) -> None:
        tables: dict[str, list[Mapping[str, Any]]] = {}
        for ask in asks:
            for name, rows in ask.rows.items():
                tables.setdefault(name, []).extend(rows)
        try:
            self._store.append_many({name: _columns(rows) for name, rows in tables.items() if rows})
        except BaseException as error:  # noqa: BLE001 - every waiting person is told
            if len(asks) == 1:
                asks[0].done.set_exception(error)
            else:  # one row that cannot be stored takes nobody else's with it; stored twice is stored once
                for ask in asks:
                    self._write([ask])
            return
        self.n_segments += 1
        for ask in asks:
            ask.done.set_result(None)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}
