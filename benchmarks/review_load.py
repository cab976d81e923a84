"""Reviewers at work while a run writes: time from submitting an answer to the next task, and nothing lost.

    python -m benchmarks.review_load [--tasks 100000] [--reviewers 20] [--seconds 60] [--rate 500] [--apps 2]

A store with that many open tasks; a process that appends the rows of a labeling run (steps, calls, texts, decisions, new
review tasks) at ``--rate`` items a second with its background drain; ``--apps`` processes of `labelproof serve` over the
same store; and reviewers, each of whom sends every request to any of the apps. ``--think`` is what they take to read.
A client does what the page does: it fetches the next task while the current one is read. Reported: how long an answer takes
until it is durable, how long the next task takes to come, both in a row (what a person would wait without preloading), from Enter to the next task painted for one more reviewer in a real Chromium,
and afterwards, from the store: answers acknowledged but not stored, tasks answered twice, tasks two people held at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

PROJECT = """
name: load
labels:
  kind: single
  classes: [{name: safe}, {name: hate, severity: high}, {name: spam, severity: medium}, {name: threat, severity: critical}]
items: {path: items.jsonl}
review: {care: {daily_limit: {critical: 1000000}}, checks: {first: 0, rate_prob: 0}}
"""
BROWSER = "browser"
PASSWORD = "reads a lot of text"
LABELS = ("safe", "hate", "spam", "threat")
WORDS = [
    "great",
    "price",
    "call",
    "now",
    "you",
    "are",
    "an",
    "idiot",
    "nice",
    "picture",
    "thanks",
    "for",
    "sharing",
    "buy",
    "my",
    "course",
    "today",
    "free",
]
ASKED_PROB = 0.3
"""Share of the run's items that become review tasks."""


def text(rng: random.Random, i: int) -> str:
    return f"{i} " + " ".join(rng.choices(WORDS, k=rng.randint(10, 60)))


def item_tables(rng: random.Random, first: int, n: int, asked: float, at: datetime) -> dict[str, Any]:
    """Rows of items, their texts, and review tasks for a share of them."""
    from agents.review_tasks import ReviewTask, routed_task_id, task_columns
    from labelproof.spec.hashing import digest_text

    texts = [text(rng, first + i) for i in range(n)]
    hashes = [digest_text(one) for one in texts]
    chosen = [i for i in range(n) if rng.random() < asked]
    tasks = [
        ReviewTask(
            task_id=routed_task_id("load", hashes[i]),
            project="load",
            kind="routed",
            item_id=hashes[i],
            run_id="r-load",
            strategy_fp="b2:load",
            label=rng.choice(LABELS),
            confidence=rng.random(),
            blind=True,
            votes_wanted=1,
            reason="confidence 0.412 below certified threshold 0.950",
            design=None,
            inclusion_prob=None,
            sample_id=None,
            ts=at,
        )
        for i in chosen
    ]
    tables: dict[str, Any] = {
        "texts": {"text_hash": list(hashes), "text": list(texts)},
        "items": {
            "item_id": hashes,
            "external_id": [f"m{first + i}" for i in range(n)],
            "project": ["load"] * n,
            "text_hash": hashes,
            "meta_json": ['{"surface":"chat"}'] * n,
            "ts": [at] * n,
        },
    }
    if tasks:
        tables["review_tasks"] = task_columns(tasks)
    return tables


def build(folder: Path, n: int) -> None:
    """Write the project and a store with ``n`` open tasks."""
    from labelproof.store import open_store

    (folder / "projects" / "load").mkdir(parents=True)
    (folder / "projects" / "load" / "project.yaml").write_text(PROJECT)
    (folder / "projects" / "load" / "guideline.md").write_text("# Guideline\n\n## H-1\n\nAttacks are hate.\n")
    rng = random.Random(0)
    now = datetime.now(UTC)
    with open_store(folder / "store") as store:
        store.append(
            "runs",
            {
                "run_id": ["r-load"],
                "event": ["started"],
                "project": ["load"],
                "strategy": ["champion"],
                "ts": [now],
            },
        )
        for first in range(0, n, 10_000):
            at = now - timedelta(minutes=rng.randint(1, 600))
            store.append_many(item_tables(rng, first, min(10_000, n - first), 1.1, at))
        store.drain_all(600)


def write_run(folder: Path, rate: float, seconds: float) -> None:
    """Append what a labeling run would, ``rate`` items a second, draining in the background."""
    from labelproof.spec.hashing import digest_text
    from labelproof.store import open_store

    rng = random.Random(1)
    done, started = 0, time.monotonic()
    with open_store(folder / "store") as store, store.background_drain():
        print("writing", flush=True)
        while (elapsed := time.monotonic() - started) < seconds:
            n = int(elapsed * rate) - done
            if n < rate / 2:
                time.sleep(0.05)
                continue
            at = datetime.now(UTC)
            tables = item_tables(rng, 10_000_000 + done, n, ASKED_PROB, at)
            ids = list(tables["items"]["item_id"])
            answers = [f'{{"rationale":"{rng.random()}","label":"safe","confidence":0.7}}' for _ in ids]
            answer_ids = [digest_text(one) for one in answers]
            tables["texts"]["text_hash"] += answer_ids
            tables["texts"]["text"] += answers
            steps = [
                (item, seq, kind)
                for item in ids
                for seq, kind in enumerate(("normalize", "label", "calibrate", "route"))
            ]
            tables["steps"] = {
                "run_id": ["r-load"] * len(steps),
                "item_id": [step[0] for step in steps],
                "seq": [step[1] for step in steps],
                "kind": [step[2] for step in steps],
                "step_key": [f"{step[0]}{step[1]}" for step in steps],
                "output_json": ['{"label":"safe","log_probs":[-0.1,-3.1,-4.0,-5.0]}'] * len(steps),
                "status": ["ok"] * len(steps),
                "ts": [at] * len(steps),
            }
            tables["calls"] = {
                "call_key": ids,
                "run_id": ["r-load"] * n,
                "item_id": ids,
                "response_hash": answer_ids,
                "model": ["gpt-4.1-mini"] * n,
                "tokens_in": [812] * n,
                "ts": [at] * n,
            }
            tables["decisions"] = {
                "run_id": ["r-load"] * n,
                "item_id": ids,
                "strategy_fp": ["b2:load"] * n,
                "label": ["safe"] * n,
                "confidence": [0.7] * n,
                "decision": ["review"] * n,
                "ts": [at] * n,
            }
            store.append_many(tables)
            done += n
    print(json.dumps({"items": done, "seconds": time.monotonic() - started}), flush=True)


class Watch:
    """What the reviewers saw: times, acknowledged answers, and who held what from when to when."""

    def __init__(self) -> None:
        self.ack: list[float] = []
        self.next: list[float] = []
        self.both: list[float] = []
        self.votes: dict[tuple[str, str], str] = {}
        self.held: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
        self.refused: list[str] = []
        self.failed: list[str] = []


async def reviewer(
    name: str, token: str, apps: list[str], watch: Watch, until: float, think_s: float
) -> None:
    """Answer tasks until the time is over; every request goes to any of the apps."""
    import httpx

    rng = random.Random(name)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:

        async def fetch(after: list[str]) -> tuple[str, str, float, float] | None:
            began = time.perf_counter()
            answer = await client.get(f"{rng.choice(apps)}/p/load/task/next", params={"after": after})
            if answer.status_code != 200:
                watch.failed.append(f"next {answer.status_code} {answer.text[:80]}")
                return None
            found = re.search(r'data-task-id="([^"]+)" data-token="([^"]+)"', answer.text)
            return (found[1], found[2], time.perf_counter(), time.perf_counter() - began) if found else None

        current = await fetch([])
        while current is not None and time.perf_counter() < until:
            ahead = asyncio.create_task(fetch([current[0]]))
            await asyncio.sleep(think_s * rng.uniform(0.5, 1.5))
            upcoming = await ahead
            label = rng.choice(LABELS)
            began = time.perf_counter()
            answer = await client.post(
                f"{rng.choice(apps)}/p/load/task/vote",
                json={
                    "task_id": current[0],
                    "token": current[1],
                    "key": secrets.token_urlsafe(12),
                    "answer": "label",
                    "label": label,
                    "seconds": think_s,
                },
            )
            took = time.perf_counter() - began
            watch.held[current[0]].append((current[2], time.perf_counter(), name))
            if answer.status_code == 200:
                watch.ack.append(took)
                watch.votes[(current[0], name)] = label
                if upcoming is not None:
                    watch.next.append(upcoming[3])
                    watch.both.append(took + upcoming[3])
            elif answer.status_code == 409:
                watch.refused.append(answer.text[:200])
            else:
                watch.failed.append(f"vote {answer.status_code} {answer.text[:80]}")
            current = upcoming or await fetch([])
        if current is not None:
            watch.held[current[0]].append((current[2], time.perf_counter(), name))


_STEP = """async () => {
  const before = document.querySelector("[data-task]").dataset.taskId;
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "r", bubbles: true }));
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "2", bubbles: true }));
  const began = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  for (;;) {
    const task = document.querySelector("[data-task]");
    if (task && task.dataset.taskId !== before) break;
    if (performance.now() - began > 20000) return null;
    await new Promise((done) => requestAnimationFrame(done));
  }
  await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - began;
}"""


def browse(url: str, name: str, seconds: float, think_s: float) -> None:
    """Work as one reviewer in Chromium; print the milliseconds from Enter until the next task was painted."""
    from playwright.sync_api import sync_playwright

    took: list[float | None] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("LABELPROOF_CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.goto(f"{url}/login")
        page.fill("#name", name)
        page.fill("#password", PASSWORD)
        page.press("#password", "Enter")
        page.wait_for_url(f"{url}/")
        page.goto(f"{url}/p/load/task")
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            page.wait_for_timeout(think_s * 1000)
            took.append(page.evaluate(_STEP))
        page.wait_for_timeout(3000)  # the last answers are still on their way
        browser.close()
    print(json.dumps(took))


def ms(values: list[float], q: float) -> float:
    import numpy as np

    return round(float(np.quantile(values, q)) * 1000, 1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_app(folder: Path, port: int) -> tuple[subprocess.Popen[str], float]:
    """Start `labelproof serve` and return it with the seconds until it answered."""
    began = time.perf_counter()
    log = (folder / f"app-{port}.log").open("w")
    app = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "labelproof",
            "serve",
            "load",
            "--port",
            str(port),
            "--store",
            str(folder / "store"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        text=True,
        stdout=log,
        stderr=log,
    )
    while time.perf_counter() - began < 300:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return app, time.perf_counter() - began
        if app.poll() is not None:
            raise SystemExit((folder / f"app-{port}.log").read_text())
        time.sleep(0.05)
    raise SystemExit("the app did not start in five minutes")


def start_writer(folder: Path, rate: float, seconds: float) -> subprocess.Popen[str]:
    """Start the process that writes a run, and return when it writes."""
    command = [sys.executable, "-m", "benchmarks.review_load", "--write", str(folder), "--rate", str(rate)]
    writer = subprocess.Popen([*command, "--seconds", str(seconds)], text=True, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(2)
    return writer


def judge(folder: Path, watch: Watch) -> dict[str, int]:
    """Compare what was acknowledged with what is stored."""
    from labelproof.review.office import office_url, open_office
    from labelproof.store import open_store
    from labelproof.store.location import parse_location

    with open_store(folder / "store") as store:
        rows = store.query("SELECT task_id, annotator, label FROM votes", fresh=True).to_pylist()
    stored = {(row["task_id"], row["annotator"]): row["label"] for row in rows}
    by_task: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        by_task[row["task_id"]].add(row["annotator"])
    with open_office(office_url(parse_location(folder / "store"))) as office:
        real = office.signer.unseal  # pages name tasks by handles, which differ from person to person
        votes = {(real(name, handle), name): label for (handle, name), label in watch.votes.items()}
        held: dict[str | None, list[tuple[float, float, str]]] = defaultdict(list)
        for handle, spans in watch.held.items():
            for span in spans:
                held[real(span[2], handle)].append(span)
    overlaps = 0
    for spans in held.values():
        spans.sort()
        overlaps += sum(a[2] != b[2] and b[0] < a[1] for a, b in pairwise(spans))
    return {
        "acknowledged": len(watch.votes),
        "stored": len(rows),
        "lost": sum(stored.get(key) != label for key, label in votes.items()),
        "stored_twice": len(rows) - len(stored),
        "answered_by_two": sum(len(people) > 1 for people in by_task.values()),
        "held_by_two": overlaps,
    }


def measure(folder: Path, args: argparse.Namespace, rate: float, think_s: float) -> dict[str, Any]:
    """One round: apps up, run writing (``rate`` 0: none), reviewers at work."""
    from labelproof.review.office import office_url, open_office
    from labelproof.store.location import parse_location

    names = [f"p{secrets.token_hex(3)}" for _ in range(args.reviewers)]
    with open_office(office_url(parse_location(folder / "store"))) as office:
        now = datetime.now(UTC)
        for name in names:
            office.accounts.add(name, role="reviewer", password=None, now=now)
        if office.accounts.get(BROWSER) is None:
            office.accounts.add(BROWSER, role="reviewer", password=PASSWORD, now=now)
        tokens = {name: office.accounts.new_token(name, "load", now) for name in names}
    ports = [free_port() for _ in range(args.apps)]
    started = [start_app(folder, port) for port in ports]
    apps = [f"http://127.0.0.1:{port}" for port in ports]
    watch, written = Watch(), {}
    painted: list[float] = []
    try:
        writer = start_writer(folder, rate, args.seconds + 5) if rate else None
        command = [sys.executable, "-m", "benchmarks.review_load", "--browse", apps[0]]
        chromium = subprocess.Popen(
            [*command, "--seconds", str(args.seconds), "--think", str(think_s)],
            text=True,
            stdout=subprocess.PIPE,
        )
        until = time.perf_counter() + args.seconds

        async def everybody() -> None:
            await asyncio.gather(
                *(reviewer(name, tokens[name], apps, watch, until, think_s) for name in names)
            )

        asyncio.run(everybody())
        painted = [one for one in json.loads(chromium.communicate()[0]) if one is not None]
        if writer is not None and writer.stdout is not None:
            written = json.loads(writer.stdout.read())
            writer.wait()
    finally:
        for app, _ in started:
            app.send_signal(signal.SIGTERM)
        for app, _ in started:
            app.wait(60)
    judged = judge(folder, watch)
    return {
        "run_items_per_s": round(written.get("items", 0) / written.get("seconds", 1)) if written else 0,
        "think_s": think_s,
        "answers_per_s": round(len(watch.ack) / args.seconds, 1),
        "start_s": round(max(seconds for _, seconds in started), 1),
        **{f"durable_ms_p{q:g}": ms(watch.ack, q / 100) for q in (50, 99)},
        **{f"next_task_ms_p{q:g}": ms(watch.next, q / 100) for q in (50, 99)},
        **{f"both_ms_p{q:g}": ms(watch.both, q / 100) for q in (50, 99)},
        **{f"painted_ms_p{q:g}": ms([one / 1000 for one in painted], q / 100) for q in (50, 99) if painted},
        "painted": len(painted),
        "refused": len(watch.refused),
        "failed": len(watch.failed),
        **judged,
        "examples": [*watch.refused[:2], *watch.failed[:2]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--reviewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--apps", type=int, default=2)
    parser.add_argument("--think", type=float, default=2.0)
    parser.add_argument("--flat-out", action="store_true", help="Also measure reviewers who never think.")
    parser.add_argument("--browse", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.browse is not None:
        browse(args.browse, BROWSER, args.seconds, args.think)
        return
    if args.write is not None:
        write_run(args.write, args.rate, args.seconds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        build(folder, args.tasks)
        print(f"{args.tasks} tasks stored in {time.perf_counter() - began:.1f} s", flush=True)
        rounds = [(0.0, args.think), (args.rate, args.think)]
        if args.flat_out:
            rounds.append((args.rate, 0.0))
        for rate, think_s in rounds:
            print(json.dumps(measure(folder, args, rate, think_s)), flush=True)


if __name__ == "__main__":
    main()
