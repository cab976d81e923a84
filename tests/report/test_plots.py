"""Plots say their finding, hold their numbers, load nothing, and are drawn without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from evaluation import Estimate, calibration_error, reliability_curve, undefined
from evaluation.certificates import certify
from labelproof.report.plots import (
    Plot,
    agreement_heatmap,
    confidence_histogram,
    gold_risk_coverage_plot,
    quality_over_time_plot,
    reliability_plot,
    risk_coverage_plot,
)
from labelproof.spec.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def _world(n: int, *, seed: int = 1, sharpen: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sure = rng.random(n) < 0.6
    truth = np.where(sure, rng.beta(60, 1, n), rng.beta(4, 2, n))
    shown = 1 / (1 + np.exp(-sharpen * np.log(truth / (1 - truth))))
    return shown, rng.random(n) < truth


def _certified(n: int, alpha: float = 0.05) -> Any:
    pool, right = _world(5000)
    return certify(pool[:n], right[:n], pool_confidence=pool, alpha=alpha, delta=0.05)


def _coverage() -> Plot:
    return risk_coverage_plot(_certified(600), subject="tickets · careful")


def _uncertified() -> Plot:
    return risk_coverage_plot(_certified(20))


def _reliability() -> Plot:
    c, y = _world(400)
    return reliability_plot(
        reliability_curve(c, y), confidences=c, error=calibration_error(c, y, seed=1), subject="tickets"
    )


def _gold() -> Plot:
    return gold_risk_coverage_plot(*_world(300), alpha=0.05)


def _histogram() -> Plot:
    c, y = _world(300)
    return confidence_histogram(c, correct=y, threshold=0.9)


def _trend() -> Plot:
    return quality_over_time_plot(
        ["2026-10-01", "2026-10-02", "2026-10-03"],
        [0.97, None, 0.90],
        [0.95, None, 0.87],
        [0.98, None, 0.93],
        target=0.95,
    )


def _pairs() -> list[Any]:
    def pair(a: str, b: str, kappa: float | None) -> Any:
        value = (
            undefined("kappa", 0, "no shared items")
            if kappa is None
            else Estimate(value=kappa, low=kappa - 0.1, high=kappa + 0.1, n=50, method="kappa")
        )
        return SimpleNamespace(first=a, second=b, kappa=value)

    return [pair("anna", "ben", 0.81), pair("anna", "model", 0.42), pair("ben", "model", None)]


def _heatmap() -> Plot:
    return agreement_heatmap(_pairs())


ALL: list[Callable[[], Plot]] = [
    _coverage,
    _uncertified,
    _reliability,
    _gold,
    _histogram,
    _trend,
    _heatmap,
]
EMPTY: list[Callable[[], Plot]] = [
    lambda: risk_coverage_plot(certify([], [], pool_confidence=[0.5, 0.9])),
    lambda: reliability_plot((), confidences=[]),
    lambda: gold_risk_coverage_plot([], []),
    lambda: confidence_histogram([]),
    lambda: quality_over_time_plot([], [], [], []),
    lambda: agreement_heatmap([]),
]


def _name(make: Callable[[], Plot]) -> str:
    return make.__name__.strip("_")


@pytest.mark.parametrize("make", ALL, ids=_name)
def test_every_format_is_drawn_without_network(make: Callable[[], Plot], tmp_path: Path) -> None:
    plot = make()
    root = ET.fromstring(plot.svg())
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == plot.alt
    assert [child.text for child in root if child.tag in (f"{SVG}title", f"{SVG}desc")] == [
        plot.title,
        plot.alt,
    ]
    assert float(root.get("width", "0")) <= 860
    drawn = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert plot.title.split()[0] in drawn
    assert plot.save(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(plot.png(0.5)) < len(plot.png(1))
    assert plot.vega()["$schema"].endswith(".json")
    assert plot.svg() == make().svg()


class _Loads(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href", "data")
        ]
        if tag in ("script", "link", "iframe", "object", "img"):
            self.found.append(tag)


@pytest.mark.parametrize("make", ALL, ids=_name)
def test_the_page_loads_nothing_and_shows_the_numbers(make: Callable[[], Plot], tmp_path: Path) -> None:
    plot = make()
    page = plot.save(tmp_path / "page.html").read_text(encoding="utf-8")
    parser = _Loads()
    parser.feed(page)
    assert parser.found == []
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert page.count("<tr>") == len(plot.rows) + 1
    assert "NaN" not in page


def test_the_interactive_page_carries_its_program() -> None:
    page = _reliability().html(interactive=True)
    assert len(page) > 500_000
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|@import|cdn\.jsdelivr\.net/npm", page)


@pytest.mark.parametrize("make", EMPTY, ids=[str(i) for i in range(len(EMPTY))])
def test_nothing_measured_is_an_empty_plot_that_says_so(make: Callable[[], Plot]) -> None:
    plot = make()
    assert plot.rows == ()
    assert plot.title.startswith(("No ", "Nothing "))
    ET.fromstring(plot.svg())


def test_the_certificate_is_the_title_and_both_thresholds_are_marked() -> None:
    found = _certified(600)
    assert found.certified
    plot = risk_coverage_plot(found)
    assert (
        plot.title
        == f"{100 * found.coverage:.1f} % of items can be decided automatically with at most 5 % wrong"
    )
    svg = plot.svg()
    assert f"certified: confidence ≥ {found.threshold:.3f}".rstrip("0") in svg
    assert f"naive: ≥ {found.naive.threshold:.3f}".rstrip("0") in svg
    assert [row["verdict"] for row in plot.rows].count("proven") == sum(row.passed for row in found.tested)
    assert f"of {found.n_accepted} accepted {found.n_errors} were wrong" in str(plot.spec["title"]).replace(
        "', '", " "
    )


def test_no_certificate_is_said_in_the_title() -> None:
    found = _certified(20)
    assert not found.certified
    plot = risk_coverage_plot(found)
    assert plot.title == "No certificate: no threshold is proven to keep errors at or below 5 %"
    assert "certified:" not in plot.svg()
    assert {row["verdict"] for row in plot.rows} == {"not proven"}


@pytest.mark.parametrize(
    ("sharpen", "said"),
    [(1.0, "can be taken at its word"), (4.0, "is too high"), (0.25, "is too low")],
    ids=["calibrated", "overconfident", "modest"],
)
def test_the_reliability_title_says_which_way_confidence_errs(sharpen: float, said: str) -> None:
    c, y = _world(1500, seed=4, sharpen=sharpen)
    error = calibration_error(c, y, seed=1)
    plot = reliability_plot(reliability_curve(c, y), confidences=c, error=error)
    assert f"Confidence {said}" in plot.title
    assert error.estimate.value is not None
    assert f"(ECE) {100 * error.estimate.value:.1f}".rstrip("0").rstrip(".") in str(plot.spec["title"])
    assert sum(int(row["items"]) for row in plot.rows) == 1500


def test_a_day_is_below_target_when_its_whole_interval_is() -> None:
    plot = _trend()
    assert plot.title.startswith("Right auto-decisions: 90 % (87 % to 93 %) on 3 October 2026; 1 of 2 days")
    assert plot.rows[1]["interval"] == "-"
    with pytest.raises(ConfigError, match="ascending"):
        quality_over_time_plot(["2026-10-02", "2026-10-01"], [1, 1], [1, 1], [1, 1])
    with pytest.raises(ConfigError, match="days 1, value 0"):
        quality_over_time_plot(["2026-10-02"], [], [], [])


def test_the_heatmap_names_best_and_worst_and_keeps_what_is_unknown() -> None:
    plot = _heatmap()
    assert plot.title == "anna and ben agree most (kappa 0.81), anna and model least (0.42)"
    assert plot.rows[2]["note"] == "no shared items"
    assert plot.svg().count("n/a<") >= 2


def test_a_histogram_counts_what_the_threshold_lets_through() -> None:
    plot = confidence_histogram([0.2, 0.9, 0.95, 1.0], correct=[False, False, True, True], threshold=0.9)
    assert plot.title == "75 % of items reach the threshold 0.9; 1 of those 3 are wrong"
    assert sum(int(row["items"]) for row in plot.rows) == 4


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="confidence: expected finite"):
        gold_risk_coverage_plot([np.nan], [True])
    with pytest.raises(ConfigError, match="confidences: expected values in"):
        confidence_histogram([1.3])
    with pytest.raises(ConfigError, match=r"found 'plot\.pdf'"):
        _heatmap().save(tmp_path / "plot.pdf")


def test_one_class_of_outcomes_is_drawn() -> None:
    c = np.linspace(0.5, 1, 60)
    for right in (np.ones(60, dtype=bool), np.zeros(60, dtype=bool)):
        assert "0 %" in gold_risk_coverage_plot(c, right).title
        ET.fromstring(
            reliability_plot(reliability_curve(c, right), error=calibration_error(c, right, seed=1)).svg()
        )


def test_tied_confidences_say_that_nothing_is_told_apart() -> None:
    plot = gold_risk_coverage_plot([0.8] * 40, [True] * 30 + [False] * 10)
    assert plot.title == "Confidence does not tell items apart: 25 % of all answers are wrong"
