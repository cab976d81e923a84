"""Plots of a comparison say its finding, hold the report's numbers, and cannot show what does not add up."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import altair as alt
import numpy as np
import pytest

from labelproof.report.plots import (
    Plot,
    forest_plot,
    paired_reliability_plot,
    paired_risk_coverage_plot,
    slice_heatmap,
    waterfall_plot,
)
from labelproof.report.plots._units import delta_words, value_words
from labelproof.spec.errors import ConfigError
from tests.report.compare_factory import curves, difference, metric_rows, row, slice_rows

NAMES = ("champion", "candidate")


def data_of(spec: Any) -> list[dict[str, Any]]:
    """Return all rows inside a specification, which names its data sets by their content."""
    return [one for rows in spec["datasets"].values() for one in rows]


def share(component: str, delta: float) -> Any:
    return SimpleNamespace(component=component, delta=delta, low=delta - 0.01, high=delta + 0.01)


def drawn(plot: Plot) -> str:
    root = ET.fromstring(plot.svg())
    return " ".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("text"))


def test_the_forest_holds_every_difference_with_its_interval_and_margin() -> None:
    rows = metric_rows()
    plot = forest_plot(rows, a="champion", b="candidate")
    shown = {one["metric"]: one for one in data_of(plot.vega()) if "metric" in one}
    assert set(shown) == {one.difference.metric for one in rows}
    for one in rows:
        found, metric = one.difference, one.difference.metric
        scale = 1 if metric in ("cost_per_1k_usd", "latency_ms") else 100
        assert found.delta is not None
        assert shown[metric]["delta"] == pytest.approx(scale * found.delta)
        assert shown[metric]["low"] == pytest.approx(scale * (found.low or 0))
        assert shown[metric]["high"] == pytest.approx(scale * (found.high or 0))
    assert shown["recall:minor_safety"]["margin"] == pytest.approx(-1)
    assert shown["failed_rate"]["margin"] == pytest.approx(1), "less is better: worse is to the right"
    assert len(plot.spec["vconcat"]) == 4, "shares by direction, money, and time have an axis each"
    assert "+1.9 pp" in drawn(plot)


def test_the_forest_says_what_got_worse_and_which_guardrail_is_open() -> None:
    title = forest_plot(metric_rows()).title
    assert "worse: Recall: hate and Time per item" in title
    assert "guardrail not shown to hold: Recall: minor_safety" in title
    same = [row("primary", difference("accuracy", 0.8, 0.8, 0.02))]
    assert forest_plot(same).title == "No metric differs more than chance would explain"


def test_what_is_not_measurable_has_a_reason_and_no_mark() -> None:
    rows = [row("info", difference("cost_per_1k_usd", None, 0.4, None)), metric_rows()[0]]
    plot = forest_plot(rows)
    assert "no prices are known" in drawn(plot)
    assert plot.rows[0]["interval"] == "no prices are known for this model"


def test_hostile_names_are_text_in_the_drawing() -> None:
    rows = [row("primary", difference("recall:</text><script>alert(1)</script>", 0.8, 0.9))]
    svg = forest_plot(rows, a="<b>", b="&amp;").svg()
    root = ET.fromstring(svg)
    assert not [node for node in root.iter() if node.tag.endswith("script")]


@pytest.mark.parametrize("seed", range(5))
def test_the_waterfall_ends_at_b_and_its_bars_are_the_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0, 0.03, int(rng.integers(1, 6)))
    shares = [share(f"step{i}", float(delta)) for i, delta in enumerate(deltas)]
    end = 0.8 + float(deltas.sum())
    plot = waterfall_plot(shares, metric="accuracy", value_a=0.8, value_b=end)
    bars = {one["label"]: one for one in data_of(plot.vega()) if one.get("kind") not in (None, "total")}
    assert sum(one["end"] - one["start"] for one in bars.values()) == pytest.approx(100 * (end - 0.8))
    for one in shares:
        bar = bars[one.component]
        assert bar["end"] - bar["start"] == pytest.approx(100 * one.delta)
    totals = [one["end"] for one in data_of(plot.vega()) if one.get("label") == "B"]
    assert totals
    assert set(totals) == {100 * end}


def test_shares_that_do_not_sum_to_the_difference_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a sum of 0\.05"):
        waterfall_plot([share("label", 0.02)], metric="accuracy", value_a=0.8, value_b=0.85)


def test_slices_are_strong_only_after_correction_and_hatched_when_small() -> None:
    slices = slice_rows()
    plot = slice_heatmap(slices)
    tones = {one["slice"]: one["reading"] for one in plot.rows}
    assert tones["language = de"] == "worse, proven"
    assert tones["language = tr"] == "too few items"
    assert tones["source = reviews"] == "no difference"
    assert tones["source = chat"] == "better, unproven"
    assert plot.title == "Accuracy is proven worse on language = de"
    cell = next(one for one in data_of(plot.vega()) if one.get("name") == "language = tr")
    lines = [one for one in data_of(plot.vega()) if set(one) == {"x", "y", "x2", "y2"}]
    assert lines
    assert all(cell["x"] <= x <= cell["x2"] for one in lines for x in (one["x"], one["x2"]))
    assert all(cell["y"] <= y <= cell["y2"] for one in lines for y in (one["y"], one["y2"]))


def test_slices_of_a_metric_where_less_is_better_turn_round() -> None:
    slices = [
        SimpleNamespace(
            key="k", value="v", difference=difference("failed_rate", 0.1, 0.2), q_value=0.01, small=False
        )
    ]
    assert slice_heatmap(slices, lower_is_better=True).rows[0]["reading"] == "worse, proven"


def test_more_slices_than_fit_are_in_the_table() -> None:
    one = slice_rows()[0]
    slices = [replace(one, value=f"v{i}") for i in range(90)]
    plot = slice_heatmap(slices)
    assert len(plot.rows) == 90
    assert "30 more slices are in the table" in str(plot.spec["title"]["subtitle"])


def test_both_curves_are_in_the_picture_and_thinned() -> None:
    a, b = curves(n=50_000), curves(n=50_000, lift=0.05, seed=8)
    risk = paired_risk_coverage_plot(a.risk_coverage, b.risk_coverage, names=NAMES)
    points = [one for one in data_of(risk.vega()) if "risk" in one]
    assert {one["who"] for one in points} == set(NAMES)
    assert len(points) <= 400
    assert a.risk_coverage is not None
    last = [one["risk"] for one in points if one["who"] == "champion"][-1]
    assert last == pytest.approx(a.risk_coverage.risk[-1])
    reliability = paired_reliability_plot(a.reliability, b.reliability, names=NAMES)
    shown = [one for one in data_of(reliability.vega()) if one.get("who") == "champion" and "n" in one]
    assert {(one["confidence"], one["accuracy"]) for one in shown} == {
        (one.mean_confidence, one.accuracy.value) for one in a.reliability
    }


def test_the_drawings_follow_the_schema_of_vega_lite() -> None:
    a, b = curves(n=200), curves(n=200, seed=7)
    for plot in (
        forest_plot(metric_rows()),
        waterfall_plot([share("label", 0.02)], metric="accuracy", value_a=0.8, value_b=0.82),
        slice_heatmap(slice_rows()),
        paired_reliability_plot(a.reliability, b.reliability, names=NAMES),
        paired_risk_coverage_plot(a.risk_coverage, b.risk_coverage, names=NAMES),
    ):
        alt.Chart.from_dict(plot.vega(), validate=True)


@pytest.mark.parametrize(
    "plot",
    [
        forest_plot([]),
        slice_heatmap([]),
        paired_reliability_plot((), (), names=NAMES),
        paired_risk_coverage_plot(None, None, names=NAMES),
    ],
    ids=["forest", "slices", "reliability", "risk"],
)
def test_nothing_to_show_is_said(plot: Plot) -> None:
    assert plot.rows == ()
    assert any(word in plot.title for word in ("No ", "no slices", "cannot be compared"))
    ET.fromstring(plot.svg())


@pytest.mark.parametrize(
    ("metric", "delta", "words"),
    [
        ("accuracy", 0.019, "+1.9 pp"),
        ("accuracy", -0.0151, "−1.5 pp"),
        ("accuracy", 0.0001, "±0.0 pp"),
        ("accuracy", None, "-"),
        ("cost_per_1k_usd", -0.03, "−$0.03"),
        ("cost_per_1k_usd", 0.000123, "+$0.00012"),
        ("cost_per_1k_usd", 12.5, "+$12.50"),
        ("latency_ms", 93.2, "+93 ms"),
    ],
)
def test_differences_are_said_in_their_unit(metric: str, delta: float | None, words: str) -> None:
    assert delta_words(metric, delta) == words


def test_values_are_said_in_their_unit() -> None:
    values = [("accuracy", 0.842), ("cost_per_1k_usd", 0.41), ("latency_ms", 812.4), ("accuracy", None)]
    assert [value_words(metric, value) for metric, value in values] == ["84.2 %", "$0.41", "812 ms", "-"]


def test_a_long_difference_is_not_cut_and_small_milliseconds_have_ticks_of_their_own() -> None:
    """The interval of a small price lost its end, and an axis read -2, -1, -1, 0, +1, +1, +2."""
    cost = row("info", difference("cost_per_1k_usd", 0.12, 0.1262, 0.0001))
    late = row("info", difference("latency_ms", 24.0, 24.9, 0.4))
    assert "+$0.0062   [+$0.0061 to +$0.0063]" in drawn(forest_plot([cost, late]))
    assert "+0.5" in drawn(forest_plot([cost, late]))
