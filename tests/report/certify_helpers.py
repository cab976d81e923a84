"""A project whose scripted model is sure and right, or unsure and wrong half of the time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from agents.run.workload import load_workload
from labelproof.report.certification import CertifyRequest, certify_strategy
from labelproof.report.certify_report import CertifyReport
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.scripted_server import Reply, ScriptedServer, Seen, scripted_server

NAMES = ("safe", "hate", "spam")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CERTIFIED = "mode: certified, alpha: 0.05, audit_rate_prob: 0.3"
N_ITEMS = 360
N_CALIBRATION = 60
N_CERTIFY = 180


def truth(index: int) -> str:
    return NAMES[index % 3]


def is_sure(index: int) -> bool:
    return index % 4 != 0


def answer(seen: Seen) -> Reply:
    """Sure items are right; of the unsure ones every second is wrong."""
    found = re.search(r"text number (\d+) for", seen.prompt)
    assert found is not None
    index = int(found.group(1))
    label = truth(index) if is_sure(index) or index % 8 else truth(index + 1)
    confidence = 0.97 if is_sure(index) else 0.4
    body = {"rationale": "so", "label": label, "confidence": confidence}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def gold_rows(n_certify: int = N_CERTIFY) -> list[tuple[int, str, str]]:
    rows = [(i, truth(i), "calibration") for i in range(N_CALIBRATION)]
    return rows + [(i, truth(i), "certify") for i in range(N_CALIBRATION, N_CALIBRATION + n_certify)]


@contextmanager
def project(make_project: MakeProject, **more: Any) -> Iterator[tuple[Path, ScriptedServer]]:
    with scripted_server(answer) as server:
        more = {"n_items": N_ITEMS, "gold": gold_rows(), "routing": CERTIFIED, **more}
        yield make_project(server.base_url, **more), server


def certified(folder: Path, store: TraceStore, strategy: str | None = None, **request: Any) -> CertifyReport:
    now = request.pop("now", NOW)
    return certify_strategy(store, load_workload(str(folder), strategy), CertifyRequest(**request), now=now)


@contextmanager
def opened(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as store:
        yield store
