"""`labelproof serve`: it finds its projects, says where it is, and stops cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from labelproof.cli import serve as serve_module
from labelproof.review.web import serve as web_serve
from labelproof.spec.hashing import digest_text
from labelproof.store import open_store
from tests.cli.conftest import Run
from tests.report.review_rows import T0, add_items, add_tasks, project


def make_project(work: Path, name: str = "mini") -> None:
    """A project with one open task."""
    folder = project(work / "projects" / name)
    if name != "mini":
        file = folder.folder / "project.yaml"
        file.write_text(file.read_text().replace("name: mini", f"name: {name}"))
    with open_store(work / "store") as store:
        (item,) = add_items(store, ["one"])
        row: dict[str, list[Any]] = {
            "item_id": [item],
            "project": [name],
            "text_hash": [digest_text("one")],
            "ts": [T0],
        }
        store.append("items", row)
        add_tasks(store, [item], project=name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A server that announces and returns; holds what it was given."""
    given: list[Any] = []

    def run_server(desk: Any, office: Any, settings: Any, *, announce: Any) -> None:
        given.extend((sorted(desk.projects), settings))
        announce("Labelproof is at http://127.0.0.1:8700")
        announce("Nobody can sign in yet. Make the first admin at http://127.0.0.1:8700/setup?token=x")

    monkeypatch.setattr(web_serve, "run_server", run_server)
    return given


def test_projects_here_are_served(run: Run, work: Path, server: list[Any]) -> None:
    make_project(work, "alpha")
    make_project(work)
    project(work / "projects" / "unknown").folder.joinpath("project.yaml").write_text("name: [")
    code, out, err = run("serve", "--port", "9000")
    assert code == 0
    assert server[0] == ["alpha", "mini"]
    assert (server[1].host, server[1].port, server[1].public_url) == ("127.0.0.1", 9000, None)
    assert out.splitlines() == [
        "alpha: 1 open tasks",
        "mini: 1 open tasks",
        "Labelproof is at http://127.0.0.1:8700",
        "Nobody can sign in yet. Make the first admin at http://127.0.0.1:8700/setup?token=x",
        "stopped",
    ]
    assert "left out" in err
    assert "projects/unknown" in err


def test_named_projects_only(run: Run, work: Path, server: list[Any]) -> None:
    make_project(work, "alpha")
    make_project(work)
    assert run("serve", "alpha")[0] == 0
    assert server[0] == ["alpha"]


def test_announcements_as_json_lines(run: Run, work: Path, server: list[Any]) -> None:
    make_project(work)
    lines = [json.loads(line) for line in run("serve", "--json")[1].splitlines()]
    assert lines[0] == {"project": "mini", "open": 1}
    assert [line["url"] for line in lines[1:]] == [
        "http://127.0.0.1:8700",
        "http://127.0.0.1:8700/setup?token=x",
        None,
    ]


def test_the_browser_gets_the_last_address(
    run: Run, work: Path, server: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    class Now:
        """A timer that fires when the server has announced everything."""

        made: Any = None

        def __init__(self, _: float, function: Any) -> None:
            type(self).made = function

        def start(self) -> None:
            return

    monkeypatch.setattr("threading.Timer", Now)
    monkeypatch.setattr("webbrowser.open", opened.append)
    make_project(work)
    assert run("serve", "--open")[0] == 0
    Now.made()
    assert opened == ["http://127.0.0.1:8700/setup?token=x"]


def test_nothing_to_serve_says_what_to_do(run: Run, work: Path) -> None:
    code, out, err = run("serve")
    assert (code, out) == (2, "")
    assert "there is no project in ./projects" in err
    assert "labelproof init NAME" in err


def test_a_project_without_a_run_is_served_too(run: Run, work: Path, server: list[Any]) -> None:
    project(work / "projects" / "mini")
    code, out, _ = run("serve")
    assert (code, server[0]) == (0, ["mini"])
    assert out.startswith("mini: 0 open tasks\n")


def test_a_public_address_without_tls_is_refused(run: Run, work: Path) -> None:
    make_project(work)
    code, out, err = run("serve", "--host", "0.0.0.0")
    assert (code, out) == (2, "")
    assert "--public-url" in err


def test_a_real_server_answers_and_ctrl_c_stops_it(work: Path) -> None:
    make_project(work)
    root = Path(serve_module.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "labelproof", "serve", "--json"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"project": "mini", "open": 1}
        url = json.loads(process.stdout.readline())["url"]
        assert "setup?token=" in json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/login", timeout=20) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["message"] == "stopped"
