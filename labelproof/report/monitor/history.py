"""The time series of a measured number: what each pass stored, as a table, in one line of blocks, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelproof.report.monitor.text import stamp
from labelproof.report.monitor.values import SHARES, interval_text, value_text
from labelproof.report.plots import Plot
from labelproof.report.plots._plot import BLUE, INK, ORANGE, WIDTH, finished, haloed, inline
from labelproof.report.quality_data import filled_in
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

MOST = 500
"""Passes of a series that are read, the latest ones."""
_BLOCKS = "▁▂▃▄▅▆▇█"
HISTORY = """SELECT ts, kind, value, low, high, n, bound, side, state, evidence, evidence_needed, reason, window_from, window_to
FROM measurements WHERE project = $project AND subject = $subject AND ($kind IS NULL OR kind = $kind)
ORDER BY ts DESC LIMIT 500
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One stored measurement of a series."""

    at: datetime
    value: float | None
    low: float | None
    high: float | None
    n: int
    bound: float | None
    side: str | None
    state: str
    evidence: float | None
    evidence_needed: float | None
    reason: str

    @property
    def is_bad(self) -> bool:
        return self.state in {"breached", "alarm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A metric's measurements, oldest first; ``sql`` is the query that they come from."""

    metric: str
    kind: str
    points: tuple[Point, ...]
    sql: str

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "kind": self.kind,
            "sql": self.sql,
            "points": [
                {name: getattr(one, name) for name in Point.__dataclass_fields__} for one in self.points
            ],
        }


def series_of(store: TraceStore, project: str, metric: str, *, kind: str | None = None) -> Series:
    """Return the last 500 measurements of a metric (``auto_accuracy``, ``recall:hate``, ``text``); may be empty.

    ``kind``: target, drift, sentinel or volume; default whichever has it.
    """
    params = {"project": project, "subject": metric, "kind": kind}
    rows = store.query(HISTORY, params, fresh=True, only=("measurements",)).to_pylist()
    points = tuple(point_of(row) for row in reversed(rows))
    return Series(
        metric=metric,
        kind=rows[0]["kind"] if rows else kind or "",
        points=points,
        sql=filled_in(HISTORY, params),
    )


def point_of(row: Mapping[str, Any]) -> Point:
    """Return a row of `measurements` as a point of its series."""
    names = ("value", "low", "high", "bound", "side", "state", "evidence", "evidence_needed")
    return Point(
        at=row["ts"], n=int(row["n"] or 0), reason=row["reason"] or "", **{name: row[name] for name in names}
    )


def known_metrics(store: TraceStore, project: str) -> list[str]:
    """Return the subjects that have been measured for a project."""
    sql = "SELECT DISTINCT subject FROM measurements WHERE project = $project ORDER BY subject"
    found = store.query(sql, {"project": project}, fresh=True, only=("measurements",))
    return [str(name) for name in found["subject"].to_pylist()]


def sparkline(values: Sequence[float | None], width: int = 60) -> str:
    """Return the last ``width`` values as blocks from lowest to highest; a space where there is none."""
    shown = values[-width:]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_BLOCKS) - 1
    return "".join(
        " " if value is None else _BLOCKS[round(top * (value - low) / span) if span else top // 2]
        for value in shown
    )


def series_plot(series: Series, *, subject: str = "") -> Plot:
    """Return the series with its interval as a band, its promise as a dashed line, alarms as triangles.

    ``ConfigError`` for an empty series.
    """
    import altair as alt

    if not series.points:
        raise ConfigError(f"{series.metric} has never been measured", hint="labelproof monitor PROJECT")
    metric = series.metric
    rows: list[dict[str, Any]] = [
        {
            "at": one.at.isoformat(),
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "bad": one.is_bad,
            "bound": one.bound,
        }
        for one in series.points
    ]
    is_share = series.kind == "target" and metric.partition(":")[0] in SHARES
    seen = [row[name] for row in rows for name in ("value", "low", "high", "bound") if row[name] is not None]
    span = (max(seen, default=1.0) - min(seen, default=0.0)) or 0.1
    domain = [min(seen, default=0.0) - 0.1 * span, max(seen, default=1.0) + 0.1 * span]
    if is_share:
        domain = [max(0.0, domain[0]), min(1.0, domain[1])]
    x = alt.X("at:T", title="Measured", axis=alt.Axis(grid=False, labelOverlap=True, tickCount=6))
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    y = alt.Y("value:Q", title=metric, scale=scale, axis=alt.Axis(format=".1%" if is_share else ".3~g"))
    base = alt.Chart(inline(rows))
    layers: list[alt.Chart] = [
        base.mark_area(color=BLUE, opacity=0.18).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y),
        base.mark_point(filled=True, opacity=1).encode(
            x=x,
            y=y,
            color=alt.condition("datum.bad", alt.value(ORANGE), alt.value(BLUE)),
            shape=alt.condition("datum.bad", alt.value("triangle-down"), alt.value("circle")),
            size=alt.condition("datum.bad", alt.value(110), alt.value(35)),
        ),
    ]
    last = series.points[-1]
    if last.bound is not None:
        words = f"promised {'≥' if last.side == 'at_least' else '≤'} {value_text(metric, last.bound)}"
        line = alt.Chart(inline([{"at": rows[0]["at"], "bound": last.bound, "text": words}]))
        layers += [
            line.mark_rule(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(y="bound:Q"),
            *haloed(
                line.encode(x="at:T", y="bound:Q", text="text:N"),
                INK,
                align="left",
                baseline="bottom",
                dx=4,
                dy=-4,
            ),
        ]
    band = interval_text(metric, last.low, last.high)
    title = f"{metric}: {value_text(metric, last.value)}" + (f" ({band})" if band else "") + f", {last.state}"
    return finished(
        alt.layer(*layers).properties(width=WIDTH, height=320),
        title=title,
        subtitle=f"{subject}. " * bool(subject)
        + "Band: the 95 % interval of each pass. Triangles: an alarm was on.",
        alt_text=f"{metric} over {len(rows)} passes of the monitor. {title}.",
        rows=[
            {
                "measured": stamp(one.at),
                "value": value_text(metric, one.value),
                "interval": interval_text(metric, one.low, one.high) or "-",
                "n": str(one.n),
                "state": one.state,
            }
            for one in series.points
        ],
    )
