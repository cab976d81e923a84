"""Leases against a dictionary: whatever the order of calls, the office and the plain model say the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from labelproof.review.model import VoteRole
from tests.review.office_helpers import TEN_MINUTES, at, cheap_office, claim

TASKS = st.sampled_from(["t1", "t2", "t3"])
PEOPLE = st.sampled_from(["ann", "bob", "lea"])
ROLES: st.SearchStrategy[VoteRole] = st.sampled_from(["reviewer", "adjudicator"])
LENGTH_S = TEN_MINUTES.total_seconds()


class LeaseMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.office = cheap_office(Path(self.folder.name))
        self.now = 0.0
        self.leases: dict[str, tuple[str, VoteRole, str, float]] = {}  # person, role, token, end
        self.marks: dict[tuple[str, str, VoteRole], bool] = {}  # decided
        self.tokens: list[tuple[str, str, str]] = []  # all tokens that ever were: task, person, token

    def teardown(self) -> None:
        self.office.close()
        self.folder.cleanup()

    def may(self, task: str, person: str, role: VoteRole) -> bool:
        held = self.leases.get(task)
        if held is not None and held[0] != person and held[3] > self.now:
            return False
        decided_as = {mark[2] for mark, decided in self.marks.items() if mark[0] == task and decided}
        if role == "adjudicator":
            return "adjudicator" not in decided_as
        return not decided_as and (task, person, "reviewer") not in self.marks

    @rule(task=TASKS, person=PEOPLE, role=ROLES)
    def claim(self, task: str, person: str, role: VoteRole) -> None:
        expected = self.may(task, person, role)
        before = self.leases.get(task)
        lease = claim(self.office, task, person, at(self.now), role=role)
        assert (lease is not None) == expected
        if lease is None:
            return
        assert lease.until == at(self.now + LENGTH_S)
        if before is not None and before[0] == person:
            assert lease.token == before[2]
        else:
            assert lease.token not in {token for _, _, token in self.tokens}
            self.tokens.append((task, person, lease.token))
        self.leases[task] = (person, role, lease.token, self.now + LENGTH_S)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        task, person, token = data.draw(st.sampled_from(self.tokens))
        until = self.now + LENGTH_S
        renewed = self.office.leases.renew(person, {task: token}, until=at(until), now=at(self.now))
        held = self.leases.get(task)
        expected = held is not None and held[2] == token
        assert renewed == {task: expected}
        if held is not None and expected:
            self.leases[task] = (held[0], held[1], token, until)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        task, _, token = data.draw(st.sampled_from(self.tokens))
        held = self.leases.get(task)
        expected = held is not None and held[2] == token
        assert self.office.leases.release(task, token) == expected
        if expected:
            del self.leases[task]

    @rule(task=TASKS, person=PEOPLE, decided=st.booleans())
    def finish(self, task: str, person: str, decided: bool) -> None:
        self.office.leases.finish(task, person, decided=decided, now=at(self.now))
        held = self.leases.get(task)
        role: VoteRole = held[1] if held is not None and held[0] == person else "reviewer"
        self.marks[task, person, role] = decided
        if held is not None and (held[0] == person or (decided and held[1] == "reviewer")):
            del self.leases[task]

    @rule(task=TASKS, person=PEOPLE)
    def unfinish(self, task: str, person: str) -> None:
        self.office.leases.unfinish(task, person)
        roles = {mark[2] for mark in self.marks if mark[:2] == (task, person)}
        self.marks = {mark: decided for mark, decided in self.marks.items() if mark[:2] != (task, person)}
        for mark in self.marks:
            if mark[0] == task and mark[2] in roles:
                self.marks[mark] = False

    @rule(task=TASKS)
    def reopen(self, task: str) -> None:
        self.office.leases.reopen(task)
        for mark in self.marks:
            if mark[0] == task:
                self.marks[mark] = False

    @rule(seconds=st.sampled_from([1.0, 300.0, 599.0, 600.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.office.close()
        self.office = cheap_office(Path(self.folder.name))

    @invariant()
    def held_tasks_are_the_same(self) -> None:
        found = {
            lease.task_id: (lease.reviewer, lease.token, lease.until)
            for lease in self.office.leases.held("p", at(self.now))
        }
        expected = {
            task: (person, token, at(end))
            for task, (person, _, token, end) in self.leases.items()
            if end > self.now
        }
        assert found == expected


LeaseMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestLeaseMachine = LeaseMachine.TestCase
