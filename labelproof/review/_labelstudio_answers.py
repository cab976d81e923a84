"""What an annotation of Label Studio says, as a vote or as the reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any

from labelproof.report.review_votes import ANSWERS, Vote
from labelproof.spec.labels import EMPTY_SET, LabelSchema

LABEL, ANSWER, NOTE = "label", "answer", "note"
"""Names of the controls in the labeling interface."""
NOT_LABEL = tuple(answer for answer in ANSWERS if answer != "label")
JOINER = "\u2060"
"""Invisible. Label Studio fills `$name` in a choice from the task's data; behind a `$` this keeps a label's own."""
_MAX_SECONDS = timedelta(days=1).total_seconds()


class Answers:
    """What one annotation says, before it is checked: chosen labels, other answers, notes; or why not."""

    __slots__ = ("answers", "labels", "notes", "problem")

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.answers: list[str] = []
        self.notes: list[str] = []
        self.problem: str | None = None

    @classmethod
    def of_result(cls, annotation: Mapping[str, Any]) -> Answers:
        """Read the ``result`` list of a JSON export."""
        said = cls()
        results = annotation.get("result") or []
        if not isinstance(results, list):
            said.problem = f"expected a list in result, found {type(results).__name__}"
            return said
        for region in results:
            value = region.get("value") if isinstance(region, Mapping) else None
            if not isinstance(value, Mapping):
                said.problem = "expected an object with a value in result"
                return said
            said._add(str(region.get("from_name")), value)
        return said

    @classmethod
    def of_min(cls, record: Mapping[str, Any]) -> Answers:
        """Read the columns of a JSON-MIN record: text, an object, or a list of either."""
        said = cls()
        for name in (LABEL, ANSWER, NOTE):
            value = record.get(name)
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str):
                    said._add(name, {"text" if name == NOTE else "choices": [one]})
                elif isinstance(one, Mapping):
                    said._add(name, one)
                elif one is not None:
                    said.problem = f"expected text in {name}, found {type(one).__name__}"
        return said

    def _add(self, name: str, value: Mapping[str, Any]) -> None:
        if name == NOTE:
            self.notes += _texts(value.get("text"))
            return
        chosen = _texts(value.get("choices"))
        paths = value.get("taxonomy")
        chosen += ["/".join(_texts(path)) for path in paths] if isinstance(paths, list) else []
        if name == ANSWER:
            self.answers += chosen
        elif name == LABEL:
            self.labels += [label.replace(JOINER, "") for label in chosen]


def vote_of(
    annotation: Mapping[str, Any],
    said: Answers,
    task_id: Any,
    schema: LabelSchema,
    people: Mapping[str, str],
    annotator: str | None,
    now: datetime,
) -> Vote | str:
    if not isinstance(task_id, str) or not task_id:
        return "no task_id in its data: expected tasks that `labelproof review export --format label-studio` wrote"
    who = _person(annotation, people) or annotator
    if who is None:
        return "it does not say who annotated: give --annotator NAME"
    if said.problem is not None:
        return said.problem
    answer, label = _answer(said, schema, cancelled=bool(annotation.get("was_cancelled")))
    if answer is None:
        return label or "no answer"
    return Vote(
        task_id=task_id,
        annotator=who,
        answer=answer,
        label=label,
        note="\n".join(note.strip() for note in said.notes if note.strip()) or None,
        seconds=_seconds(annotation.get("lead_time")),
        at=_time(annotation, now),
    )


def _answer(said: Answers, schema: LabelSchema, *, cancelled: bool) -> tuple[str | None, str | None]:
    """Return answer and canonical label, or None and why there is none."""
    if cancelled:
        return "skip", None
    answers = {answer.strip().casefold() for answer in said.answers}
    if answers - set(NOT_LABEL) or len(answers) > 1:
        return (
            None,
            f"answer must be one of {', '.join(NOT_LABEL)}; found {', '.join(sorted(answers))[:80]!r}",
        )
    if answers and said.labels:
        return None, f"answer {answers.pop()!r} and the label {said.labels[0][:80]!r} contradict each other"
    if answers:
        return answers.pop(), None
    if not said.labels:
        return None, "no answer: neither a label nor skip, flag or unclear was chosen"
    try:
        return "label", _canonical(said.labels, schema)
    except ValueError as error:
        close = get_close_matches(said.labels[0], schema.leaves, n=1, cutoff=0.5)
        return None, f"{error}; closest: {close[0]!r}" if close else str(error)


def _canonical(labels: Sequence[str], schema: LabelSchema) -> str:
    chosen = list(dict.fromkeys(labels))
    if schema.kind == "multi":
        if EMPTY_SET in chosen and len(chosen) > 1:
            raise ValueError(f"{EMPTY_SET!r} says that no label applies, and others are chosen too")
        return schema.canonical([] if chosen == [EMPTY_SET] else chosen)
    if len(chosen) > 1:
        raise ValueError(f"this project asks for one label; found {len(chosen)}: {', '.join(chosen)[:80]}")
    return schema.canonical(chosen[0])


def _person(annotation: Mapping[str, Any], people: Mapping[str, str]) -> str | None:
    """Return who annotated: ``completed_by`` (or ``annotator``) is a number, an e-mail or an object of both."""
    by = annotation.get("completed_by", annotation.get("annotator"))
    names = [by.get("id"), by.get("email")] if isinstance(by, Mapping) else [by]
    known = [str(name).strip() for name in names if name is not None and not isinstance(name, bool)]
    known = [name for name in known if name]
    for name in known:
        if name.casefold() in people:
            return people[name.casefold()]
    if not known:
        return None
    return f"ls-{known[-1]}" if known[-1].isdecimal() else known[-1]


def _seconds(value: Any) -> float | None:
    """Return the time spent in seconds; None for what is not a measurement (negative, above a day)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= _MAX_SECONDS else None


def _time(annotation: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return when the annotation was last changed, at most ``now``; None if it does not say."""
    for name in ("updated_at", "created_at"):
        value = annotation.get(name)
        if not isinstance(value, str):
            continue
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            continue
        return min(at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC), now)
    return None


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]
