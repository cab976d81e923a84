"""Periods as people say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.report.rca.periods import Period, default_periods, last_full_week, parse_period, week_of
from labelproof.spec.errors import ConfigError

NOW = datetime(2026, 10, 21, 9, 30, tzinfo=UTC)  # a Wednesday in W43


def _at(day: int, month: int = 10, year: int = 2026) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "start", "end", "name"),
    [
        ("W41", _at(5), _at(12), "2026-W41"),
        ("2026-W41", _at(5), _at(12), "2026-W41"),
        ("w1", _at(29, 12, 2025), _at(5, 1), "2026-W01"),
        ("W44", _at(27, 10, 2025), _at(3, 11, 2025), "2025-W44"),  # this year's has not begun
        ("2020W53", _at(28, 12, 2020), _at(4, 1, 2021), "2020-W53"),
        ("2026-10-05", _at(5), _at(6), "2026-10-05"),
        ("2026-10-05..2026-10-11", _at(5), _at(12), "2026-10-05..2026-10-11"),
        ("yesterday", _at(20), _at(21), "yesterday"),
        ("today", _at(21), _at(22), "today"),
        ("last-week", _at(12), _at(19), "2026-W42"),
        ("last-7d", NOW - timedelta(days=7), NOW, "last 7 days"),
    ],
)
def test_what_people_say(said: str, start: datetime, end: datetime, name: str) -> None:
    found = parse_period(said, NOW)
    assert (found.start, found.end, found.name) == (start, end, name)


@pytest.mark.parametrize(
    "said", ["", "W60", "2025-W53", "soon", "2026-10-11..2026-10-05", "2026-13-01", "last-0d"]
)
def test_what_is_not_understood_is_said(said: str) -> None:
    with pytest.raises(ConfigError):
        parse_period(said, NOW)


def test_two_weeks_are_compared_unless_somebody_says_otherwise() -> None:
    earlier, later = default_periods(NOW)
    assert (earlier.name, later.name) == ("2026-W41", "2026-W42")
    assert earlier.end == later.start
    assert not earlier.overlaps(later)


@given(st.datetimes(min_value=datetime(2000, 1, 3), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_every_moment_lies_in_its_week_and_weeks_follow_each_other(moment: datetime) -> None:
    week = week_of(moment.date())
    assert week.start <= moment < week.end
    assert week.start.weekday() == 0
    assert week.days == 7
    assert week.before().end == week.start
    assert parse_period(week.name, moment) == week
    assert last_full_week(moment) == week.before()


def test_a_period_has_a_start_before_its_end() -> None:
    with pytest.raises(ConfigError, match="not before"):
        Period(start=NOW, end=NOW, name="none")


def test_dates_are_shown_with_both_ends() -> None:
    assert parse_period("W41", NOW).dates == "2026-10-05 to 2026-10-11"
    assert parse_period("2026-10-05", NOW).dates == "2026-10-05"
    assert parse_period("last-1d", NOW).dates == "2026-10-20 09:30 to 2026-10-21 09:30"
