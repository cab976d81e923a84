"""`labelproof findings risks` and `changes`: the registers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labelproof.cli._common import console, user_errors
from labelproof.cli._findings import name_of, opened_store, time_of, written
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

NowOption = Annotated[
    str | None, typer.Option("--now", hidden=True, help="The time it is, for replays: 2026-11-22T12:00.")
]
ToOption = Annotated[
    Path | None, typer.Option("--to", help="Write it to a file: .md, .csv, .jsonl or .parquet.")
]


def risks(
    project: ProjectArgument,
    *,
    to: ToOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the risk register: open and accepted findings by severity and how often they came back, overdue first."""
    with user_errors(as_json=as_json):
        from labelproof.report.findings.book import findings_of
        from labelproof.report.findings.register import RISK_COLUMNS, risk_register
        from labelproof.report.findings.text import risk_table

        name, at = name_of(project), time_of(now)
        with opened_store(store) as opened:
            found = risk_register(findings_of(opened, name), at)
        if not written(f"Risks of {name}", found, RISK_COLUMNS, to, as_json=as_json):
            console().print(risk_table(found) if found else "No open or accepted finding.")


def changes(
    project: ProjectArgument,
    *,
    period: Annotated[
        str | None, typer.Option("--period", help="W41, 2026-10-05..2026-10-11, last-7d; default: all.")
    ] = None,
    to: ToOption = None,
    now: NowOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the change log: promotions, rollbacks, new guideline, prompt and strategy versions, targets, endings."""
    with user_errors(as_json=as_json):
        from labelproof.report.findings.register import CHANGE_COLUMNS, change_log
        from labelproof.report.findings.text import change_table
        from labelproof.report.rca.periods import parse_period

        name = name_of(project)
        when = None if period is None else parse_period(period, time_of(now))
        with opened_store(store) as opened:
            found = change_log(
                opened, name, since=when.start if when else None, until=when.end if when else None
            )
        if not written(f"Changes of {name}", found, CHANGE_COLUMNS, to, as_json=as_json):
            console().print(change_table(found) if found else "Nothing changed.")
