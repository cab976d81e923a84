"""The page of promises: each as a card with its picture, alarms with whom they reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from labelproof.report.monitor.alarms import Alarm
from labelproof.report.monitor.board import Board, Watched
from labelproof.report.monitor.history import Point
from labelproof.report.monitor.text import alarm_history, broken
from labelproof.report.monitor.values import value_text
from labelproof.review.web._view_words import ago, at_time

WIDTH, HEIGHT = 320, 84
_PAD = 4
SIGNS = {"breached": "✕", "alarm": "✕", "met": "✓", "quiet": "✓"}
"""Beside the word, so that a state is not told by its colour alone."""
_BAD = frozenset({"breached", "alarm"})
CLASSES = {"breached": "bad", "alarm": "bad", "met": "good", "quiet": "good"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A series as SVG paths in a box of ``WIDTH`` x ``HEIGHT``: interval bands, lines between gaps, alarms, the promise.

    ``low``/``high``: the lowest and the highest number of the series, interval ends included.
    """

    bands: tuple[str, ...]
    lines: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    bad: tuple[tuple[float, float], ...]
    promise_y: float | None
    low: str
    high: str
    first: str
    last: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """One card. ``filled``: per cent of the evidence bar; None where there is no evidence to weigh."""

    key: str
    kind: str
    name: str
    value: str
    interval: str
    n: str
    promise: str
    state: str
    sign: str
    css: str
    level: str
    owner: str
    since: str
    reason: str
    method: str
    filled: int | None
    chart: Chart | None
    sql: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmView:
    """An alarm with its history; ``can_ack``: nobody has taken it on yet."""

    alarm_id: str
    what: str
    level: str
    state: str
    since: str
    over: str
    change_from: str
    reason: str
    history: tuple[tuple[str, str], ...]
    can_ack: bool


def target_views(watched: Sequence[Watched]) -> tuple[TargetView, ...]:
    """Return what is watched as cards, in its order."""
    return tuple(_target(one, place) for place, one in enumerate(watched))


def alarm_views(alarms: Sequence[Alarm], now: datetime) -> tuple[AlarmView, ...]:
    """Return alarms as they are shown, in their order."""
    return tuple(
        AlarmView(
            alarm_id=one.alarm_id,
            what=one.subject if one.kind == "target" else f"{one.kind}: {one.subject}",
            level=one.level,
            state=one.state,
            since=f"{at_time(one.breached_at)} ({ago(one.breached_at, now)})",
            over="" if one.recovered_at is None else at_time(one.recovered_at),
            change_from="" if one.change_from is None else f"{one.change_from:%Y-%m-%d}",
            reason=one.reason,
            history=alarm_history(one),
            can_ack=one.state == "breached",
        )
        for one in alarms
    )


def headline(found: Board) -> str:
    """Return how the promises stand, in one sentence."""
    targets = [one.row.subject for one in found.targets if one.row.state in _BAD]
    others = [f"{one.row.kind} {one.row.subject}" for one in found.others if one.row.state in _BAD]
    if targets or others:
        return broken(targets, others)
    met = sum(one.row.state == "met" for one in found.targets)
    rest = len(found.targets) - met
    return f"{met} of {len(found.targets)} promises {'is' if met == 1 else 'are'} met" + (
        f"; {rest} cannot be proven yet." if rest else "."
    )


def chart(points: Sequence[Point], bound: float | None, name: str) -> Chart | None:
    """Return the picture of a series; None where nothing was ever measurable."""
    known = [
        value
        for one in points
        for value in (one.value, one.low, one.high)
        if value is not None and one.value is not None
    ]
    if not known:
        return None
    ends = [*known, *([] if bound is None else [bound])]
    low, high = min(ends), max(ends)
    span = (high - low) or abs(high) or 1.0
    bottom_text, top_text = value_text(name, min(known)), value_text(name, max(known))
    low, high = low - 0.08 * span, high + 0.08 * span
    first, last = points[0].at, points[-1].at
    length = (last - first).total_seconds() or 1.0

    def x(one: Point) -> float:
        return round(_PAD + (WIDTH - 2 * _PAD) * (one.at - first).total_seconds() / length, 1)

    def y(value: float) -> float:
        return round(HEIGHT - HEIGHT * (value - low) / (high - low), 1)

    runs = _runs(points)
    bands, lines = [], []
    for run in runs:
        lines.append("M" + " L".join(f"{x(one)} {y(one.value)}" for one in run if one.value is not None))
        sure = [(one, one.low, one.high) for one in run if one.low is not None and one.high is not None]
        if len(sure) > 1:
            top = [f"{x(one)} {y(b)}" for one, _, b in sure]
            bottom = [f"{x(one)} {y(a)}" for one, a, _ in reversed(sure)]
            bands.append("M" + " L".join([*top, *bottom]) + " Z")
    n_bad = sum(one.is_bad for one in points)
    end = next(one for one in reversed(points) if one.value is not None)
    return Chart(
        bands=tuple(bands),
        lines=tuple(lines),
        dots=tuple(
            (x(run[0]), y(run[0].value)) for run in runs if len(run) == 1 and run[0].value is not None
        ),
        bad=tuple((x(one), y(one.value)) for one in points if one.is_bad and one.value is not None),
        promise_y=None if bound is None else y(bound),
        low=bottom_text,
        high=top_text,
        first=f"{first:%-d %b}",
        last=f"{last:%-d %b}",
        words=f"{name} in {len(points)} looks from {first:%Y-%m-%d} to {last:%Y-%m-%d}, last "
        f"{value_text(name, end.value)}; an alarm was on in {n_bad}",
    )


def _target(one: Watched, place: int) -> TargetView:
    row = one.row
    return TargetView(
        key=f"{row.kind}-{place}",
        kind=row.kind,
        name=row.subject,
        value=row.value,
        interval=row.interval,
        n=row.n,
        promise=row.promise,
        state=row.state,
        sign=SIGNS.get(row.state, "·"),
        css=CLASSES.get(row.state, "open"),
        level=row.level,
        owner=row.owner,
        since=row.since,
        reason=row.reason,
        method=row.method,
        filled=None if row.share is None else round(100 * row.share),
        chart=chart(one.points, one.bound, row.subject),
        sql=row.sql,
        at=at_time(one.at),
    )


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Return the points between gaps (looks at which nothing was measurable)."""
    runs: list[list[Point]] = [[]]
    for one in points:
        if one.value is None:
            runs.append([])
        else:
            runs[-1].append(one)
    return [run for run in runs if run]
