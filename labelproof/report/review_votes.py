"""Answers of people from a filled-in sheet: checked, stored once each, and what they changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore
from labelproof.store.interchange.items import RowError, row_error
from labelproof.store.interchange.rows import RawRow, iter_rows
from labelproof.store.interchange.sources import public_name

Role = Literal["reviewer", "adjudicator"]
ANSWERS = ("label", "skip", "flag", "unclear")
_FORMULA = "=+-@\t\r"
_OUTCOMES = """
SELECT task_id, kind, item_id, state FROM task_outcomes
WHERE project = $project AND task_id IN (SELECT unnest($tasks))
"""
_VOTES = """
SELECT v.vote_id, v.task_id, v.annotator, v.role, c.vote_id AS current_id, c.answer, c.label, c.ts AS current_at
FROM votes AS v JOIN current_votes AS c USING (project, task_id, item_id, annotator, role)
WHERE v.project = $project AND v.task_id IN (SELECT unnest($tasks))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One answer as it will be stored; ``label`` in canonical form, None unless ``answer`` is label.

    ``at``: when it was given, where the source says so; then a later answer of the same person replaces an
    earlier one. None: it counts from the import on. ``seconds``: the time it took.
    """

    task_id: str
    annotator: str
    answer: str
    label: str | None
    note: str | None
    seconds: float | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a sheet: rows = stored + known + unanswered + errors.

    ``n_known``: answers that the store had already. ``before`` and ``after``: how many of the tasks answered
    in this file are open, agreed, disputed, adjudicated.
    """

    project: str
    source: str
    role: Role
    n_rows: int
    n_stored: int
    n_known: int
    n_unanswered: int
    errors: tuple[RowError, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]

    @property
    def usable(self) -> bool:
        """Whether at least one row held an answer that is in the store now."""
        return self.n_stored + self.n_known > 0

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "source": self.source,
            "role": self.role,
            "rows": self.n_rows,
            "stored": self.n_stored,
            "already_stored": self.n_known,
            "unanswered": self.n_unanswered,
            "bad": len(self.errors),
            "errors": [{"source": e.source, "line": e.line, "reason": e.reason} for e in self.errors],
            "before": dict(self.before),
            "after": dict(self.after),
        }


def import_votes(
    store: TraceStore,
    folder: ProjectFolder,
    source: str,
    *,
    now: datetime,
    annotator: str | None = None,
    role: Role = "reviewer",
) -> ImportReport:
    """Store the answers of a filled-in sheet (CSV, JSONL or Parquet) and return what they changed.

    A row without label, answer and note is unanswered. ``annotator`` fills empty annotator cells. The vote's
    id is the hash of what it says, so a file imported twice stores nothing twice; an answer that its author has
    replaced since is not brought back by an old file. Rows that cannot be used are listed with their
    line, and the others are stored.
    """
    rows = [(row, _vote(row, folder.spec.labels, annotator)) for row in _rows(source)]
    return store_votes(store, folder, rows, source, now=now, role=role)


def store_votes(
    store: TraceStore,
    folder: ProjectFolder,
    rows: Sequence[tuple[RawRow, Vote | str | None]],
    source: str,
    *,
    now: datetime,
    role: Role = "reviewer",
) -> ImportReport:
    """Store the votes among ``rows`` once each and return what they changed.

    A row comes with its vote, with None if nobody answered it, or with the reason why it cannot be used.
    """
    votes = [(row, made) for row, made in rows if isinstance(made, Vote)]
    votes.sort(key=lambda pair: pair[1].at or now)
    tasks = sorted({vote.task_id for _, vote in votes})
    before = _outcomes(store, folder.name, tasks)
    errors = [row_error(row, made) for row, made in rows if isinstance(made, str)]
    known = _Known.of(store, folder.name, tasks)
    new: dict[str, Vote] = {}
    said_last: dict[tuple[str, str], str] = {}
    n_known = 0
    clashing = _clashing([vote for _, vote in votes])
    for row, vote in votes:
        vote_id = _vote_id(folder.name, vote, role)
        person = (vote.task_id, vote.annotator)
        if vote.at is not None and known.is_older(vote_id, vote.at):
            n_known += 1
            continue
        changed = said_last.get(person, vote_id) != vote_id and (
            vote_id in new or known.was_before(vote_id, vote.at)
        )
        if vote.at is not None and (vote_id in known.replaced or changed):
            # What they said before, said again after something else: an answer of its own.
            vote_id = _vote_id(folder.name, vote, role, vote.at)
        problem = _problem(vote, role, before, known, clashing, vote_id)
        if problem is not None:
            errors.append(row_error(row, problem))
            continue
        said_last[person] = vote_id
        if vote_id in known.current or vote_id in new:
            n_known += 1
        else:
            new[vote_id] = vote
    if new:
        store.append("votes", _columns(folder.name, new, before, role, public_name(source), now))
    after = _outcomes(store, folder.name, tasks)
    counted = sorted({vote.task_id for _, vote in votes} & set(before))
    return ImportReport(
        project=folder.name,
        source=public_name(source),
        role=role,
        n_rows=len(rows),
        n_stored=len(new),
        n_known=n_known,
        n_unanswered=sum(made is None for _, made in rows),
        errors=tuple(sorted(errors, key=lambda error: error.line)),
        before=Counter(before[task]["state"] for task in counted),
        after=Counter(after[task]["state"] for task in counted),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """Votes that the store has on some tasks."""

    current: Mapping[str, datetime]
    """Vote id -> since when it is what its author says."""
    replaced: Mapping[str, tuple[str, datetime]]
    """Vote id -> what its author says now instead, and since when."""
    reviewers: frozenset[tuple[str, str]]
    """(task, annotator) of reviewers."""

    def is_older(self, vote_id: str, at: datetime) -> bool:
        """Whether the store has this vote and a later one of its author instead."""
        return vote_id in self.replaced and at <= self.replaced[vote_id][1]

    def was_before(self, vote_id: str, at: datetime | None) -> bool:
        """Whether the store has this vote, from before ``at``, as what its author says."""
        return at is not None and vote_id in self.current and self.current[vote_id] < at

    @classmethod
    def of(cls, store: TraceStore, project: str, tasks: Sequence[str]) -> _Known:
        rows = store.query(_VOTES, {"project": project, "tasks": list(tasks)}, fresh=True).to_pylist()
        current = {row["vote_id"]: row["current_at"] for row in rows if row["vote_id"] == row["current_id"]}
        return cls(
            current=current,
            replaced={
                row["vote_id"]: (row["label"] or row["answer"], row["current_at"])
                for row in rows
                if row["vote_id"] not in current
            },
            reviewers=frozenset(
                (row["task_id"], row["annotator"]) for row in rows if row["role"] == "reviewer"
            ),
        )


def _rows(source: str) -> list[RawRow]:
    try:
        return list(
            iter_rows(
                path=source,
                query=None,
                declared_format="auto",
                folder=Path.cwd(),
                required=["task_id", "label"],
            )
        )
    except ConfigError as error:
        hint = "the columns are those that `labelproof review export` writes; save as CSV in UTF-8"
        raise ConfigError(error.message, hint=hint if "column" in error.message else error.hint) from error


def _vote(row: RawRow, schema: LabelSchema, annotator: str | None) -> Vote | str | None:
    """Return the vote that a row holds, None if it was not filled in, or why it cannot be used."""
    if row.values is None:
        return row.problem or "unreadable row"
    task_id, label, note = (row.values.get(name) for name in ("task_id", "label", "note"))
    answer = str(row.values.get("answer") or "").strip().casefold()
    note = unguarded(str(note).strip()) if note not in (None, "") else ""
    given = label if isinstance(label, list) else str(label if label is not None else "").strip()
    has_label = given != ""
    if not has_label and not answer:
        return "a note without an answer: write label, skip, flag or unclear beside it" if note else None
    if not isinstance(task_id, str) or not task_id.strip():
        return "no task_id"
    who = unguarded(str(row.values.get("annotator") or annotator or "").strip())
    if not who:
        return "no annotator: fill in the column, or give --annotator NAME"
    answer = answer or "label"
    if answer not in ANSWERS:
        close = get_close_matches(answer, schema.leaves, n=1, cutoff=0.8)
        meant = f"; {close[0]!r} is a label: write it in the column label" if close else ""
        return f"answer must be one of {', '.join(ANSWERS)}; found {answer[:80]!r}{meant}"
    if answer != "label":
        if has_label:
            return (
                f"answer {answer!r} and the label {str(given)[:80]!r} contradict each other: leave one empty"
            )
        return Vote(task_id=task_id.strip(), annotator=who, answer=answer, label=None, note=note or None)
    if not has_label:
        return "answer 'label' without a label" + (
            " (no class applies: none)" if schema.kind == "multi" else ""
        )
    try:
        canonical = _label(given, schema)
    except ValueError as error:
        return str(error)
    return Vote(task_id=task_id.strip(), annotator=who, answer="label", label=canonical, note=note or None)


def _label(given: str | list[Any], schema: LabelSchema) -> str:
    """Return the canonical label; an apostrophe that guards a formula is taken off."""
    try:
        return schema.canonical(given)
    except ValueError as error:
        if isinstance(given, str) and given.startswith("'"):
            try:
                return schema.canonical(given[1:])
            except ValueError:
                raise error from None
        close = get_close_matches(str(given), schema.leaves, n=1, cutoff=0.5)
        if close:
            raise ValueError(f"{error}; closest: {close[0]!r}") from error
        raise


def unguarded(cell: str) -> str:
    """Return a cell without the apostrophe that keeps a spreadsheet from running it as a formula."""
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in _FORMULA else cell


def _clashing(votes: Sequence[Vote]) -> frozenset[tuple[str, str]]:
    """Return (task, annotator) with two different answers in one file, given at one time or at times unknown: which
    one is meant is not ours to guess.
    """
    said: dict[tuple[str, str, datetime | None], set[tuple[str, str | None]]] = {}
    for vote in votes:
        said.setdefault((vote.task_id, vote.annotator, vote.at), set()).add((vote.answer, vote.label))
    return frozenset((task, who) for (task, who, _), answers in said.items() if len(answers) > 1)


def _problem(
    vote: Vote,
    role: Role,
    tasks: Mapping[str, Mapping[str, Any]],
    known: _Known,
    clashing: frozenset[tuple[str, str]],
    vote_id: str,
) -> str | None:
    """Return why a well-formed vote is not stored."""
    task = tasks.get(vote.task_id)
    if task is None:
        return f"no task {vote.task_id[:60]!r} in this project"
    if (vote.task_id, vote.annotator) in clashing:
        return f"{vote.annotator!r} answers this task twice in this file, differently: none is used"
    if vote_id in known.replaced:
        return (
            f"{vote.annotator!r} changed this answer later (to {known.replaced[vote_id][0]!r}), which stays; "
            "to go back to it, write a note beside it"
        )
    if role == "adjudicator" and vote_id not in known.current:
        if task["state"] not in ("disputed", "escalated", "adjudicated"):
            return (
                f"nothing to adjudicate: the task is {task['state']}, reviewers have neither given different labels "
                "nor raised a question"
            )
        if (vote.task_id, vote.annotator) in known.reviewers:
            return f"{vote.annotator!r} was a reviewer of this task: somebody else adjudicates it"
    return None


def _vote_id(project: str, vote: Vote, role: Role, at: datetime | None = None) -> str:
    said = [vote.task_id, vote.annotator, role, vote.answer, vote.label, vote.note]
    return digest(["vote", project, *said, *([] if at is None else [at.isoformat()])])


def _outcomes(store: TraceStore, project: str, tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = store.query(_OUTCOMES, {"project": project, "tasks": list(tasks)}, fresh=True).to_pylist()
    return {row["task_id"]: row for row in rows}


def _columns(
    project: str,
    votes: Mapping[str, Vote],
    tasks: Mapping[str, Mapping[str, Any]],
    role: Role,
    source: str,
    now: datetime,
) -> dict[str, list[Any]]:
    n = len(votes)
    return {
        "vote_id": list(votes),
        "project": [project] * n,
        "task_id": [vote.task_id for vote in votes.values()],
        "item_id": [tasks[vote.task_id]["item_id"] for vote in votes.values()],
        "annotator": [vote.annotator for vote in votes.values()],
        "role": [role] * n,
        "answer": [vote.answer for vote in votes.values()],
        "label": [vote.label for vote in votes.values()],
        "note": [vote.note for vote in votes.values()],
        "source": [source] * n,
        "seconds": [vote.seconds for vote in votes.values()],
        "ts": [vote.at or now for vote in votes.values()],
    }
