"""The frozen items that are asked anew after every run: what changes on them is the model, not the traffic."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from agents.run.drive import drive
from agents.run.probe import ProbeSession
from agents.run.session import LabelRequest
from agents.run.workload import Workload, read_sources
from agents.state import ItemState
from labelproof.spec.errors import LabelproofError
from labelproof.spec.hashing import digest
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

GOLD_SPLITS = ("test", "certify")
"""Gold that no strategy learns from."""
_FROZEN = """SELECT sentinel_fp, item_id, any_value(gold_label) AS gold_label, min(ts) AS ts FROM sentinels
WHERE project = ? GROUP BY ALL ORDER BY ts, sentinel_fp, item_id
"""
_TEXTS = """WITH wanted AS (SELECT unnest($ids) AS item_id)
SELECT i.item_id, any_value(i.external_id) AS external_id, any_value(i.meta_json) AS meta_json, any_value(t.text) AS text
FROM items AS i SEMI JOIN wanted USING (item_id) JOIN texts AS t USING (text_hash)
WHERE i.project = $project GROUP BY i.item_id
"""
_ASKED = """SELECT max(ts) AS latest, count(DISTINCT run_id) FILTER (strategy_fp = ? AND sentinel_fp = ?) AS n
FROM sentinel_answers WHERE project = ?
"""
_CALLS = """SELECT item_id, arg_max(provider_fingerprint, ts) AS mark,
       CASE WHEN bool_and(cost_usd IS NOT NULL) THEN sum(cost_usd) END AS cost_usd
FROM calls WHERE run_id = ? AND item_id IN (SELECT unnest(?)) AND ts >= ? GROUP BY item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelSet:
    """A version of the frozen set. ``gold``: item id -> label, of those that have one. ``said``: what to tell."""

    fingerprint: str
    item_ids: tuple[str, ...]
    gold: Mapping[str, str]
    said: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAsk:
    """What became of asking. ``n_answers`` 0 and ``note`` why not, when nothing was asked or it was not finished."""

    sentinel_fp: str | None
    run_id: str | None
    n_answers: int
    cost_usd: float | None
    note: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "sentinel_fp": self.sentinel_fp,
            "run_id": self.run_id,
            "n_answers": self.n_answers,
            "cost_usd": self.cost_usd,
            "note": self.note,
        }


def freeze(
    store: TraceStore, folder: ProjectFolder, n: int, seed: int = 0, *, now: datetime | None = None
) -> SentinelSet:
    """Return the project's frozen set of ``n`` items, drawn and stored once; another ``n`` makes a new version.

    From gold of the splits no strategy learns from, then from items without gold; never from examples or calibration.
    """
    known = _latest(store, folder.name)
    if known is not None and len(known.item_ids) == n:
        return known
    sources = read_sources(folder)
    rows = sources.gold.rows if sources.gold is not None else ()
    gold = {row.item_id: row.label for row in rows if row.split in GOLD_SPLITS}
    taught = {row.item_id for row in rows} - set(gold)
    by_id = {item.id: item for item in (*sources.read.items, *(sources.gold.items if sources.gold else ()))}
    rng = random.Random(seed)
    first = sorted(item for item in gold if item in by_id)
    rest = sorted(item.id for item in sources.read.items if item.id not in gold and item.id not in taught)
    chosen = rng.sample(first, min(n, len(first)))
    chosen += rng.sample(rest, min(n - len(chosen), len(rest)))
    if known is not None and len(chosen) == len(known.item_ids) and len(chosen) < n:
        return known  # there are no more items than those frozen
    fingerprint = digest({"project": folder.name, "items": sorted(chosen)})
    found = SentinelSet(
        fingerprint=fingerprint,
        item_ids=tuple(sorted(chosen)),
        gold={item: gold[item] for item in chosen if item in gold},
        said=None
        if known is None
        else (
            f"the sentinel set is a new version: {len(chosen)} items instead of {len(known.item_ids)}; comparisons begin anew"
        ),
    )
    if chosen:
        _store(store, folder, found, [by_id[item] for item in found.item_ids], seed, now or datetime.now(UTC))
    return found


async def ask_sentinels(
    work: Workload,
    store: TraceStore,
    *,
    after_run_id: str,
    left_usd: float | None = None,
    flow_run_id: str | None = None,
    now: datetime | None = None,
) -> SentinelAsk | None:
    """Ask the frozen items anew and store the answers; None when the project has no sentinel set.

    For the end of a production run of ``work``: whatever happens here is a note, never the run's failure.
    ``left_usd``: what the run's budget has left.
    """
    policy = work.folder.spec.monitoring.sentinel
    if policy.items == 0:
        return None
    try:
        return await _ask(work, store, after_run_id, left_usd, flow_run_id, now or datetime.now(UTC))
    except LabelproofError as error:
        note = f"the sentinel set was not asked: {error.message}"
    except Exception as error:  # noqa: BLE001  # a watch never harms what it watches
        note = f"the sentinel set was not asked: {type(error).__name__}: {error}"[:300]
    return SentinelAsk(sentinel_fp=None, run_id=None, n_answers=0, cost_usd=None, note=note)


async def _ask(
    work: Workload,
    store: TraceStore,
    after_run_id: str,
    left_usd: float | None,
    flow_run_id: str | None,
    now: datetime,
) -> SentinelAsk:
    policy = work.folder.spec.monitoring.sentinel
    frozen = await asyncio.to_thread(freeze, store, work.folder, policy.items, now=now)
    version = work.resolved.fingerprint
    asked = await asyncio.to_thread(
        store.query, _ASKED, [version, frozen.fingerprint, work.folder.name], fresh=True
    )
    (row,) = asked.to_pylist()
    skip = None
    if not frozen.item_ids:
        skip = "no item can be frozen: all of them teach the strategy"
    elif left_usd is not None and left_usd <= 0:
        skip = "nothing is left of the run's budget"
    elif row["n"] and row["latest"] is not None and now - row["latest"] < timedelta(hours=policy.every_hours):
        skip = f"asked at {row['latest']:%Y-%m-%d %H:%M}, again after {policy.every_hours:g} hours"
    if skip is not None:
        return SentinelAsk(sentinel_fp=frozen.fingerprint, run_id=None, n_answers=0, cost_usd=None, note=skip)
    items = await asyncio.to_thread(_items, store, work.folder.name, frozen.item_ids)
    states: list[ItemState] = []
    request = LabelRequest(
        project=work.folder.name, strategy=work.strategy.name, max_cost_usd=left_usd, queue=False
    )
    session = _SentinelSession(
        work,
        items,
        request=request,
        store=store,
        judged=states.extend,
        flow_run_id=flow_run_id,
        repeat=int(now.timestamp() * 1e6),
        after_run_id=after_run_id,
    )
    summary = await drive(session)
    assert summary is not None  # nobody to hand over to
    if summary.get("stopped"):
        note = f"the sentinel set was not asked to the end: {summary['stopped']}"
        return SentinelAsk(
            sentinel_fp=frozen.fingerprint,
            run_id=session.run.run_id,
            n_answers=0,
            cost_usd=summary["cost_usd"],
            note=note,
        )
    await asyncio.to_thread(_store_answers, store, session, frozen, states, int(row["n"]), now)
    return SentinelAsk(
        sentinel_fp=frozen.fingerprint,
        run_id=session.run.run_id,
        n_answers=len(states),
        cost_usd=summary["cost_usd"],
        note=frozen.said,
    )


class _SentinelSession(ProbeSession):
    """A session that fits from stored answers, as the run before it did, and then asks every item anew."""

    def __init__(
        self, work: Workload, items: Sequence[Item], *, repeat: int, after_run_id: str, **more: Any
    ) -> None:
        self._repeat = repeat
        super().__init__(work, items, **more)
        self.params |= {"purpose": "sentinel", "after": after_run_id, "asked": repeat}
        self.asked_at = datetime.now(UTC)

    async def fit(self) -> list[Any]:
        fitted = await super().fit()
        # Answers of a number nobody used before are in no cache.
        self.engine.recorder.run = replace(self.run, repeat_idx=self._repeat)
        self.engine.recorded.clear()
        return fitted


def _latest(store: TraceStore, project: str) -> SentinelSet | None:
    rows = store.query(_FROZEN, [project], fresh=True, only=("sentinels",)).to_pylist()
    if not rows:
        return None
    fingerprint = rows[-1]["sentinel_fp"]
    own = [row for row in rows if row["sentinel_fp"] == fingerprint]
    return SentinelSet(
        fingerprint=fingerprint,
        item_ids=tuple(sorted(row["item_id"] for row in own)),
        gold={row["item_id"]: row["gold_label"] for row in own if row["gold_label"] is not None},
    )


def _store(
    store: TraceStore,
    folder: ProjectFolder,
    frozen: SentinelSet,
    items: Sequence[Item],
    seed: int,
    now: datetime,
) -> None:
    """Store the set, and the texts of those items that no run has stored yet."""
    from labelproof.spec.hashing import digest_text

    n_gold = len(frozen.gold)
    design = orjson.dumps(
        {"draw": "simple random", "seed": seed, "gold": n_gold, "items": len(items) - n_gold}
    ).decode()
    hashes = [digest_text(item.text) for item in items]
    known = set(
        store.query("SELECT DISTINCT item_id FROM items WHERE project = ?", [folder.name], fresh=True)[
            "item_id"
        ].to_pylist()
    )
    new = [(item, text) for item, text in zip(items, hashes, strict=True) if item.id not in known]
    tables: dict[str, dict[str, Sequence[Any]]] = {
        "sentinels": {
            "sentinel_fp": [frozen.fingerprint] * len(items),
            "project": [folder.name] * len(items),
            "item_id": [item.id for item in items],
            "gold_label": [frozen.gold.get(item.id) for item in items],
            "design": [design] * len(items),
            "ts": [now] * len(items),
        }
    }
    if new:
        tables["items"] = {
            "item_id": [item.id for item, _ in new],
            "external_id": [item.external_id for item, _ in new],
            "project": [folder.name] * len(new),
            "text_hash": [text for _, text in new],
            "meta_json": [orjson.dumps(dict(item.meta)).decode() for item, _ in new],
            "source": ["sentinel"] * len(new),
            "ts": [now] * len(new),
        }
        tables["texts"] = {
            "text_hash": [text for _, text in new],
            "text": [item.text for item, _ in new],
        }
    store.append_many(tables)


def _items(store: TraceStore, project: str, ids: Sequence[str]) -> list[Item]:
    """Return the frozen items as they were stored, whatever has become of their source."""
    rows = store.query(_TEXTS, {"ids": list(ids), "project": project}, fresh=True).to_pylist()
    return sorted(
        (
            Item(
                id=row["item_id"],
                external_id=row["external_id"] or row["item_id"],
                text=row["text"],
                meta=orjson.loads(row["meta_json"]) if row["meta_json"] else {},
            )
            for row in rows
        ),
        key=lambda item: item.id,
    )


def _store_answers(
    store: TraceStore,
    session: _SentinelSession,
    frozen: SentinelSet,
    states: Sequence[ItemState],
    n_before: int,
    now: datetime,
) -> None:
    ids = [state.item.id for state in states]
    calls = store.query(_CALLS, [session.run.run_id, ids, session.asked_at], fresh=True).to_pylist()
    of = {row["item_id"]: row for row in calls}
    n = len(states)
    good = [state.failure is None and state.label is not None for state in states]
    store.append(
        "sentinel_answers",
        {
            "sentinel_fp": [frozen.fingerprint] * n,
            "project": [session.run.project] * n,
            "run_id": [session.run.run_id] * n,
            "after_run_id": [session.params["after"]] * n,
            "strategy_fp": [session.run.strategy_fp] * n,
            "item_id": ids,
            "label": [s.label if ok else None for s, ok in zip(states, good, strict=True)],
            "confidence": [s.confidence if ok else None for s, ok in zip(states, good, strict=True)],
            "provider_fingerprint": [of.get(item, {}).get("mark") for item in ids],
            "repeat_idx": [n_before] * n,
            "cost_usd": [of[item]["cost_usd"] if item in of else 0.0 for item in ids],
            "ts": [now] * n,
        },
    )
