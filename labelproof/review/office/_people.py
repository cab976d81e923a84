"""Account rows: reading them, and the one rule that spans all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from labelproof.review.model import ACCOUNT_ROLES, AccountRole, Reviewer, ReviewError
from labelproof.review.office._passwords import name_key
from labelproof.review.office._tables import accounts
from labelproof.review.office._time import from_us
from labelproof.spec.errors import ConfigError

_WORD_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may sign in. Empty ``languages`` and ``projects``: all. ``created_at``: UTC."""

    name: str
    role: AccountRole
    languages: frozenset[str]
    skills: frozenset[str]
    projects: frozenset[str]
    active: bool
    has_password: bool
    created_at: datetime

    @property
    def reviewer(self) -> Reviewer:
        """The person as the queue sees them."""
        return Reviewer(
            name=self.name,
            role=self.role,
            languages=self.languages,
            skills=self.skills,
            projects=self.projects,
        )


def account_of(row: Row[Any]) -> Account:
    """Return the account of a row of the table."""
    return Account(
        name=row.name,
        role=row.role,
        languages=frozenset(json.loads(row.languages)),
        skills=frozenset(json.loads(row.skills)),
        projects=frozenset(json.loads(row.projects)),
        active=row.active,
        has_password=row.password_hash is not None,
        created_at=from_us(row.created_us),
    )


def find_row(connection: Connection, name: str, *, lock: bool = False) -> Row[Any] | None:
    """Return the row of a name in whatever case; ``lock``: until the transaction ends."""
    key = name_key(name)
    if key is None:
        return None
    query = select(accounts).where(accounts.c.key == key)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def need_row(connection: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of a name; an unknown one raises ``ConfigError``."""
    row = find_row(connection, name, lock=lock)
    if row is None:
        raise ConfigError(
            f"there is no account {name[:80]!r}",
            hint="labelproof reviewers list shows them, labelproof reviewers add makes one",
        )
    return row


def keep_an_admin(connection: Connection, leaving: str) -> None:
    """Raise ``ReviewError`` when the account with this key is the only active admin."""
    # All of them are locked in one order: two admins cannot remove each other at the same instant.
    admins = select(accounts.c.key).where(accounts.c.role == "admin", accounts.c.active)
    keys = connection.execute(admins.order_by(accounts.c.key).with_for_update()).scalars().all()
    if keys == [leaving]:
        raise ReviewError(
            "this is the only active admin, and without one nobody could manage accounts",
            hint="make somebody else an admin first: labelproof reviewers edit NAME --role admin",
        )


def checked_role(role: str) -> str:
    """Return the role; another one than reviewer, lead, admin raises ``ConfigError``."""
    if role not in ACCOUNT_ROLES:
        raise ConfigError(f"{role!r} is no role: expected one of {', '.join(ACCOUNT_ROLES)}")
    return role


def words(values: Iterable[str], what: str) -> str:
    """Return a list of languages, skills or projects as stored: sorted JSON without repeats."""
    if isinstance(values, str):
        raise ConfigError(f"{what}: expected a list, found the text {values[:80]!r}")
    kept = sorted({value.strip() for value in values})
    for word in kept:
        if not 1 <= len(word) <= _WORD_MAX or not word.isprintable():
            raise ConfigError(
                f"{what}: expected words of 1 to {_WORD_MAX} printable characters, found {word[:80]!r}"
            )
    return json.dumps(kept, ensure_ascii=False)
