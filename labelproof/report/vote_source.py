"""Votes as a table, from the store's review answers or from a file, with an account of what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.votes import VoteTable
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import find_project
from labelproof.store import default_store, open_store
from labelproof.store.interchange import RowError, VoteForm, Votes, read_items, read_votes

FILE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz")
_CURRENT_VOTES = """
SELECT v.item_id, v.annotator, v.answer, v.label
FROM current_votes v
LEFT JOIN (SELECT DISTINCT task_id, kind FROM review_tasks WHERE project = $project) t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND ($kind IS NULL OR t.kind = $kind)
ORDER BY v.ts, v.vote_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """Which votes. ``votes``: a file, default the answers stored for ``project``; ``kind``: only those to review
    tasks of that kind (audit, gold, ...). ``labels``: the closed, ordered list, default the project's.
    ``families``: model family -> its annotators.
    """

    project: str | None = None
    votes: str | None = None
    kind: str | None = None
    labels: tuple[str, ...] | None = None
    form: VoteForm = "auto"
    item_column: str | None = None
    families: Mapping[str, Sequence[str]] = field(default_factory=dict)
    store_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteSource:
    """Where the votes come from and what did not become one: ``errors`` (bad rows, or bad cells of a row),
    ``n_unanswered`` (skipped, flagged, unclear), ``n_replaced`` (a later vote of the same annotator counts).
    """

    project: str | None
    origin: str
    kind: str | None
    form: str
    n_rows: int
    n_replaced: int
    n_unanswered: int
    errors: tuple[RowError, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the source as JSON values, with the first 20 errors."""
        return {
            "project": self.project,
            "votes_from": self.origin,
            "kind": self.kind,
            "form": self.form,
            "n_rows": self.n_rows,
            "n_replaced": self.n_replaced,
            "n_unanswered": self.n_unanswered,
            "n_errors": len(self.errors),
            "errors": [str(error) for error in self.errors[:20]],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVotes:
    """The table with its source. ``allowed``: what a label may be (None: anything); ``items``: the project's ids."""

    table: VoteTable
    source: VoteSource
    allowed: LabelSchema | tuple[str, ...] | None
    items: Mapping[str, str] | None
    is_multilabel: bool

    def need_order(self) -> None:
        """Raise ``ConfigError`` unless the labels have an order that somebody gave."""
        if self.allowed is None or self.is_multilabel:
            raise ConfigError(
                "a scale needs single labels in a known order",
                hint="--labels worst,middle,best",
            )


def is_file(given: str) -> bool:
    """Whether ``given`` names a file rather than a strategy."""
    return "://" in given or given.lower().endswith(FILE_SUFFIXES) or Path(given).is_file()


def load_votes(request: VoteRequest) -> LoadedVotes:
    """Return the votes asked for; ``ConfigError`` when there is none, or not one that can be used."""
    if request.votes is None and request.project is None:
        raise ConfigError("expected a project or a file of votes", hint="--votes FILE")
    schema: LabelSchema | None = None
    items: Mapping[str, str] | None = None
    project = None
    if request.project is not None:
        folder = find_project(request.project)
        project, schema = folder.name, folder.spec.labels
        if request.votes is not None:
            items = read_items(folder.spec.items, folder.folder).item_ids
    allowed = request.labels if request.labels is not None else schema
    if request.votes is None:
        assert project is not None
        return _from_store(request, project, allowed)
    if request.kind is not None:
        raise ConfigError("--kind chooses among stored review tasks", hint="leave out --kind or --votes")
    read = read_votes(
        request.votes,
        form=request.form,
        item_column=request.item_column,
        labels=allowed,
        items=items,
    )
    if read.errors and not read.votes and not read.counts:
        raise ConfigError(
            f"none of the {read.n_rows} rows of {read.name} could be used; the first: {read.errors[0]}",
            hint="a row per vote (item, annotator, label), or a column per annotator, or a mapping in `votes`",
        )
    source = VoteSource(
        project=project,
        origin=read.name,
        kind=None,
        form=read.form,
        n_rows=read.n_rows,
        n_replaced=read.n_replaced,
        n_unanswered=read.n_unanswered,
        errors=read.errors,
    )
    return LoadedVotes(
        table=_table_of(read, request, allowed),
        source=source,
        allowed=allowed,
        items=items,
        is_multilabel=_is_multilabel(allowed, [v.label for v in read.votes if v.label is not None]),
    )


def _from_store(
    request: VoteRequest, project: str, allowed: LabelSchema | tuple[str, ...] | None
) -> LoadedVotes:
    with open_store(request.store_url or default_store()) as store:
        rows = store.query(_CURRENT_VOTES, {"project": project, "kind": request.kind}, fresh=True).to_pylist()
    given = [row for row in rows if row["answer"] == "label"]
    if not given:
        of_kind = f" on {request.kind} tasks" if request.kind else ""
        raise ConfigError(
            f"nobody has voted{of_kind} in project {project!r} yet",
            hint="import votes with --votes FILE, or review some tasks first",
        )
    votes = [(row["item_id"], row["annotator"], row["label"]) for row in given]
    table = _table(votes, request, allowed)
    return LoadedVotes(
        table=table,
        source=VoteSource(
            project=project,
            origin="store",
            kind=request.kind,
            form="long",
            n_rows=len(rows),
            n_replaced=table.n_replaced,
            n_unanswered=len(rows) - len(given),
            errors=(),
        ),
        allowed=allowed,
        items=None,
        is_multilabel=_is_multilabel(allowed, table.labels),
    )


def _table_of(read: Votes, request: VoteRequest, allowed: LabelSchema | tuple[str, ...] | None) -> VoteTable:
    if read.form != "counts":
        votes = [(v.item, v.annotator, v.label) for v in read.votes if v.label is not None]
        return _table(votes, request, allowed)
    if request.families:
        raise ConfigError("families need to know who voted; the file only counts votes")
    labels = _closed(allowed) or tuple(dict.fromkeys(label for row in read.counts for label in row.counts))
    return VoteTable.from_counts(
        [[row.counts.get(label, 0) for label in labels] for row in read.counts],
        labels=labels,
        items=[row.item for row in read.counts],
    )


def _table(
    votes: Sequence[tuple[str, str, str]],
    request: VoteRequest,
    allowed: LabelSchema | tuple[str, ...] | None,
) -> VoteTable:
    names = {annotator for _, annotator, _ in votes}
    families: dict[str, str] = {}
    for family, members in request.families.items():
        for member in members:
            if member not in names:
                raise ConfigError(
                    f"family {family!r}: no votes of {member!r}; found: {', '.join(sorted(names)[:12])}"
                )
            families[member] = family
    return VoteTable.from_votes(votes, labels=_closed(allowed), families=families)


def _closed(allowed: LabelSchema | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The labels a table may hold, in order; None for label sets, whose combinations are not listed."""
    if isinstance(allowed, LabelSchema):
        return None if allowed.kind == "multi" else allowed.leaves
    return allowed


def _is_multilabel(allowed: LabelSchema | tuple[str, ...] | None, labels: Sequence[str]) -> bool:
    if isinstance(allowed, LabelSchema):
        return allowed.kind == "multi"
    return allowed is None and any("+" in label for label in labels)
