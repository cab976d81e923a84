"""Risk against coverage: how many answers can be accepted, and how many of those are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evaluation.curves import risk_coverage_curve
from evaluation.intervals import wilson
from labelproof.report.plots._plot import (
    BLUE,
    GREEN,
    HEIGHT,
    INK,
    ORANGE,
    WIDTH,
    Plot,
    finished,
    haloed,
    inline,
    percent,
)

if TYPE_CHECKING:
    import altair as alt

_MAX_POINTS = 200


class TestedLike(Protocol):
    """One tested threshold; see ``evaluation.TestedThreshold``."""

    @property
    def threshold(self) -> float: ...
    @property
    def coverage(self) -> float: ...
    @property
    def n_accepted(self) -> int: ...
    @property
    def n_errors(self) -> int: ...
    @property
    def upper(self) -> float | None: ...
    @property
    def passed(self) -> bool: ...


class NaiveLike(Protocol):
    """The laxest threshold that reaches the target on gold; see ``evaluation.NaiveThreshold``."""

    @property
    def threshold(self) -> float | None: ...
    @property
    def coverage(self) -> float | None: ...
    @property
    def n_accepted(self) -> int: ...
    @property
    def n_errors(self) -> int: ...


class CertificationLike(Protocol):
    """What the plot needs of ``evaluation.Certification``."""

    @property
    def certified(self) -> bool: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def alpha(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def n_gold(self) -> int: ...
    @property
    def n_accepted(self) -> int: ...
    @property
    def n_errors(self) -> int: ...
    @property
    def coverage(self) -> float | None: ...
    @property
    def upper(self) -> float | None: ...
    @property
    def method(self) -> str: ...
    @property
    def tested(self) -> Sequence[TestedLike]: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def naive(self) -> NaiveLike: ...


def risk_coverage_plot(certification: CertificationLike, *, subject: str = "") -> Plot:
    """Return what each tested threshold would accept of the pool, how wrong that is, and which one is proven.

    Shares of the pool on x, error rates on y. The line is the error rate on gold, the band reaches up to the
    one-sided 1 - delta bound of each threshold alone. ``subject`` (a strategy's name) opens the subtitle.
    """
    import altair as alt

    c = certification
    rows: list[dict[str, Any]] = [
        {
            "threshold": t.threshold,
            "coverage": t.coverage,
            "risk": t.n_errors / t.n_accepted,
            "upper": t.upper if t.upper is not None else 1.0,
            "counts": f"{t.n_errors} wrong of {t.n_accepted} gold items",
            "verdict": "proven" if t.passed else "not proven",
        }
        for t in c.tested
        if t.n_accepted > 0
    ]
    top = _top([r["risk"] for r in rows], [r["upper"] for r in rows], c.alpha)
    marks = [
        _Mark(c.coverage, f"certified: confidence ≥ {_shown(c.threshold)}", GREEN, 0)
        if c.certified and c.coverage is not None
        else None,
        _Mark(c.naive.coverage, f"naive: ≥ {_shown(c.naive.threshold)}", ORANGE, 1)
        if c.naive.coverage is not None
        else None,
    ]
    chart = alt.layer(
        *_risk_layers(rows, top, band="upper bound at " + percent(1 - c.delta) + " confidence"),
        *_target(c.alpha),
        *(layer for mark in marks if mark is not None for layer in _rule(mark, top)),
    ).properties(width=WIDTH, height=HEIGHT)
    title, told = _certificate_words(c)
    subtitle = ". ".join(
        part
        for part in (
            subject,
            told,
            f"Line: error rate on gold; band up to the {percent(1 - c.delta)} upper bound of each threshold alone",
            (
                f"Naive: the laxest threshold right on {percent(1 - c.alpha)} of gold, unproven"
                if c.naive.coverage is not None
                else ""
            ),
        )
        if part
    )
    naive = (
        f" The naive choice (laxest threshold right on at least {percent(1 - c.alpha)} of gold) is "
        f"{_shown(c.naive.threshold)} at {percent(c.naive.coverage)} of the pool, without proof."
        if c.naive.coverage is not None
        else " No threshold reaches the target even on gold."
    )
    return finished(
        chart,
        title=title,
        subtitle=subtitle + ".",
        alt_text=f"Error rate among accepted items against the share of the pool accepted, {len(rows)} thresholds. "
        f"{title}.{naive}",
        rows=[
            {
                "confidence at least": _shown(r["threshold"]),
                "share of the pool": percent(r["coverage"]),
                "error rate on gold": percent(r["risk"]),
                "upper bound": percent(r["upper"]),
                "counts": r["counts"],
                "verdict": r["verdict"],
            }
            for r in rows
        ],
    )


def gold_risk_coverage_plot(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, alpha: float | None = None, subject: str = ""
) -> Plot:
    """Return the error rate among the most confident gold items at every coverage, with pointwise intervals.

    ``confidence`` (n,) in [0, 1], ``correct`` (n,). Shows how well confidence sorts; proves no threshold.
    ``alpha``: a tolerated error rate to draw.
    """
    import altair as alt

    curve = risk_coverage_curve(confidence, correct)
    n = len(np.asarray(confidence))
    rows: list[dict[str, Any]] = []
    for i in _thinned(curve.coverage):
        accepted = round(float(curve.coverage[i]) * n)
        wrong = round(float(curve.risk[i]) * accepted)
        interval = wilson(wrong, accepted)
        rows.append(
            {
                "threshold": float(curve.threshold[i]),
                "coverage": float(curve.coverage[i]),
                "risk": wrong / accepted,
                "low": interval.low,
                "upper": interval.high,
                "counts": f"{wrong} wrong of {accepted}",
                "verdict": "",
            }
        )
    top = _top([r["risk"] for r in rows], [r["upper"] for r in rows[len(rows) // 5 :]], alpha or 0.02)
    chart = alt.layer(
        *_risk_layers(rows, top, band="95 % interval (Wilson)", points=len(rows) <= 30),
        *(_target(alpha) if alpha is not None else ()),
    ).properties(width=WIDTH, height=HEIGHT)
    title = _gold_title(rows)
    return finished(
        chart,
        title=title,
        subtitle=(f"{subject}. " if subject else "")
        + f"{n} gold items, most confident first. Band: 95 % interval at each point alone; a threshold picked "
        "from this curve is not proven: that takes a certificate.",
        alt_text=f"Error rate among accepted gold items against the share accepted. {title}.",
        rows=[
            {
                "confidence at least": _shown(r["threshold"]),
                "share accepted": percent(r["coverage"]),
                "error rate": percent(r["risk"]),
                "95 % interval": f"{percent(r['low'])} to {percent(r['upper'])}",
                "counts": r["counts"],
            }
            for r in rows
        ],
    )


def _certificate_words(c: CertificationLike) -> tuple[str, str]:
    if not c.certified or c.coverage is None:
        told = f"{c.n_gold} gold items"
        return (
            f"No certificate: no threshold is proven to keep errors at or below {percent(c.alpha)}",
            f"{told}. {c.reason[0].upper()}{c.reason[1:].rstrip('.')}" if c.reason else told,
        )
    return (
        f"{percent(c.coverage)} of items can be decided automatically with at most {percent(c.alpha)} wrong",
        (
            f"Proven at {percent(1 - c.delta)} confidence from {c.n_gold} gold items: of {c.n_accepted} accepted "
            f"{c.n_errors} {'was' if c.n_errors == 1 else 'were'} wrong, so at most {percent(c.upper)}"
        ),
    )


def _gold_title(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "No gold item has a confidence yet"
    whole = rows[-1]
    half = min(rows, key=lambda r: abs(r["coverage"] - 0.5))
    if whole["coverage"] - half["coverage"] < 0.2:
        return f"Confidence does not tell items apart: {percent(whole['risk'])} of all answers are wrong"
    return (
        f"Of the {percent(half['coverage'], 0)} most confident answers {percent(half['risk'])} are wrong, "
        f"of all answers {percent(whole['risk'])}"
    )


def _top(risks: Sequence[float], uppers: Sequence[float], alpha: float) -> float:
    """The upper end of the error axis: the target and the line are in sight, a wild bound is cut."""
    bounds = min(max(uppers, default=0.0), 5 * alpha)
    return float(min(1.0, max(2.5 * alpha, 1.3 * max(risks, default=0.0), 1.05 * bounds)))


def _thinned(coverage: npt.NDArray[np.float64]) -> list[int]:
    """At most 200 positions spread over coverage, the last included."""
    if len(coverage) <= _MAX_POINTS:
        return list(range(len(coverage)))
    wanted = np.linspace(coverage[0], 1.0, _MAX_POINTS)
    return sorted({int(i) for i in np.searchsorted(coverage, wanted).clip(0, len(coverage) - 1)})


def _shown(threshold: float | None) -> str:
    return (
        "-"
        if threshold is None
        else f"{threshold:.3f}".rstrip("0").rstrip(".")
        if threshold < 0.9995
        else "1"
    )


def _risk_layers(
    rows: Sequence[dict[str, Any]], top: float, *, band: str, points: bool = True
) -> list[alt.Chart]:
    import altair as alt

    x = alt.X(
        "coverage:Q",
        title="Share of items decided automatically (%)",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", grid=False, values=[i / 10 for i in range(11)]),
    )
    y_scale = alt.Scale(domain=[0, top])
    y = alt.Y(
        "risk:Q",
        title="Wrong among those (%)",
        scale=y_scale,
        axis=alt.Axis(format=".0%" if top > 0.08 else ".1%", tickCount=6),
    )
    tip = [
        alt.Tooltip("threshold:Q", title="confidence at least", format=".3f"),
        alt.Tooltip("coverage:Q", title="share of items", format=".1%"),
        alt.Tooltip("risk:Q", title="wrong on gold", format=".1%"),
        alt.Tooltip("upper:Q", title=band, format=".1%"),
        alt.Tooltip("counts:N", title="counts"),
    ]
    base = alt.Chart(inline(rows))
    lower = "low:Q" if rows and "low" in rows[0] else "risk:Q"
    layers = [
        base.mark_area(color=BLUE, opacity=0.16, clip=True).encode(
            x=x, y=alt.Y(lower, scale=y_scale), y2="upper:Q"
        ),
        base.mark_line(color=BLUE, strokeWidth=1, strokeDash=[2, 2], clip=True, opacity=0.8).encode(
            x=x, y=alt.Y("upper:Q", scale=y_scale)
        ),
        base.mark_line(color=BLUE, strokeWidth=2.5, clip=True).encode(x=x, y=y),
    ]
    if points:
        layers.append(
            base.mark_point(filled=True, size=55, stroke=BLUE, strokeWidth=1.5, opacity=1).encode(
                x=x,
                y=y,
                fill=alt.condition("datum.verdict == 'not proven'", alt.value("white"), alt.value(BLUE)),
                tooltip=tip,
            )
        )
    return layers


def _target(alpha: float) -> list[alt.Chart]:
    import altair as alt

    data = alt.Chart(inline([{"alpha": alpha, "x": 0.0, "text": f"tolerated: {percent(alpha)} wrong"}]))
    words = data.encode(x="x:Q", y="alpha:Q", text="text:N")
    return [
        data.mark_rule(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(y="alpha:Q"),
        *haloed(words, INK, align="left", baseline="bottom", dx=6, dy=-4),
    ]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A vertical rule at a share of the pool, its words on the given line from the top."""

    coverage: float
    text: str
    color: str
    line: int


def _rule(mark: _Mark, top: float) -> list[alt.Chart]:
    import altair as alt

    right = mark.coverage > (0.84 if mark.line else 0.55)
    data = alt.Chart(inline([{"coverage": mark.coverage, "top": top, "text": mark.text}]))
    dash = [1, 0] if mark.line == 0 else [4, 4]
    words = data.encode(x="coverage:Q", y="top:Q", text="text:N")
    return [
        data.mark_rule(color=mark.color, strokeWidth=2.5, strokeDash=dash).encode(x="coverage:Q"),
        *haloed(
            words,
            mark.color,
            align="right" if right else "left",
            baseline="top",
            dx=-7 if right else 7,
            dy=4 + 21 * mark.line,
            fontWeight="bold",
        ),
    ]
