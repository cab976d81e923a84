"""Tasks as pages name them: sealed, since a task's real id can be computed from its kind and its item.

With the real id in a page anybody with this program could work out which of their tasks are audits and which are hidden
gold. A handle tells nothing, differs from person to person, and works for its person alone.
"""

from __future__ import annotations

from labelproof.review.model import LeaseLost
from labelproof.review.web.context import Context


def handle_of(ctx: Context, task_id: str) -> str:
    """Return the handle of a task for the person who asks."""
    return ctx.desk.office.signer.seal(ctx.user.name, task_id)


def task_behind(ctx: Context, handle: str) -> str | None:
    """Return the id of the task; None for what is no handle of this person, a task's real id too."""
    return ctx.desk.office.signer.unseal(ctx.user.name, handle)


def answered_task(ctx: Context, handle: str) -> str:
    """Return the id of the task that an answer is for; ``LeaseLost`` as for a task that is gone."""
    task_id = task_behind(ctx, handle)
    if task_id is None:
        raise LeaseLost("This task is not in the queue any more; your answer was not stored.")
    return task_id
