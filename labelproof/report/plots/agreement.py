"""Who agrees with whom: Cohen's kappa of every two annotators as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from evaluation.intervals import Estimate
from labelproof.report.plots._plot import Plot, finished, inline

_CELL, _MAX_CELL = 620, 84


class PairLike(Protocol):
    """Two annotators and their kappa; see ``evaluation.agreement_report.PairAgreement``."""

    @property
    def first(self) -> str: ...
    @property
    def second(self) -> str: ...
    @property
    def kappa(self) -> Estimate: ...


def agreement_heatmap(pairs: Sequence[PairLike], *, subject: str = "") -> Plot:
    """Return kappa of every pair of annotators, chance = 0 and perfect = 1; what is not measurable stays grey.

    Annotators in the order in which the pairs name them.
    """
    import altair as alt

    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        kappa = pair.kappa
        shown = "n/a" if kappa.value is None else f"{kappa.value:.2f}"
        band = "" if kappa.low is None else f"{kappa.low:.2f} to {kappa.high:.2f}"
        for a, b in ((pair.first, pair.second), (pair.second, pair.first)):
            rows.append({"a": a, "b": b, "kappa": kappa.value, "shown": shown, "band": band, "n": kappa.n})
    rows += [{"a": a, "b": a, "kappa": None, "shown": "", "band": "", "n": 0} for a in names]
    cell = min(_MAX_CELL, _CELL // max(1, len(names)))
    small = cell < 40
    x = alt.X(
        "b:N",
        sort=names,
        title="Annotator",
        axis=alt.Axis(labelAngle=-35 if len(names) > 4 else 0, domain=False),
    )
    y = alt.Y("a:N", sort=names, title="Annotator", axis=alt.Axis(domain=False))
    base = alt.Chart(inline(rows)).encode(x=x, y=y)
    tip = [
        alt.Tooltip("a:N", title="annotator"),
        alt.Tooltip("b:N", title="and"),
        alt.Tooltip("shown:N", title="kappa"),
        alt.Tooltip("band:N", title="95 % interval"),
        alt.Tooltip("n:Q", title="items"),
    ]
    dark = "datum.kappa !== null && datum.kappa > 0.55"
    layers = [
        base.mark_rect(stroke="white", strokeWidth=2, invalid=None).encode(
            color=alt.condition(
                "datum.kappa === null",
                alt.value("#ececec"),
                alt.Color(
                    "kappa:Q",
                    title="Cohen's kappa",
                    scale=alt.Scale(domain=[0, 1], range=["#f1f6fb", "#08306b"], clamp=True),
                    legend=alt.Legend(format=".1f", gradientLength=160),
                ),
            ),
            tooltip=tip,
        ),
        base.mark_text(fontSize=11 if small else 14, dy=0 if small else -6, fontWeight="bold").encode(
            text="shown:N", color=alt.condition(dark, alt.value("white"), alt.value("#1a1a1a"))
        ),
    ]
    if cell >= 80:
        layers.append(
            base.mark_text(fontSize=11, dy=11).encode(
                text="band:N", color=alt.condition(dark, alt.value("white"), alt.value("#1a1a1a"))
            )
        )
    title = _finding(pairs)
    return finished(
        alt.layer(*layers).properties(width=cell * max(1, len(names)), height=cell * max(1, len(names))),
        title=title,
        subtitle=f"{subject}. " * bool(subject)
        + "Cohen's kappa: 0 is what chance would give, 1 is always the same; n/a: not measurable.",
        alt_text=f"Agreement of {len(names)} annotators, each pair a cell. {title}.",
        rows=[
            {
                "annotators": f"{pair.first}, {pair.second}",
                "kappa": "-" if pair.kappa.value is None else f"{pair.kappa.value:.2f}",
                "95 % interval": "-"
                if pair.kappa.low is None
                else f"{pair.kappa.low:.2f} to {pair.kappa.high:.2f}",
                "items": str(pair.kappa.n),
                "note": pair.kappa.reason or "",
            }
            for pair in pairs
        ],
    )


def _finding(pairs: Sequence[PairLike]) -> str:
    known = [(pair.kappa.value, pair) for pair in pairs if pair.kappa.value is not None]
    if not known:
        return "No two annotators can be compared: none share items that differ"
    low, worst = min(known, key=lambda entry: entry[0])
    high, best = max(known, key=lambda entry: entry[0])
    if len(known) == 1:
        return f"{best.first} and {best.second} agree at kappa {high:.2f}"
    return (
        f"{best.first} and {best.second} agree most (kappa {high:.2f}), "
        f"{worst.first} and {worst.second} least ({low:.2f})"
    )
