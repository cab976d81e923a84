"""The start page and a reviewer's queue, as rows to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelproof.report.numbers import count
from labelproof.review.model import FOR_LEADS, Progress, Reviewer
from labelproof.review.queue import QueueOverview
from labelproof.review.web._view_words import KIND_WORDS, ago, open_words, rough, span
from labelproof.spec.labels import Severity
from labelproof.spec.review import SEVERITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCard:
    """One project on the start page; ``for_leads``: None for people who do not lead."""

    name: str
    description: str
    open_for_me: str
    overdue: str
    answered: str
    for_leads: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """What waits of one kind of task."""

    words: str
    n_open: str
    n_overdue: str
    oldest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRow:
    """Items of a severity seen today; ``limit``: "-" without one."""

    severity: str
    seen: str
    limit: str


def project_card(
    name: str, description: str, progress: Progress, overview: QueueOverview, user: Reviewer
) -> ProjectCard:
    """Return a project's card for this person."""
    waiting = sum(overview.by_state.get(state, 0) for state in FOR_LEADS)
    return ProjectCard(
        name=name,
        description=description,
        open_for_me=open_words(progress),
        overdue=rough(overview.n_overdue) if progress.rounded else count(overview.n_overdue),
        answered=count(progress.answered),
        for_leads=count(waiting) if user.leads else None,
    )


def kind_rows(overview: QueueOverview, *, rounded: bool) -> tuple[KindRow, ...]:
    """Return the kinds with open tasks; hidden gold is not among them. ``rounded``: see ``Progress``."""
    words = rough if rounded else count
    return tuple(
        KindRow(
            words=KIND_WORDS[kind],
            n_open=words(n),
            n_overdue=words(overview.overdue_by_kind.get(kind, 0)),
            oldest=ago(overview.oldest_by_kind.get(kind), overview.at),
        )
        for kind, n in overview.open_by_kind.items()
        if n and kind != "check"
    )


def due_line(overview: QueueOverview) -> str:
    """Return when the next open task that is not late is due."""
    now = overview.at.timestamp()
    coming = overview.due_s[overview.due_s >= now]
    return f"The next one is due in {span(float(coming[0]) - now)}." if coming.size else ""


def exposure_rows(seen: Mapping[Severity, int], limits: Mapping[Severity, int]) -> Sequence[ExposureRow]:
    """Return what was seen today by severity, gravest first; severities without items and limit left out."""
    return [
        ExposureRow(
            severity=name,
            seen=count(seen.get(name, 0)),
            limit=count(limits[name]) if name in limits else "-",
        )
        for name in reversed(SEVERITIES)
        if seen.get(name) or name in limits
    ]


def time_left(progress: Progress) -> str:
    """Return how long this reviewer would need for what is open for them."""
    if progress.n_open_for_me == 0:
        return "nothing is open for you"
    if progress.hours_left is None:
        return "known after ten answers"
    return f"about {span(3_600 * progress.hours_left)}"
