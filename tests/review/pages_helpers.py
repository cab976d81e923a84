"""A review app over a real store, office and desk, asked by people with personal tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from labelproof.review.model import AccountRole
from labelproof.review.web.app import make_app
from labelproof.review.web.serve import WebSettings
from tests.review.desk_helpers import Place, make_place

BASE = "http://localhost:8700"
PEOPLE: dict[str, AccountRole] = {"ann": "reviewer", "bob": "reviewer", "cyd": "reviewer", "lea": "lead"}
HOME = "/p/mini"
Response = Any
"""Of the test client, whose library is the framework's choice."""


class Pages:
    """The app and one client per person; ``place`` is what it stands on."""

    def __init__(self, tmp_path: Path, texts: Sequence[str] = ("one", "two", "three"), **how: Any) -> None:
        self.place: Place = make_place(tmp_path, texts, **how)
        accounts = self.place.office.accounts
        for name, role in PEOPLE.items():
            accounts.add(name, role=role, now=self.place.clock())
        self.tokens = {name: accounts.new_token(name, "tests", self.place.clock()) for name in PEOPLE}
        self.app = make_app(self.place.desk, self.place.office, WebSettings(), clock=self.place.clock)

    def close(self) -> None:
        self.place.close()

    def client(self, name: str) -> TestClient:
        """Return a client that asks as this person and follows no redirect."""
        bearer = {"Authorization": f"Bearer {self.tokens[name]}"}
        return TestClient(self.app, base_url=BASE, follow_redirects=False, headers=bearer)

    def get(self, name: str, path: str, **headers: str) -> str:
        """Return the page at a path below the project, which must be there."""
        answer = self.client(name).get(HOME + path, headers=headers)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.text

    def status(self, name: str, path: str) -> int:
        return self.client(name).get(HOME + path).status_code

    def post(self, name: str, path: str, json: Any = None, **how: Any) -> Response:
        return self.client(name).post(HOME + path, json=json, **how)

    def take(self, name: str) -> Task:
        """Open the task page and return the task on it."""
        return self.task_in(name, self.get(name, "/task"))

    def task_in(self, name: str, page: str) -> Task:
        """Return the task that a page of this person holds."""
        found = re.search(r'data-task-id="([^"]+)" data-token="([^"]+)"', page)
        assert found is not None, page
        task_id = self.place.office.signer.unseal(name, found[1])
        assert task_id is not None, page
        return Task(task_id, found[2], handle=found[1])

    def answer(self, name: str, task: Task, label: Any = "safe", **more: Any) -> Response:
        return self.post(name, "/task/vote", ballot(task, label, **more))


@dataclass(frozen=True)
class Task:
    """What a page says of the task it holds."""

    task_id: str
    token: str
    handle: str = "no-handle"
    """How the page names the task."""


def ballot(task: Task, label: Any = "safe", **more: Any) -> dict[str, Any]:
    """Return the JSON body that review.js sends."""
    answer = more.pop("answer", "label")
    given = {
        "task_id": task.handle,
        "token": task.token,
        "key": "0123456789abcdef",
        "answer": answer,
        "label": label if answer == "label" else None,
        "note": None,
        "seconds": 3.5,
    }
    return {**given, **more}


def stripped(page: str, *, of: Sequence[str]) -> str:
    """Return a page without what differs between any two requests: tokens and the given ids."""
    page = re.sub(r'data-token="[^"]+"', 'data-token=""', page)
    for one in of:
        page = page.replace(one, "")
    return page


@dataclass
class Parsed(HTMLParser):
    """The tags of a page, its attributes, and the text inside each ``pre.content``."""

    tags: list[tuple[str, Mapping[str, str | None]]] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    _inside: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, page: str) -> Parsed:
        made = cls()
        made.feed(page)
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "pre" and "content" in (given.get("class") or "").split():
            self._inside = True
            self.boxes.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.boxes[-1] += data
