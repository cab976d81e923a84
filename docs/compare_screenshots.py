"""Make pictures of a stored comparison's page: python docs/compare_screenshots.py STORE PROJECT COMPARISON OUT

The page is the self-contained file, traces included; pictures are taken in light and dark, of a desk and of a phone.
Item texts stay blurred. Needs playwright and a Chromium: LABELPROOF_CHROMIUM, or /usr/bin/chromium.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __package__ in (None, ""):  # run as a file: the repository's root is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs._png import palette_png
from docs.screenshots import ARGS, PHONE, pixels_of
from labelproof.report.compare.page import page_html
from labelproof.report.compare.page.stored import stored_report, with_texts
from labelproof.store import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_WIDE = 1_280


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One picture: of the page from the first to the last of two selectors."""

    name: str
    words: str
    first: str
    last: str
    dark: bool = False
    phone: bool = False


PARTS: tuple[Part, ...] = (
    Part(name="verdict", words="The verdict and its rule.", first=".page-head", last=".key-facts"),
    Part(
        name="verdict-dark",
        words="The same in dark mode.",
        first=".page-head",
        last=".key-facts",
        dark=True,
    ),
    Part(
        name="verdict-phone", words="The same on a phone.", first=".page-head", last=".key-facts", phone=True
    ),
    Part(name="changed", words="What changed.", first="#changed-title", last="#changed-title ~ :last-child"),
    Part(
        name="metrics",
        words="Is it better? Every metric.",
        first="#metrics-title",
        last="#metrics-title ~ .foot",
    ),
    Part(name="why", words="Which component brought it.", first="#why-title", last="#plot-waterfall"),
    Part(
        name="slices", words="Where it helps and where it hurts.", first="#slices-title", last="#plot-slices"
    ),
    Part(
        name="slices-dark",
        words="The same in dark mode.",
        first="#slices-title",
        last="#plot-slices",
        dark=True,
    ),
    Part(
        name="curves",
        words="Confidence of both.",
        first="#curves-title",
        last="#curves-title ~ figure:last-of-type",
    ),
    Part(name="trust", words="Whether the comparison can be trusted.", first="#trust-title", last=".trust"),
    Part(
        name="flips",
        words="Items labelled differently; their texts stay blurred.",
        first="#flips-title",
        last="#flip-table tbody tr:nth-child(8)",
    ),
)
TRACE = Part(name="item", words="Both ways of an item.", first="#item-0", last="#item-0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures and the page itself into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("store")
    parser.add_argument("project")
    parser.add_argument("comparison")
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    with open_store(given.store, create=False) as store:
        stored = stored_report(store, given.project, given.comparison)
        if stored is None:
            raise SystemExit(f"the store has no comparison {given.comparison!r} of project {given.project!r}")
        shown = with_texts(store, given.project, stored.report.flips)
        text = page_html(replace(stored.report, flips=tuple(shown)), store=store)
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compare.html"
        path.write_text(text, encoding="utf-8")
        take(path, given.out)
    return 0


def take(page_file: Path, out: Path) -> None:
    """Take the pictures of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("LABELPROOF_CHROMIUM") or "/usr/bin/chromium", args=list(ARGS)
        )
        try:
            for part in (*PARTS, TRACE):
                path = _take(browser, page_file, part, out)
                words = "not on this page" if path is None else f"{path.stat().st_size / 1000:.0f} kB"
                sys.stdout.write(f"{part.name}: {words}\n")
        finally:
            browser.close()


def _take(browser: Browser, page_file: Path, part: Part, out: Path) -> Path | None:
    scheme: Literal["light", "dark"] = "dark" if part.dark else "light"
    width = PHONE if part.phone else _WIDE
    context = browser.new_context(
        viewport={"width": width, "height": 860}, color_scheme=scheme, reduced_motion="reduce"
    )
    try:
        page = context.new_page()
        page.goto(page_file.as_uri() + ("#item-0" if part is TRACE else ""))
        first, last = page.locator(part.first).first, page.locator(part.last).last
        if not (first.count() and last.count()):
            return None
        page.evaluate("scrollTo(0, 0)")
        start, end = first.bounding_box(), last.bounding_box()
        if start is None or end is None:
            return None
        top = max(0.0, start["y"] - 16)
        picture = page.screenshot(
            full_page=True,
            animations="disabled",
            clip={"x": 0, "y": top, "width": width, "height": end["y"] + end["height"] + 16 - top},
        )
        path = out / f"{part.name}.png"
        path.write_bytes(palette_png(pixels_of(browser, picture)))
        return path
    finally:
        context.close()


if __name__ == "__main__":
    raise SystemExit(main())
