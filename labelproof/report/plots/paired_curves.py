"""Confidence of two strategies on the same gold: reliability and risk against coverage, both in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.curves import ReliabilityBin, RiskCoverage
from labelproof.report.plots._plot import BLUE, HEIGHT, INK, ORANGE, WIDTH, Plot, finished, inline, percent

_MOST_POINTS = 200
_SQUARE = 380


def paired_reliability_plot(
    a: Sequence[ReliabilityBin], b: Sequence[ReliabilityBin], *, names: tuple[str, str], subject: str = ""
) -> Plot:
    """Return how often each strategy was right at each level of its confidence, with Wilson bars."""
    import altair as alt

    rows = [
        {
            "who": name,
            "confidence": one.mean_confidence,
            "accuracy": one.accuracy.value,
            "low": one.accuracy.low,
            "high": one.accuracy.high,
            "n": one.accuracy.n,
            "range": f"{one.low:.3f} to {one.high:.3f}",
        }
        for name, curve in zip(names, (a, b), strict=True)
        for one in curve
    ]
    seen = [float(row[key]) for row in rows for key in ("confidence", "low") if row[key] is not None]  # type: ignore[arg-type]
    start = max(0.0, float(np.floor(10 * min(seen, default=0.0) - 1e-9) / 10))
    scale = alt.Scale(domain=[start, 1])
    x = alt.X("confidence:Q", title="Stated confidence (%)", scale=scale, axis=alt.Axis(format=".0%"))
    y = alt.Y("accuracy:Q", title="Right answers (%)", scale=scale, axis=alt.Axis(format=".0%"))
    base = alt.Chart(inline(rows))
    ideal = alt.Chart(inline([{"confidence": start, "accuracy": start}, {"confidence": 1, "accuracy": 1}]))
    color, dash, shape = _sides(names, points=True)
    title = _reliability_finding(a, b, names)
    return finished(
        alt.layer(
            ideal.mark_line(color=INK, strokeDash=[2, 3], strokeWidth=1.5).encode(x=x, y=y),
            base.mark_rule(strokeWidth=1.5, opacity=0.55, clip=True).encode(
                x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=color
            ),
            base.mark_line(strokeWidth=2.5, clip=True).encode(x=x, y=y, color=color, strokeDash=dash),
            base.mark_point(filled=True, size=80, opacity=1, stroke="white", strokeWidth=1).encode(
                x=x, y=y, color=color, shape=shape
            ),
        ).properties(width=WIDTH, height=_SQUARE),
        title=title,
        subtitle=(f"{subject}. " if subject else "")
        + "Dotted: confidence that means what it says. Bars: 95 % interval (Wilson) of each group of items.",
        alt_text=f"Share of right answers against stated confidence for {names[0]} and {names[1]}. {title}.",
        rows=[
            {
                "strategy": str(row["who"]),
                "confidence": str(row["range"]),
                "right": percent(row["accuracy"]),  # type: ignore[arg-type]
                "95 % interval": f"{percent(row['low'])} to {percent(row['high'])}",  # type: ignore[arg-type]
                "items": str(row["n"]),
            }
            for row in rows
        ],
    )


def paired_risk_coverage_plot(
    a: RiskCoverage | None, b: RiskCoverage | None, *, names: tuple[str, str], subject: str = ""
) -> Plot:
    """Return the error rate among the most confident items of each strategy at every coverage."""
    import altair as alt

    curves = {name: _thinned(curve) for name, curve in zip(names, (a, b), strict=True) if curve is not None}
    rows = [
        {"who": name, "threshold": t, "coverage": c, "risk": r}
        for name, points in curves.items()
        for t, c, r in points
    ]
    settled = [row["risk"] for row in rows if row["coverage"] >= 0.1]  # type: ignore[operator]
    top = min(1.0, max(0.02, 1.25 * max(settled, default=0.1)))  # type: ignore[type-var, operator]
    x = alt.X(
        "coverage:Q",
        title="Share of items decided automatically (%)",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=".0%", grid=False),
    )
    y = alt.Y(
        "risk:Q",
        title="Wrong among those (%)",
        scale=alt.Scale(domain=[0, top]),
        axis=alt.Axis(format=".0%" if top > 0.08 else ".1%", tickCount=6),
    )
    color, dash, _ = _sides(names, points=False)
    title = _risk_finding(curves, names)
    return finished(
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=2.5, clip=True)
        .encode(x=x, y=y, color=color, strokeDash=dash)
        .properties(width=WIDTH, height=HEIGHT),
        title=title,
        subtitle=(f"{subject}. " if subject else "")
        + "Gold items, most confident first. Read off one sample: a threshold picked here is not proven, that takes "
        "a certificate.",
        alt_text=f"Error rate among accepted gold items against the share accepted, {names[0]} and {names[1]}. {title}.",
        rows=[
            {
                "strategy": name,
                "share accepted": percent(at),
                "error rate": percent(_risk_at(points, at)),
            }
            for name, points in curves.items()
            for at in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        ],
    )


def _sides(names: tuple[str, str], *, points: bool) -> tuple[Any, Any, Any]:
    """Colour, dash and shape by strategy, told by one legend: of the points where there are any, else of the lines."""
    import altair as alt

    legend = alt.Legend(
        title=None, orient="top", symbolStrokeWidth=2.5, symbolSize=140, symbolOpacity=1, labelLimit=260
    )
    domain = list(names)
    return (
        alt.Color("who:N", scale=alt.Scale(domain=domain, range=[ORANGE, BLUE]), legend=legend),
        alt.StrokeDash(
            "who:N",
            scale=alt.Scale(domain=domain, range=[[6, 4], [1, 0]]),
            legend=None if points else legend,
        ),
        alt.Shape("who:N", scale=alt.Scale(domain=domain, range=["square", "circle"]), legend=legend),
    )


def _thinned(curve: RiskCoverage) -> list[tuple[float, float, float]]:
    """(threshold, coverage, risk) at no more than 200 points spread over coverage, the last included."""
    threshold, coverage, risk = (
        np.asarray(v, dtype=float) for v in (curve.threshold, curve.coverage, curve.risk)
    )
    n = len(coverage)
    if n > _MOST_POINTS:
        wanted = np.linspace(coverage[0], coverage[-1], _MOST_POINTS)
        keep = np.unique(np.searchsorted(coverage, wanted).clip(0, n - 1))
    else:
        keep = np.arange(n)
    return [(float(threshold[i]), float(coverage[i]), float(risk[i])) for i in keep]


def _risk_at(points: Sequence[tuple[float, float, float]], coverage: float) -> float | None:
    """The risk at the smallest coverage that is at least the one asked for, None when there is no point."""
    return next((risk for _, at, risk in points if at >= coverage - 1e-12), None)


def _gap(curve: Sequence[ReliabilityBin]) -> float | None:
    """Mean distance between stated confidence and accuracy, weighted by items; None without items."""
    n = sum(one.accuracy.n for one in curve)
    if n == 0:
        return None
    return sum(one.accuracy.n * abs(one.mean_confidence - (one.accuracy.value or 0.0)) for one in curve) / n


def _reliability_finding(
    a: Sequence[ReliabilityBin], b: Sequence[ReliabilityBin], names: tuple[str, str]
) -> str:
    gaps = [_gap(curve) for curve in (a, b)]
    if gaps[0] is None or gaps[1] is None:
        return "Confidence cannot be compared: one of the two has none on gold items"
    return (
        f"Confidence is off by {percent(gaps[0])} on average for {names[0]}, "
        f"by {percent(gaps[1])} for {names[1]}"
    )


def _risk_finding(curves: Mapping[str, Sequence[tuple[float, float, float]]], names: tuple[str, str]) -> str:
    risks = [_risk_at(curves.get(name, ()), 0.5) for name in names]
    if risks[0] is None or risks[1] is None:
        return "Risk cannot be compared: one of the two has no confidence on gold items"
    return (
        f"Of the more confident half, {percent(risks[0])} are wrong with {names[0]}, "
        f"{percent(risks[1])} with {names[1]}"
    )
