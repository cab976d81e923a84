"""A browser for a module's tests, and a maker of sites for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import Environment

from labelproof.review.web._static import Assets
from labelproof.review.web.context import templates
from tests.review.browser_helpers import OPEN, MakeSite, ReviewSite, open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def page_templates() -> Environment:
    """The app's page templates, compiled once a process: half a second that a server takes when it starts."""
    return templates(Assets())


@pytest.fixture(autouse=True)
def pages_compiled_once(page_templates: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelproof.review.web.app.templates", lambda _: page_templates)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; of one module, since it keeps an event loop that tests of other modules would trip over."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def make_site(tmp_path: Path, browser: Browser) -> Iterator[MakeSite]:
    with ExitStack() as stack:

        def make(texts: int | Sequence[str], *, review: str = OPEN, **seeds: Any) -> ReviewSite:
            named = [f"text number {i}" for i in range(texts)] if isinstance(texts, int) else texts
            site = ReviewSite(tmp_path, browser, named, review=review, **seeds)
            stack.callback(site.close)
            return site

        yield make
