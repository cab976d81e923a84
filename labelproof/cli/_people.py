"""What the commands about people share: the office of a store, the desk of its projects, and who acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.review.desk import Desk
    from labelproof.review.model import Reviewer
    from labelproof.review.office import Office
    from labelproof.spec.project import ProjectFolder
    from labelproof.store import TraceStore

AsOption = Annotated[
    str,
    typer.Option(
        "--as", help="Your account (labelproof reviewers list).", envvar="LABELPROOF_REVIEWER", metavar="NAME"
    ),
]


@contextmanager
def opened_office(store: str | None) -> Iterator[Office]:
    """Yield the office of a store, which need not hold anything yet."""
    from labelproof.review.office import office_url, open_office
    from labelproof.store import default_store
    from labelproof.store.location import parse_location

    with open_office(office_url(parse_location(store or default_store()))) as office:
        yield office


@contextmanager
def opened_desk(
    store: str | None, folders: Mapping[str, ProjectFolder], *, create: bool = False
) -> Iterator[Desk]:
    """Yield a desk for some projects (by name) over a store, closed at the end; ``create`` makes a missing store."""
    from labelproof.review.desk import Desk
    from labelproof.review.office import office_url, open_office
    from labelproof.store import default_store, open_store

    with (
        open_store(store or default_store(), create=create) as opened,
        open_office(office_url(opened.location)) as office,
        Desk.open(opened, office, folders) as desk,
    ):
        yield desk


def who_acts(office: Office, name: str, project: str) -> Reviewer:
    """Return an active account as the queue sees it; ``ConfigError`` says how to make one."""
    account = office.accounts.get(name)
    if account is None:
        known = ", ".join(one.name for one in office.accounts.list() if one.active)
        raise ConfigError(
            f"there is no account {name!r}" + (f"; there are: {known}" if known else ""),
            hint=f"labelproof reviewers add {name}",
        )
    reviewer = office.accounts.need(name).reviewer
    if reviewer.projects and project not in reviewer.projects:
        raise ConfigError(
            f"{account.name!r} has no access to project {project!r}, only to: {', '.join(sorted(reviewer.projects))}",
            hint=f"labelproof reviewers edit {account.name} --project {project}",
        )
    return reviewer


def find_task(store: TraceStore, project: str, task: str) -> str:
    """Return the id of the one task of a project whose id is or begins with ``task``."""
    rows = store.query(
        "SELECT DISTINCT task_id FROM review_tasks WHERE project = $project AND starts_with(task_id, $task) LIMIT 3",
        {"project": project, "task": task},
        fresh=True,
    )
    found = rows["task_id"].to_pylist()
    if task in found:
        return task
    if len(found) == 1:
        return str(found[0])
    hint = f"labelproof sql \"SELECT task_id, kind, state FROM task_outcomes WHERE project = '{project}'\""
    if found:
        raise ConfigError(f"several tasks begin with {task!r}: write more of it", hint=hint)
    raise ConfigError(f"no task of project {project!r} begins with {task!r}", hint=hint)
