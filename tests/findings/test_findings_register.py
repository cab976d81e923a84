"""The risk register and the change log: order, scores, what changed and who did it, hostile words as text."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from labelproof.report.findings import book
from labelproof.report.findings.book import findings_of
from labelproof.report.findings.register import (
    CHANGE_COLUMNS,
    RISK_COLUMNS,
    arrow_table,
    change_log,
    markdown_table,
    risk_register,
    rows_of,
)
from labelproof.report.rollouts.events import record as record_rollout
from labelproof.report.rollouts.model import RolloutEvent
from labelproof.store import TraceStore, open_store
from labelproof.store.interchange import write_labels
from tests.findings.findings_helpers import HOSTILE, PROJECT, T0, days, hours, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as made:
        yield made


def test_the_register_puts_overdue_first_then_what_hurts_and_comes_back(store: TraceStore) -> None:
    opened(store, "minor", severity="minor")
    opened(store, "critical", severity="critical", due=T0 + days(300))
    often = opened(store, "often", severity="major", due=T0 + days(300))
    for n in range(1, 4):
        closed = book.close(store, often, why="done", actor="x", now=T0 + days(n))
        often = opened(store, "often", severity="major", now=T0 + days(n) + hours(1), due=T0 + days(300))
        assert closed.state == "closed"
    late = opened(store, "late", severity="minor", due=T0 + days(1))
    lived = opened(store, "accepted", severity="major")
    book.accept(store, lived, why="known", actor="lea", now=T0 + hours(1), until=T0 + days(300))
    done = opened(store, "done")
    book.close(store, done, why="done", actor="x", now=T0 + days(1))
    risks = risk_register(findings_of(store, PROJECT), T0 + days(10))
    assert [(one.score, one.likelihood, one.overdue) for one in risks] == [
        (1, "once", True),
        (6, "often", False),
        (3, "once", False),
        (2, "once", False),
        (1, "once", False),
    ]
    assert risks[0].finding_id == late.finding_id
    assert risks[3].state == "accepted"
    # What came back more than a year ago no longer makes it likely.
    (old,) = [
        one
        for one in risk_register(findings_of(store, PROJECT), T0 + days(500))
        if one.n_seen < 1 + 3 and one.finding_id == often.finding_id
    ]
    assert (old.likelihood, old.n_seen) == ("once", 1)


def add_changes(store: TraceStore) -> None:
    def snapshot(prompt: str, guideline: str) -> str:
        parts = {"prompt": prompt, "guideline": guideline}
        step = {"name": "label", "kind": "label", "when": None, "fingerprint": prompt, "components": parts}
        return orjson.dumps({"name": "champion", "steps": [step]}).decode()

    store.append(
        "strategies",
        {
            "strategy_fp": ["b2:aaaaaa1", "b2:bbbbbb2", "b2:cccccc3"],
            "project": [PROJECT] * 3,
            "strategy": ["champion"] * 3,
            "spec_json": [snapshot("p1", "g1"), snapshot("p2", "g1"), snapshot("p2", "g2")],
            "ts": [T0, T0 + days(1), T0 + days(2)],
        },
    )
    store.append(
        "measurements",
        {
            "measurement_id": ["m1", "m2", "m3"],
            "project": [PROJECT] * 3,
            "kind": ["target"] * 3,
            "subject": ["auto_accuracy"] * 3,
            "bound": [0.95, 0.95, 0.97],
            "side": ["at_least"] * 3,
            "ts": [T0 + hours(1), T0 + days(1), T0 + days(3)],
        },
    )
    proposed = RolloutEvent(
        rollout_id="R-1",
        project=PROJECT,
        event="proposed",
        strategy="candidate",
        fp_from="b2:aaaaaa1",
        fp_to="b2:bbbbbb2",
        actor="ann",
        reason="try",
        ts=T0 + days(3.5),
    )
    promoted = replace(proposed, event="promoted", reason=HOSTILE, ts=T0 + days(4))
    back = replace(proposed, event="rolled_back", reason="no good", ts=T0 + days(5))
    record_rollout(store, [proposed, promoted, back])


def test_the_log_says_what_changed_and_who_did_it(store: TraceStore) -> None:
    add_changes(store)
    one = opened(store, now=T0 + days(5.5))
    book.close(store, one, why="fixed", actor="olga", now=T0 + days(6))
    log = change_log(store, PROJECT)
    assert [(change.kind, change.by) for change in log] == [
        ("finding", "olga"),
        ("rolled back", "ann"),
        ("promoted", "ann"),
        ("target", ""),
        ("guideline", ""),
        ("prompt", ""),
        ("target", ""),
        ("strategy", ""),
    ]
    assert log[0].what == "closed: Too many wrong"
    assert log[3].what == "auto_accuracy ≥ 0.97, before ≥ 0.95"
    assert log[4].what.startswith("champion@cccccc changed: label.guideline")
    assert [change.kind for change in change_log(store, PROJECT, since=T0 + days(4), until=T0 + days(6))] == [
        "rolled back",
        "promoted",
    ]
    assert change_log(store, "other") == ()


def test_hostile_words_stay_words(store: TraceStore, tmp_path: Path) -> None:
    add_changes(store)
    opened(store, title=HOSTILE[:190], owner=HOSTILE[:60], cause=HOSTILE, action="=1+1")
    risks = risk_register(findings_of(store, PROJECT), T0 + days(1))
    changes = change_log(store, PROJECT)
    for entries, columns in ((risks, RISK_COLUMNS), (changes, CHANGE_COLUMNS)):
        text = markdown_table(f"Risks of {HOSTILE}", entries, columns)
        assert "<script" not in text
        assert "@team" not in re.sub(r"<code>.*?</code>", "", text)
        assert "\x1b" not in text
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in lines} == {len(columns) + 1}
        assert len(lines) == len(entries) + 2
        path = tmp_path / f"{len(columns)}.csv"
        write_labels(arrow_table(entries, columns), path)
        with path.open(newline="", encoding="utf-8") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@\t\r]", cell)]
        assert orjson.loads(orjson.dumps(rows_of(entries)))
    assert markdown_table("Risks", (), RISK_COLUMNS) == "# Risks\n\nNothing.\n"
