"""One number measured of production, and one thing that happened to an alarm: what the monitor's rooms exchange."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import orjson

from labelproof.spec.monitoring import Level

Kind = Literal["target", "drift", "sentinel", "volume"]
State = Literal["met", "breached", "not yet provable", "quiet", "alarm", "unknown"]
"""A target is met, breached or neither is provable; drift and sentinel tests are quiet or alarm; unknown: no data."""
AlarmKind = Literal["target", "drift", "sentinel", "run", "suite"]
AlarmWord = Literal["breached", "escalated", "acknowledged", "recovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number with its interval, what was promised of it, and whether it holds.

    ``evidence`` against ``evidence_needed`` decides alarms (anytime valid: it may be looked at after every run);
    ``low``/``high`` is the 95 % interval of this look. ``value`` None: not measurable, and ``reason`` says why.
    ``change_from``: when a change most likely began; ``detail``: numbers a reader or the root-cause analysis needs.
    """

    kind: Kind
    subject: str
    state: State
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""
    bound: float | None = None
    side: Literal["at_least", "at_most"] | None = None
    evidence: float | None = None
    evidence_needed: float | None = None
    reason: str = ""
    sql: str = ""
    window_from: datetime | None = None
    window_to: datetime | None = None
    strategy_fp: str | None = None
    run_id: str | None = None
    change_from: datetime | None = None
    level: Level = "major"
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        """Whether it raises or keeps an alarm."""
        return self.state in {"breached", "alarm"}

    @property
    def is_good(self) -> bool:
        """Whether it ends an alarm."""
        return self.state in {"met", "quiet"}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_bad": self.is_bad}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """Something that happened to an alarm: a row of `alarms`, and a Prefect event."""

    alarm_id: str
    project: str
    kind: AlarmKind
    subject: str
    event: AlarmWord
    level: Level
    role: str | None
    contact: str | None
    value: float | None
    bound: float | None
    change_from: datetime | None
    reason: str
    evidence: Mapping[str, Any]
    actor: str
    ts: datetime


_STORED = [
    "kind",
    "subject",
    "state",
    "value",
    "low",
    "high",
    "n",
    "method",
    "bound",
    "side",
    "evidence",
    "evidence_needed",
    "reason",
    "sql",
    "window_from",
    "window_to",
    "strategy_fp",
    "run_id",
]


def measurement_rows(
    project: str, measured: Sequence[Measurement], now: datetime, flow_run_id: str | None = None
) -> dict[str, list[Any]]:
    """Return the rows of `measurements`."""
    rows: dict[str, list[Any]] = {name: [getattr(one, name) for one in measured] for name in _STORED}
    n = len(measured)
    return {
        "measurement_id": [f"m{uuid.uuid4().hex[:16]}" for _ in measured],
        "project": [project] * n,
        **rows,
        "ts": [now] * n,
        "flow_run_id": [flow_run_id] * n,
    }


def alarm_rows(events: Sequence[AlarmEvent], flow_run_id: str | None = None) -> dict[str, list[Any]]:
    """Return the rows of `alarms`."""
    names = [
        "alarm_id",
        "project",
        "kind",
        "subject",
        "event",
        "level",
        "role",
        "contact",
        "value",
        "bound",
        "change_from",
        "reason",
        "actor",
        "ts",
    ]
    return {
        **{name: [getattr(one, name) for one in events] for name in names},
        "evidence_json": [orjson.dumps(one.evidence, default=str).decode() for one in events],
        "flow_run_id": [flow_run_id] * len(events),
    }
