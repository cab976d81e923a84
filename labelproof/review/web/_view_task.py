"""A task as its page shows it: the text, the answers to choose from, and what was chosen before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelproof.report.visible_text import Segment, excerpt, segments
from labelproof.review._desk_show import shown_meta
from labelproof.review.model import Assignment, Vote
from labelproof.spec.labels import EMPTY_SET, LabelSchema
from labelproof.spec.project import ProjectFolder

N_DIGITS = 9
"""With more labels than this, a box to type in finds them."""
_META_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A label to choose: ``digit`` is its key, None beyond the ninth; ``group``: the taxonomy's parent."""

    value: str
    name: str
    group: str | None
    description: str
    digit: int | None
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """Everything the task fragment shows. ``machine_*``: None while the task is blind.

    ``other``: skip, flag or unclear when that was answered before; ``note``: the note of that answer.
    """

    handle: str
    token: str
    item_id: str
    text: tuple[Segment, ...]
    n_characters: int
    hidden: str | None
    meta: tuple[tuple[str, tuple[Segment, ...]], ...]
    blind: bool
    blurred: bool
    has_image: bool
    choices: tuple[Choice, ...]
    multi: bool
    filtered: bool
    other: str | None
    note: str
    machine_label: str | None
    machine_confidence: float | None
    machine_rationale: tuple[Segment, ...] | None
    again: bool


def task_view(assignment: Assignment, folder: ProjectFolder, *, handle: str) -> TaskView:
    """Return the view of an assignment; a blind one holds nothing of the machine's answer. ``handle``: of its task."""
    task, previous = assignment.task, assignment.previous
    schema = folder.spec.labels
    told = not task.blind
    rationale = assignment.shown_rationale if told else None
    return TaskView(
        handle=handle,
        token=assignment.lease.token,
        item_id=task.item_id,
        text=segments(assignment.text),
        n_characters=len(assignment.text),
        hidden=assignment.hidden,
        meta=meta_pairs(assignment.meta, folder),
        blind=task.blind,
        blurred=assignment.blurred,
        has_image=assignment.image is not None,
        choices=choices(schema, previous.label if previous else None),
        multi=schema.kind == "multi",
        filtered=len(schema.leaves) > N_DIGITS,
        other=_other(previous),
        note=(previous.note if previous else None) or "",
        machine_label=assignment.shown_label if told else None,
        machine_confidence=assignment.shown_confidence if told else None,
        machine_rationale=segments(rationale) if rationale else None,
        again=previous is not None,
    )


def choices(schema: LabelSchema, chosen: str | None) -> tuple[Choice, ...]:
    """Return the labels of a schema in its order; ``chosen``: a canonical answer, its labels come ticked.

    In a multi-label schema the empty set is the last choice.
    """
    try:
        ticked = schema.members(schema.canonical(chosen)) if chosen is not None else frozenset[str]()
    except ValueError:  # an answer under an older schema
        ticked = frozenset()
    made = []
    for index, (value, leaf) in enumerate(schema.leaf_classes.items()):
        group, _, name = value.rpartition("/")
        made.append(
            Choice(
                value=value,
                name=name,
                group=group or None,
                description=leaf.description,
                digit=index + 1 if index < N_DIGITS else None,
                chosen=value in ticked,
            )
        )
    if schema.kind == "multi":
        is_empty = chosen == EMPTY_SET
        description = "No label applies."
        made.append(
            Choice(
                value=EMPTY_SET,
                name=EMPTY_SET,
                group=None,
                description=description,
                digit=0,
                chosen=is_empty,
            )
        )
    return tuple(made)


def meta_pairs(meta: Mapping[str, Any], folder: ProjectFolder) -> tuple[tuple[str, tuple[Segment, ...]], ...]:
    """Return metadata as text, shortened; what gives an answer away is left out, and so is the image's place."""
    image = folder.spec.review.care.image_column
    return tuple(
        (key, excerpt(str(value), _META_LONGEST))
        for key, value in shown_meta(meta, folder).items()
        if key != image
    )


def _other(previous: Vote | None) -> str | None:
    return (
        previous.answer if previous is not None and previous.answer in ("skip", "flag", "unclear") else None
    )
