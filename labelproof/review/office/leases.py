"""Leases: one person holds a task for a while, whichever app process they talk to.

Beside the leases stand marks of who has answered a task: an app process learns of another one's votes about a second
later, and until then only these keep it from handing the task out again. They are no history (that is in the
trace store) and may be pruned when every process has read the votes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from labelproof.review.model import Lease, VoteRole
from labelproof.review.office._db import Database, insert_if_absent, upsert
from labelproof.review.office._tables import answers, leases
from labelproof.review.office._time import from_us, to_us
from labelproof.spec.errors import BugError

_OF_TASK = leases.c.task_id == bindparam("task")
_LEASE = select(leases).where(_OF_TASK)
_LOCKED_LEASE = _LEASE.with_for_update()
_ANSWERS = select(answers.c.person, answers.c.role, answers.c.decided).where(
    answers.c.task_id == bindparam("task")
)
_HELD = select(leases).where(leases.c.project == bindparam("of"), leases.c.until_us > bindparam("now"))
_OF_PERSON = select(leases).where(leases.c.project == bindparam("of"), leases.c.reviewer == bindparam("who"))
_MOVE = (
    update(leases)
    .where(_OF_TASK, leases.c.reviewer == bindparam("who"), leases.c.token == bindparam("proof"))
    .values(until_us=bindparam("till"))
)
_TAKE = (
    update(leases)
    .where(_OF_TASK)
    .values(
        reviewer=bindparam("who"),
        role=bindparam("as_role"),
        token=bindparam("proof"),
        until_us=bindparam("till"),
    )
)
_FREE = delete(leases).where(_OF_TASK)


class Leases:
    """Who holds which task. Every call is one transaction, atomic over threads and processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self,
        task_id: str,
        project: str,
        reviewer: str,
        *,
        now: datetime,
        until: datetime,
        role: VoteRole = "reviewer",
    ) -> Lease | None:
        """Return the lease, or None: somebody else holds the task, it is decided, or this person answered it.

        ``until`` is exclusive: at that instant another one may take it. The holder claiming again, even late, keeps
        the token. An adjudicator is held up by another holder and by another adjudicator's decision only.
        """
        now_us, until_us = to_us(now), to_us(until)
        if until_us <= now_us:
            raise BugError(f"a lease must end after it begins: {now.isoformat()} to {until.isoformat()}")
        with self._db.write() as connection:
            while True:
                row = connection.execute(_LOCKED_LEASE, {"task": task_id}).one_or_none()
                if row is not None and row.reviewer != reviewer and row.until_us > now_us:
                    return None
                if _is_answered(connection, task_id, reviewer, role):
                    return None
                mine = row is not None and row.reviewer == reviewer
                token = row.token if row is not None and mine else secrets.token_urlsafe(16)
                if row is not None:
                    taken = {
                        "task": task_id,
                        "who": reviewer,
                        "as_role": role,
                        "proof": token,
                        "till": until_us,
                    }
                    connection.execute(_TAKE, taken)
                    break
                fresh = {"reviewer": reviewer, "role": role, "token": token, "until_us": until_us}
                if insert_if_absent(connection, leases, {"task_id": task_id, "project": project, **fresh}):
                    break  # else another process was quicker by an instant: look again at what it wrote
        return Lease(task_id=task_id, reviewer=reviewer, token=token, until=from_us(until_us))

    def renew(
        self, reviewer: str, leases: Mapping[str, str], *, until: datetime, now: datetime
    ) -> dict[str, bool]:
        """Return for each task id whether its token still holds it; then it does until ``until``.

        One that ran out is held again as long as nobody else took the task. ``leases``: task id -> token.
        """
        if until <= now:
            raise BugError(f"a lease must end after it begins: {now.isoformat()} to {until.isoformat()}")
        if not leases:
            return {}
        held = {}
        with self._db.write() as connection:
            for task_id in sorted(leases):  # one order for everybody: no two processes wait for each other
                values = {"task": task_id, "who": reviewer, "proof": leases[task_id], "till": to_us(until)}
                held[task_id] = connection.execute(_MOVE, values).rowcount == 1
        return held

    def release(self, task_id: str, token: str) -> bool:
        """Give the task back; False when the token does not hold it (any more)."""
        with self._db.write() as connection:
            return connection.execute(_FREE.where(leases.c.token == token), {"task": task_id}).rowcount == 1

    def holder(self, task_id: str, now: datetime) -> Lease | None:
        """Return the lease that holds the task now."""
        with self._db.read() as connection:
            row = connection.execute(_LEASE, {"task": task_id}).one_or_none()
        if row is None or row.until_us <= to_us(now):
            return None
        return _lease(row)

    def held(self, project: str, now: datetime) -> list[Lease]:
        """Return the leases of a project that hold now, by task id."""
        with self._db.read() as connection:
            rows = connection.execute(
                _HELD.order_by(leases.c.task_id), {"of": project, "now": to_us(now)}
            ).all()
        return [_lease(row) for row in rows]

    def of_person(self, project: str, reviewer: str) -> list[Lease]:
        """Return what somebody has in a project by task id, also what ran out and nobody else has taken since."""
        with self._db.read() as connection:
            rows = connection.execute(
                _OF_PERSON.order_by(leases.c.task_id), {"of": project, "who": reviewer}
            ).all()
        return [_lease(row) for row in rows]

    def finish(
        self, task_id: str, reviewer: str, *, decided: bool, now: datetime, role: VoteRole | None = None
    ) -> None:
        """Remember a durable answer and free the person's lease. ``role``: by default the one they held it in.

        ``decided``: no more answers in this role are wanted; a reviewer who holds the task then loses it,
        an adjudicator keeps it.
        """
        with self._db.write() as connection:
            lease = connection.execute(_LOCKED_LEASE, {"task": task_id}).one_or_none()
            own = lease is not None and lease.reviewer == reviewer
            row = {
                "task_id": task_id,
                "person": reviewer,
                "role": role or (lease.role if lease is not None and own else "reviewer"),
                "decided": decided,
                "at_us": to_us(now),
            }
            upsert(connection, answers, row)
            if lease is not None and (own or (decided and lease.role == "reviewer")):
                connection.execute(_FREE, {"task": task_id})

    def unfinish(self, task_id: str, reviewer: str, *, role: VoteRole | None = None) -> None:
        """Forget that this person answered, and that the task is decided in their role (None: both roles)."""
        with self._db.write() as connection:
            theirs = [answers.c.task_id == task_id, answers.c.person == reviewer]
            if role is not None:
                theirs.append(answers.c.role == role)
            roles = connection.execute(select(answers.c.role).where(*theirs)).scalars().all()
            connection.execute(delete(answers).where(*theirs))
            undone = [answers.c.task_id == task_id, answers.c.role.in_(roles)]
            connection.execute(update(answers).where(*undone).values(decided=False))

    def reopen(self, task_id: str) -> None:
        """Forget that the task is decided; who answered it has still answered it."""
        with self._db.write() as connection:
            connection.execute(update(answers).where(answers.c.task_id == task_id).values(decided=False))

    def prune(self, before: datetime) -> int:
        """Forget leases that ran out and answers given before this instant; return how many."""
        us = to_us(before)
        with self._db.write() as connection:
            old = connection.execute(delete(leases).where(leases.c.until_us < us)).rowcount
            return old + connection.execute(delete(answers).where(answers.c.at_us < us)).rowcount


def _lease(row: Row[Any]) -> Lease:
    return Lease(task_id=row.task_id, reviewer=row.reviewer, token=row.token, until=from_us(row.until_us))


def _is_answered(connection: Connection, task_id: str, reviewer: str, role: VoteRole) -> bool:
    rows = connection.execute(_ANSWERS, {"task": task_id}).all()
    if role == "adjudicator":
        return any(row.decided and row.role == "adjudicator" for row in rows)
    return any(row.decided or (row.person == reviewer and row.role == "reviewer") for row in rows)
