"""`labelproof findings`: problems with an owner and a check, driven until the check has held."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli._findings import (
    change,
    due_of,
    find,
    name_of,
    opened_store,
    say_gate,
    tell,
    time_of,
)
from labelproof.cli._findings_registers import NowOption, changes, risks
from labelproof.cli.promote import ByOption, WhyOption, _person
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from labelproof.report.findings.model import Finding
    from labelproof.store import TraceStore

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Drive problems to closure: owner, evidence, and a check that must hold on the next runs.",
)
FindingArgument = Annotated[str, typer.Argument(help="Id of a finding, or its beginning: F-3b2c.")]
OwnProject = Annotated[
    str | None,
    typer.Option("--project", "-p", help="Project name or folder; default: whichever has this finding."),
]
SeverityWord = Literal["critical", "major", "minor"]
DueOption = Annotated[str | None, typer.Option("--due", help="Until when: 2026-11-30, or 14d from now.")]
CheckOption = Annotated[
    str | None,
    typer.Option(
        "--check", help="What must hold before it closes: 'auto_accuracy >= 0.95 and drift:label_mix quiet'."
    ),
]
RunsOption = Annotated[int | None, typer.Option("--runs", min=1, max=1000, help="On so many runs in a row.")]


@app.command("list")
def list_(
    project: Annotated[
        str | None, typer.Argument(help="Project name or folder; default: all in the store.")
    ] = None,
    *,
    state: Annotated[
        Literal["open", "accepted", "closed", "all"], typer.Option("--state", help="Only these.")
    ] = "open",
    severity: Annotated[SeverityWord | None, typer.Option("--severity", help="Only this severity.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only this owner's.")] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit 1 when one is overdue, or critical and open.")
    ] = False,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List findings, the worst first: severity, age, owner, state, and how far the check is.

    Exit 0; with --gate 1 when a finding is overdue or an open one is critical, whatever is listed.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.findings.book import findings_of
        from labelproof.report.findings.text import list_table

        at = time_of(now)
        with opened_store(store) as opened:
            every = findings_of(opened, None if project is None else name_of(project))
        found = [
            one
            for one in every
            if state in ("all", one.state) and severity in (None, one.severity) and owner in (None, one.owner)
        ]
        blocking = [
            one for one in every if one.is_overdue(at) or (one.state == "open" and one.severity == "critical")
        ]
        if as_json:
            emit_json(
                {
                    "findings": [one.to_json(at) for one in found],
                    "gate": [one.finding_id for one in blocking],
                }
            )
        elif found:
            console().print(list_table(found, at, with_project=project is None))
        else:
            console().print(f"No {'' if state == 'all' else state + ' '}findings.")
        if gate and blocking:
            say_gate(blocking, at)
            raise typer.Exit(EXIT_NO)


@app.command()
def show(
    finding: FindingArgument,
    *,
    project: OwnProject = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print only its evidence query, for `labelproof sql`.")
    ] = False,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a finding: state, cause, action, check, evidence with the commands to look at it, history."""
    with user_errors(as_json=as_json):
        from labelproof.report.findings.text import show as render
        from labelproof.spec.errors import ConfigError

        at = time_of(now)
        with opened_store(store) as opened:
            found = find(opened, finding, project)
        if sql:
            query = found.evidence.get("sql")
            if not isinstance(query, str) or not query.strip():
                raise ConfigError(f"finding {found.finding_id} has no query")
            typer.echo(query.strip())
        elif as_json:
            emit_json(found.to_json(at, history=True))
        else:
            console().print(render(found, at, program=command_name()))


@app.command("open")
def open_(
    project: ProjectArgument,
    *,
    title: Annotated[str | None, typer.Option("--title", help="The problem in one line.")] = None,
    severity: Annotated[
        SeverityWord, typer.Option("--severity", help="How much it hurts: critical, major or minor.")
    ] = "major",
    owner: Annotated[str, typer.Option("--owner", help="Who drives it to closure.")] = "",
    items: Annotated[
        str | None,
        typer.Option("--items", help="Item ids with commas between them, or a file (.txt, .csv, .jsonl)."),
    ] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="The query that shows it.")] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Root cause, if known.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="What is to be done.")] = None,
    check: CheckOption = None,
    runs: RunsOption = None,
    due: DueOption = None,
    comparison: Annotated[
        str | None,
        typer.Option("--comparison", help="Take it from a comparison whose verdict is a regression."),
    ] = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a finding: a problem, what it rests on, who owns it, and what must hold before it closes."""
    with user_errors(as_json=as_json):
        from uuid import uuid4

        from labelproof.report.findings.book import open_finding
        from labelproof.report.findings.hooks import open_from_experiment
        from labelproof.report.findings.named_items import items_of
        from labelproof.spec.errors import ConfigError
        from labelproof.spec.project import find_project

        folder, at, person = find_project(project), time_of(now), _person(by)
        if (title is None) == (comparison is None):
            raise ConfigError("expected --title, or --comparison for a regression")
        with opened_store(store, create=True) as opened:
            if comparison is not None:
                found = open_from_experiment(
                    opened, folder, comparison, now=at, actor=person, owner=owner or None, severity=severity
                )
            else:
                evidence: dict[str, Any] = {} if sql is None else {"sql": sql}
                if items is not None:
                    evidence["items"] = items_of(opened, folder.name, items)
                found = open_finding(
                    opened,
                    folder.name,
                    title=title or "",
                    severity=severity,
                    owner=owner,
                    source="person",
                    source_id=uuid4().hex,
                    evidence=evidence,
                    cause=cause,
                    action=action,
                    check=check,
                    check_runs=runs or 3,
                    actor=person,
                    now=at,
                    due=due_of(due, at),
                )
            opened_one = find(opened, found, folder.name)
        tell(opened_one, at, "Opened", as_json=as_json)


@app.command()
def assign(
    finding: FindingArgument,
    owner: Annotated[str, typer.Argument(help="Who drives it to closure.")],
    *,
    due: DueOption = None,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a finding to somebody, and a date if you name one."""
    from labelproof.report.findings import book

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        return book.assign(opened, one, owner, actor=person, now=at, due=due_of(due, at))

    change(finding, project, store, by, now, act, "Assigned", as_json=as_json)


@app.command()
def note(
    finding: FindingArgument,
    text: Annotated[str, typer.Argument(help="What others should know.")],
    *,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note into a finding's history."""
    from labelproof.report.findings import book

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        return book.note(opened, one, text, actor=person, now=at)

    change(finding, project, store, by, now, act, "Noted", as_json=as_json)


@app.command()
def edit(
    finding: FindingArgument,
    *,
    title: Annotated[str | None, typer.Option("--title", help="The problem in one line.")] = None,
    severity: Annotated[SeverityWord | None, typer.Option("--severity", help="How much it hurts.")] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Root cause.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="What is to be done.")] = None,
    check: CheckOption = None,
    runs: RunsOption = None,
    due: DueOption = None,
    why: Annotated[str | None, typer.Option("--why", help="The reason, for the history.")] = None,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a finding says; a changed check begins to count anew, --check "" takes it away."""
    from labelproof.report.findings import book
    from labelproof.spec.errors import ConfigError

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        if all(value is None for value in (title, severity, cause, action, check, runs, due)):
            raise ConfigError("nothing to change", hint="--title, --severity, --cause, --action, --check, …")
        return book.edit(
            opened,
            one,
            actor=person,
            now=at,
            title=title,
            severity=severity,
            cause=cause,
            action=action,
            check=check,
            check_runs=runs,
            due=due_of(due, at),
            why=why,
        )

    change(finding, project, store, by, now, act, "Edited", as_json=as_json)


@app.command()
def close(
    finding: FindingArgument,
    why: WhyOption,
    *,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a finding by hand, with a reason; says when its check has not held yet."""
    from labelproof.report.findings import book

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        if one.state != "closed" and one.check is not None and one.check_held < one.check_runs:
            err = console(stderr=True)
            err.print(f"[yellow]its check has not held yet[/]: {one.progress}", soft_wrap=True)
        return book.close(opened, one, why=why, actor=person, now=at)

    change(finding, project, store, by, now, act, "Closed", as_json=as_json)


@app.command()
def reopen(
    finding: FindingArgument,
    why: WhyOption,
    *,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a closed or accepted finding again, with a reason."""
    from labelproof.report.findings import book

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        return book.reopen(opened, one, why=why, actor=person, now=at)

    change(finding, project, store, by, now, act, "Opened again", as_json=as_json)


@app.command()
def accept(
    finding: FindingArgument,
    why: WhyOption,
    *,
    until: Annotated[
        str | None, typer.Option("--until", help="Ask again then: 2027-01-31, or 90d from now.")
    ] = None,
    project: OwnProject = None,
    by: ByOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept an open finding as a risk that is lived with; it stays in the risk register."""
    from labelproof.report.findings import book

    def act(opened: TraceStore, one: Finding, person: str, at: datetime) -> Finding:
        return book.accept(
            opened, one, why=why, actor=person, now=at, until=due_of(until, at, option="--until")
        )

    change(finding, project, store, by, now, act, "Accepted", as_json=as_json)


@app.command()
def check(
    project: ProjectArgument,
    *,
    finding: Annotated[
        str | None, typer.Option("--finding", help="Only this one's check; default: all.")
    ] = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the checks now, as the monitor does after each run: close what has held, open again what fails.

    A look reads the work since the look before. Exit 0: no check failed; 1: one failed or opened a finding again.
    """
    with user_errors(as_json=as_json):
        from labelproof.report.findings.checks import run_checks
        from labelproof.report.findings.text import check_line
        from labelproof.spec.project import find_project

        folder, at = find_project(project), time_of(now)
        with opened_store(store) as opened:
            only = None if finding is None else [find(opened, finding, folder.name).finding_id]
            results = run_checks(opened, folder, now=at, only=only)
        if as_json:
            emit_json({"checks": [one.to_json() for one in results]})
        else:
            out = console()
            for one in results:
                out.print(check_line(one), soft_wrap=True)
            if not results:
                out.print("No finding has a check to look at.")
        if any(one.verdict in ("failed", "reopened") for one in results):
            raise typer.Exit(EXIT_NO)


app.command()(risks)
app.command()(changes)
