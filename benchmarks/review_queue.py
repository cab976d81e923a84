"""What the review queue costs in memory and time: ``python -m benchmarks.review_queue`` prints one table.

100 000 open tasks of several severities, languages, skills and kinds; 20 reviewers with overlapping sets of
answers. Medians and 99th percentiles of single calls in milliseconds of this process's own CPU time (a
shared machine makes wall time say more about the neighbours), without store and office.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import numpy as np

from labelproof.review.model import NothingToDo, Reviewer, Task, Vote, VoteRole
from labelproof.review.queue import Queue, build_task
from labelproof.spec.labels import LabelSchema
from labelproof.spec.review import ReviewPolicy

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCHEMA = LabelSchema.model_validate(
    {"classes": [{"name": name, "severity": name} for name in ("low", "medium", "high", "critical")]}
)
POLICY = ReviewPolicy.model_validate({"skills": {"graphic": {"labels": ["critical"]}}})
KINDS = ("routed", "routed", "routed", "audit", "gold", "disagreement")
ROLES: tuple[VoteRole, ...] = ("reviewer", "adjudicator")
LANGUAGES = ("en", "en", "es", "de", "fr", "pt", None)


def make_rows(n: int, draw: Random) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return rows of ``review_tasks`` with their items' metadata."""
    return [
        (
            {
                "task_id": f"b2:{draw.getrandbits(160):040x}",
                "project": "p",
                "kind": draw.choice(KINDS),
                "item_id": f"i{i}",
                "label": draw.choice(SCHEMA.leaves),
                "confidence": draw.random(),
                "blind": True,
                "votes_wanted": 1 + i % 2,
                "reason": "confidence below threshold",
                "ts": T0 - timedelta(seconds=draw.random() * 864_000),
            },
            {"language": draw.choice(LANGUAGES)},
        )
        for i in range(n)
    ]


def make_reviewers(n: int, draw: Random) -> list[Reviewer]:
    """Return people of whom some have languages and most the skill."""
    return [
        Reviewer(
            name=f"r{i}",
            languages=frozenset(draw.sample(("en", "es", "de", "fr", "pt"), 2))
            if i % 3 == 0
            else frozenset(),
            skills=frozenset(("graphic",)) if i % 4 else frozenset(),
        )
        for i in range(n)
    ]


def timed(call: Callable[[], Any], into: list[float]) -> Any:
    start = time.process_time()
    result = call()
    into.append(time.process_time() - start)
    return result


def work(queue: Queue, people: Sequence[Reviewer], n: int, draw: Random) -> Iterator[tuple[str, list[float]]]:
    """Yield call times of people who take, answer, skip and take back, in turn."""
    taken: list[float] = []
    voted: list[float] = []
    undone: list[float] = []
    others: list[float] = []
    for i in range(n):
        now = T0 + timedelta(seconds=i / 10)
        who = people[i % len(people)]
        task: Task | NothingToDo = timed(partial(queue.first_for, who, now), taken)
        if isinstance(task, NothingToDo):
            continue
        queue.hold(task.task_id, who.name, now + timedelta(minutes=10))
        vote = make_vote(task, who.name, f"v{i}", draw, now)
        timed(partial(queue.apply_vote, vote), voted)
        timed(partial(queue.release, task.task_id), others)
        if i % 25 == 0:
            later = now + timedelta(milliseconds=1)
            back = Vote(
                vote_id=f"u{i}", project="p", task_id=task.task_id, item_id=task.item_id, annotator=who.name, role="reviewer",
                answer="withdrawn", label=None, note=None, source="web", seconds=None, at=later,
            )  # fmt: skip
            timed(partial(queue.apply_vote, back), undone)
    yield "first_for", taken
    yield "apply_vote", voted
    yield "apply_vote (undo)", undone
    yield "release", others


def make_vote(task: Task, who: str, vote_id: str, draw: Random, at: datetime) -> Vote:
    skips = draw.random() < 0.05
    return Vote(
        vote_id=vote_id,
        project="p",
        task_id=task.task_id,
        item_id=task.item_id,
        annotator=who,
        role="reviewer",
        answer="skip" if skips else "label",
        label=None if skips else draw.choice(SCHEMA.leaves),
        note=None,
        source="web",
        seconds=8.0,
        at=at,
    )


def add_each(queue: Queue, tasks: Sequence[Task]) -> None:
    for task in tasks:
        queue.add(task)


def show(name: str, seconds: Sequence[float]) -> None:
    p50, p99, top = np.quantile(seconds, [0.5, 0.99, 1.0]) * 1000
    print(f"{name:34} n={len(seconds):6}  median {p50:9.4f} ms   p99 {p99:9.4f} ms   max {top:9.3f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--votes", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=20)
    given = parser.parse_args()
    draw = Random(1)
    rows, people = make_rows(given.tasks, draw), make_reviewers(given.people, draw)
    building: list[float] = []
    tasks = timed(lambda: [build_task(row, POLICY, SCHEMA, meta) for row, meta in rows], building)
    show("build_task, all", building)
    for name in ("load", "add"):
        spent: list[float] = []
        for _ in range(3):
            queue = Queue(POLICY)
            gc.collect()
            if name == "load":
                timed(partial(queue.load, tasks), spent)
            else:
                timed(partial(add_each, queue, tasks), spent)
        show(f"{name}, all tasks", spent)
    queue = Queue(POLICY)
    tracemalloc.start()
    queue.load(tasks)
    print(f"memory beside the tasks themselves: {tracemalloc.get_traced_memory()[0] / 2**20:.0f} MiB")
    tracemalloc.stop()
    for name, spent in work(queue, people, given.votes, draw):
        show(name, spent)
    looks: list[float] = []
    for i in range(15):
        queue.apply_event(tasks[i].task_id, "closed", T0)  # so that nothing is cached
        timed(lambda: queue.overview(T0), looks)
    show("overview after a change", looks)
    counts: list[float] = []
    nobody = Reviewer(name="new", languages=frozenset(("xx",)), skills=frozenset())
    for who in [*people, nobody] * 5:
        timed(partial(queue.n_open_for, who), counts)
    show("n_open_for", counts)
    shelves = [sum(1 for _ in shelf.sizes()) for shelf in queue._shelves.values()]
    print(f"shelves: {shelves[0]} for reviewers, {shelves[1]} for leads; open {queue.overview(T0).n_open}")
    for role in ROLES:
        finding: list[float] = []
        for who in [*people, nobody] * 5:
            timed(partial(queue.first_for, who, T0 + timedelta(hours=1), role=role), finding)
        show(f"first_for at the end ({role})", finding)


if __name__ == "__main__":
    main()
