"""`labelproof review plan`, `stats` and `verify`: numbers about the queue, the people and their votes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import EXIT_NO, EXIT_OK, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from labelproof.review.office import Office
    from labelproof.review.people import CapacityPlan, ReviewerStats
    from labelproof.review.queue import QueueOverview
    from labelproof.review.signatures import SignatureReport


def plan(
    project: ProjectArgument,
    *,
    people: Annotated[
        int | None,
        typer.Option(
            "--people",
            min=0,
            help="So many people answer.",
            show_default="active accounts of the project, at least 1",
        ),
    ] = None,
    hours_per_day: Annotated[
        float, typer.Option("--hours-per-day", min=0.1, max=24, help="Hours that each works in a day.")
    ] = 6.0,
    per_hour: Annotated[
        float | None,
        typer.Option(
            "--per-hour", min=0.1, help="Answers of one person in an hour of work.", show_default="measured"
        ),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what waits, when it will be clear, what will be late, and how many people it takes."""
    from labelproof.cli._people import opened_desk

    with user_errors(as_json=as_json):
        from labelproof.review.people import Rate, capacity_plan, measured_arrivals, stored_rate
        from labelproof.spec.project import find_project

        folder = find_project(project)
        now = datetime.now(UTC)
        with opened_desk(store, {folder.name: folder}) as desk:
            overview = desk.overview(folder.name)
            measured = stored_rate(desk.store, folder.name, now)
            arrivals = measured_arrivals(desk.store, folder.name, now)
            n_people = _n_people(desk.office, folder.name) if people is None else people
        rate = (
            measured
            if per_hour is None
            else Rate(median=per_hour, low=per_hour, high=per_hour, note="as given")
        )
        found = capacity_plan(
            overview.due_s, overview.votes_left, now, rate, n_people, hours_per_day, arrivals
        )
        if as_json:
            emit_json({"project": folder.name, "queue": overview.to_json(), "plan": found.to_json()})
        else:
            _show_plan(folder.name, overview, found, now)


def stats(
    project: ProjectArgument,
    *,
    days: Annotated[int, typer.Option("--days", min=1, help="Answers of the last N days.")] = 30,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each reviewer's numbers, in alphabetical order: accuracy on hidden gold, agreement, drift, exposure.

    They are for talking with people, not for ranking them: none says how good somebody is, and speed is no quality.
    """
    with user_errors(as_json=as_json):
        from labelproof.review.people import reviewer_stats
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store(), create=False) as opened:
            found = reviewer_stats(opened, folder, now=datetime.now(UTC), days=days)
        if as_json:
            emit_json([one.to_json() for one in found])
        else:
            _show_stats(found, days)


def verify(
    project: ProjectArgument,
    *,
    show: Annotated[int, typer.Option("--show", min=0, help="Invalid votes to list.")] = 20,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the signature of every stored vote. Exit 1 if one is invalid.

    The app signs who answered what and when. Votes from files are not signed; they are counted apart.
    """
    with user_errors(as_json=as_json):
        from labelproof.cli._people import opened_office
        from labelproof.review.signatures import verify_votes
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with (
            open_store(store or default_store(), create=False) as opened,
            opened_office(store) as office,
        ):
            report = verify_votes(opened, office.signer, folder.name)
        if as_json:
            emit_json(report.to_json())
        else:
            _show_signatures(report, show)
    raise typer.Exit(EXIT_NO if report.invalid else EXIT_OK)


def _n_people(office: Office, project: str) -> int:
    active = [one for one in office.accounts.list() if one.active]
    return max(1, sum(not one.projects or project in one.projects for one in active))


def _show_plan(project: str, overview: QueueOverview, found: CapacityPlan, now: datetime) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.numbers import count
    from labelproof.review.web._view_dashboard import plan_lines
    from labelproof.review.web._view_words import KIND_WORDS, ago

    out = console()
    n_leads = overview.by_state["disputed"] + overview.by_state["escalated"]
    out.print(
        f"[bold]{escape(project)}[/]: {count(overview.n_open)} open tasks, {count(overview.n_held)} in somebody's hands; "
        f"{count(n_leads)} wait for a lead"
    )
    kinds = Table("open", "tasks", "overdue", "oldest", box=None)
    for kind, n in overview.open_by_kind.items():
        if n:
            late = overview.overdue_by_kind.get(kind, 0)
            oldest = ago(overview.oldest_by_kind.get(kind), now)
            kinds.add_row(KIND_WORDS.get(kind, kind), count(n), count(late), oldest)
    if overview.n_open:
        out.print()
        out.print(kinds)
    lines = plan_lines(found)
    people = "1 person" if found.people == 1 else f"{found.people} people"
    facts = Table(f"with {people}, {found.hours_per_day:g} hours a day", "", box=None)
    for name, value in lines["facts"]:
        facts.add_row(escape(name), escape(value))
    out.print()
    out.print(facts)
    for note in lines["notes"]:
        out.print(f"[bold]note:[/] {escape(note)}", soft_wrap=True)
    out.print("[dim]assumed:[/]")
    for line in lines["assumed"]:
        out.print(f"  [dim]- {escape(line)}[/]", soft_wrap=True)


def _show_stats(found: tuple[ReviewerStats, ...], days: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.numbers import percent
    from labelproof.review.web._view_words import rate

    out = console()
    if not found:
        out.print(f"nobody has answered in the last {days} days")
        return
    table = Table("", *(escape(one.name) for one in found), box=None)
    answers = ("label", "skip", "flag", "unclear", "withdrawn")
    table.add_row(
        "answers",
        *(
            ", ".join(f"{one.answers[a]} {a}" for a in answers if one.answers.get(a)) or "none"
            for one in found
        ),
    )
    table.add_row("right on hidden gold", *(escape(rate(one.checks.overall)) for one in found))
    table.add_row("same answer as others, blind", *(escape(rate(one.same_answer)) for one in found))
    table.add_row("agreement (Cohen's kappa)", *(escape(_kappa(one)) for one in found))
    table.add_row("upheld by an adjudicator", *(escape(rate(one.upheld)) for one in found))
    table.add_row("same as the machine", *(escape(rate(one.machine.share)) for one in found))
    table.add_row("  others, on the same kinds", *(percent(one.machine.others_share) for one in found))
    table.add_row("seconds an answer", *(escape(_pace(one)) for one in found))
    table.add_row("accuracy fell", *(escape(_fell(one)) for one in found))
    table.add_row("seen today", *(escape(_seen(one)) for one in found))
    out.print(table)
    out.print("\n[dim]For talking with people, not for ranking them. Speed says nothing of quality.[/]")


def _kappa(one: ReviewerStats) -> str:
    found = one.agreement
    if found.value is None:
        return f"not measurable: {found.reason}"
    ends = "" if found.low is None or found.high is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.value:.2f}{ends}, n = {found.n}"


def _pace(one: ReviewerStats) -> str:
    if one.pace.median_s is None:
        return f"not measurable: {one.pace.reason}"
    slow = "" if one.pace.p90_s is None else f", nine of ten below {one.pace.p90_s:.0f}"
    return f"{one.pace.median_s:.0f} (median{slow})"


def _fell(one: ReviewerStats) -> str:
    alarms = [
        f"below {'the bar' if test.against == 'bar' else 'their own level'}"
        for test in one.falls
        if test.alarm
    ]
    if alarms:
        return "ALARM: " + ", ".join(alarms)
    tested = [test for test in one.falls if test.e_value is not None]
    return "no alarm" if tested else "not tested: " + "; ".join(filter(None, (t.reason for t in one.falls)))


def _seen(one: ReviewerStats) -> str:
    parts = [
        f"{n} {severity}" + (f" of {one.limits[severity]}" if severity in one.limits else "")
        for severity, n in one.exposure.items()
        if n
    ]
    return ", ".join(parts) or "nothing"


def _show_signatures(report: SignatureReport, show: int) -> None:
    from rich.markup import escape

    out = console()
    out.print(
        f"signatures of {report.n_valid + report.n_unsigned + len(report.invalid)} votes: {report.n_valid} valid, "
        f"[bold]{len(report.invalid)}[/] invalid; {report.n_unsigned} votes from files carry none"
    )
    for vote in report.invalid[:show]:
        said = vote.label or vote.answer
        out.print(
            f"[red]invalid[/] {escape(vote.at)} {escape(vote.annotator)}: {escape(said)} on {escape(vote.task_id)}\n"
            f"  {escape(vote.reason)}",
            soft_wrap=True,
        )
    left = len(report.invalid) - show
    if left > 0:
        out.print(f"  … and {left} more (--show {len(report.invalid)})")
