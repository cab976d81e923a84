"""Instants as the office stores them: whole microseconds since 1970, so that every database orders them alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from labelproof.spec.errors import BugError

Clock = Callable[[], datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
MINUTE_US = 60_000_000


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def to_us(at: datetime) -> int:
    """Return microseconds since 1970; a datetime without a time zone raises ``BugError``."""
    if at.tzinfo is None:
        raise BugError(f"a time without a zone reached the office: {at.isoformat()}")
    return (at - _EPOCH) // _US


def from_us(us: int) -> datetime:
    """Return the instant in UTC; exact inverse of ``to_us``."""
    return _EPOCH + us * _US
