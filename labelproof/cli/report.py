"""`labelproof report`: what leadership reads, as one page, Markdown, slides or JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import command_name, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.report.documents.model import Document, Kind
    from labelproof.report.rca.periods import Period

app = typer.Typer(no_args_is_help=True, help="Write reports: the week, an experiment, model and data cards.")
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder or .html file.  [default: reports/PROJECT/]", show_default=False)
]  # fmt: skip
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Write a Markdown file beside the page.")]
SlidesOption = Annotated[
    bool, typer.Option("--slides", help="Write 1920 x 1080 PNGs into a folder beside it.")
]
OpenOption = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")]
NowOption = Annotated[str | None, typer.Option("--now", hidden=True, help="As of this time (replays).")]


@app.command("weekly")
def weekly(
    project: ProjectArgument,
    week: Annotated[
        str | None, typer.Option("--week", help="Calendar week: W42 or 2026-W42; default: the last full one.")
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", help="Other days: 2026-10-05..2026-10-11, yesterday, last-7d.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", "-s", help="Only this strategy's decisions (name or fingerprint)."),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Call reviewers by their names.")] = False,
    out: OutOption = None,
    markdown: MarkdownOption = False,
    slides: SlidesOption = False,
    open_page: OpenOption = False,
    store: StoreOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report a week: how right the automatic decisions were, work, harm, targets, changes, findings, the decision needed.

    Exit 0: no promise is broken; 1: a target is not met; 2: something to fix first.
    """
    with user_errors(as_json=as_json):
        if week is not None and period is not None:
            raise ConfigError("--week and --period name two periods", hint="give one of them")
        moment = _now(now)
        asked = _period(week or period, moment)
        code = _write("weekly", project, store, out, markdown, slides, open_page, as_json, moment,
                      period=asked, ref=strategy, names=names)  # fmt: skip
    raise typer.Exit(code)


@app.command("experiment")
def experiment(
    project: ProjectArgument,
    which: Annotated[
        str | None,
        typer.Option("--experiment", help="Id of an experiment or a comparison; default: the newest."),
    ] = None,
    out: OutOption = None,
    markdown: MarkdownOption = False,
    slides: SlidesOption = False,
    open_page: OpenOption = False,
    store: StoreOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report a stored comparison for people who decide: the verdict, by which rule, what it means, what to do.

    Exit 0: written; 2: something to fix first.
    """
    with user_errors(as_json=as_json):
        code = _write(
            "experiment", project, store, out, markdown, slides, open_page, as_json, _now(now), ref=which
        )
    raise typer.Exit(code)


@app.command("model-card")
def model_card(
    project: ProjectArgument,
    strategy: Annotated[
        str | None, typer.Option("--strategy", "-s", help="NAME, NAME@FINGERPRINT; default: the project's.")
    ] = None,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="Show the beginning of some items that went wrong.")
    ] = False,
    out: OutOption = None,
    markdown: MarkdownOption = False,
    slides: SlidesOption = False,
    open_page: OpenOption = False,
    store: StoreOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a strategy is, what it learned from, how right it is on gold and where it fails.

    Exit 0: written; 2: something to fix first.
    """
    with user_errors(as_json=as_json):
        code = _write("model-card", project, store, out, markdown, slides, open_page, as_json, _now(now),
                      ref=strategy, with_text=with_text)  # fmt: skip
    raise typer.Exit(code)


@app.command("data-card")
def data_card(
    project: ProjectArgument,
    out: OutOption = None,
    markdown: MarkdownOption = False,
    slides: SlidesOption = False,
    open_page: OpenOption = False,
    store: StoreOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what items and gold there are, how they were drawn and labelled, and what is missing.

    Exit 0: written; 2: something to fix first.
    """
    with user_errors(as_json=as_json):
        code = _write("data-card", project, store, out, markdown, slides, open_page, as_json, _now(now))
    raise typer.Exit(code)


def _write(
    kind: Kind,
    project: str,
    store: str | None,
    out: Path | None,
    markdown: bool,
    slides: bool,
    open_page: bool,
    as_json: bool,
    now: datetime,
    *,
    period: Period | None = None,
    ref: str | None = None,
    with_text: bool = False,
    names: bool = False,
) -> int:
    from labelproof.report.documents.build import make
    from labelproof.report.documents.stored import record
    from labelproof.report.documents.write import write
    from labelproof.spec.project import find_project
    from labelproof.store import default_store, open_store

    folder = find_project(project)
    with open_store(store or default_store(), create=False) as opened:
        with console(stderr=True).status("Reading the store and drawing the report"):
            made = make(
                opened,
                folder,
                kind,
                period=period,
                now=now,
                ref=ref,
                slides=slides,
                with_text=with_text,
                names=names,
            )
            files = write(made, out, markdown=markdown)
        record(opened, made, files.page)
    if as_json:
        emit_json({**made.to_json(), "page": str(files.page), "files": [str(path) for path in files.others]})
    else:
        _show(made, [files.page, *files.others])
    if open_page:
        typer.launch(files.page.resolve().as_uri())
    return made.exit_code


def _show(made: Document, files: list[Path]) -> None:
    from rich.markup import escape

    out = console()
    out.print(f"[bold]{escape(made.headline)}[/]", soft_wrap=True)
    if made.not_met:
        out.print(f"[bold red]not met:[/] {escape(', '.join(made.not_met))}", soft_wrap=True)
    for path in files:
        out.print(
            f"[dim]{'page' if path.suffix == '.html' else 'file'}:[/] {escape(str(path))}", soft_wrap=True
        )
    if made.kind == "weekly" and not made.numbers["work.decisions"].value:
        out.print(
            f"[dim]nothing was decided in this period; others:[/] {command_name()} report weekly --help"
        )


def _period(said: str | None, now: datetime) -> Period:
    from labelproof.report.rca.periods import last_full_week, parse_period

    return last_full_week(now) if said is None else parse_period(said, now)


def _now(said: str | None) -> datetime:
    if said is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(said)
    except ValueError as error:
        raise ConfigError(f"expected a time, found {said!r}", key="--now", hint="2026-10-12T06:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
