"""The scene of the documentation's pictures: every page answers, and shows what its picture is about."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from docs import screenshots
from docs._png import palette_png
from docs._review_scene import Scene, make_scene
from docs._review_story import NOW, PASSWORD, PEOPLE, PROJECT
from docs.screenshots import SHOTS, Shot
from labelproof.review.people import reviewer_stats
from labelproof.review.web.app import make_app
from labelproof.review.web.serve import WebSettings


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = make_scene(tmp_path_factory.mktemp("scene"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def clients(scene: Scene) -> dict[str | None, TestClient]:
    app = make_app(scene.desk, scene.office, WebSettings(), clock=lambda: NOW)
    found: dict[str | None, TestClient] = {None: TestClient(app, base_url="http://localhost")}
    for name in PEOPLE:
        client = found[name] = TestClient(app, base_url="http://localhost")
        token = re.search(r'name="csrf" value="([^"]+)"', client.get("/login").text)
        assert token is not None
        given = {"name": name, "password": PASSWORD, "csrf": token[1]}
        answer = client.post("/login", data=given, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.url.path == "/", answer.text
    return found


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_every_page_of_the_pictures_answers(
    shot: Shot, scene: Scene, clients: dict[str | None, TestClient]
) -> None:
    page = clients[shot.who].get(screenshots.address(shot, scene))
    assert page.status_code == 200, page.text
    assert "<h1" in page.text
    if shot.path.endswith("/task"):
        assert shot.about is not None
        text, _ = scene.desk.text_of(PROJECT, scene.ids[shot.about])
        assert text[:8] in page.text, "the planted item is the one on the page"


def test_what_the_pictures_are_to_show_is_there(scene: Scene) -> None:
    overview = scene.desk.overview(PROJECT)
    assert overview.n_overdue > 0
    states = {outcome.state for _, outcome in scene.desk.for_leads(PROJECT)}
    assert states == {"disputed", "escalated"}
    stats: dict[str, Any] = {
        one.name: one for one in reviewer_stats(scene.store, scene.desk.projects[PROJECT], now=NOW)
    }
    assert {name for name, one in stats.items() if one.drift} == {"bob"}
    rows = scene.store.query("SELECT count(*) AS n FROM votes WHERE ts > ?", [NOW], fresh=True).to_pylist()
    assert rows[0]["n"] == 0, "nobody votes in the future"


def test_the_list_of_pictures_is_that_of_the_script() -> None:
    assert (screenshots.OUT / "README.md").read_text(encoding="utf-8") == screenshots.readme()
    kept = {path.stem for path in screenshots.OUT.glob("*.png")}
    assert kept == {shot.name for shot in SHOTS}


def test_rare_colours_survive_in_a_smaller_picture() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8), 40).reshape(-1, 1)
    pixels = np.hstack([greys, greys, greys]).reshape(128, 80, 3)
    pixels[5, 7] = (133, 74, 0)
    picture = palette_png(pixels)
    start = picture.index(b"PLTE") + 4
    length = int.from_bytes(picture[start - 8 : start - 4])
    palette = np.frombuffer(picture[start : start + length], dtype=np.uint8).reshape(-1, 3)
    data = picture.index(b"IDAT") + 4
    raw = zlib.decompress(picture[data : data + int.from_bytes(picture[data - 8 : data - 4])])
    shown = palette[np.frombuffer(raw, dtype=np.uint8).reshape(128, 81)[:, 1:]]
    assert tuple(shown[5, 7]) == (133, 74, 0)
    assert np.abs(shown.astype(int) - pixels).max() <= 1
