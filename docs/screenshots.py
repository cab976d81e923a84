"""Make the pictures of the review app in docs/images/review, without a model: python docs/screenshots.py

The scene (docs/_review_scene.py) is simulated on the bundled project; people, clock and draws are fixed, so that a second
run makes the same pictures as far as fonts allow. Needs playwright and a Chromium: LABELPROOF_CHROMIUM, or /usr/bin/chromium.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

if __package__ in (None, ""):  # run as a file: the repository's root is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs._png import palette_png
from docs._review_scene import ROOT, Scene, make_scene
from docs._review_story import HIDDEN, NOW, PASSWORD, PROJECT, TO_ANSWER, TO_DECIDE, TRACED
from labelproof.review.web.app import make_app
from labelproof.review.web.serve import WebSettings, listen, server_config

if TYPE_CHECKING:
    import numpy.typing as npt
    from playwright.sync_api import Browser, Page

OUT = ROOT / "docs" / "images" / "review"
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
HEIGHT = 860
PHONE = 375
TALLEST = 1_500
"""A longer page is cut here."""
Prepare = Callable[["Page"], None]


def _reveal(page: Page) -> None:
    page.keyboard.press("r")


def _choose_first(page: Page) -> None:
    _reveal(page)
    page.keyboard.press("1")


def _help(page: Page) -> None:
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()


def _search_rules(page: Page) -> None:
    page.keyboard.press("g")
    page.keyboard.type("insult")
    page.locator("#guideline mark").first.wait_for()


def _search_items(page: Page) -> None:
    with page.expect_response("**/items?**"):
        page.get_by_role("searchbox").fill("kitchen")


def _show_more(page: Page) -> None:
    page.locator(".person", has_text="fell").locator("summary").click()


def _show_steps(page: Page) -> None:
    page.get_by_role("button", name="Show the text").click()
    page.locator(".step > details > summary").nth(1).click()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A picture. ``path``: with {item} and {task} of ``about``, an external id; on task pages ``about`` is handed to ``who``."""

    name: str
    words: str
    path: str
    who: str | None = "lea"
    about: str | None = None
    dark: bool = False
    phone: bool = False
    prepare: Prepare | None = None


_HOME = f"/p/{PROJECT}"
_TASK = f"{_HOME}/task"
SHOTS: tuple[Shot, ...] = (
    Shot(name="login", words="Signing in.", path="/login", who=None),
    Shot(name="projects", words="A lead's start page.", path="/"),
    Shot(name="queue", words="A reviewer's queue and day.", path=_HOME, who="ann"),
    Shot(name="queue-dark", words="The same in dark mode.", path=_HOME, who="ann", dark=True),
    Shot(name="queue-phone", words="The same on a phone.", path=_HOME, who="ann", phone=True),
    Shot(
        name="task-blurred",
        words="A task: the text waits behind a blur.",
        path=_TASK,
        who="ann",
        about=TO_ANSWER,
    ),
    Shot(
        name="task",
        words="The text shown with r, a label chosen with 1; Enter sends it.",
        path=_TASK,
        who="ann",
        about=TO_ANSWER,
        prepare=_choose_first,
    ),
    Shot(
        name="task-dark",
        words="The same in dark mode.",
        path=_TASK,
        who="ann",
        about=TO_ANSWER,
        dark=True,
        prepare=_choose_first,
    ),
    Shot(
        name="task-phone",
        words="The same on a phone.",
        path=_TASK,
        who="ann",
        about=TO_ANSWER,
        phone=True,
        prepare=_choose_first,
    ),
    Shot(
        name="task-hidden-characters",
        words="Hidden characters in a text are made visible.",
        path=_TASK,
        who="cyd",
        about=HIDDEN,
        prepare=_reveal,
    ),
    Shot(name="help", words="The keys.", path=_TASK, who="ann", about=TO_ANSWER, prepare=_help),
    Shot(
        name="guideline-search",
        words="Searching the guideline beside the item.",
        path=_TASK,
        who="ann",
        about=TO_ANSWER,
        prepare=_search_rules,
    ),
    Shot(name="lead", words="What waits for a lead.", path=f"{_HOME}/lead"),
    Shot(
        name="adjudication",
        words="Two reviewers differ; a lead decides without names.",
        path=f"{_HOME}/lead/{{task}}",
        about=TO_DECIDE,
        prepare=_choose_first,
    ),
    Shot(
        name="reviewers",
        words="Reviewers' numbers; bob's accuracy on hidden gold fell half-way.",
        path=f"{_HOME}/reviewers",
        prepare=_show_more,
    ),
    Shot(
        name="dashboard",
        words="The project at a glance, each number with its query.",
        path=f"{_HOME}/dashboard",
    ),
    Shot(
        name="items",
        words="Finding an item; texts stay blurred until asked for.",
        path=f"{_HOME}/items",
        prepare=_search_items,
    ),
    Shot(
        name="item",
        words="An item's way to its label: votes, adjudication, the machine's steps.",
        path=f"{_HOME}/item/{{item}}",
        about=TRACED,
        prepare=_show_steps,
    ),
)


def address(shot: Shot, scene: Scene) -> str:
    """Return the path of a shot's page, after its item has been handed to whoever looks at the task page."""
    if shot.about is None or shot.who is None:
        return shot.path
    if shot.path == _TASK:
        scene.hand(shot.who, shot.about)
    return shot.path.format(item=quote(scene.ids[shot.about]), task=quote(scene.task_of(shot.about)))


def readme() -> str:
    """Return the page that lists the pictures."""
    lines = [
        "# The review app in pictures",
        "",
        "Made by `python docs/screenshots.py` from the bundled project. The texts and the guideline are the project's; the",
        "machine's labels, the reviewers ann, bob and cyd, the lead lea and **all numbers are simulated**: they show how",
        "the pages look and say nothing about a model or about people.",
        "",
        *(f"- [{shot.name}]({shot.name}.png): {shot.words}" for shot in SHOTS),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def _served(scene: Scene) -> Iterator[str]:
    """Give the address of the app over the scene, whose clock stands still."""
    import uvicorn

    settings = WebSettings(port=0)
    app = make_app(scene.desk, scene.office, settings, clock=lambda: NOW)
    listener = listen(settings)
    server = uvicorn.Server(server_config(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        yield f"http://localhost:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


class _Camera:
    """Takes pictures; everybody signs in once, through the page."""

    def __init__(self, browser: Browser, scene: Scene, url: str, out: Path) -> None:
        self._browser, self._scene, self._url, self._out = browser, scene, url, out
        self._states: dict[str, Any] = {}

    def take(self, shot: Shot) -> Path:
        """Take one picture and return its file."""
        scheme: Literal["light", "dark"] = "dark" if shot.dark else "light"
        context = self._browser.new_context(
            viewport={"width": PHONE, "height": 780} if shot.phone else {"width": 1280, "height": HEIGHT},
            color_scheme=scheme,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
            storage_state=self._state(shot.who) if shot.who else None,
        )
        try:
            page = context.new_page()
            answer = page.goto(self._url + address(shot, self._scene))
            if answer is None or not answer.ok:
                raise SystemExit(f"{shot.name}: {shot.path} was not answered with a page")
            page.wait_for_load_state("networkidle")
            if shot.prepare is not None:
                shot.prepare(page)
            page.wait_for_load_state("networkidle")
            return self._save(page, shot)
        finally:
            context.close()

    def _state(self, name: str) -> Any:
        if name not in self._states:
            context = self._browser.new_context()
            page = context.new_page()
            page.goto(self._url + "/login")
            page.fill("#name", name)
            page.fill("#password", PASSWORD)
            page.press("#password", "Enter")
            page.wait_for_url(self._url + "/")
            self._states[name] = context.storage_state()
            context.close()
        return self._states[name]

    def _save(self, page: Page, shot: Shot) -> Path:
        path = self._out / f"{shot.name}.png"
        page.evaluate("scrollTo(0, 0)")
        tall = int(page.evaluate("document.documentElement.scrollHeight"))
        size = page.viewport_size or {"width": 1280, "height": HEIGHT}
        height = size["height"] if shot.name == "help" else min(tall, TALLEST)
        picture = page.screenshot(
            full_page=True,
            caret="hide",
            animations="disabled",
            clip={"x": 0, "y": 0, "width": size["width"], "height": height},
        )
        path.write_bytes(palette_png(pixels_of(self._browser, picture)))
        return path


def pixels_of(browser: Browser, picture: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels (height, width, 3) of a PNG, which the browser reads for us."""
    page = browser.new_page()
    width, height, data = page.evaluate(_READ_PIXELS, base64.b64encode(picture).decode())
    page.close()
    return np.frombuffer(base64.b64decode(data), dtype=np.uint8).reshape(height, width, 4)[:, :, :3]


_READ_PIXELS = """async picture => {
  const image = await createImageBitmap(await (await fetch("data:image/png;base64," + picture)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const blob = new Blob([pen.getImageData(0, 0, image.width, image.height).data]);
  const data = await new Promise(done => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(blob);
  });
  return [image.width, image.height, data];
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder of the pictures (default: docs/images/review)"
    )
    names = [shot.name for shot in SHOTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    given = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        scene = make_scene(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("LABELPROOF_CHROMIUM") or "/usr/bin/chromium", args=list(ARGS)
        )
        try:
            with _served(scene) as url:
                camera = _Camera(browser, scene, url, given.out)
                for shot in SHOTS:
                    if given.only is None or shot.name in given.only:
                        path = camera.take(shot)
                        sys.stdout.write(f"{path.name} {path.stat().st_size / 1000:.0f} kB\n")
        finally:
            browser.close()
            scene.close()
    (given.out / "README.md").write_text(readme(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
