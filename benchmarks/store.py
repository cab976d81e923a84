"""What the trace store costs: ``python benchmarks/store.py`` prints one table, in under a minute.

A labelled item is 5 step rows, 1 call row, 3 texts and 1 decision: 10 rows. CPU numbers are this
process's own; latencies under contention depend on the machine and what else runs on it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from labelproof.spec.hashing import digest_text
from labelproof.store import TraceStore, open_store

STEPS = ("normalize", "retrieve", "label", "calibrate", "route")
ROWS_PER_ITEM = len(STEPS) + 1 + 3 + 1
Batch = dict[str, dict[str, list[Any]]]


def make_batch(n_items: int, seed: int) -> Batch:
    """Return what a run appends for ``n_items`` items."""
    rng = random.Random(seed)
    words = [f"{rng.getrandbits(28):07x}" for _ in range(2000)]
    hashes = iter([digest_text(f"{seed}-{n}") for n in range(n_items * 25)])
    now = datetime.now(UTC)
    ids = [next(hashes) for _ in range(n_items)]
    n = n_items * len(STEPS)
    system = "You label content. " * 40
    users = [" ".join(rng.choices(words, k=60)) for _ in ids]
    answers = [
        json.dumps({"label": rng.choice(words), "why": " ".join(rng.choices(words, k=8))}) for _ in ids
    ]
    system_hash, user_hash, answer_hash = (
        digest_text(system),
        [next(hashes) for _ in ids],
        [next(hashes) for _ in ids],
    )
    prefect = {"flow_run_id": "f" * 36, "task_run_id": "t" * 36, "run_id": f"run-{seed}"}

    def with_constants(columns: dict[str, list[Any]], rows: int, **constants: Any) -> dict[str, list[Any]]:
        return columns | {name: [value] * rows for name, value in (prefect | constants).items()}

    steps = with_constants(
        {
            "item_id": [item for item in ids for _ in STEPS],
            "seq": list(range(len(STEPS))) * n_items,
            "kind": list(STEPS) * n_items,
            "name": list(STEPS) * n_items,
            "spec_fp": [digest_text(s) for s in STEPS] * n_items,
            "step_key": [next(hashes) for _ in range(n)],
            "input_hash": [next(hashes) for _ in range(n)],
            "output_hash": [next(hashes) for _ in range(n)],
            "output_json": [f'{{"label":"{rng.choice(words)}","p":{rng.random():.6f}}}' for _ in range(n)],
            "latency_ms": [rng.random() * 400 for _ in range(n)],
        },
        n,
        status="ok", cache_hit=False, repeat_idx=0, n_calls=1, tokens_in=412, tokens_out=23,
        tokens_cached=0, cost_usd=0.00012, ts=now,
    )  # fmt: skip
    calls = with_constants(
        {
            "item_id": ids,
            "call_key": [next(hashes) for _ in ids],
            "step_key": [next(hashes) for _ in ids],
            "user_hash": user_hash,
            "response_hash": answer_hash,
            "logprobs_json": [f'[{{"a":-{rng.random():.4f},"b":-{rng.random():.4f}}}]' for _ in ids],
            "latency_ms": [rng.random() * 400 for _ in ids],
        },
        n_items,
        system_hash=system_hash, call_idx=0, model="gpt-4o-mini", provider="openai", finish_reason="stop",
        tokens_in=412, tokens_out=23, tokens_cached=0, cost_usd=0.00012, attempts=1, ts=now,
    )  # fmt: skip
    decisions = with_constants(
        {"item_id": ids, "confidence": [rng.random() for _ in ids]},
        n_items,
        strategy_fp="s1", label="spam", decision="auto_accept", reason="above threshold",
        inclusion_prob=0.05, audited=False, ts=now,
    )  # fmt: skip
    texts = {
        "text_hash": [system_hash] * n_items + user_hash + answer_hash,
        "text": [system] * n_items + users + answers,
    }
    return {"texts": texts, "steps": steps, "calls": calls, "decisions": decisions}


def timed(act: Callable[[], Any]) -> tuple[float, float]:
    """Return (CPU seconds of this process, wall seconds) of ``act``."""
    cpu, wall = time.process_time(), time.perf_counter()
    act()
    return time.process_time() - cpu, time.perf_counter() - wall


class Report:
    """The table, line by line."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def add(self, what: str, value: str) -> None:
        self.lines[what] = value
        print(f"{what:<62} {value}", flush=True)


def quantiles(seconds: list[float]) -> str:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return f"p50 {p50:.1f} ms  p99 {p99:.1f} ms  (n={len(seconds)})"


def cost_per_row(report: Report, folder: Path, n_items: int, n_batches: int, per_drain: int) -> None:
    """Append and drain in one process, nobody else around."""
    batches = [make_batch(n_items, seed) for seed in range(n_batches)]
    rows = n_items * n_batches * ROWS_PER_ITEM
    with open_store(folder) as store:
        waits: list[float] = []
        append_cpu = append_wall = drain_cpu = drain_wall = 0.0
        drains = 0
        for k, batch in enumerate(batches):
            cpu, wall = timed(lambda b=batch: store.append_many(b))  # type: ignore[misc]
            waits.append(wall)
            append_cpu, append_wall = append_cpu + cpu, append_wall + wall
            if k % per_drain == per_drain - 1:
                cpu, wall = timed(lambda: store.drain(max_segments=per_drain))
                drain_cpu, drain_wall = drain_cpu + cpu, drain_wall + wall
                drains += 1
        if store.drain().left or store.query("FROM decisions").num_rows != n_items * n_batches:
            raise SystemExit("the drains did not keep up, these numbers would flatter them")
        label = f"{n_items} items a batch"
        report.add(f"append, {label}: latency", quantiles(waits))
        report.add(
            f"append, {label}: throughput and CPU",
            f"{rows / append_wall:,.0f} rows/s  {append_cpu / rows * 1e6:.2f} us/row",
        )
        report.add(
            f"drain, {per_drain} segments of {label}: throughput and CPU",
            f"{rows / drain_wall:,.0f} rows/s  {drain_cpu / rows * 1e6:.2f} us/row  "
            f"{drain_wall / drains * 1e3:.0f} ms a drain",
        )
        total = (append_cpu + drain_cpu) / (n_items * n_batches) * 1e3
        report.add(f"append + drain, {label}: CPU", f"{total:.3f} ms/item")


def journal_cost(report: Report, folder: Path, n_calls: int) -> None:
    answer = "x" * 300
    with open_store(folder) as store:
        journal = store.journal("r1")
        row = {"item_id": "b2:" + "i" * 32, "step_key": "b2:" + "k" * 32, "call_idx": 0, "model": "m"}
        row |= {"response_text": answer, "tokens_in": 412, "tokens_out": 23, "ts": datetime.now(UTC)}

        def write() -> None:
            for n in range(n_calls):
                journal.write({**row, "call_key": n})

        cpu, _ = timed(write)
        report.add("journal, one finished call: CPU", f"{cpu / n_calls * 1e6:.1f} us")
        store.append("calls", {"call_key": [], "run_id": []})
    for path in folder.glob("outbox/*.calls"):
        path.unlink()


def read_cost(report: Report, folder: Path, n_items: int) -> None:
    with open_store(folder) as store:
        stored = store.query("SELECT count(*) AS n FROM steps")["n"][0].as_py()
        ids = store.query("SELECT item_id FROM decisions LIMIT ?", [n_items])["item_id"].to_pylist()
        specs = store.query("SELECT DISTINCT spec_fp FROM steps")["spec_fp"].to_pylist()
        for name, act in {
            f"steps_for {n_items} stored items": lambda: store.steps_for(ids, specs, 0),
            f"calls_for {n_items} stored items": lambda: store.calls_for(ids),
            f"steps_for {n_items} unknown items": lambda: store.steps_for(["x" + i for i in ids], specs, 0),
            "one item's trace": lambda: store.query("FROM item_trace WHERE item_id = ?", ids[:1]),
        }.items():
            runs = [timed(act) for _ in range(8)][1:]
            cpu, wall = (float(np.median(values)) for values in zip(*runs, strict=True))
            report.add(f"{name}, {stored:,} step rows", f"wall {wall * 1e3:.1f} ms  CPU {cpu * 1e3:.1f} ms")


def writer(folder: str, seed: int, items_per_s: float, seconds: float, out: Any) -> None:
    """Append at a rate (0 = as fast as possible) with the background drain a run has."""
    batches = [make_batch(50, seed * 1000 + k) for k in range(6)]
    waits: list[float] = []
    with open_store(folder) as store:
        started = time.perf_counter()
        with store.background_drain():
            while (now := time.perf_counter() - started) < seconds:
                due = len(waits) * 50 / items_per_s if items_per_s else 0.0
                if due > now:
                    time.sleep(due - now)
                store._seen_texts.clear()  # every batch here repeats the texts of an earlier one
                waits.append(timed(lambda: store.append_many(batches[len(waits) % 6]))[1])
            lasted = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    out.put((waits, lasted, usage.ru_utime + usage.ru_stime))


def contention(report: Report, folder: Path, items_per_s: float, seconds: float, n_writers: int = 4) -> None:
    with open_store(folder) as store:
        context = multiprocessing.get_context("spawn")
        out = context.Queue()
        processes = [
            context.Process(target=writer, args=(str(folder), seed, items_per_s, seconds, out))
            for seed in range(1, n_writers + 1)
        ]
        for process in processes:
            process.start()
        plain, fresh, left = read_until(store, processes, folder)
        results = [out.get() for _ in processes]
        for process in processes:
            process.join()
        _, drained_wall = timed(lambda: store.drain_all(60))
        n_appends = sum(len(waits) for waits, _, _ in results)
        rate = sum(len(waits) / lasted for waits, lasted, _ in results) * 50 * ROWS_PER_ITEM
        speed = f"{items_per_s * ROWS_PER_ITEM:.0f} rows/s each" if items_per_s else "full speed"
        label = f"{n_writers} writers at {speed}, 1 reader"
        report.add(f"{label}: acknowledged", f"{rate:,.0f} rows/s, at most {left} segments waiting")
        report.add(f"{label}: append", quantiles([w for waits, _, _ in results for w in waits]))
        report.add(f"{label}: read count(*)", quantiles(plain))
        report.add(f"{label}: fresh read", quantiles(fresh))
        n = store.query("SELECT count(*) AS n FROM decisions WHERE starts_with(run_id, 'run-')")["n"][
            0
        ].as_py()
        kept = "nothing lost" if n == n_appends * 50 else f"LOST {n_appends * 50 - n} DECISIONS"
        report.add(f"{label}: rest drained in, and kept", f"{drained_wall:.1f} s, {kept}")


def read_until(store: TraceStore, processes: list[Any], folder: Path) -> tuple[list[float], list[float], int]:
    plain: list[float] = []
    fresh: list[float] = []
    left = 0
    sql = "SELECT decision, count(*) FROM decisions GROUP BY 1"
    while any(process.is_alive() for process in processes) and len(plain) < 5000:
        plain.append(timed(lambda: store.query(sql))[1])
        fresh.append(timed(lambda: store.query(sql, fresh=True))[1])
        left = max(left, sum(1 for _ in folder.glob("outbox/*.arrows")))
        time.sleep(0.05)
        if plain and not any(process.exitcode is None for process in processes):
            break
    return plain, fresh, left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each contention part")
    parser.add_argument("--json", action="store_true", help="print the table as JSON too")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as base:
        cost_per_row(report, Path(base, "big"), 250, 40, 4)
        cost_per_row(report, Path(base, "small"), 20, 120, 40)
        journal_cost(report, Path(base, "big"), 5000)
        read_cost(report, Path(base, "big"), 250)
        contention(report, Path(base, "steady"), 200, options.seconds)
        contention(report, Path(base, "full"), 0, options.seconds)
    if options.json:
        print(json.dumps(report.lines, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
