"""What the commands of findings share: the store, times, the change itself, and what is told afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from labelproof.cli._common import command_name, console, emit_json, user_errors
from labelproof.cli.promote import _person as person_of

if TYPE_CHECKING:
    from labelproof.report.findings.model import Finding
    from labelproof.report.findings.register import Change, Risk
    from labelproof.store import TraceStore

Act = Callable[["TraceStore", "Finding", str, datetime], "Finding"]
"""Store, the finding as it stands, who does it and when -> the finding afterwards."""


def change(
    ref: str,
    project: str | None,
    store: str | None,
    by: str | None,
    now: str | None,
    act: Act,
    done: str,
    *,
    as_json: bool,
) -> None:
    """Change one finding and say where it stands."""
    with user_errors(as_json=as_json):
        at = time_of(now)
        with opened_store(store) as opened:
            found = act(opened, find(opened, ref, project), person_of(by), at)
        tell(found, at, done, as_json=as_json)


def tell(found: Finding, at: datetime, done: str, *, as_json: bool) -> None:
    """Say what was done to a finding, and that it has no check if it has none."""
    from rich.text import Text

    from labelproof.report.compare.text import one_text

    if as_json:
        emit_json(found.to_json(at))
        return
    due = "" if found.due is None or found.state == "closed" else f", due {found.due:%Y-%m-%d}"
    who = one_text(found.owner) or "nobody"
    line = f"{done}: {found.finding_id} {one_text(found.title)} ({found.severity}, {who}{due})"
    out = console()
    out.print(Text(line), soft_wrap=True)
    if found.state == "open" and found.check is None:
        out.print(
            Text(f"no check yet: {command_name()} findings edit {found.finding_id} --check ...", "dim"),
            soft_wrap=True,
        )


def say_gate(blocking: Sequence[Finding], at: datetime) -> None:
    """Say on stderr what the gate stops at."""
    overdue = sum(one.is_overdue(at) for one in blocking)
    console(stderr=True).print(f"[bold red]gate[/]: {len(blocking)} critical or overdue ({overdue} overdue)")


def written(
    title: str,
    entries: Sequence[Risk | Change],
    columns: Sequence[str],
    to: Path | None,
    *,
    as_json: bool,
) -> bool:
    """Print JSON or write a file; False when neither was asked for."""
    from labelproof.report.findings.register import arrow_table, markdown_table, rows_of

    if to is not None:
        if to.suffix == ".md":
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(markdown_table(title, entries, columns), encoding="utf-8")
        else:
            from labelproof.store.interchange import write_labels

            write_labels(arrow_table(entries, columns), to)
    if as_json:
        emit_json(rows_of(entries))
    elif to is not None:
        console().print(f"{len(entries)} rows: {to}", markup=False, soft_wrap=True)
    return as_json or to is not None


def find(opened: TraceStore, ref: str, project: str | None) -> Finding:
    """Return the finding that is named, of a project or of any."""
    from labelproof.report.findings.book import find_finding

    return find_finding(opened, None if project is None else name_of(project), ref)


def name_of(project: str) -> str:
    """Return a project's name; a name whose folder is not here counts as it is."""
    from labelproof.spec.errors import ConfigError
    from labelproof.spec.project import find_project

    try:
        return find_project(project).name
    except ConfigError:
        if "/" in project or "\\" in project:
            raise
        return project


@contextmanager
def opened_store(store: str | None, *, create: bool = False) -> Iterator[TraceStore]:
    """Open the store that is meant, which must exist unless ``create``."""
    from labelproof.store import default_store, open_store

    with open_store(store or default_store(), create=create) as opened:
        yield opened


def time_of(text: str | None) -> datetime:
    """Return the time that was given, UTC unless it says otherwise, else the clock's."""
    from labelproof.spec.errors import ConfigError

    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"expected a time, found {text!r}", key="--now", hint="2026-03-01T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def due_of(text: str | None, now: datetime, *, option: str = "--due") -> datetime | None:
    """Return the end of a day, the very time given, or so many days (`14d`) from ``now``."""
    from labelproof.spec.errors import ConfigError

    if text is None:
        return None
    said = text.strip()
    try:
        if said.endswith("d") and said[:-1].isdecimal():
            return now + timedelta(days=int(said[:-1]))
        day = datetime.fromisoformat(said)
        day = day if day.tzinfo else day.replace(tzinfo=UTC)
        is_day = len(said) <= len("2026-03-01")
        return day + timedelta(days=1, microseconds=-1) if is_day else day
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"expected a day or a number of days, found {text!r}", key=option, hint="2026-11-30 or 14d"
        ) from error
