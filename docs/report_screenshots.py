"""Make the picture of a weekly report in docs/images/report: python docs/report_screenshots.py

The store is simulated over the bundled project (docs/_report_scene.py): all numbers show how a report looks, and say nothing
about a model or about people. Needs playwright and a Chromium: LABELPROOF_CHROMIUM, or /usr/bin/chromium.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the repository's root is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs._png import palette_png
from docs._report_scene import NOW, PROJECT, ROOT, make_scene
from docs.screenshots import ARGS, pixels_of
from labelproof.report.documents.build import make
from labelproof.report.rca.periods import parse_period
from labelproof.spec.project import find_project
from labelproof.store import open_store

OUT = ROOT / "docs" / "images" / "report"
WIDE, HIGH = 960, 1_390
"""Of the page: from its first line to the picture of the work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write weekly.png, and the page beside it when asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder of the picture (default: docs/images/report)"
    )
    parser.add_argument("--page", type=Path, help="write the page itself to this file too")
    given = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        with open_store(make_scene(Path(folder))) as store:
            project = find_project(PROJECT, root=ROOT)
            made = make(store, project, "weekly", period=parse_period("2026-W41", NOW), now=NOW)
        page_path = given.page or Path(folder) / "weekly.html"
        page_path.write_text(made.html, encoding="utf-8")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("LABELPROOF_CHROMIUM") or "/usr/bin/chromium", args=list(ARGS)
            )
            page = browser.new_page(viewport={"width": WIDE, "height": 900})
            page.goto(page_path.resolve().as_uri())
            picture = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDE, "height": HIGH})
            path = given.out / "weekly.png"
            path.write_bytes(palette_png(pixels_of(browser, picture)))
            browser.close()
    sys.stdout.write(f"{path.name} {path.stat().st_size / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
