"""A real app on a real port over a real store, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import uvicorn
from starlette.responses import Response

from labelproof.review.desk import Desk
from labelproof.review.model import AccountRole
from labelproof.review.web.app import make_app
from labelproof.review.web.serve import WebSettings, listen, server_config
from labelproof.store import TraceStore
from tests.review.desk_helpers import NO_CHECKS, Place, make_place

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

PASSWORD = "a long sentence of words"
CHROMIUM = "LABELPROOF_CHROMIUM"
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
OPEN = f"{NO_CHECKS}, care: {{blur: never}}"
"""Review settings under which the text is there at once."""
WAIT_MS = 120_000
"""Longest wait for anything in a page; only a failure takes that long."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Give a Chromium of the machine; skips the test when there is none."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get(CHROMIUM) or "/usr/bin/chromium"
    if shutil.which(path) is None:
        pytest.skip(f"no browser at {path}: install Debian's chromium, or name one with {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """What a page did that a person would not see. ``away``: addresses outside the app that it asked for."""

    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class MakeSite(Protocol):
    """Makes a site with so many texts, or these, and a routed task for each."""

    def __call__(self, texts: int | Sequence[str], *, review: str = OPEN, **seeds: Any) -> ReviewSite: ...


SITES: list[ReviewSite] = []
"""The sites that are open now."""


class ReviewSite:
    """The app over seeded tasks. ``url``: where it is; ``place.clock``: the desk's and the app's time."""

    def __init__(
        self,
        tmp_path: Path,
        browser: Browser,
        texts: Sequence[str],
        *,
        review: str = NO_CHECKS,
        people: dict[str, AccountRole] | None = None,
        **seeds: Any,
    ) -> None:
        self.place: Place = make_place(tmp_path, texts, review=review, **seeds)
        for name, role in (people or {"ann": "reviewer"}).items():
            self.place.office.accounts.add(name, role=role, now=self.place.clock.now)
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._app = make_app(
            self.place.desk, self.place.office, WebSettings(), clock=lambda: self.place.clock.now
        )
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.start()
        SITES.append(self)

    @property
    def url(self) -> str:
        return f"http://localhost:{self._port}"

    @property
    def desk(self) -> Desk:
        return self.place.desk

    @property
    def store(self) -> TraceStore:
        return self.place.store

    def start(self) -> None:
        """Serve, again on the same port after a stop."""
        settings = WebSettings(port=self._port)
        listener = listen(settings)
        self._port = listener.getsockname()[1]
        self._server = uvicorn.Server(server_config(self._app, settings))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        until(lambda: self._server is not None and self._server.started)

    def stop(self) -> None:
        """Go away, as a server that crashed or is being replaced; browsers stay open."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join()
            self._server = self._thread = None

    def close(self) -> None:
        SITES.remove(self)
        for context in self._contexts:
            context.close()
        self.stop()
        self.place.close()

    def person(self, name: str, **options: Any) -> tuple[Page, Watched]:
        """Return a browser window in which this person is signed in, and what happens in it.

        The session is begun on the server: argon2 and the form are for the tests about signing in.
        """
        page, watched = self.window(**options)
        answer = Response()
        self._app.state.doorman.begin(name, answer, before=None)
        cookie, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
        page.context.add_cookies(
            [{"name": cookie, "value": value, "url": self.url, "httpOnly": True, "sameSite": "Lax"}]
        )
        return page, watched

    def window(self, **options: Any) -> tuple[Page, Watched]:
        """Return a fresh browser window: no cookies, nothing shared with the others."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        watched = Watched()

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                watched.console.append(message.text)

        def on_request(request: Request) -> None:
            watched.asked.append(request.url)
            if not request.url.startswith(self.url + "/"):
                watched.away.append(request.url)

        page.on("console", on_console)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", on_request)

        def on_dialog(dialog: Any) -> None:
            watched.dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", on_dialog)
        return page, watched

    def give_password(self, name: str) -> None:
        """Let somebody sign in with ``PASSWORD``."""
        self.place.office.accounts.set_password(name, PASSWORD)

    def login(self, page: Page, name: str, password: str = PASSWORD) -> None:
        """Fill in the login form and send it."""
        page.goto(self.url + "/login")
        fill_login(page, name, password)
        page.wait_for_url(self.url + "/")

    def work(self, page: Page) -> None:
        """Open the page with the tasks."""
        page.goto(self.url + "/p/mini/task")

    def votes(self, role: str = "reviewer") -> list[dict[str, Any]]:
        """Return the stored current answers, oldest first."""
        sql = "SELECT * FROM current_votes WHERE role = ? ORDER BY ts, vote_id"
        found: list[dict[str, Any]] = self.store.query(sql, [role], fresh=True).to_pylist()
        return found

    def answers(self) -> Counter[tuple[str, str, str | None]]:
        """Return (annotator, answer, label) of the stored current answers, with counts."""
        return Counter((one["annotator"], one["answer"], one["label"]) for one in self.votes())


def fill_login(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the login form on the screen and send it."""
    page.fill("#name", name)
    page.fill("#password", password)
    page.press("#password", "Enter")


def task_of(page: Page) -> str:
    """Return the id of the task on the screen."""
    handle = page.locator("[data-stage] [data-task]").get_attribute("data-task-id")
    site = next(one for one in SITES if page.url.startswith(one.url))
    found = (
        site.place.office.signer.unseal(one.name, handle or "") for one in site.place.office.accounts.list()
    )
    return next((task_id for task_id in found if task_id), "")


def shown_text(page: Page) -> str:
    """Return the text of the item on the screen, hidden characters from their marks."""
    text: str = page.locator("[data-stage] pre.content").first.evaluate(READ_TEXT)
    return text


READ_TEXT = """box => [...box.childNodes].map(node =>
  node.nodeType === Node.TEXT_NODE ? node.data : String.fromCodePoint(parseInt(node.dataset.code, 16))
).join("")"""


def status(page: Page, words: str) -> None:
    """Wait until the status line says this."""
    page.wait_for_function(
        "words => document.getElementById('status').textContent.includes(words)", arg=words, timeout=WAIT_MS
    )


def next_task(page: Page, before: str) -> None:
    """Wait until another task, or the end of them, is on the screen."""
    until(lambda: task_of(page) != before)


def answer_by_key(page: Page, *keys: str) -> str:
    """Press keys and Enter, wait for what comes next, and return the task that was answered."""
    task = task_of(page)
    for key in (*keys, "Enter"):
        page.keyboard.press(key)
    next_task(page, task)
    return task


def until(is_so: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something outside the browser."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def problem(page: Page, words: str) -> None:
    """Wait until the page tells the reviewer of a problem in these words."""
    page.locator("#problems li", has_text=words).wait_for(timeout=WAIT_MS)


def did_nothing_odd(watched: Watched) -> bool:
    """Whether a page opened no dialog, met no error or refusal of its policy, and asked for nothing elsewhere."""
    assert watched.dialogs == []
    assert watched.errors == []
    assert watched.console == []
    assert watched.away == []
    return True
