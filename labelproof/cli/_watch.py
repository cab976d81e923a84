"""What a run says at its end of the promises that it was measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labelproof.cli._common import console

if TYPE_CHECKING:
    from agents.run.session import LabelSession
    from labelproof.report.monitor.run import AfterRun


def watch(session: LabelSession) -> AfterRun | None:
    """Measure the session's project after its run, as of now; never raises."""
    from datetime import UTC, datetime

    from labelproof.report.monitor.run import monitor_after_run

    now = datetime.now(UTC)
    return monitor_after_run(session.store, session.work.folder, now=now, run_id=session.run.run_id)


def watch_json(watched: AfterRun | None) -> dict[str, Any]:
    """Return what goes into the run's JSON document; nothing for a project that is not watched."""
    if watched is None:
        return {}
    return {"monitor": {"problem": watched.problem} if watched.report is None else watched.report.to_json()}


def show_watch(watched: AfterRun | None) -> None:
    """Print one line for each thing that happened to a promise, or why nothing is known of them."""
    from rich.markup import escape

    from labelproof.report.monitor.text import lines_of, summary

    if watched is None:
        return
    out = console()
    if watched.report is None:
        out.print(f"\n[yellow]{escape(str(watched.problem))}[/]", soft_wrap=True)
        return
    out.print(f"\n[bold]Promises[/]  {escape(summary(watched.report))}", soft_wrap=True)
    for line in lines_of(watched.report):
        out.print(f"  {escape(line)}", soft_wrap=True)
