"""The queue against a model that looks at every task each time, under any sequence of what can happen."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from labelproof.review.model import FOR_LEADS, Outcome, Reviewer, Task, TaskEvent, TaskState, Vote, VoteRole
from labelproof.review.queue import Queue, QueueOverview, outcome_of
from labelproof.spec.review import SEVERITIES, ReviewPolicy, TaskKind
from tests.review.queue_helpers import T0, task, vote

POLICY = ReviewPolicy.model_validate({"skips_to_lead": 2, "care": {"daily_limit": {"critical": 1}}})
LEASE = timedelta(minutes=10)
KINDS: tuple[TaskKind, ...] = ("routed", "routed", "audit", "appeal", "check")
PEOPLE = {
    one.name: one
    for one in (
        Reviewer(name="ana"),
        Reviewer(name="ben", languages=frozenset(("es",))),
        Reviewer(name="cid", skills=frozenset(("graphic",))),
        Reviewer(name="lea", role="lead", skills=frozenset(("graphic",))),
    )
}
EVENTS: tuple[TaskEvent, ...] = ("closed", "reopened", "escalated")
SAID = ("spam", "spam", "hate", "skip", "flag", "unclear")
NAMES = st.sampled_from(sorted(PEOPLE))
ROLE_NAMES: tuple[VoteRole, ...] = ("reviewer", "adjudicator")
ROLES = st.sampled_from(ROLE_NAMES)
IDS = st.integers(0, 9).map(lambda n: f"t{n}")


def _pool() -> dict[str, Task]:
    draw = Random(3)
    return {
        f"t{n}": task(
            f"t{n}",
            kind=KINDS[n % len(KINDS)],
            item_id=f"i{n // 2}",
            rank=float(draw.randrange(4)),
            votes_wanted=1 + n % 2,
            severity=draw.choice((None, "low", "critical")),
            language=draw.choice((None, None, "es", "de")),
            skills=frozenset(("graphic",)) if n % 4 == 3 else frozenset(),
            made_at=T0 - timedelta(minutes=n),
            due_at=T0 + timedelta(minutes=draw.randrange(60)),
        )
        for n in range(10)
    }


POOL = _pool()


class Model:
    """All that happened, and everything derived from it by looking at all of it."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.votes: list[Vote] = []
        self.events: list[tuple[str, TaskEvent, datetime]] = []
        self.holds: dict[str, tuple[str, datetime]] = {}

    def outcome(self, task_id: str) -> Outcome:
        mine = [event for event in self.events if event[0] == task_id]
        _, latest, when = max(mine, key=lambda event: event[2]) if mine else (None, None, None)
        return outcome_of(self.tasks[task_id], self.votes, latest, when)

    def held_by(self, task_id: str, now: datetime) -> str | None:
        holder, until = self.holds.get(task_id, (None, now))
        return holder if until > now else None

    def ever(self, task_id: str, role: VoteRole) -> set[str]:
        return {one.annotator for one in self.votes if one.task_id == task_id and one.role == role}

    def may_have(
        self, task_id: str, who: Reviewer, role: VoteRole, seen: dict[Any, int], now: datetime
    ) -> bool:
        asked, outcome = self.tasks[task_id], self.outcome(task_id)
        answered = {one.annotator for one in outcome.votes if one.role == role}
        if self.held_by(task_id, now) or who.name in answered:
            return False
        if role == "adjudicator":
            return outcome.state in FOR_LEADS and who.name not in self.ever(task_id, "reviewer")
        return (
            outcome.state == "open"
            and asked.kind != "check"
            and who.name not in self.ever(task_id, "adjudicator")
            and asked.skills <= who.skills
            and (asked.language is None or not who.languages or asked.language in who.languages)
            and (asked.severity != "critical" or seen.get("critical", 0) < 1)
        )

    def next_for(self, who: Reviewer, role: VoteRole, seen: dict[Any, int], skip: set[str], now: datetime) -> str | None:  # fmt: skip
        fitting = [
            (self.tasks[name].rank, name)
            for name in self.tasks
            if name not in skip and self.may_have(name, who, role, seen, now)
        ]
        return min(fitting)[1] if fitting else None


def arrays(overview: QueueOverview) -> list[tuple[float, int]]:
    return list(zip(overview.due_s.tolist(), overview.votes_left.tolist(), strict=True))


class QueueMachine(RuleBasedStateMachine):
    """Time moves on with every vote and event, so that none are at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(POLICY)
        self.model = Model()
        self.now = T0
        self.n = 0

    def _tick(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def _cast(self, who: str, said: str, task_id: str, role: VoteRole, back_s: float = 0) -> None:
        self.n += 1
        given = vote(
            who, said, task_id=task_id, role=role, vote_id=f"v{self.n}",
            after=(self._tick() - T0).total_seconds() - back_s + self.n / 1000,
        )  # fmt: skip
        self.model.votes.append(given)
        outcome = self.queue.apply_vote(given)
        assert (outcome is None) == (task_id not in self.model.tasks)
        assert self.queue.apply_vote(given) == outcome, "the same vote again changes nothing"

    @initialize()
    def some_tasks(self) -> None:
        names = [f"t{n}" for n in range(0, 10, 3)]
        assert self.queue.load(POOL[name] for name in names) == len(names)
        self.model.tasks |= {name: POOL[name] for name in names}

    @rule(task_id=IDS)
    def add(self, task_id: str) -> None:
        assert self.queue.add(POOL[task_id]) == (task_id not in self.model.tasks)
        self.model.tasks[task_id] = POOL[task_id]

    @rule(who=NAMES, role=ROLES, n_seen=st.integers(0, 1), skip=st.sets(IDS, max_size=2), hold=st.booleans())
    def ask_for_the_next(self, who: str, role: VoteRole, n_seen: int, skip: set[str], hold: bool) -> None:
        seen = {"critical": n_seen}
        found = self.queue.first_for(PEOPLE[who], self.now, role=role, seen=seen, skip=skip)  # type: ignore[arg-type]
        expected = self.model.next_for(PEOPLE[who], role, seen, skip, self.now)
        if not isinstance(found, Task):
            assert expected is None
            waiting = ("open",) if role == "reviewer" else tuple(FOR_LEADS)
            left = [name for name in self.model.tasks if self.model.outcome(name).state in waiting]
            left = [name for name in left if role == "adjudicator" or POOL[name].kind != "check"]
            assert found.n_open == len(left)
            assert (found.reason == "empty") == (not left)
            return
        assert found.task_id == expected
        assert self.queue.refusal(found.task_id, who, role) is None
        if hold:
            until = self.now + LEASE
            self.queue.hold(found.task_id, who, until)
            self.model.holds[found.task_id] = (who, until)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), said=st.sampled_from(SAID))
    def answer_what_is_held(self, data: st.DataObject, said: str) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.model.holds)))
        who, _ = self.model.holds[task_id]
        if task_id in self.model.tasks:
            state = self.model.outcome(task_id).state
            role: VoteRole = "adjudicator" if state in FOR_LEADS else "reviewer"
            if self.queue.refusal(task_id, who, role) is None:
                assert role == "reviewer" or who not in self.model.ever(task_id, "reviewer")
                self._cast(who, said, task_id, role)
        self.queue.release(task_id)
        del self.model.holds[task_id]

    @rule(
        who=NAMES,
        said=st.sampled_from(SAID),
        task_id=IDS,
        role=ROLES,
        back_s=st.sampled_from((0.0, 0.0, 90.0)),
    )
    def a_vote_comes_from_elsewhere(
        self, who: str, said: str, task_id: str, role: VoteRole, back_s: float
    ) -> None:
        self._cast(who, said, task_id, role, back_s)

    @rule(who=NAMES, role=ROLES)
    def take_back(self, who: str, role: VoteRole) -> None:
        latest = self.queue.latest_answer(who, role)
        current = [one for name in self.model.tasks for one in self.model.outcome(name).votes]
        mine = [one for one in current if one.annotator == who and one.role == role]
        assert latest == max(mine, key=lambda one: one.at, default=None)
        if latest is not None:
            self._cast(who, "withdrawn", latest.task_id, role)

    @rule(task_id=IDS, event=st.sampled_from(EVENTS))
    def event(self, task_id: str, event: TaskEvent) -> None:
        when = self._tick()
        self.model.events.append((task_id, event, when))
        assert (self.queue.apply_event(task_id, event, when) is None) == (task_id not in self.model.tasks)

    @rule()
    def escalate_what_was_skipped(self) -> None:
        for task_id in self.queue.to_escalate():
            outcome = self.model.outcome(task_id)
            assert outcome.state == "open"
            assert sum(one.answer == "skip" for one in outcome.votes) >= POLICY.skips_to_lead
            self.event(task_id, "escalated")
        assert self.queue.to_escalate() == []

    @rule(who=NAMES, task_id=IDS)
    def another_process_holds(self, who: str, task_id: str) -> None:
        self.queue.hold(task_id, who, self.now + LEASE)
        self.model.holds[task_id] = (who, self.now + LEASE)

    @rule(task_id=IDS)
    def release(self, task_id: str) -> None:
        self.queue.release(task_id)
        self.model.holds.pop(task_id, None)

    @rule(minutes=st.sampled_from((1, 6, 11)))
    def time_goes_by(self, minutes: int) -> None:
        self._tick(60 * minutes)
        freed = self.queue.expire(self.now)
        ended = {name for name in self.model.holds if self.model.held_by(name, self.now) is None}
        assert set(freed) <= ended
        for name in ended:
            assert self.queue.holder(name) is None
            del self.model.holds[name]

    @invariant()
    def numbers_are_those_of_a_full_count(self) -> None:
        outcomes = {name: self.model.outcome(name) for name in self.model.tasks}
        assert {name: self.queue.outcome(name) for name in outcomes} == outcomes
        counted = [
            name for name in outcomes if POOL[name].kind != "check" or outcomes[name].state in FOR_LEADS
        ]
        open_ones = [POOL[name] for name in counted if outcomes[name].state == "open"]
        got = self.queue.overview(self.now)
        states: Counter[TaskState] = Counter(outcomes[name].state for name in counted)
        assert {state: n for state, n in got.by_state.items() if n} == dict(states)
        assert got.open_by_kind == {k: sum(t.kind == k for t in open_ones) for k in got.open_by_kind}
        assert got.open_by_severity == {
            k: sum((t.severity or "unknown") == k for t in open_ones) for k in (*SEVERITIES, "unknown")
        }
        assert (
            got.n_overdue == sum(t.due_at < self.now for t in open_ones) == sum(got.overdue_by_kind.values())
        )
        assert got.n_held == sum(self.model.held_by(name, self.now) is not None for name in self.model.holds)
        assert got.oldest_open == min((t.made_at for t in open_ones), default=None)
        labels = {
            t.task_id: sum(v.role == "reviewer" and v.answer == "label" for v in outcomes[t.task_id].votes)
            for t in open_ones
        }
        left = sorted((t.due_at.timestamp(), t.votes_wanted - labels[t.task_id]) for t in open_ones)
        assert arrays(got) == left
        assert got.votes_wanted == sum(n for _, n in left)

    @invariant()
    def leads_see_what_waits_for_them(self) -> None:
        waiting = [name for name in self.model.tasks if self.model.outcome(name).state in FOR_LEADS]
        expected = sorted(waiting, key=lambda name: (POOL[name].rank, name))
        assert [one.task_id for one, _ in self.queue.for_leads()] == expected

    @invariant()
    def people_have_the_answers_that_stand(self) -> None:
        current = [one for name in self.model.tasks for one in self.model.outcome(name).votes]
        for who, person in PEOPLE.items():
            mine = sorted(
                (v for v in current if v.annotator == who and v.role == "reviewer"), key=lambda v: v.at
            )
            assert self.queue.answered(who) == len(mine)
            assert self.queue.answered_since(who, T0) == [v for v in mine if v.at >= T0]
            free = [name for name in self.model.tasks if self._could_answer(name, person)]
            assert self.queue.n_open_for(person) == len(free)

    def _could_answer(self, name: str, who: Reviewer) -> bool:
        mine = self.model.held_by(name, self.now) == who.name
        later = self.now + 2 * LEASE if mine else self.now
        return self.model.may_have(name, who, "reviewer", {}, later)

    def teardown(self) -> None:
        for seed in range(3):
            again = Queue(POLICY)
            arriving: list[Any] = [*self.model.tasks.values(), *self.model.votes, *self.model.events]
            Random(seed).shuffle(arriving)
            for one in arriving:
                if isinstance(one, Task):
                    again.add(one)
                elif isinstance(one, Vote):
                    again.apply_vote(one)
                else:
                    again.apply_event(*one)
            self._assert_same(again)
        again = Queue(POLICY)
        again.load(self.model.tasks.values(), self.model.votes, self.model.events)
        self._assert_same(again)

    def _assert_same(self, again: Queue) -> None:
        for name, (who, until) in self.model.holds.items():
            again.hold(name, who, until)
        for name in self.model.tasks:
            assert again.outcome(name) == self.queue.outcome(name)
        one, other = again.overview(self.now), self.queue.overview(self.now)
        assert one.to_json() == other.to_json()
        assert arrays(one) == arrays(other)
        assert again.to_escalate() == self.queue.to_escalate()
        for person in PEOPLE.values():
            for role in ROLE_NAMES:
                found = again.first_for(person, self.now, role=role)
                assert found == self.queue.first_for(person, self.now, role=role)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
