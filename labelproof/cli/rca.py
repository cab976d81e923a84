"""`labelproof rca`: why a rate changed between two periods, what each error's evidence says, what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors, write_page
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from labelproof.report.rca.model import RootCauseReport
    from labelproof.report.rca.periods import Period
    from labelproof.spec.project import ProjectFolder
    from labelproof.store import TraceStore

_PERIOD = "W41, 2026-W41, 2026-10-05, 2026-10-05..2026-10-11, yesterday, last-week or last-7d"


def rca(
    project: ProjectArgument,
    earlier: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PERIOD",
            help=f"What it is compared with: {_PERIOD}.  [default: the period before; with --to alone: nothing]",
        ),
    ] = None,
    later: Annotated[
        str | None,
        typer.Option("--to", metavar="PERIOD", help="The period to explain.  [default: the last full week]"),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            "-m",
            help="accuracy, auto_accuracy, recall:LABEL, precision:LABEL, coverage, failed_rate, agreement or "
            "reviewer_accuracy.",
        ),
    ] = "accuracy",
    markdown: Annotated[Path | None, typer.Option(help="Write the analysis as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the analysis as one page.")] = None,
    export_items: Annotated[
        Path | None,
        typer.Option(
            "--export-items",
            help="Folder for the errors as JSONL: a file for each cause, one to fine-tune on.",
        ),
    ] = None,
    open_findings: Annotated[
        bool, typer.Option("--open-findings", help="Open a finding for each cause that explains the change.")
    ] = False,
    no_record: Annotated[bool, typer.Option("--no-record", help="Do not store the analysis.")] = False,
    now: Annotated[
        str | None, typer.Option("--now", hidden=True, help="Replay: as if it were this time.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a rate changed: other items, another model, another yardstick; where it is worst; what each error shows.

    Asks no model. With --to alone, the errors of that one period are explained. Exit code 0: nothing got worse beyond
    chance; 1: it got worse; 2: no answer, or something to fix.
    """
    with user_errors(as_json=as_json):
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        at = _time(now)
        first, second = _periods(earlier, later, at)
        with open_store(store or default_store(), create=False) as opened:
            from labelproof.report.rca.build import analyse, record

            report = analyse(opened, folder, earlier=first, later=second, metric=metric, now=at)
            if not no_record:
                record(opened, report)
            files = _written(opened, report, markdown, html, export_items)
            findings = _findings(opened, folder, report, at) if open_findings else ()
        if as_json:
            emit_json(
                {**report.to_json(), "files": [str(path) for path in files], "findings": list(findings)}
            )
        else:
            _show(report, files, findings)
    raise typer.Exit(report.exit_code)


def _periods(earlier: str | None, later: str | None, now: datetime) -> tuple[Period | None, Period]:
    from labelproof.report.rca.periods import default_periods, parse_period

    if later is None and earlier is None:
        return default_periods(now)
    if later is None:
        first = parse_period(earlier or "", now)
        return first, default_periods(now)[1]
    second = parse_period(later, now)
    return (None if earlier is None else parse_period(earlier, now)), second


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    from labelproof.spec.errors import ConfigError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"expected a time, found {text!r}", key="--now", hint="2026-10-12T08:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _written(
    store: TraceStore, report: RootCauseReport, markdown: Path | None, html: Path | None, items: Path | None
) -> list[Path]:
    files = []
    if markdown is not None:
        from labelproof.report.rca.markdown import markdown as to_markdown

        write_page(markdown, to_markdown(report))
        files.append(markdown)
    if html is not None:
        from labelproof.report.rca.page import page_html

        write_page(html, page_html(report))
        files.append(html)
    if items is not None:
        from labelproof.report.rca.export import export_items

        files += export_items(store, report, items)
    return files


def _findings(
    store: TraceStore, folder: ProjectFolder, report: RootCauseReport, now: datetime
) -> tuple[str, ...]:
    from labelproof.report.findings.hooks import open_from_rca

    return tuple(open_from_rca(store, folder, report, now=now))


def _show(report: RootCauseReport, files: list[Path], findings: tuple[str, ...]) -> None:
    from labelproof.report.rca.text import render

    out = console()
    out.print(render(report))
    for path in files:
        out.print(f"written: {path}", soft_wrap=True, markup=False)
    for one in findings:
        out.print(f"finding: {one}  (labelproof findings show {one})", soft_wrap=True, markup=False)
