"""Accounts: who may sign in, as what, and how they prove it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from labelproof.review.model import AccountRole, NotAllowed
from labelproof.review.office._db import Database, insert_if_absent
from labelproof.review.office._passes import Links, Tokens, end_links, end_passes, hash_of
from labelproof.review.office._passwords import Passwords, clean_name, name_key
from labelproof.review.office._people import (
    Account,
    account_of,
    checked_role,
    find_row,
    keep_an_admin,
    need_row,
    words,
)
from labelproof.review.office._tables import accounts, sessions
from labelproof.review.office._time import Clock, to_us
from labelproof.spec.errors import ConfigError


class Accounts(Tokens, Links):
    """Accounts with their passwords, personal tokens and one-time links.

    Names are the same in upper and lower case. What a person can mend raises ``ConfigError``; no message, log line
    or repr holds a password or hash.
    """

    def __init__(self, db: Database, clock: Clock, passwords: Passwords) -> None:
        self._db = db
        self._clock = clock
        self._passwords = passwords

    def add(
        self,
        name: str,
        *,
        role: AccountRole = "reviewer",
        password: str | None = None,
        languages: Iterable[str] = (),
        skills: Iterable[str] = (),
        projects: Iterable[str] = (),
        now: datetime | None = None,
    ) -> Account:
        """Return a new account; without a password its owner sets one through a link. A taken name raises."""
        name = clean_name(name)
        if password is not None:
            self._passwords.check(name, password)
        row = {
            "key": name_key(name),
            "name": name,
            "role": checked_role(role),
            "languages": words(languages, "languages"),
            "skills": words(skills, "skills"),
            "projects": words(projects, "projects"),
            "active": True,
            "password_hash": None if password is None else self._passwords.hash(password),
            "created_us": to_us(now or self._clock()),
        }
        with self._db.write() as connection:
            if not insert_if_absent(connection, accounts, row):
                raise ConfigError(
                    f"there is an account {name!r} already (upper and lower case are the same)",
                    hint="labelproof reviewers edit changes it; disabled names stay taken, they sign old votes",
                )
            return account_of(need_row(connection, name))

    def get(self, name: str) -> Account | None:
        """Return the account with this name in whatever case, active or not."""
        with self._db.read() as connection:
            row = find_row(connection, name)
        return None if row is None else account_of(row)

    def list(self) -> tuple[Account, ...]:
        """Return all accounts by name, disabled ones included."""
        with self._db.read() as connection:
            rows = connection.execute(select(accounts).order_by(accounts.c.key)).all()
        return tuple(map(account_of, rows))

    def edit(
        self,
        name: str,
        *,
        role: AccountRole | None = None,
        languages: Iterable[str] | None = None,
        skills: Iterable[str] | None = None,
        projects: Iterable[str] | None = None,
        active: bool | None = None,
    ) -> Account:
        """Return the account with what is given changed, from the next request on; ``active`` False disables it.

        Taking the role or the account of the only active admin raises ``ReviewError``.
        """
        news: dict[str, Any] = {}
        if role is not None:
            news["role"] = checked_role(role)
        if languages is not None:
            news["languages"] = words(languages, "languages")
        if skills is not None:
            news["skills"] = words(skills, "skills")
        if projects is not None:
            news["projects"] = words(projects, "projects")
        if active is not None:
            news["active"] = active
        with self._db.write() as connection:
            key = need_row(connection, name).key
            if news.get("role", "admin") != "admin" or active is False:
                keep_an_admin(connection, key)
            if news:
                connection.execute(update(accounts).where(accounts.c.key == key).values(news))
            if active is False:
                connection.execute(delete(sessions).where(sessions.c.account == key))
                end_passes(connection, key)
            return account_of(need_row(connection, name))

    def disable(self, name: str) -> Account:
        """Lock somebody out now: no login, and their sessions, tokens and links end. ``edit(active=True)`` undoes it."""
        return self.edit(name, active=False)

    def check_password(self, name: str, password: str) -> None:
        """Raise ``ConfigError`` when this person may not have this password (10-1000 characters, not the name)."""
        self._passwords.check(name, password)

    def set_password(self, name: str, password: str, *, keep_session: str | None = None) -> None:
        """Give somebody a new password; their sessions (but the one kept) and links end, their tokens stay."""
        self._passwords.check(name, password)
        hashed = self._passwords.hash(password)
        with self._db.write() as connection:
            row = need_row(connection, name, lock=True)
            connection.execute(update(accounts).where(accounts.c.key == row.key).values(password_hash=hashed))
            ended = delete(sessions).where(sessions.c.account == row.key)
            if keep_session is not None:
                ended = ended.where(sessions.c.hash != hash_of(keep_session))
            connection.execute(ended)
            end_links(connection, row.key)

    def verify_password(self, name: str, password: str) -> Account | None:
        """Return who this is; None for a wrong password, an unknown name, a disabled account, all in the same time.

        Takes a tenth of a second on purpose: call it in a thread, and ask ``attempts`` before. A hash made with older
        parameters is renewed.
        """
        with self._db.read() as connection:
            row = find_row(connection, name)
        stored = None if row is None else row.password_hash
        if not self._passwords.is_right(stored, password) or row is None or not row.active:
            return None
        if self._passwords.is_dated(row.password_hash):
            hashed = self._passwords.hash(password)
            same = [accounts.c.key == row.key, accounts.c.password_hash == row.password_hash]
            with self._db.write() as connection:
                connection.execute(update(accounts).where(*same).values(password_hash=hashed))
        return account_of(row)

    def need(self, name: str) -> Account:
        """Return an active account; an unknown name raises ``ConfigError``, a disabled one ``NotAllowed``."""
        with self._db.read() as connection:
            account = account_of(need_row(connection, name))
        if not account.active:
            raise NotAllowed(
                f"the account {account.name!r} is disabled",
                hint="an admin can make it active again: labelproof reviewers edit NAME --active",
            )
        return account
