"""The office: one door to everything that app processes share."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from labelproof.review.office._db import Database, open_database
from labelproof.review.office._passwords import Passwords
from labelproof.review.office._tables import prepare
from labelproof.review.office._time import Clock, utc_now
from labelproof.review.office.accounts import Accounts
from labelproof.review.office.attempts import Attempts
from labelproof.review.office.leases import Leases
from labelproof.review.office.sessions import Sessions
from labelproof.review.office.signer import Signer

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from labelproof.store.location import Location

ENV = "LABELPROOF_OFFICE"


class Office:
    """Leases, accounts, sessions, login attempts and signatures over one database; thread-safe.

    Votes are not here (they are in the trace store): who loses this database loses leases, sessions and accounts,
    and cannot check the signatures it made any more.
    """

    def __init__(self, db: Database, *, clock: Clock = utc_now, hasher: PasswordHasher | None = None) -> None:
        self._db = db
        self.signer = Signer(prepare(db))
        self.leases = Leases(db)
        self.accounts = Accounts(db, clock, Passwords(hasher))
        self.sessions = Sessions(db, clock, self.signer)
        self.attempts = Attempts(db, clock, self.signer)

    @property
    def shown(self) -> str:
        """The address for messages, without passwords."""
        return self._db.shown

    def close(self) -> None:
        """Close the connections; leases and sessions stay."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Office({self.shown!r})"


def open_office(url: str | Path, *, clock: Clock = utc_now, hasher: PasswordHasher | None = None) -> Office:
    """Return the office at a path or SQLAlchemy URL, made if it is not there.

    A file is readable by its owner alone. ``clock``: for calls without ``now``; ``hasher``: Argon2's parameters, its
    library's defaults by default. ``ConfigError``: a wrong URL, a missing driver, a schema newer than this program.
    """
    db = open_database(url)
    try:
        return Office(db, clock=clock, hasher=hasher)
    except BaseException:
        db.close()
        raise


def office_url(location: Location) -> str:
    """Return where the office of a store is: LABELPROOF_OFFICE, else ``office.db`` beside the store's outbox.

    A store in a file with a name of its own (``a.duckdb``) has ``a.office.db``: stores in one folder share nothing.
    """
    named = os.environ.get(ENV, "").strip()
    if named:
        return named
    return str(location.root / f"{location.outbox.name.removesuffix('outbox')}office.db")
