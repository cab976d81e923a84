"""What the parts of the desk share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from agents.review_tasks import ReviewTask
from labelproof.review._desk_room import Room
from labelproof.review._desk_writer import GroupWriter
from labelproof.review.model import NotAllowed, Reviewer, Task
from labelproof.review.office import Office
from labelproof.review.queue import build_task
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Store, office, writer, clock, dice, and a room per project."""

    store: TraceStore
    office: Office
    writer: GroupWriter
    clock: Callable[[], datetime]
    random: random.Random
    rooms: Mapping[str, Room]
    unsaved: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rows of tasks that were handed out and could not be stored: they go with the first answer."""

    def room(self, reviewer: Reviewer, project: str) -> Room:
        """Return a project's room; ``NotAllowed`` when there is none for this person."""
        room = self.rooms.get(project)
        if room is None or (reviewer.projects and project not in reviewer.projects):
            raise NotAllowed(f"There is no project {project!r} for {reviewer.name}.")
        return room

    def new_task(self, room: Room, row: ReviewTask, *, wait: bool = True) -> Task:
        """Store a task and put it into the queue; ``wait``: return when it is durable."""
        _, meta = room.text_of(row.item_id)
        fields = asdict(row)
        done = self.writer.submit({"review_tasks": [fields]})
        if wait:
            done.result()
        else:
            done.add_done_callback(lambda made: self._keep_unsaved(made, fields))
        task = build_task(fields, room.policy, room.schema, meta)
        with room.lock:
            if task.task_id not in room.known_tasks:
                room.add(task)
        return task

    def _keep_unsaved(self, made: Future[None], fields: dict[str, Any]) -> None:
        if made.exception() is not None:
            self.unsaved[fields["task_id"]] = fields


def lead_only(reviewer: Reviewer) -> None:
    """Raise ``NotAllowed`` unless this person leads."""
    if not reviewer.leads:
        raise NotAllowed("Only leads decide disputed tasks and open or close them.")
