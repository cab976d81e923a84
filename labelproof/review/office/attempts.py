"""Failed logins: after a few, the next one has to wait, in every app process.

After 5 failures for a name or 20 from an address within 15 minutes the wait is 30 s, and doubles with each further
failure up to 15 minutes; 15 quiet minutes after a wait it begins anew. Names are counted whether or not they
exist, and kept as keyed hashes, since people type passwords into name fields.
"""

from __future__ import annotations

import ipaddress
import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from labelproof.review.office._db import Database, insert_if_absent, upsert
from labelproof.review.office._tables import attempts
from labelproof.review.office._time import MINUTE_US, Clock, to_us
from labelproof.review.office.signer import Signer

NAME_LIMIT = 5
ADDRESS_LIMIT = 20
WINDOW_US = 15 * MINUTE_US
FIRST_WAIT_US = 30 * 1_000_000
LONGEST_WAIT_US = 15 * MINUTE_US
_KEPT_US = 24 * 60 * MINUTE_US
_OF = select(attempts).where(attempts.c.hash == bindparam("hash"))


class Attempts:
    """What was tried, per name and per address (IPv6: per /64 network, which one person has for themselves)."""

    def __init__(self, db: Database, clock: Clock, signer: Signer) -> None:
        self._db = db
        self._clock = clock
        self._signer = signer

    def wait_s(self, name: str, address: str, now: datetime | None = None) -> float:
        """Return seconds until this name may be tried from this address, 0.0: now."""
        now_us = to_us(now or self._clock())
        hashes = [self._name(name), self._address(address)]
        query = select(func.max(attempts.c.free_us)).where(attempts.c.hash.in_(hashes))
        with self._db.read() as connection:
            free_us: int = connection.execute(query).scalar_one() or 0
        return max(0.0, (free_us - now_us) / 1e6)

    def failed(self, name: str, address: str, now: datetime | None = None) -> None:
        """Count a failure for the name and the address."""
        now_us = to_us(now or self._clock())
        counted = [(self._name(name), NAME_LIMIT), (self._address(address), ADDRESS_LIMIT)]
        with self._db.write() as connection:
            connection.execute(delete(attempts).where(attempts.c.last_us < now_us - _KEPT_US))
            for hashed, limit in sorted(
                counted
            ):  # one order for everybody: no two processes wait for each other
                _count(connection, hashed, limit, now_us)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the name's failures; the address keeps its own, or one account would let an attacker try all."""
        with self._db.write() as connection:
            connection.execute(delete(attempts).where(attempts.c.hash == self._name(name)))

    def _name(self, name: str) -> str:
        return self._signer.pseudonym("name:" + unicodedata.normalize("NFKC", name).casefold())

    def _address(self, address: str) -> str:
        return self._signer.pseudonym("address:" + network_of(address))


def _count(connection: Connection, hashed: str, limit: int, now_us: int) -> None:
    before: Mapping[str, Any] = {"hash": hashed, "recent": "[]", "level": 0, "free_us": 0, "last_us": now_us}
    locked = _OF.with_for_update()
    row = connection.execute(locked, {"hash": hashed}).mappings().one_or_none()
    if row is None and not insert_if_absent(connection, attempts, before):
        row = connection.execute(locked, {"hash": hashed}).mappings().one_or_none()
    after = _after(before if row is None else dict(row), limit, now_us)
    upsert(connection, attempts, {"hash": hashed, "last_us": now_us, **after})


def _after(before: Mapping[str, Any], limit: int, now_us: int) -> dict[str, Any]:
    """Return the columns after one more failure; ``level`` counts the waits so far."""
    recent = [us for us in json.loads(before["recent"]) if us > now_us - WINDOW_US]
    recent = [*recent[1 - limit :], now_us]
    free_us = before["free_us"]
    level = before["level"] if now_us < free_us + WINDOW_US else 0
    if level or len(recent) >= limit:
        level += 1
        free_us = now_us + min(FIRST_WAIT_US << min(level - 1, 16), LONGEST_WAIT_US)
    return {"recent": json.dumps(recent), "level": level, "free_us": free_us}


def network_of(address: str) -> str:
    """Return what counts as one address; anything that is none stands for itself."""
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))
