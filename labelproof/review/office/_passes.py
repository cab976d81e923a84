"""What stands in for a password: personal tokens for scripts, and links that work once.

Only SHA-256 hashes are stored. That is enough for 32 random bytes, which nobody can guess from a hash,
and finding them by their hash takes no time that depends on the secret.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal, get_args

from sqlalchemy import Connection, delete, or_, select

from labelproof.review.model import AccountRole, NotAllowed
from labelproof.review.office._db import Database
from labelproof.review.office._people import Account, account_of, checked_role, find_row, need_row
from labelproof.review.office._tables import accounts, links, tokens
from labelproof.review.office._time import MINUTE_US, Clock, from_us, to_us
from labelproof.spec.errors import BugError, ConfigError

LinkPurpose = Literal["setup", "join", "reset"]
_PREFIX = "lp_"
_LABEL_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A personal token as listed; the token itself was shown once. ``id`` names it for revoking."""

    id: str
    name: str
    label: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a one-time link is for; ``name`` None: the person chooses one (first admin)."""

    purpose: LinkPurpose
    name: str | None
    role: AccountRole
    expires_at: datetime


class Tokens:
    """Personal tokens; part of ``Accounts``."""

    _db: Database
    _clock: Clock

    def new_token(self, name: str, label: str, now: datetime | None = None) -> str:
        """Return a new token in plain text, this once; ``label`` says where it is used (1-100 characters)."""
        label = label.strip()
        if not 1 <= len(label) <= _LABEL_MAX or not label.isprintable():
            raise ConfigError(
                f"a token needs a label of 1 to {_LABEL_MAX} characters that says where it is used"
            )
        token = _PREFIX + secrets.token_urlsafe(32)
        with self._db.write() as connection:
            row = need_row(connection, name, lock=True)
            if not row.active:
                raise NotAllowed(f"the account {row.name!r} is disabled")
            made = {"hash": hash_of(token), "id": secrets.token_hex(6), "account": row.key, "label": label}
            connection.execute(tokens.insert(), {**made, "created_us": to_us(now or self._clock())})
        return token

    def verify_token(self, token: str) -> Account | None:
        """Return whose token this is; None when unknown, revoked, or of a disabled account."""
        if not token.startswith(_PREFIX):
            return None
        query = select(accounts).join(tokens, tokens.c.account == accounts.c.key)
        with self._db.read() as connection:
            row = connection.execute(query.where(tokens.c.hash == hash_of(token))).one_or_none()
        return account_of(row) if row is not None and row.active else None

    def tokens(self, name: str) -> tuple[Token, ...]:
        """Return somebody's tokens, oldest first; an unknown name has none."""
        with self._db.read() as connection:
            owner = find_row(connection, name)
            if owner is None:
                return ()
            query = select(tokens).where(tokens.c.account == owner.key)
            rows = connection.execute(query.order_by(tokens.c.created_us, tokens.c.id)).all()
        return tuple(
            Token(id=row.id, name=owner.name, label=row.label, created_at=from_us(row.created_us))
            for row in rows
        )

    def revoke_token(self, name: str, token_id: str) -> bool:
        """End one of somebody's tokens; False when they have none with this id."""
        with self._db.write() as connection:
            owner = find_row(connection, name)
            if owner is None:
                return False
            theirs = delete(tokens).where(tokens.c.account == owner.key, tokens.c.id == token_id)
            return connection.execute(theirs).rowcount == 1


class Links:
    """One-time links; part of ``Accounts``."""

    _db: Database
    _clock: Clock

    def new_link(
        self,
        purpose: LinkPurpose,
        name: str | None,
        role: AccountRole,
        now: datetime | None = None,
        minutes: float = 60,
    ) -> str:
        """Return the secret of a new link; an earlier one for the same purpose and person stops working."""
        if purpose not in get_args(LinkPurpose):
            raise BugError(f"a link for {purpose!r}")
        if minutes <= 0:
            raise ConfigError(
                f"a link must be good for some time: expected minutes above 0, found {minutes:g}"
            )
        if name is None and purpose != "setup":
            raise BugError(f"a {purpose} link needs an account")
        secret, now_us = secrets.token_urlsafe(32), to_us(now or self._clock())
        made = {"hash": hash_of(secret), "purpose": purpose, "role": checked_role(role)}
        with self._db.write() as connection:
            owner = None if name is None else need_row(connection, name, lock=True)
            account = None if owner is None else owner.key
            stale = [links.c.expires_us <= now_us]
            if account is not None:
                stale.append((links.c.account == account) & (links.c.purpose == purpose))
            connection.execute(delete(links).where(or_(*stale)))
            whose = {"account": account, "name": None if owner is None else owner.name}
            expires = {"expires_us": now_us + round(minutes * MINUTE_US)}
            connection.execute(links.insert(), {**made, **whose, **expires})
        return secret

    def use_link(self, token: str, now: datetime | None = None) -> Link | None:
        """Use a link up and return it; None when it is unknown, used or too old. Of many at once one succeeds."""
        same = links.c.hash == hash_of(token)
        with self._db.write() as connection:
            row = connection.execute(select(links).where(same).with_for_update()).one_or_none()
            if row is None or connection.execute(delete(links).where(same)).rowcount != 1:
                return None
        if row.expires_us <= to_us(now or self._clock()):
            return None
        return Link(purpose=row.purpose, name=row.name, role=row.role, expires_at=from_us(row.expires_us))


def end_passes(connection: Connection, account: str) -> None:
    """Make an account's tokens and links useless."""
    connection.execute(delete(tokens).where(tokens.c.account == account))
    end_links(connection, account)


def end_links(connection: Connection, account: str) -> None:
    """Make an account's links useless."""
    connection.execute(delete(links).where(links.c.account == account))


def hash_of(secret: str) -> str:
    """Return what is stored of a token, link or session."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
