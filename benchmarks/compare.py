"""Comparing two strategies over a million stored items: ``python -m benchmarks.compare`` prints seconds by phase.

The store is synthetic: every item has a text, metadata, a gold label, a decision of A in one run and an answer of B
as an experiment's arm, each with two steps. Beside the comparison the same process times the floor: a plain
``SELECT count(*)`` of the join of gold and both sides' answers, which any reader must pay. CPU seconds are of all
threads; with n free cores the wall clock shows at least CPU / n, on a busy machine many times more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from labelproof.report.compare.build import compare, record
from labelproof.report.compare.timing import PhaseTimes
from labelproof.spec.project import find_project
from labelproof.store import TraceStore, open_store

CLASSES = ("safe", "hate", "spam", "threat", "minor_safety")
SHARES = (0.7, 0.12, 0.1, 0.06, 0.02)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BATCH = 100_000
_RIGHT = {"a": 0.86, "b": 0.88}
FLOOR = """
SELECT count(*) AS n FROM gold AS g
JOIN decisions AS a ON a.item_id = g.item_id AND a.strategy_fp = 'b2:aaaa'
JOIN arm_answers AS b ON b.item_id = g.item_id AND b.strategy_fp = 'b2:bbbb'
WHERE g.gold_fp = 'b2:9999' AND g.split = 'test'
"""
PROJECT = """
name: million
labels: {classes: [{name: safe}, {name: hate}, {name: spam}, {name: threat}, {name: minor_safety, severity: critical}]}
items: {path: items.jsonl}
gold: {path: gold.jsonl, split_column: split}
experiments:
  primary: accuracy
  secondary: [macro_f1]
  guardrails: [{metric: "recall:minor_safety", margin: 0.01}, {metric: failed_rate, margin: 0.01}]
  slices: [lang, source]
"""


def ids(n: int, rng: np.random.Generator) -> pa.Array:
    """Return ``n`` item ids of the store's form."""
    raw = rng.bytes(20 * n).hex()
    return pa.array(["b2:" + raw[i : i + 40] for i in range(0, 40 * n, 40)])


def constant(value: Any, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), n)


def names(codes: np.ndarray[Any, Any], values: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(values)).cast(pa.string())


def make_store(store: TraceStore, n_items: int, seed: int = 7) -> None:
    """Append everything a comparison of ``n_items`` items reads, and drain it."""
    rng = np.random.default_rng(seed)
    _registered(store, n_items)
    for start in range(0, n_items, BATCH):
        n = min(BATCH, n_items - start)
        store.append_many(_batch(n, start, rng))
        store.drain_all(600)


def _registered(store: TraceStore, n_items: int) -> None:
    sides = (("champion", "b2:aaaa", "run-a"), ("candidate", "b2:bbbb", "run-b"))
    snapshot = '{"name":"%s","description":"","steps":[{"name":"label","kind":"label","when":null,"fingerprint":"%s","components":{"kind":"label","params":{"seed":%d}}},{"name":"route","kind":"route","when":null,"fingerprint":"b2:r","components":{"kind":"route","routing":{"always_review":[],"review_manipulation":true}}}]}'
    store.append_many(
        {
            "strategies": {
                "strategy_fp": [fp for _, fp, _ in sides],
                "project": ["million"] * 2,
                "strategy": [name for name, _, _ in sides],
                "spec_json": [snapshot % (name, fp, i) for i, (name, fp, _) in enumerate(sides)],
                "ts": [NOW] * 2,
            },
            "runs": {
                "run_id": [run for _, _, run in sides],
                "ts": [NOW] * 2,
                "event": ["finished"] * 2,
                "project": ["million"] * 2,
                "strategy": [name for name, _, _ in sides],
                "strategy_fp": [fp for _, fp, _ in sides],
                "n_items": [n_items] * 2,
                "repeat_idx": [0] * 2,
            },
        }
    )


def _batch(n: int, start: int, rng: np.random.Generator) -> dict[str, Any]:
    item_id = ids(n, rng)
    gold = rng.choice(len(CLASSES), n, p=SHARES)
    number = np.arange(start, start + n)
    texts = pa.array([f"text number {i} which somebody wrote for the reader" for i in number])
    text_hash = ids(n, rng)
    lang = names(rng.integers(0, 6, n), ("en", "es", "de", "fr", "pt", "ru"))
    source = names(rng.integers(0, 4, n), ("app", "mail", "api", "import"))
    tables: dict[str, Any] = {
        "texts": {"text_hash": text_hash, "text": texts},
        "items": {
            "item_id": item_id,
            "external_id": pa.array([f"m{i}" for i in number]),
            "project": constant("million", n),
            "text_hash": text_hash,
            "meta_json": pa.array(
                [
                    f'{{"lang":"{a}","source":"{b}","user":"u{i % 200_000}"}}'
                    for a, b, i in zip(lang.to_pylist(), source.to_pylist(), number, strict=True)
                ]
            ),
            "ts": constant(NOW, n),
        },
        "gold": {
            "gold_set": constant("gold", n),
            "gold_fp": constant("b2:9999", n),
            "project": constant("million", n),
            "item_id": item_id,
            "label": names(gold, CLASSES),
            "split": constant("test", n),
            "design": constant("simple_random", n),
            "ts": constant(NOW, n),
        },
    }
    # Both sides are wrong on mostly the same items, as strategies are.
    hard = rng.random(n)
    for side, table, fp, run in (
        ("a", "decisions", "b2:aaaa", "run-a"),
        ("b", "arm_answers", "b2:bbbb", "run-b"),
    ):
        wrong = (0.8 * hard + 0.2 * rng.random(n)) > _quantile(_RIGHT[side])
        code = np.where(wrong, (gold + 1 + rng.integers(0, 4, n)) % len(CLASSES), gold)
        sure = np.clip(np.where(wrong, 0.6, 0.92) + rng.normal(0, 0.08, n), 0.05, 0.999)
        tables[table] = {
            "run_id": constant(run, n),
            "strategy_fp": constant(fp, n),
            "item_id": item_id,
            "label": names(code, CLASSES),
            "confidence": pa.array(sure),
            "decision": names((sure < 0.8).astype(int), ("auto_accept", "review")),
            "reason": constant("threshold", n),
            "cost_usd": pa.array(np.full(n, 4.1e-4 if side == "a" else 3.8e-4)),
            "latency_ms": pa.array(rng.gamma(4, 100, n)),
            "ts": constant(NOW + timedelta(seconds=1), n),
        }
        if table == "arm_answers":
            tables[table] |= {"experiment_id": constant("x1", n), "arm": constant("candidate", n)}
        steps = tables.setdefault("steps", {})
        for seq, step in enumerate(("normalize", "label")):
            output = constant("same", n) if seq == 0 else names(code, CLASSES)
            rows = {
                "run_id": constant(run, n),
                "item_id": item_id,
                "seq": constant(seq, n),
                "kind": constant(step, n),
                "name": constant(step, n),
                "output_hash": output,
                "status": constant("ok", n),
                "ts": constant(NOW, n),
            }
            for name, values in rows.items():
                steps[name] = pa.concat_arrays([steps[name], values]) if name in steps else values
    return tables


def _quantile(right: float) -> float:
    """Return the value that 0.8 U + 0.2 V stays below with probability ``right`` (for right >= 0.875: its tail)."""
    draws = np.random.default_rng(1).random((2, 200_000))
    return float(np.quantile(0.8 * draws[0] + 0.2 * draws[1], right))


def main() -> int:
    """Make the store (or reuse ``--store``), compare three times, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, help="keep the synthetic store here and use it again")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.store or Path(scratch)
        folder = base / "project"
        (folder / "strategies").mkdir(parents=True, exist_ok=True)
        (folder / "project.yaml").write_text(PROJECT)
        with open_store(base / "store") as store:
            if not store.query("SELECT 1 FROM runs LIMIT 1").num_rows:
                print(f"{'make the store, s':<44} {_timed(lambda: make_store(store, options.items))[0]:8.1f}")
            store.drain_all(600)  # an earlier benchmark's records wait: every query would copy them first
            return _measure(store, folder, options.repeats)


def _measure(store: TraceStore, folder: Path, repeats: int) -> int:
    project = find_project(str(folder))
    floors, totals, reports = [], [], []
    for number in range(repeats):
        floors.append(_timed(lambda: store.query(FLOOR)))
        phases, at = PhaseTimes(), NOW + timedelta(days=number)

        def act(phases: PhaseTimes = phases, at: datetime = at) -> None:
            reports.append(compare(store, project, "@aaaa", "@bbbb", now=at, times=phases))

        totals.append(_timed(act))
    for phase, seconds in phases.seconds.items():
        print(f"  {phase + ', wall s, last time':<52} {seconds:8.2f}")
    report = reports[-1]
    written = _timed(lambda: record(store, report))
    wall, cpu = np.median(np.array(totals), axis=0)
    floor_wall, floor_cpu = np.median(np.array(floors), axis=0)
    print(
        f"{'compare ' + format(report.n_items, ',') + ' items, median: wall s, CPU s':<54} {wall:8.2f} {cpu:8.2f}"
    )
    print(f"{'floor, count(*) of the same join: wall s, CPU s':<54} {floor_wall:8.2f} {floor_cpu:8.2f}")
    print(f"{'ratio: wall, CPU':<54} {wall / floor_wall:8.1f} {cpu / floor_cpu:8.1f}")
    print(f"{'record: wall s, CPU s':<54} {written[0]:8.2f} {written[1]:8.2f}")
    print(f"verdict {report.verdict}: {report.headline}; flips {report.n_fixed + report.n_broke:,}")
    return 0


def _timed(act: Callable[[], Any]) -> tuple[float, float]:
    """Return (wall, CPU) seconds of ``act``."""
    started, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - started, time.process_time() - cpu


if __name__ == "__main__":
    sys.exit(main())
