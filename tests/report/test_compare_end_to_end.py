"""From two strategies that answer over HTTP to a comparison with its causes, without a call of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson
from typer.testing import CliRunner

from agents.run.arms import open_arm, run_arm
from agents.run.rows import Arm
from agents.run.workload import load_workload
from labelproof.store import open_store
from tests.conftest import STEPS, MakeProject, write_strategy
from tests.scripted_server import Reply, Seen, scripted_server

NAMES = ("safe", "hate", "spam")
N = 60


def answer(seen: Seen) -> Reply:
    """Right on most items; at temperature 0.5 on some that are wrong at 0."""
    found = re.search(r"text number (\d+) for", seen.prompt)
    assert found is not None
    index = int(found[1])
    warm = seen.body.get("temperature") == 0.5
    label = NAMES[(index + (index % 3 == 0 and not (warm and index % 6 == 0))) % 3]
    body = {"rationale": "so", "label": label, "confidence": 0.9}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def test_a_comparison_of_two_arms_tells_steps_and_shares_and_asks_nothing(
    make_project: MakeProject, tmp_path: Path
) -> None:
    import typer

    from labelproof.cli.compare import compare

    app = typer.Typer()
    app.command()(compare)
    with scripted_server(answer) as server:
        folder = make_project(server.base_url, n_items=N, gold=[(i, NAMES[i % 3], "test") for i in range(N)])
        steps = STEPS.replace("- kind: route", "- kind: route\n    threshold_prob: 0.7")
        write_strategy(folder, server.base_url, name="candidate", model="temperature: 0.5", steps=steps)
        with open_store(tmp_path / "store") as store:
            for name in ("champion", "candidate"):
                work = load_workload(str(folder), name)
                run_arm(open_arm(work, store, work.items, Arm(experiment_id="x1", name=name)))
        asked = len(server.requests)
        done = CliRunner().invoke(
            app,
            ["champion", "candidate", "-p", str(folder), "--store", str(tmp_path / "store"), "--json"],
        )
        assert len(server.requests) == asked == 2 * N
    found = json.loads(done.stdout)
    accuracy = found["rows"][0]["difference"]
    assert (accuracy["value_a"], accuracy["value_b"]) == (40 / 60, 50 / 60)
    assert {flip["step"] for flip in found["flips"]} == {"label"}
    assert {flip["kind"] for flip in found["flips"]} == {"fixed"}
    shares = {share["component"]: share["delta"] for share in found["why"]["shares"]}
    assert set(shares) == {"label.model", "route"}
    assert abs(sum(shares.values()) - accuracy["delta"]) < 1e-9
    assert abs(shares["route"]) < 1e-9
