"""What a labelled item costs in CPU: bare clients, LangChain and Labelproof against the same server, in one run.

    python -m benchmarks.throughput [--items 2000] [--rounds 3] [--markdown docs/...]

A scripted OpenAI-compatible server runs in its own process and answers after 50 ms; every contender runs in a
fresh process with 64 calls in flight. CPU is that process's own (all threads) between the first request and
the moment everything is done; imports are left out. Labelproof's share is end to end: project files read, all
steps, every step, prompt, answer and decision stored durably and drained into DuckDB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONCURRENCY = 64
LABELS = ("safe", "harassment", "spam")
SYSTEM = (
    "You are a careful annotator. Labels, exactly one applies: safe, harassment, spam. "
    "Answer with one JSON object: rationale, label, confidence."
)
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


def texts(n: int) -> list[str]:
    rng = random.Random(0)
    return [f"{i} " + " ".join(rng.choices(WORDS, k=rng.randint(8, 24))) for i in range(n)]


def answer_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "rationale": {"type": "string"},
            "label": {"type": "string", "enum": list(LABELS)},
            "confidence": {"type": "number"},
        },
        "required": ["rationale", "label", "confidence"],
        "additionalProperties": False,
    }


def body(text: str) -> dict[str, Any]:
    schema = {"name": "answer", "strict": True, "schema": answer_schema()}
    return {
        "model": "bench",
        "temperature": 0,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


async def _many(n: int, one: Callable[[int], Any]) -> None:
    gate = asyncio.Semaphore(CONCURRENCY)

    async def bounded(i: int) -> None:
        async with gate:
            await one(i)

    await asyncio.gather(*(bounded(i) for i in range(n)))


def bare_aiohttp(url: str, n: int) -> Callable[[], None]:
    import aiohttp
    import uvloop

    async def main() -> None:
        todo = texts(n)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

            async def one(i: int) -> None:
                async with session.post(f"{url}/chat/completions", json=body(todo[i])) as response:
                    json.loads((await response.json())["choices"][0]["message"]["content"])

            await _many(n, one)

    return lambda: uvloop.run(main())


def openai_sdk(url: str, n: int) -> Callable[[], None]:
    import uvloop
    from openai import AsyncOpenAI

    async def main() -> None:
        todo = texts(n)
        client = AsyncOpenAI(base_url=url, api_key="x")

        async def one(i: int) -> None:
            done = await client.chat.completions.create(**body(todo[i]))
            json.loads(done.choices[0].message.content or "")

        await _many(n, one)
        await client.close()

    return lambda: uvloop.run(main())


def langchain_abatch(url: str, n: int) -> Callable[[], None]:
    import uvloop
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    async def main() -> None:
        schema = {"type": "json_schema", "json_schema": body("")["response_format"]["json_schema"]}
        chat = ChatOpenAI(model="bench", base_url=url, api_key=SecretStr("x"), temperature=0)
        model = chat.bind(response_format=schema)
        prompts: list[Any] = [[SystemMessage(SYSTEM), HumanMessage(text)] for text in texts(n)]
        for answer in await model.abatch(prompts, config={"max_concurrency": CONCURRENCY}):
            json.loads(str(answer.content))

    return lambda: uvloop.run(main())


def labelproof(url: str, n: int) -> Callable[[], None]:
    from agents.run.drive import run_plain
    from agents.run.session import LabelRequest, LabelSession

    folder = Path(tempfile.mkdtemp(prefix="labelproof-bench-"))
    write_project(folder, url, n)
    import labelproof.store.drain  # noqa: F401  # what a run imports, before the clock starts

    def main() -> None:
        request = LabelRequest(project=str(folder), store=str(folder / "store"))
        summary = run_plain(LabelSession.open(request))
        assert summary is not None
        assert summary["done"] == n, summary
        assert summary["model_calls"] == n, summary

    return main


def write_project(folder: Path, url: str, n: int) -> None:
    (folder / "strategies").mkdir(parents=True)
    rows = [json.dumps({"id": f"b{i}", "text": text}) for i, text in enumerate(texts(n))]
    (folder / "items.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "guideline.md").write_text("# Guideline\n\nJudge by what the author does.\n")
    classes = ", ".join(f"{{name: {name}}}" for name in LABELS)
    (folder / "project.yaml").write_text(
        f"name: bench\nlabels: {{classes: [{classes}]}}\nitems: {{path: items.jsonl}}\n"
        "routing: {mode: threshold, threshold_prob: 0.8}\n"
    )
    (folder / "strategies" / "champion.yaml").write_text(
        "name: champion\n"
        f"models: {{main: {{provider: openai_compatible, model: bench, base_url: '{url}', concurrency: {CONCURRENCY}}}}}\n"
        "steps:\n  - kind: normalize\n  - {kind: label, method: json}\n  - {kind: calibrate, encoder: none}\n  - kind: route\n"
    )


CONTENDERS = {
    "aiohttp, bare": bare_aiohttp,
    "OpenAI SDK, bare": openai_sdk,
    "LangChain abatch": langchain_abatch,
    "Labelproof, everything stored": labelproof,
}


def child(name: str, url: str, n: int) -> None:
    """Run one contender and print its numbers as JSON."""
    work = CONTENDERS[name](url, n)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * cpu / n, "per_s": n / wall, "rss_mb": peak}))


def start_server(latency_ms: int) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tests.scripted_server",
        "--port",
        str(port),
        "--latency-ms",
        str(latency_ms),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"
    request = urllib.request.Request(
        f"{url}/chat/completions",
        data=json.dumps(body("ping")).encode(),
        headers={"content-type": "application/json"},
    )
    for _ in range(200):
        try:
            urllib.request.urlopen(request, timeout=2).read()
            return process, url
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the scripted server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=int, default=50)
    parser.add_argument("--child", nargs=2, metavar=("NAME", "URL"))
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], options.items)
        return
    server, url = start_server(options.latency_ms)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    try:
        for _ in range(options.rounds):  # interleaved: a noisy minute hits everybody
            for name in CONTENDERS:
                command = [sys.executable, "-m", "benchmarks.throughput", "--items", str(options.items)]
                done = subprocess.run(
                    [*command, "--child", name, url], capture_output=True, text=True, env=env, check=False
                )
                if done.returncode:
                    raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    finally:
        server.kill()
    sdk = statistics.median(row["cpu_ms"] for row in found["OpenAI SDK, bare"])
    print(
        f"{options.items} texts, {options.latency_ms} ms server, {CONCURRENCY} in flight, median of {options.rounds}\n"
    )
    print(
        "| contender | items/s | CPU ms per item | of the bare SDK | peak RSS MB |\n|---|---:|---:|---:|---:|"
    )
    for name, rows in found.items():
        cpu, rate, rss = (
            statistics.median(row[key] for row in rows) for key in ("cpu_ms", "per_s", "rss_mb")
        )
        print(f"| {name} | {rate:.0f} | {cpu:.2f} | {cpu / sdk:.2f} | {rss:.0f} |")


if __name__ == "__main__":
    main()
