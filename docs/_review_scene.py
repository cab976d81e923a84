"""The bundled project with ten working days of a simulated machine and simulated reviewers, for the pictures.

Texts, gold labels and the guideline are the project's own. The machine's labels, its confidences and every vote are
drawn from one seed: they say how the pages look, nothing about a model or about people.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agents.review_tasks import (
    ReviewTask,
    appeal_task_id,
    audit_task_id,
    check_task_id,
    gold_task_id,
    routed_task_id,
    task_columns,
)
from agents.run.register import gold_rows, item_rows
from agents.run.workload import Workload, load_workload
from docs._review_story import (
    APPEALED,
    AUDIT_PROB,
    CHECKS_A_DAY,
    ERRORS,
    N_DAYS,
    N_GOLD,
    N_TODAY,
    NOW,
    PASSWORD,
    PEOPLE,
    PROJECT,
    RIGHT_PROB,
    STORIES,
    THRESHOLD,
    TURNS_BAD,
    Decided,
    Said,
    call_row,
    columns,
    day_date,
    decision_rows,
    morning,
    run_id,
    run_rows,
    step_rows,
)
from labelproof.review.desk import Desk
from labelproof.review.model import Assignment, Vote
from labelproof.review.office import Office, open_office
from labelproof.review.queue import pick_check
from labelproof.spec.hashing import digest
from labelproof.spec.review import TaskKind
from labelproof.store import TraceStore, open_store

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Scene:
    """The open desk and office over a filled store; ``ids``: external id -> item id."""

    store: TraceStore
    office: Office
    desk: Desk
    ids: dict[str, str]

    def task_of(self, external_id: str) -> str:
        """Return the id of the first task about an item."""
        return self.desk.tasks_of_item(PROJECT, self.ids[external_id])[0][0].task_id

    def hand(self, name: str, external_id: str) -> None:
        """Make this item's task the one that the person's task page shows, whatever they held before."""
        account = self.office.accounts.get(name)
        assert account is not None
        for lease in self.office.leases.held(PROJECT, NOW):
            if lease.reviewer == name:
                self.desk.release(account.reviewer, lease.task_id, lease.token)
        found = self.desk.next(account.reviewer, PROJECT, task_id=self.task_of(external_id))
        assert isinstance(found, Assignment)

    def close(self) -> None:
        self.desk.close()
        self.office.close()
        self.store.close()


def make_scene(folder: Path) -> Scene:
    """Return the scene with its store and office in ``folder``; the same every time but for secrets."""
    work = load_workload(PROJECT, "champion", root=ROOT)
    store = open_store(folder / "store")
    office = open_office(folder / "office.db", clock=lambda: NOW)
    first = morning(0)
    store.append_many({**item_rows(store, PROJECT, work, first), **gold_rows(store, PROJECT, work, first)})
    made = _Simulation(work, office)
    made.run()
    store.append_many(made.tables())
    for name, role in PEOPLE.items():
        office.accounts.add(name, role=role, password=PASSWORD, now=first)
    desk = Desk.open(store, office, {PROJECT: work.folder}, clock=lambda: NOW, seed=1)
    return Scene(store=store, office=office, desk=desk, ids=made.ids)


@dataclass
class _Simulation:
    """Ten days, drawn in a fixed order: machine, tasks, votes."""

    work: Workload
    office: Office
    rng: random.Random = field(default_factory=lambda: random.Random(20260312))
    decided: list[Decided] = field(default_factory=list)
    tasks: list[ReviewTask] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    checks: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.ids = {item.external_id: item.id for item in self.work.items}
        self.names = {item_id: name for name, item_id in self.ids.items()}
        rows = self.work.gold.rows if self.work.gold else ()
        self.gold = {row.item_id: row.label for row in rows}
        self.measuring = [(row.item_id, row.label) for row in rows if row.split != "examples"]
        self.labels = self.work.folder.spec.labels.leaves

    def run(self) -> None:
        for day, items in enumerate(self._days()):
            decided = [self._decide(item_id, day) for item_id in items]
            self.decided += decided
            made = [task for one in decided if (task := self._task(one)) is not None]
            if day == N_DAYS - 3:
                made += self._gold_tasks(made, day)
            self.tasks += made
        asked = {task.item_id for task in self.tasks}
        self.measuring = [one for one in self.measuring if one[0] not in asked]
        for day in range(N_DAYS):
            self._work_day(day)
        self._appeal()

    # --- the machine -----------------------------------------------------------------------------

    def _days(self) -> list[list[str]]:
        """Return the items of each day: planted ones on theirs, the others by lot, more of them today."""
        days: list[list[str]] = [[] for _ in range(N_DAYS)]
        for name, story in STORIES.items():
            days[story.day].append(self.ids[name])
        others = sorted(item_id for item_id, name in self.names.items() if name not in STORIES)
        self.rng.shuffle(others)
        while len(days[-1]) < N_TODAY:
            days[-1].append(others.pop())
        for place, item_id in enumerate(others):
            days[place % (N_DAYS - 1)].append(item_id)
        return days

    def _decide(self, item_id: str, day: int) -> Decided:
        gold = self.gold[item_id]
        wrong = self.rng.random() < ERRORS
        other = self.rng.choice([label for label in self.labels if label != gold])
        right_draw, wrong_draw = self.rng.betavariate(9, 1.5), self.rng.betavariate(5, 2.2)
        label, confidence = (other, wrong_draw) if wrong else (gold, right_draw)
        audited = self.rng.random() < AUDIT_PROB
        story = STORIES.get(self.names[item_id])
        if story is not None:
            label, confidence, audited = story.machine, story.confidence, story.kind == "audit"
        confidence = round(min(confidence, 0.995), 3)
        auto = confidence >= THRESHOLD and label != "minor_safety"
        side = "at or above" if confidence >= THRESHOLD else "below"
        reason = f"confidence {confidence:.3f} {side} uncertified threshold {THRESHOLD:.3f}"
        return Decided(
            item_id=item_id,
            gold=gold,
            label=label,
            confidence=confidence,
            auto=auto,
            audited=auto and audited,
            reason="always reviewed: minor_safety" if label == "minor_safety" else reason,
            at=morning(day) + timedelta(seconds=self.rng.randrange(600)),
            run_id=run_id(day),
        )

    # --- what people are asked -------------------------------------------------------------------

    def _task(self, one: Decided) -> ReviewTask | None:
        if one.auto and not one.audited:
            return None
        story = STORIES.get(self.names[one.item_id])
        kind: TaskKind = story.kind if story else "audit" if one.audited else "routed"
        return self._ask(kind, one.item_id, one.at, one)

    def _ask(
        self, kind: TaskKind, item_id: str, at: datetime, one: Decided | None, **more: Any
    ) -> ReviewTask:
        policy = self.work.folder.spec.review
        name = {"audit": audit_task_id, "gold": gold_task_id}.get(kind, routed_task_id)
        reasons = {"audit": "drawn at random from what the machine decided", "gold": "drawn for gold"}
        given: dict[str, Any] = {
            "task_id": name(PROJECT, item_id),
            "label": one.label if one else None,
            "confidence": one.confidence if one else None,
            "reason": reasons.get(kind) or (one.reason if one else ""),
            **more,
        }
        return ReviewTask(
            project=PROJECT,
            kind=kind,
            item_id=item_id,
            run_id=one.run_id if one else None,
            strategy_fp=self.work.resolved.fingerprint if one else None,
            blind=policy.is_blind(kind),
            votes_wanted=policy.votes(kind),
            design="audit" if kind == "audit" else None,
            inclusion_prob=AUDIT_PROB if kind == "audit" else None,
            sample_id=None,
            ts=at,
            **given,
        )

    def _gold_tasks(self, today: Sequence[ReviewTask], day: int) -> list[ReviewTask]:
        asked = {task.item_id for task in (*self.tasks, *today)}
        free = [
            one for one in self.decided if one.item_id not in asked and self.names[one.item_id] not in STORIES
        ]
        drawn = self.rng.sample(free, N_GOLD)
        return [self._ask("gold", one.item_id, morning(day) + timedelta(hours=2), one) for one in drawn]

    def _appeal(self) -> None:
        contested = self.ids[APPEALED]
        one = next(one for one in self.decided if one.item_id == contested)
        self.tasks.append(
            self._ask(
                "appeal",
                contested,
                NOW - timedelta(minutes=47),
                one,
                task_id=appeal_task_id(PROJECT, contested, "agreed"),
                confidence=None,
                reason="ann: H-2, it is criticism of a plumber's work, however harsh.",
            )
        )

    # --- what people say -------------------------------------------------------------------------

    def _work_day(self, day: int) -> None:
        """Let reviewers answer most of a day's tasks, hidden gold in between; a lead settles what differs."""
        today = day == N_DAYS - 1
        lists: dict[str, list[ReviewTask]] = {name: [] for name in ("ann", "bob", "cyd")}
        for place, task in enumerate(sorted(self._tasks_on(day), key=lambda task: task.task_id)):
            if self.names[task.item_id] in STORIES:
                continue
            left = self.rng.random() < (0.6 if today else 0.12 if day == N_DAYS - 2 else 0)
            names = sorted(lists)[place % 3 :] + sorted(lists)[: place % 3]
            for name in names[: task.votes_wanted - (1 if left and task.votes_wanted > 1 else 0)]:
                if not left or task.votes_wanted > 1:
                    lists[name].append(task)
        for name, tasks in lists.items():
            mixed = [*tasks, *self._checks(name, day)]
            self.rng.shuffle(mixed)
            self._sit_down(name, mixed, day)
        self._planted(day)
        if not today:
            self._settle(day)

    def _tasks_on(self, day: int) -> list[ReviewTask]:
        return [task for task in self.tasks if task.kind != "check" and task.ts.date() == day_date(day)]

    def _checks(self, name: str, day: int) -> list[ReviewTask]:
        made = []
        for turn in range(CHECKS_A_DAY):
            picked = pick_check(self.measuring, self.checks[name], digest(["picture", name, day, turn]))
            assert picked is not None
            item_id, label = picked
            self.checks[name].add(item_id)
            task_id = check_task_id(PROJECT, item_id, name)
            at = morning(day) + timedelta(hours=1)
            more = {"task_id": task_id, "label": label, "reason": f"hidden gold for {name}"}
            made.append(self._ask("check", item_id, at, None, **more))
        self.tasks += made
        return made

    def _sit_down(self, name: str, tasks: Sequence[ReviewTask], day: int) -> None:
        """Answer tasks one after the other: from the morning on, today until a moment ago."""
        bad = name == "bob" and day >= TURNS_BAD
        right_prob = 0.45 if bad else RIGHT_PROB[name]
        seconds = [round(self.rng.lognormvariate(1.6 if bad else 2.6, 0.5), 1) for _ in tasks]
        gaps = [self.rng.uniform(4, 40) for _ in tasks]
        at = morning(day) + timedelta(hours=5 if day == N_DAYS - 4 else 2, minutes=self.rng.uniform(0, 4))
        if day == N_DAYS - 1:
            at = NOW - timedelta(seconds=30 + sum(seconds) + sum(gaps))
        for task, took, gap in zip(tasks, seconds, gaps, strict=True):
            at += timedelta(seconds=took + gap)
            gold = self.gold[task.item_id]
            wrong = self.rng.choice([label for label in self.labels if label != gold])
            said = Said(name, gold if self.rng.random() < right_prob else wrong)
            if self.rng.random() < 0.02 and task.kind == "routed":
                self._vote(task, Said(name, None, None, "skip"), at, took)
                said = Said("ann" if name == "cyd" else "cyd", gold)
            self._vote(task, said, at, took)

    def _planted(self, day: int) -> None:
        tasks = {self.names[task.item_id]: task for task in self._tasks_on(day)}
        for name, story in STORIES.items():
            start = morning(day) + timedelta(minutes=25)
            for place, said in enumerate(story.said if story.day == day else ()):
                self._vote(tasks[name], said, start + timedelta(minutes=6 * place), 14.0 + 3 * place)

    def _settle(self, day: int) -> None:
        """Let the lead decide where labels differ."""
        said: dict[str, set[str | None]] = defaultdict(set)
        for vote in self.votes:
            said[vote.task_id].add(vote.label)
        at = morning(day) + timedelta(hours=8)
        for task in self._tasks_on(day):
            if len(said[task.task_id] - {None}) > 1 and self.names[task.item_id] not in STORIES:
                at += timedelta(minutes=1)
                self._vote(task, Said("lea", self.gold[task.item_id], role="adjudicator"), at, 31.0)

    def _vote(self, task: ReviewTask, said: Said, at: datetime, seconds: float) -> None:
        vote = Vote(
            vote_id=digest(["picture", task.task_id, said.who, said.role]),
            project=PROJECT,
            task_id=task.task_id,
            item_id=task.item_id,
            annotator=said.who,
            role=said.role,
            answer=said.answer,
            label=said.label,
            note=said.note,
            source="web",
            seconds=seconds,
            at=at.replace(microsecond=0),
        )
        self.votes.append(replace(vote, signature=self.office.signer.sign(vote)))

    def tables(self) -> dict[str, dict[str, list[Any]]]:
        """Return everything as columns by table."""
        names = [name for name in Vote.__slots__ if name != "at"]
        votes = [{**{name: getattr(vote, name) for name in names}, "ts": vote.at} for vote in self.votes]
        texts_of = {item.id: item.text for item in self.work.items}
        system = self.work.folder.guideline_short() or self.work.folder.guideline()
        traced = [one for one in self.decided if self.names[one.item_id] in STORIES]
        calls = [call_row(one, system, texts_of[one.item_id]) for one in traced]
        texts = {text_hash: text for _, found in calls for text_hash, text in found.items()}
        return {
            "runs": columns(run_rows(self.work, self.decided)),
            "decisions": columns(decision_rows(self.work, self.decided)),
            "review_tasks": task_columns(self.tasks),
            "votes": columns(votes),
            "steps": columns([row for one in traced for row in step_rows(one)]),
            "calls": columns([row for row, _ in calls]),
            "texts": {"text_hash": list(texts), "text": list(texts.values())},
        }
