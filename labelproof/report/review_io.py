"""Review tasks out as a blind sheet that people fill in, and their answers back in as votes."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

if TYPE_CHECKING:
    import pyarrow as pa

SheetKind = Literal["audit", "gold", "routed", "disagreement", "appeal", "disputed", "all"]
COLUMNS = ("task_id", "kind", "item_id", "text", "hidden", "meta", "label", "answer", "note", "annotator")
"""Columns of a sheet; the last four are the reviewer's."""
TELLING = frozenset(
    (
        *("label", "labels", "gold", "gold_label", "predicted", "predicted_label", "prediction", "answer"),
        *("decision", "confidence", "raw_confidence", "score", "probability", "model", "strategy", "reason"),
        *("certificate_id", "audited", "inclusion_prob"),
    )
)
"""Metadata of these names may hold somebody's answer: never shown to a blind reviewer."""
_MOST_HIDDEN = 8
# Oldest day first, then by a hash of the task: no order in which a label or a confidence could be read.
_TASKS = """
SELECT t.task_id, t.kind, t.item_id, t.ts, t.votes_wanted, t.n_votes, i.meta_json, x.text,
       a.task_id IS NOT NULL AS answered
FROM task_outcomes AS t
LEFT JOIN current_items AS i ON i.item_id = t.item_id AND i.project = t.project
LEFT JOIN text_by_hash AS x ON x.text_hash = i.text_hash
LEFT JOIN (
    SELECT DISTINCT task_id FROM current_votes
    WHERE project = $project AND annotator = $annotator AND answer <> 'withdrawn'
) AS a ON a.task_id = t.task_id
WHERE t.project = $project AND t.state IN (SELECT unnest($states)) AND t.kind <> 'check' AND ($kind IS NULL OR t.kind = $kind)
ORDER BY epoch(t.ts)::BIGINT // 86400, md5(t.task_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSheet:
    """Open tasks for people, blind: nothing in ``rows`` comes from a model.

    ``rows``: one mapping a task with the keys of ``COLUMNS``. ``n_open``: tasks of that kind that wait,
    ``n_answered``: those of them that this annotator has answered before, ``n_textless``: those whose text is
    not stored; ``votes_wanted``: answers still missing for the tasks in ``rows``. ``left_out``: metadata
    columns that could give an answer away.
    """

    project: str
    kind: SheetKind
    annotator: str | None
    rows: tuple[Mapping[str, str | None], ...]
    labels: tuple[str, ...]
    multi: bool
    n_open: int
    n_answered: int
    n_textless: int
    votes_wanted: int
    left_out: tuple[str, ...]

    def table(self) -> pa.Table:
        """Return the sheet as a table of strings."""
        import pyarrow as pa

        return pa.table({c: pa.array([row[c] for row in self.rows], pa.string()) for c in COLUMNS})

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "kind": self.kind,
            "annotator": self.annotator,
            "rows": len(self.rows),
            "kinds": dict(Counter(row["kind"] for row in self.rows)),
            "open": self.n_open,
            "answered_by_annotator": self.n_answered,
            "without_text": self.n_textless,
            "votes_wanted": self.votes_wanted,
            "labels": list(self.labels),
            "answers": ["label", "skip", "flag", "unclear"],
            "meta_left_out": list(self.left_out),
        }


def _as_asked(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks with those of kind disagreement in the order of asking, each in a place that one of them had.

    That order is random already, and an experiment may stop early only on answers that come in about that order.
    """
    asked = iter(
        sorted((task for task in tasks if task["kind"] == "disagreement"), key=lambda one: one["ts"])
    )
    return [next(asked) if task["kind"] == "disagreement" else task for task in tasks]


def review_sheet(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    kind: SheetKind = "all",
    limit: int | None = None,
    annotator: str | None = None,
) -> ReviewSheet:
    """Return the open tasks of a project as a blind sheet, oldest day first and in random order within it.

    ``kind``: one kind of task, ``all``, or ``disputed``: tasks whose reviewers gave different labels
    or raised a question, for an adjudicator (who does not see those labels). The order is the same for everybody, so that two
    reviewers with the same ``limit`` answer the same tasks. Tasks that ``annotator`` has answered are left
    out. No open task gives an empty sheet.
    """
    found = store.query(
        _TASKS,
        {
            "project": folder.name,
            "annotator": annotator,
            "states": ["disputed", "escalated"] if kind == "disputed" else ["open"],
            "kind": None if kind in ("all", "disputed") else kind,
        },
        fresh=True,
    ).to_pylist()
    with_text = [task for task in _as_asked(found) if task["text"] is not None]
    tasks = [task for task in with_text if not task["answered"]][:limit]
    metas = [orjson.loads(task["meta_json"]) if task["meta_json"] else {} for task in tasks]
    telling = _telling(metas, folder)
    return ReviewSheet(
        project=folder.name,
        kind=kind,
        annotator=annotator,
        rows=tuple(
            {
                "task_id": task["task_id"],
                "kind": task["kind"],
                "item_id": task["item_id"],
                "text": task["text"],
                "hidden": hidden_characters(task["text"]),
                "meta": _meta_cell(meta, telling),
                "label": None,
                "answer": None,
                "note": None,
                "annotator": annotator,
            }
            for task, meta in zip(tasks, metas, strict=True)
        ),
        labels=folder.spec.labels.leaves,
        multi=folder.spec.labels.kind == "multi",
        n_open=len(found),
        n_answered=sum(task["answered"] for task in with_text),
        n_textless=len(found) - len(with_text),
        votes_wanted=sum(
            1 if kind == "disputed" else max(0, task["votes_wanted"] - task["n_votes"]) for task in tasks
        ),
        left_out=tuple(sorted(telling)),
    )


def write_sheet(sheet: ReviewSheet, path: Path, form: str = "auto", *, overwrite: bool = False) -> int:
    """Write a sheet as csv, jsonl or parquet (auto: by the name) and return its number of rows.

    CSV cells that a spreadsheet would run as a formula get a leading apostrophe; everything else of the
    texts is kept character for character. An existing file is a ``ConfigError`` unless ``overwrite``: it may
    hold answers.
    """
    from labelproof.store.interchange import format_of, write_labels

    declared = format_of(path, form)
    if path.exists() and not overwrite:
        raise ConfigError(
            "the file exists, and may hold answers", path=path, hint="choose another name or add --overwrite"
        )
    return write_labels(sheet.table(), path, declared)


def hidden_characters(text: str) -> str | None:
    """Return the characters of a text that a reader cannot see, by name and count; None without any.

    Format and control characters except line breaks and tabs, and line and paragraph separators.
    """
    counts = Counter(
        mark
        for mark in text
        if mark not in "\n\r\t" and unicodedata.category(mark) in ("Cf", "Cc", "Zl", "Zp", "Co")
    )
    if not counts:
        return None
    words = [
        f"U+{ord(mark):04X} {unicodedata.name(mark, 'control character')}" + (f" x{n}" if n > 1 else "")
        for mark, n in sorted(counts.items())
    ]
    more = len(words) - _MOST_HIDDEN
    return "; ".join(words[:_MOST_HIDDEN]) + (f"; and {more} more kinds" if more > 0 else "")


def telling_rule(folder: ProjectFolder) -> Callable[[str, object], bool]:
    """Return whether a metadata column and value are kept from reviewers.

    They are when the project's ``review.shown_meta`` leaves the column out, its name is one of answers, or a label stands
    in the value.
    """
    shown = folder.spec.review.shown_meta
    schema, gold = folder.spec.labels, folder.spec.gold
    names = TELLING if gold is None else TELLING | {gold.label_column.casefold()}
    labels = {name.casefold() for name in (*schema.leaves, *(parent.name for parent in schema.classes))}

    def tells(key: str, value: object) -> bool:
        if key.casefold() in names or (shown != "*" and key not in shown):
            return True
        return isinstance(value, str) and any(part.casefold().strip() in labels for part in value.split("+"))

    return tells


def _telling(metas: Sequence[Mapping[str, Any]], folder: ProjectFolder) -> frozenset[str]:
    """Return the metadata columns that could give an answer away in any of the rows."""
    tells = telling_rule(folder)
    return frozenset(key for meta in metas for key, value in meta.items() if tells(key, value))


def _meta_cell(meta: Mapping[str, Any], telling: frozenset[str]) -> str | None:
    kept = {key: value for key, value in meta.items() if key not in telling and value is not None}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode() if kept else None
