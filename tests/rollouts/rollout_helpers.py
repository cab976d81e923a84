"""Two strategies on one small project: the candidate's prompt asks in another way, and answers as scripted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from agents.run.drive import drive, new_loop_run
from agents.run.session import LabelRequest
from labelproof.report.rollouts.model import RolloutState, Terms
from labelproof.report.rollouts.pair import Pair, load_pair
from labelproof.report.rollouts.production import open_production, run_production
from labelproof.report.rollouts.traffic import start
from labelproof.store import TraceStore
from tests.conftest import MakeProject, write_strategy
from tests.scripted_server import Reply, Seen

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANDIDATE_STEPS = """
  - kind: normalize
    max_chars: 5000
  - kind: label
    max_retries: 0
  - kind: calibrate
    encoder: none
  - kind: route
"""
OPEN_ROUTING = "mode: threshold, threshold_prob: 0.5, accept_without_gold: true"


def label(name: str, *, confidence: float = 0.9) -> Reply:
    body = {"rationale": "because", "label": name, "confidence": confidence}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def safe(_: Seen) -> Reply:
    return label("safe")


def two_strategies(
    make_project: MakeProject, base_url: str, *, candidate_url: str | None = None, **more: Any
) -> Path:
    """Return a project with `champion` and `candidate`; the candidate may ask another server."""
    folder = make_project(base_url, **{"routing": OPEN_ROUTING, **more})
    model = more.get("model", "concurrency: 16")
    write_strategy(folder, candidate_url or base_url, steps=CANDIDATE_STEPS, model=model, name="candidate")
    path = folder / "strategies" / "candidate.yaml"
    path.write_text(f"# Tried since March.\n{path.read_text()}# end\n")
    return folder


def pair_of(store: TraceStore, folder: Path, *, now: datetime = NOW, **more: Any) -> Pair:
    return load_pair(store, str(folder), "candidate", now=now, **more)


def started(
    store: TraceStore,
    folder: Path,
    *,
    share: float | None,
    now: datetime | None = None,
    terms: Terms | None = None,
) -> RolloutState:
    """Start the shadow (``share`` None) or a canary; a little in the past, so that runs come after it."""
    at = now or datetime.now(UTC) - timedelta(seconds=5)
    pair = pair_of(store, folder, now=at)
    return start(store, pair, share_prob=share, terms=terms or Terms(), why="try it", by="ann", now=at)


def produce(folder: Path, store: Path | str, *, follow: bool = True, **more: Any) -> dict[str, Any]:
    """Run the project's strategy as `labelproof run` does; returns the summary."""
    production = open_production(LabelRequest(project=str(folder), store=str(store), **more), follow=follow)
    try:
        found = new_loop_run(run_production(production, drive))
    finally:
        production.store.close()
    assert found is not None
    return found


def compared(
    store: TraceStore, pair: Pair, *, verdict: str = "ship", ts: datetime = NOW, name: str = "c1", **more: Any
) -> None:
    """Store a comparison of the pair as `labelproof compare` leaves it."""
    gold = pair.candidate.gold
    row: dict[str, Any] = {
        "comparison_id": name,
        "project": pair.project,
        "experiment_id": "e1",
        "plan_fp": "b2:plan",
        "strategy_a": "champion",
        "fp_a": pair.fp_from,
        "strategy_b": "candidate",
        "fp_b": pair.fp_to,
        "gold_fp": None if gold is None else gold.fingerprint,
        "split": "test",
        "split_fp": "b2:split",
        "verdict": verdict,
        "reason": "because",
        "n_items": 100,
        "report_json": "{}",
        "ts": ts,
        **more,
    }
    store.append("comparisons", {key: [value] for key, value in row.items()})


Answer = Callable[[Seen], Reply | None]
