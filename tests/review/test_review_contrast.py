"""The review app's colours: text is readable by WCAG 2.2 AA (4.5 to 1) in light and dark, edges of fields 3 to 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import labelproof.review.web

CSS = (Path(labelproof.review.web.__file__).parent / "static" / "app.css").read_text(encoding="utf-8")
SCHEMES = ("light", "dark")
ON = {
    "text": ("page", "surface", "sunken", "accent-soft", "mark"),
    "muted": ("page", "surface", "sunken", "accent-soft"),
    "accent": ("page", "surface", "sunken", "accent-soft"),
    "accent-text": ("accent",),
    "warn": ("page", "surface", "warn-soft"),
    "error": ("page", "surface", "error-soft"),
    "ok": ("page", "surface"),
    "hid": ("page", "surface", "hid-soft"),
}


def colours(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert len(blocks) == len(SCHEMES)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[SCHEMES.index(scheme)]))


def luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_readable_on_every_ground(scheme: str) -> None:
    known = colours(scheme)
    low = {
        (front, ground): round(contrast(known[front], known[ground]), 2)
        for front, grounds in ON.items()
        for ground in grounds
        if contrast(known[front], known[ground]) < 4.5
    }
    assert low == {}
    assert min(contrast(known["edge"], known[ground]) for ground in ("page", "surface")) >= 3


def test_no_text_is_made_paler_by_opacity() -> None:
    """Opacity lowers the contrast that the colours were chosen for: only what is no text to read has it."""
    rules = re.findall(r"([^{}]+)\{[^{}]*?opacity: 0?\.\d+", CSS)
    paler = {rule.split("*/")[-1].strip() for rule in rules}
    assert paler == {
        ".excerpt.blurred",  # not to be read
        ".bars rect",
        "button.primary kbd",  # 5.4 to 1 and more, on the accent
        '.stage[aria-busy="true"] .task',  # for the moment in which the next task comes
    }
