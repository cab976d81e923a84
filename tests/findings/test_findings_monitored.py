"""The whole way with the real monitor: a breach opens a finding, three good runs close it, a relapse opens it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from labelproof.report.findings.book import findings_of
from labelproof.report.monitor.run import monitor
from labelproof.store import TraceStore, open_store
from tests.findings.findings_helpers import PROJECT, T0, days, hours, project_folder

N = 60
QUIET, BAD = 1, 18
"""Wrong ones of the day's 60 audits."""


def add_day(store: TraceStore, day: int, n_wrong: int) -> datetime:
    """Store a day's run of 60 automatic decisions, all of them audited by one person."""
    ts = T0 + days(day)
    ids = [f"d{day}i{n}" for n in range(N)]
    run = [f"r{day}"] * N
    tasks = [f"t{item}" for item in ids]
    store.append_many(
        {
            "runs": {
                "run_id": [f"r{day}"] * 2,
                "ts": [ts - hours(1), ts],
                "event": ["started", "finished"],
                "project": [PROJECT] * 2,
                "strategy": ["champion"] * 2,
                "strategy_fp": ["b2:s1"] * 2,
            },
            "decisions": {
                "run_id": run,
                "item_id": ids,
                "strategy_fp": ["b2:s1"] * N,
                "label": ["safe"] * N,
                "confidence": [0.9] * N,
                "decision": ["auto_accept"] * N,
                "inclusion_prob": [1.0] * N,
                "audited": [True] * N,
                "ts": [ts] * N,
            },
            "review_tasks": {
                "task_id": tasks,
                "project": [PROJECT] * N,
                "kind": ["audit"] * N,
                "item_id": ids,
                "run_id": run,
                "strategy_fp": ["b2:s1"] * N,
                "label": ["safe"] * N,
                "votes_wanted": [1] * N,
                "ts": [ts] * N,
            },
            "votes": {
                "vote_id": [f"v{item}" for item in ids],
                "project": [PROJECT] * N,
                "task_id": tasks,
                "item_id": ids,
                "annotator": ["ann"] * N,
                "role": ["reviewer"] * N,
                "answer": ["label"] * N,
                "label": ["hate" if n < n_wrong else "safe" for n in range(N)],
                "ts": [ts + hours(1)] * N,
            },
        }
    )
    store.drain_all()
    return ts + hours(2)


def live(tmp_path: Path, wrong: Sequence[int]) -> list[str]:
    """Return the state of the one finding after each day; `none` while there is none."""
    folder = project_folder(tmp_path, more="monitoring: {drift: []}\n")
    states = []
    with open_store(tmp_path / "store") as store:
        for day, n_wrong in enumerate(wrong, start=1):
            monitor(store, folder, now=add_day(store, day, n_wrong), run_id=f"r{day}")
            found = findings_of(store, PROJECT)
            assert len(found) <= 1
            states.append(f"{found[0].state} {found[0].check_held}" if found else "none")
        if found:
            one = found[0]
            assert (one.severity, one.owner, one.check) == ("critical", "Olga", "auto_accuracy >= 0.95")
            assert {right for _, right in one.items()} == {"hate"}
            assert store.query(str(one.evidence["sql"]), fresh=True).num_rows >= N
    return states


def test_a_finding_lives_from_breach_to_relapse(tmp_path: Path) -> None:
    wrong = [QUIET, BAD, QUIET, QUIET, QUIET, BAD]
    assert live(tmp_path, wrong) == [*("none", "open 0", "open 1", "open 2", "closed 3", "open 0")]
