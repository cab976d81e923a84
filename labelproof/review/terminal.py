"""Reviewing in the terminal: the same tasks, rules and keys as the web app."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.text import Text
from textual import work
from textual.widgets import Input

from labelproof.review._terminal_view import TaskView
from labelproof.review.model import (
    Assignment,
    Ballot,
    LeaseLost,
    NothingToDo,
    Progress,
    Reviewer,
)
from labelproof.review.web._view_words import break_line, progress_line
from labelproof.spec.errors import LabelproofError

if TYPE_CHECKING:
    from labelproof.review.desk import Desk

_POLL_S = 5.0
_RENEWALS = 4
"""Signs of life per length of a lease."""
_QUIT_LOOKS, _QUIT_LOOK_S = 200, 0.05


class ReviewApp(TaskView):
    """One reviewer at one project. Returns how many answers were stored."""

    def __init__(
        self,
        desk: Desk,
        reviewer: Reviewer,
        project: str,
        *,
        poll_s: float = _POLL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(desk.projects[project], f"{project} · {reviewer.name}", clock=clock)
        self._desk, self._reviewer, self._project = desk, reviewer, project
        self._poll_s = poll_s
        self._busy = False
        self._sent: tuple[tuple[str | None, ...], str] | None = None
        self._n_stored = 0

    def on_mount(self) -> None:
        """Ask for the first task, and keep a sign of life."""
        self.query_one("#box").focus()
        minutes = self._folder.spec.review.lease_minutes
        self.set_interval(minutes * 60 / _RENEWALS, self._renew)
        self.set_interval(self._poll_s, self._look_again)
        self._fetch()

    # --- tasks -----------------------------------------------------------------------------------

    @work(group="desk")
    async def _fetch(self) -> None:
        """Show the next task."""
        if self._begin():
            await self._show_next()

    async def _show_next(self) -> None:
        try:
            found, progress = await asyncio.to_thread(self._ask)
            self._show(found, progress)
        except LabelproofError as error:
            self._show(NothingToDo(reason="empty", message=error.message, n_open=0), None)
        finally:
            self._busy = False

    def _ask(self) -> tuple[Assignment | NothingToDo, Progress]:
        found = self._desk.next(self._reviewer, self._project)
        return found, self._desk.progress(self._reviewer, self._project)

    def _begin(self) -> bool:
        """Return whether the desk may be asked now: one thing at a time."""
        if self._busy:
            return False
        self._busy = True
        return True

    def _look_again(self) -> None:
        if self._current is None:
            self._fetch()

    @work(group="life")
    async def _renew(self) -> None:
        held = self._current
        if held is None:
            return
        task_id = held.task.task_id
        try:
            kept = await asyncio.to_thread(self._desk.renew, self._reviewer, {task_id: held.lease.token})
        except LabelproofError as error:
            self._say(f"the desk does not answer: {error.message}")
            return
        if not kept.get(task_id) and self._current is held and not self._busy:
            self._current = None
            self._say("that task has gone to a colleague; here is another")
            self._fetch()

    def _show(self, found: Assignment | NothingToDo, progress: Progress | None) -> None:
        self._sent = None
        if isinstance(found, NothingToDo):
            self._show_nothing(found.message)
        else:
            self._show_task(found)
        if progress is not None:
            nudge = break_line(progress)
            self._put("progress", Text(" · ".join(filter(None, (progress_line(progress), nudge)))))

    # --- keys ------------------------------------------------------------------------------------

    def action_send(self) -> None:
        """Send what is chosen."""
        if self._current is None:
            self._look_again()
        elif self._choice.answer is None:
            self._say("choose a label first, or s, f, x" if self._revealed else "r shows the text")
        elif self._begin():
            self._cast(self._ballot(self._current))

    def _ballot(self, task: Assignment) -> Ballot:
        note = self.query_one("#note", Input).value.strip() or None
        said = (self._choice.answer, self._choice.label, note)
        if self._sent is None or self._sent[0] != said:  # the same answer tried again keeps its key
            self._sent = (said, secrets.token_hex(16))
        assert self._choice.answer is not None
        return Ballot(
            task_id=task.task.task_id,
            token=task.lease.token,
            key=self._sent[1],
            answer=self._choice.answer,
            label=self._choice.label,
            note=note,
            seconds=round(self._watch.seconds, 3),
        )

    @work(group="desk")
    async def _cast(self, ballot: Ballot) -> None:
        self._say("saving …")
        try:
            await asyncio.to_thread(self._desk.cast, self._reviewer, self._project, ballot, source="terminal")
        except LeaseLost as error:
            self._say(error.message)
        except LabelproofError as error:
            self._busy = False
            self._say(f"not saved: {error.message} Enter tries again.")
            return
        else:
            self._n_stored += 1
            self._say("saved")
        await self._show_next()

    @work(group="desk")
    async def action_undo(self) -> None:
        """Take the last answer back and show its task again."""
        if not self._begin():
            return
        try:
            found = await asyncio.to_thread(self._desk.undo, self._reviewer, self._project)
            progress = await asyncio.to_thread(self._desk.progress, self._reviewer, self._project)
        except LabelproofError as error:
            self._say(error.message)
        else:
            self._n_stored = max(0, self._n_stored - 1)
            if isinstance(found, NothingToDo):
                self._say(found.message)
            else:
                self._show(found, progress)
                self._say("taken back")
        finally:
            self._busy = False

    async def action_quit(self) -> None:
        """Give the task back and stop; an answer on its way is stored first."""
        for _ in range(_QUIT_LOOKS):
            if self._busy:
                await asyncio.sleep(_QUIT_LOOK_S)
        held, self._current = self._current, None
        if held is not None:
            try:
                await asyncio.to_thread(
                    self._desk.release, self._reviewer, held.task.task_id, held.lease.token
                )
            except LabelproofError as error:  # it frees itself when its time is over
                self._say(error.message)
        self.exit(self._n_stored)


def run_terminal(desk: Desk, reviewer: Reviewer, project: str) -> int:
    """Let ``reviewer`` work through a project's queue until they stop; returns how many answers they left stored."""
    return ReviewApp(desk, reviewer, project).run() or 0
