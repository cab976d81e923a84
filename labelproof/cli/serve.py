"""`labelproof serve`: the review app in the browser."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import console, user_errors
from labelproof.cli.run import StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.spec.project import ProjectFolder

_OPEN_AFTER_S = 0.5


def serve(
    projects: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROJECT]...", help="Names or folders; default: all in ./projects."),
    ] = None,
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but this machine needs TLS.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port to listen on.", show_default="8700 or the next free one"),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="https address that people type, when a TLS proxy stands in front.")
    ] = None,
    trusted_proxy: Annotated[
        str | None,
        typer.Option(help="IP address or network of that proxy: only its forwarded headers count."),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the app in a browser.")] = False,
    store: StoreOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what is announced as JSON, one document a line.")
    ] = False,
) -> None:
    """Serve the review app until Ctrl-C: queue, adjudication, reviewers, dashboard.

    Without an account, a one-time link for the first admin is printed. It listens on this machine alone unless
    --public-url and --trusted-proxy say that a TLS proxy stands in front.
    """
    from labelproof.cli._people import opened_desk

    with user_errors(as_json=as_json):
        from labelproof.review.web.serve import WebSettings, run_server

        settings = WebSettings(host=host, port=port, public_url=public_url, trusted_proxy=trusted_proxy)
        folders = served_projects(projects or [])
        with opened_desk(store, folders, create=True) as desk:
            n_open = {name: desk.overview(name).n_open for name in folders}
            announce = _Announcer(n_open, as_json=as_json, open_browser=open_browser)
            desk.start()
            run_server(desk, desk.office, settings, announce=announce)
        announce.stopped()


def served_projects(names: list[str]) -> dict[str, ProjectFolder]:
    """Return the projects to serve by name: the named ones, else all in ./projects whose file can be read."""
    from labelproof.spec.project import PROJECT_FILE, find_project

    if names:
        named = [find_project(name) for name in names]
        return {folder.name: folder for folder in named}
    found = {}
    for file in sorted(Path("projects").glob(f"*/{PROJECT_FILE}")):
        try:
            folder = find_project(str(file.parent))
        except ConfigError as error:
            from rich.markup import escape

            console(stderr=True).print(
                f"[yellow]left out[/] {escape(str(file.parent))}: {escape(error.message)}", soft_wrap=True
            )
            continue
        found[folder.name] = folder
    if not found:
        raise ConfigError(
            "there is no project in ./projects",
            hint="go to the folder that holds projects/, name one (labelproof serve PATH), or make one: "
            "labelproof init NAME",
        )
    return found


class _Announcer:
    """Says where the app is, and opens it in a browser if asked to."""

    def __init__(self, n_open: Mapping[str, int], *, as_json: bool, open_browser: bool) -> None:
        self._n_open = n_open
        self._as_json = as_json
        self._open = open_browser
        self._url: str | None = None

    def __call__(self, message: str) -> None:
        """Say what the server announces; before the first time, what waits in each project."""
        url = next((word for word in message.split() if word.startswith(("http://", "https://"))), None)
        if self._url is None:
            for name, n in self._n_open.items():
                self._say(f"{name}: {n} open tasks", {"project": name, "open": n})
                if not n and not self._as_json:
                    console().print(
                        f"  [dim]a run queues its own; what earlier runs sent to people: labelproof review fill {name}[/]"
                    )
        self._say(message, {"message": message, "url": url})
        if url is not None:
            self._open_soon(url)

    def stopped(self) -> None:
        """Say that everything is stored and closed."""
        self._say("stopped", {"message": "stopped", "url": None})

    def _say(self, line: str, value: dict[str, Any]) -> None:
        if self._as_json:
            import orjson

            line = orjson.dumps(value).decode()
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _open_soon(self, url: str) -> None:
        """Open the last address that is announced: the link for the first admin comes after the app's."""
        first = self._url is None
        self._url = url
        if self._open and first:
            from threading import Timer

            timer = Timer(_OPEN_AFTER_S, self._open_now)
            timer.daemon = True
            timer.start()

    def _open_now(self) -> None:
        import webbrowser

        if self._url is not None:
            webbrowser.open(self._url)
