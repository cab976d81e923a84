"""Periods as people say them: a calendar week, a range of days, yesterday, the last seven days."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from labelproof.spec.errors import ConfigError

_WEEK = re.compile(r"(?:(\d{4})-?)?W(\d{1,2})\Z", re.IGNORECASE)
_LAST = re.compile(r"last-(\d{1,4})d\Z", re.IGNORECASE)
_EXAMPLES = "W41, 2026-W41, 2026-10-05, 2026-10-05..2026-10-11, yesterday, today, last-week, last-7d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``start`` <= time < ``end``, both in UTC; ``name`` is what a report calls it."""

    start: datetime
    end: datetime
    name: str

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ConfigError(
                f"period {self.name!r}: its start {self.start} is not before its end {self.end}"
            )

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    @property
    def dates(self) -> str:
        """Its first and last day: "2026-10-05 to 2026-10-11"; with the time where it does not end at midnight."""
        last = self.end - timedelta(days=1)
        if self.start.time() == time() == self.end.time():
            first = f"{self.start:%Y-%m-%d}"
            return first if last.date() == self.start.date() else f"{first} to {last:%Y-%m-%d}"
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"

    @property
    def asked(self) -> str:
        """The whole days it touches, as ``parse_period`` reads them on any later day: "2026-10-05..2026-10-11"."""
        last = (self.end - timedelta(microseconds=1)).date()
        return f"{self.start:%Y-%m-%d}..{last:%Y-%m-%d}"

    def before(self) -> Period:
        """Return the period of the same length that ends where this one starts; of a week, the week before it."""
        start = self.start - (self.end - self.start)
        if _WEEK.match(self.name):
            return week_of(start.date())
        return Period(start=start, end=self.start, name=f"before {self.name}")

    def overlaps(self, other: Period) -> bool:
        return self.start < other.end and other.start < self.end


def parse_period(text: str, now: datetime) -> Period:
    """Return the period that ``text`` names, seen from ``now``; all days are days in UTC, both ends of a range count.

    A week without a year is the latest one of that number that has begun. ``ConfigError`` lists what is understood.
    """
    said = text.strip()
    today = _utc(now).date()
    week = _WEEK.match(said)
    if week:
        return _week(said, int(week[1]) if week[1] else None, int(week[2]), today)
    last = _LAST.match(said)
    if last:
        n = int(last[1])
        if n < 1:
            raise ConfigError(f"period {said!r}: expected at least one day")
        return Period(start=_utc(now) - timedelta(days=n), end=_utc(now), name=f"last {n} days")
    if said.casefold() == "last-week":
        return last_full_week(now)
    if said.casefold() in ("yesterday", "today"):
        day = today - timedelta(days=1) if said.casefold() == "yesterday" else today
        return _days(day, day, said.casefold())
    first, dots, until = said.partition("..")
    if dots:
        start, end = _day(first, said), _day(until, said)
        if end < start:
            raise ConfigError(f"period {said!r}: its last day lies before its first")
        return _days(start, end, said)
    return _days(_day(said, said), _day(said, said), said)


def week_of(day: date) -> Period:
    """Return the ISO week (Monday to Sunday) of a day."""
    year, number, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    return Period(
        start=_midnight(monday), end=_midnight(monday + timedelta(days=7)), name=f"{year}-W{number:02d}"
    )


def last_full_week(now: datetime) -> Period:
    """Return the latest ISO week that is over."""
    return week_of(_utc(now).date() - timedelta(days=7))


def default_periods(now: datetime) -> tuple[Period, Period]:
    """Return what is compared unless somebody says otherwise: the week before the last full week, and that week."""
    later = last_full_week(now)
    return later.before(), later


def _week(said: str, year: int | None, number: int, today: date) -> Period:
    years = [year] if year is not None else [today.year + 1, today.year, today.year - 1]
    known = []
    for one in years:
        try:
            known.append(week_of(date.fromisocalendar(one, number, 1)))
        except ValueError:
            continue
    begun = known if year is not None else [week for week in known if week.start.date() <= today]
    if not begun:
        raise ConfigError(f"period {said!r}: there is no such week", hint=f"understood are {_EXAMPLES}")
    return begun[0]


def _day(text: str, said: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"expected a period, found {said!r}", hint=f"understood are {_EXAMPLES}") from error


def _days(first: date, last: date, name: str) -> Period:
    return Period(start=_midnight(first), end=_midnight(last + timedelta(days=1)), name=name)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
