"""The life of a finding under any order of events: the fold, the view and a plain model agree."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from labelproof.report.findings import book
from labelproof.report.findings.book import find_finding
from labelproof.report.findings.checks import run_checks
from labelproof.report.findings.events import record
from labelproof.report.findings.model import Finding, FindingEvent
from labelproof.spec.errors import ConfigError
from labelproof.store import open_store
from tests.findings.findings_helpers import PROJECT, T0, measure_of, opened, project_folder, state_in_view

RUNS = 2


class Life(RuleBasedStateMachine):
    """``state``, ``held``, ``seen`` and ``severity`` are what must be so."""

    @initialize()
    def open_it(self) -> None:
        self.files = tempfile.TemporaryDirectory()
        root = Path(self.files.name)
        self.folder = project_folder(root)
        self.store = open_store(root / "store")
        self.now = T0
        self.finding_id = opened(self.store, check_runs=RUNS).finding_id
        self.state, self.held, self.seen, self.severity, self.owner = "open", 0, 1, "major", "olga"

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.files.cleanup()

    def one(self) -> Finding:
        return find_finding(self.store, PROJECT, self.finding_id)

    def later(self) -> dict[str, Any]:
        self.now += timedelta(hours=2)
        return {"actor": "ann", "now": self.now}

    def refused(self, act: Any) -> bool:
        try:
            act()
        except ConfigError:
            return True
        return False

    @rule()
    def close(self) -> None:
        refused = self.refused(lambda: book.close(self.store, self.one(), why="done", **self.later()))
        assert refused == (self.state == "closed")
        self.state = "closed"

    @rule()
    def accept(self) -> None:
        refused = self.refused(lambda: book.accept(self.store, self.one(), why="fine", **self.later()))
        assert refused == (self.state != "open")
        if not refused:
            self.state = "accepted"

    @rule()
    def reopen(self) -> None:
        refused = self.refused(lambda: book.reopen(self.store, self.one(), why="no", **self.later()))
        assert refused == (self.state == "open")
        if not refused:
            self.state, self.held, self.seen = "open", 0, self.seen + 1

    @rule(severity=st.sampled_from(["critical", "major", "minor"]))
    def seen_again(self, severity: str) -> None:
        worse = ["critical", "major", "minor"].index(severity) < ["critical", "major", "minor"].index(
            self.severity
        )
        self.later()
        opened(self.store, severity=severity, now=self.now, check_runs=RUNS)
        if self.state == "closed" or (self.state == "accepted" and worse):
            self.state, self.held, self.seen = "open", 0, self.seen + 1
        if worse:
            self.severity = severity

    @rule(owner=st.sampled_from(["ann", "bob"]))
    def assign(self, owner: str) -> None:
        book.assign(self.store, self.one(), owner, **self.later())
        self.owner = owner

    @rule()
    def note(self) -> None:
        before = len(self.one().events)
        book.note(self.store, self.one(), "hm", **self.later())
        assert len(self.one().events) == before + 1

    @rule(value=st.sampled_from([(0.99, 300), (0.94, 60), (0.3, 300), (0.99, 3), (None, 0)]))
    def check(self, value: Any) -> None:
        self.later()
        found = run_checks(self.store, self.folder, now=self.now, measure=measure_of(lambda _: value))
        if self.state == "accepted":
            assert found == ()
            return
        share, n = value
        if share is None or n < 30:
            assert [one.verdict for one in found] == ["waits"]
        elif self.state == "open":
            self.held = self.held + 1 if share >= 0.95 else 0
            if self.held == RUNS:
                self.state = "closed"
        elif share == 0.3:
            self.state, self.held, self.seen = "open", 0, self.seen + 1
        elif share == 0.99:
            self.held = RUNS

    @precondition(lambda self: self.state == "closed")
    @rule()
    def a_late_row_of_another_machine_closes_it_again(self) -> None:
        self.later()
        row = FindingEvent(
            finding_id=self.finding_id, project=PROJECT, event="closed", actor="bob", ts=self.now
        )
        since = self.one().since
        record(self.store, [row])
        assert self.one().since == since

    @invariant()
    def all_say_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        one, view = self.one(), state_in_view(self.store, self.finding_id)
        assert one.state == view["state"] == self.state
        assert one.severity == view["severity"] == self.severity
        assert one.owner == view["owner"] == self.owner
        assert one.check_held == view["check_held"] == self.held
        assert one.n_seen == view["n_reopened"] + 1 == self.seen
        assert one.changed_at == view["changed_at"]
        times = [event.ts for event in one.events]
        assert times == sorted(set(times))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
