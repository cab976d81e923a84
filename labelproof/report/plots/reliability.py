"""Does confidence mean what it says: the reliability diagram and where confidences lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation._arrays import as_bools, as_probabilities, same_length
from evaluation.confidence import CalibrationError
from evaluation.curves import ReliabilityBin
from labelproof.report.plots._plot import BLUE, INK, ORANGE, WIDTH, Plot, finished, haloed, inline, percent

if TYPE_CHECKING:
    import altair as alt

_HISTOGRAM_BINS = 40
_SQUARE = 400


def reliability_plot(
    curve: Sequence[ReliabilityBin],
    *,
    confidences: npt.ArrayLike | None = None,
    error: CalibrationError | None = None,
    subject: str = "",
) -> Plot:
    """Return how often answers were right at each level of confidence, with Wilson bars.

    ``curve`` from :func:`evaluation.reliability_curve`; ``confidences`` (n,) adds their histogram below;
    ``error`` from :func:`evaluation.calibration_error` decides the title and is told in the subtitle.
    """
    import altair as alt

    rows: list[dict[str, Any]] = [
        {
            "confidence": b.mean_confidence,
            "accuracy": b.accuracy.value,
            "low": b.accuracy.low,
            "high": b.accuracy.high,
            "n": b.accuracy.n,
            "range": f"{b.low:.3f} to {b.high:.3f}",
        }
        for b in curve
    ]
    start = _axis_start(rows, confidences)
    panel = _diagram(rows, start).properties(width=WIDTH, height=_SQUARE)
    chart: alt.LayerChart | alt.FacetChart | alt.VConcatChart = panel
    if confidences is not None:
        values = as_probabilities(confidences, "confidences")
        chart = alt.vconcat(
            panel, _histogram(values, None, start).properties(height=90, width=WIDTH), spacing=12
        )
    title = _finding(curve, error)
    return finished(
        chart,
        title=title,
        subtitle=_subtitle(curve, error, subject),
        alt_text=f"Share of right answers against stated confidence in {len(rows)} groups of items. {title}.",
        rows=[
            {
                "confidence": row["range"],
                "mean confidence": percent(row["confidence"]),
                "right": percent(row["accuracy"]),
                "95 % interval": f"{percent(row['low'])} to {percent(row['high'])}",
                "items": str(row["n"]),
            }
            for row in rows
        ],
    )


def confidence_histogram(
    confidences: npt.ArrayLike,
    *,
    correct: npt.ArrayLike | None = None,
    threshold: float | None = None,
    subject: str = "",
) -> Plot:
    """Return where confidences (n,) lie; ``correct`` (n,) stacks wrong on right, ``threshold`` draws a rule."""
    import altair as alt

    values = as_probabilities(confidences, "confidences")
    right = None if correct is None else as_bools(correct, "correct")
    if right is not None:
        same_length(confidences=values, correct=right)
    start = _axis_start([], values)
    layers: list[alt.Chart] = [_histogram(values, right, start)]
    if threshold is not None:
        rule = alt.Chart(inline([{"at": threshold, "text": f"threshold {threshold:.3g}"}]))
        layers += [
            rule.mark_rule(color=INK, strokeWidth=2, strokeDash=[6, 4]).encode(x="at:Q"),
            rule.mark_text(align="right", baseline="top", dx=-6, color=INK, fontWeight="bold").encode(
                x="at:Q", y=alt.value(2), text="text:N"
            ),
        ]
    title = _histogram_title(values, right, threshold)
    table = _counted(values, right, start)
    return finished(
        alt.layer(*layers).properties(width=WIDTH, height=300),
        title=title,
        subtitle=f"{subject}. " * bool(subject) + f"{len(values)} items",
        alt_text=f"Histogram of the confidences of {len(values)} items. {title}.",
        rows=[
            {
                "confidence": f"{r['low']:.3f} to {r['high']:.3f}",
                "answers": r["outcome"],
                "items": str(r["items"]),
            }
            for r in table
            if r["items"]
        ],
    )


def _axis_start(rows: Sequence[dict[str, Any]], confidences: npt.ArrayLike | None) -> float:
    """Where the confidence axis begins: the tenth below the smallest value, so that nothing is squeezed."""
    seen = [float(r[name]) for r in rows for name in ("confidence", "low")]
    if confidences is not None and len(np.asarray(confidences)):
        seen.append(float(np.min(confidences)))
    return max(0.0, float(np.floor(10 * min(seen, default=0.0) - 1e-9) / 10))


def _diagram(rows: Sequence[dict[str, Any]], start: float) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    scale = alt.Scale(domain=[start, 1])
    x = alt.X(
        "confidence:Q", title="Stated confidence (%)", scale=scale, axis=alt.Axis(format=".0%", tickCount=10)
    )
    y_axis = alt.Axis(format=".0%", tickCount=10)
    points = alt.Chart(inline(rows))
    ideal = alt.Chart(inline([{"confidence": start, "accuracy": start}, {"confidence": 1, "accuracy": 1}]))
    label = alt.Chart(
        inline(
            [
                {
                    "confidence": start + (1 - start) * 0.13,
                    "accuracy": start + (1 - start) * 0.16,
                    "text": "ideal",
                }
            ]
        )
    )
    y = alt.Y("accuracy:Q", title="Right answers (%)", scale=scale, axis=y_axis)
    return alt.layer(
        ideal.mark_line(color=INK, strokeDash=[7, 4], strokeWidth=1.5).encode(x=x, y=y),
        points.mark_rule(color=BLUE, strokeWidth=2, clip=True).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q"
        ),
        points.mark_point(filled=True, color=BLUE, opacity=1, stroke="white", strokeWidth=1).encode(
            x=x,
            y=y,
            size=alt.Size("n:Q", legend=None, scale=alt.Scale(range=[60, 160])),
            tooltip=[
                alt.Tooltip("range:N", title="confidence"),
                alt.Tooltip("accuracy:Q", title="right", format=".1%"),
                alt.Tooltip("low:Q", title="95 % from", format=".1%"),
                alt.Tooltip("high:Q", title="95 % to", format=".1%"),
                alt.Tooltip("n:Q", title="items"),
            ],
        ),
        *haloed(label.encode(x=x, y=y, text="text:N"), INK, align="left", baseline="top", dx=8, dy=4),
    )


def _counted(
    values: npt.NDArray[np.float64], right: npt.NDArray[np.bool_] | None, start: float
) -> list[dict[str, Any]]:
    edges = np.linspace(start, 1, _HISTOGRAM_BINS + 1)
    groups = [("all", values)] if right is None else [("right", values[right]), ("wrong", values[~right])]
    return [
        {"low": float(edges[i]), "high": float(edges[i + 1]), "items": int(count), "outcome": name}
        for name, members in groups
        for i, count in enumerate(np.histogram(members, bins=edges)[0])
    ]


def _histogram(
    values: npt.NDArray[np.float64], right: npt.NDArray[np.bool_] | None, start: float
) -> alt.Chart:
    import altair as alt

    color: Any = alt.value(BLUE)
    if right is not None:
        color = alt.Color(
            "outcome:N",
            title="Answer was",
            scale=alt.Scale(domain=["wrong", "right"], range=[ORANGE, BLUE]),
            legend=alt.Legend(orient="top-left", offset=4),
        )
    bars: alt.Chart = (
        alt.Chart(inline(_counted(values, right, start)))
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X(
                "low:Q",
                title="Stated confidence (%)",
                scale=alt.Scale(domain=[start, 1]),
                axis=alt.Axis(format=".0%"),
                bin="binned",
            ),
            x2="high:Q",
            y=alt.Y("items:Q", title="Items", axis=alt.Axis(tickCount=4, format="d", tickMinStep=1)),
            color=color,
            order=alt.Order("outcome:N", sort="descending"),
            tooltip=[
                alt.Tooltip("low:Q", title="from", format=".1%"),
                alt.Tooltip("high:Q", title="to", format=".1%"),
                alt.Tooltip("items:Q", title="items"),
            ],
        )
    )
    return bars


def _finding(curve: Sequence[ReliabilityBin], error: CalibrationError | None) -> str:
    n = sum(b.accuracy.n for b in curve)
    if n == 0:
        return "No item has a confidence yet"
    mean = sum(b.mean_confidence * b.accuracy.n for b in curve) / n
    right = sum((b.accuracy.value or 0.0) * b.accuracy.n for b in curve) / n
    stated = f"it says {percent(mean)} on average, {percent(right)} were right"
    if error is None or error.estimate.value is None or error.floor_p95 is None:
        return f"Confidence against reality: {stated}"
    ece = error.estimate.value
    if ece <= error.floor_p95:
        return f"Confidence can be taken at its word: {stated}, no more off than chance"
    if mean - right > ece / 2:
        return f"Confidence is too high: {stated}"
    if right - mean > ece / 2:
        return f"Confidence is too low: {stated}"
    return f"Confidence is off in both directions: {percent(ece)} on average, too high here and too low there"


def _subtitle(curve: Sequence[ReliabilityBin], error: CalibrationError | None, subject: str) -> str:
    n = sum(b.accuracy.n for b in curve)
    parts = [subject] if subject else []
    if error is not None and error.estimate.value is not None:
        e = error.estimate
        limits = "" if e.low is None else f" (95 % interval {percent(e.low)} to {percent(e.high)})"
        parts.append(
            f"Calibration error (ECE) {percent(e.value)}{limits}; a perfect one would show {percent(error.floor)} here"
        )
    parts.append(f"{n} items in {len(curve)} groups; bars: 95 % interval (Wilson)")
    return ". ".join(parts) + "."


def _histogram_title(
    values: npt.NDArray[np.float64], right: npt.NDArray[np.bool_] | None, threshold: float | None
) -> str:
    n = len(values)
    if n == 0:
        return "No item has a confidence yet"
    if threshold is None:
        middle = float(np.median(values))
        return f"Half of the items have a confidence of {percent(middle)} or more"
    above = values >= threshold
    if right is None:
        return f"{percent(float(above.mean()))} of items reach the threshold {threshold:.3g}"
    wrong = int((above & ~right).sum())
    return (
        f"{percent(float(above.mean()))} of items reach the threshold {threshold:.3g}; "
        f"{wrong} of those {int(above.sum())} are wrong"
    )
