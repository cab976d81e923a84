"""Sessions: a browser that has signed in, until it signs out, is idle for too long, or the day is over."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import bindparam, delete, select, update

from labelproof.review.model import NotAllowed
from labelproof.review.office._db import Database
from labelproof.review.office._passes import hash_of
from labelproof.review.office._passwords import name_key
from labelproof.review.office._people import Account, account_of, need_row
from labelproof.review.office._tables import accounts, sessions
from labelproof.review.office._time import MINUTE_US, Clock, to_us
from labelproof.review.office.signer import Signer

_FIND = (
    select(accounts, sessions.c.expires_us, sessions.c.idle_us, sessions.c.seen_us)
    .join(sessions, sessions.c.account == accounts.c.key)
    .where(sessions.c.hash == bindparam("hash"))
)


class Sessions:
    """Sessions by their id, of which only the SHA-256 is stored."""

    def __init__(self, db: Database, clock: Clock, signer: Signer) -> None:
        self._db = db
        self._clock = clock
        self._signer = signer

    def start(
        self, name: str, *, now: datetime | None = None, hours: float = 12, idle_minutes: float = 120
    ) -> str:
        """Return the id of a new session; a disabled account raises ``NotAllowed``."""
        session_id, now_us = secrets.token_urlsafe(32), to_us(now or self._clock())
        with self._db.write() as connection:
            row = need_row(connection, name, lock=True)
            if not row.active:
                raise NotAllowed(f"the account {row.name!r} is disabled")
            connection.execute(delete(sessions).where(sessions.c.expires_us <= now_us))
            made = {
                "hash": hash_of(session_id),
                "account": row.key,
                "expires_us": now_us + round(hours * 60 * MINUTE_US),
                "idle_us": round(idle_minutes * MINUTE_US),
                "seen_us": now_us,
            }
            connection.execute(sessions.insert(), made)
        return session_id

    def find(self, session_id: str, now: datetime | None = None) -> tuple[Account, str] | None:
        """Return whose session it is, as the account is now, and its CSRF token; None when it has ended.

        Moves the idle time, at most once a minute: a session may end up to a minute before its idle time.
        """
        hashed, now_us = hash_of(session_id), to_us(now or self._clock())
        with self._db.read() as connection:
            row = connection.execute(_FIND, {"hash": hashed}).one_or_none()
        if row is None or not row.active or now_us >= row.expires_us or now_us >= row.seen_us + row.idle_us:
            return None
        if now_us - row.seen_us >= MINUTE_US:
            with self._db.write() as connection:
                seen = update(sessions).where(sessions.c.hash == hashed, sessions.c.seen_us < now_us)
                connection.execute(seen.values(seen_us=now_us))
        return account_of(row), self._signer.csrf_token(session_id)

    def end(self, session_id: str) -> None:
        """End this session."""
        with self._db.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.hash == hash_of(session_id)))

    def end_all(self, name: str, *, keep: str | None = None) -> int:
        """End all sessions of a person, but ``keep``; return how many."""
        theirs = delete(sessions).where(sessions.c.account == name_key(name))
        if keep is not None:
            theirs = theirs.where(sessions.c.hash != hash_of(keep))
        with self._db.write() as connection:
            return connection.execute(theirs).rowcount
