"""Both ways of one item side by side: the same until a step, and what was asked and answered differently there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import orjson

from labelproof.report.compare.model import Side
from labelproof.report.compare.page.view import DiffLine, diff_lines
from labelproof.report.trace import ItemTrace, TracedStep, first_divergence, trace_item
from labelproof.report.trace_lines import StepLine, step_lines
from labelproof.report.visible_text import Segment, segments
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

_MOST_LINES = 400
_MOST_RUNS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPair:
    """The steps of both at one position; None where one has no such step. ``state``: before, first or after."""

    a: StepLine | None
    b: StepLine | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDiff:
    """What differs in one text of the diverging step: its prompt or its output."""

    title: str
    lines: Sequence[DiffLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePair:
    """Two traces of an item. ``missing``: why one of them is not there; then ``pairs`` holds the other's steps."""

    item_id: str
    names: Sequence[str]
    text: tuple[Segment, ...]
    meta: Sequence[tuple[str, tuple[Segment, ...]]]
    gold: str | None
    answers: Sequence[Mapping[str, Any]]
    pairs: Sequence[StepPair]
    n_same: int
    """Steps before the first divergence."""
    at: str | None
    """Name of the first step that differs; None when none does."""
    diffs: Sequence[TextDiff]
    missing: Sequence[str]


def trace_pair(store: TraceStore, project: str, item_id: str, a: Side, b: Side) -> TracePair:
    """Return an item's way through both strategies; ``ConfigError`` when neither has labelled it."""
    found: list[ItemTrace | None] = []
    missing = []
    for side in (a, b):
        trace = _trace(store, project, item_id, side)
        found.append(trace)
        if trace is None:
            missing.append(f"No steps of {side.ref} are stored for this item.")
    known = next((trace for trace in found if trace is not None), None)
    if known is None:
        raise ConfigError(
            f"item {item_id!r}: neither {a.ref} nor {b.ref} has labelled it, or its steps were not stored",
            hint=f"labelproof trace {project} {item_id}",
        )
    one, other = found
    split = first_divergence(one, other) if one is not None and other is not None else None
    steps = [trace.steps if trace is not None else () for trace in found]
    return TracePair(
        item_id=known.item_id,
        names=[name for name in known.external_ids if name],
        text=segments(known.text),
        meta=[
            (str(key), segments(value if isinstance(value, str) else repr(value)))
            for key, value in known.meta.items()
        ],
        gold=known.gold_label,
        answers=[_answer(side, trace) for side, trace in zip((a, b), found, strict=True)],
        pairs=_pairs(steps[0], steps[1], split),
        n_same=(split if split is not None else min(len(steps[0]), len(steps[1]))) if not missing else 0,
        at=_name_at(steps, split),
        diffs=_diffs(steps, split) if split is not None else (),
        missing=missing,
    )


def _trace(store: TraceStore, project: str, item_id: str, side: Side) -> ItemTrace | None:
    """The item's trace in one of the side's runs; of any run of that version when none of them is known."""
    run_id = None
    runs = list(side.run_ids)[:_MOST_RUNS]
    if runs:
        marks = ", ".join("?" * len(runs))
        rows = store.query(
            f"SELECT run_id FROM steps WHERE item_id = ? AND run_id IN ({marks}) ORDER BY ts DESC LIMIT 1",
            [item_id, *runs],
            fresh=True,
        ).to_pylist()
        run_id = rows[0]["run_id"] if rows else None
    try:
        return trace_item(
            store, project, item_id, run_id=run_id, strategy=None if run_id is not None else side.fp
        )
    except ConfigError:  # nothing of this version is stored about the item
        return None


def _answer(side: Side, trace: ItemTrace | None) -> dict[str, Any]:
    decision = trace.decision if trace is not None else None
    confidence = decision["confidence"] if decision else None
    return {
        "ref": side.ref,
        "name": side.name,
        "label": (decision["label"] or "no answer") if decision else "-",
        "confidence": "" if confidence is None else f"{confidence:.3f}",
        "decision": (decision["decision"] or "").replace("_", "-") if decision else "",
        "reason": (decision["reason"] or "") if decision else "",
        "run_id": trace.run_id if trace is not None else None,
    }


def _pairs(a: Sequence[TracedStep], b: Sequence[TracedStep], split: int | None) -> list[StepPair]:
    left, right = step_lines(a, with_calls=True), step_lines(b, with_calls=True)
    return [
        StepPair(
            a=left[i] if i < len(left) else None,
            b=right[i] if i < len(right) else None,
            state="before" if split is None or i < split else "first" if i == split else "after",
        )
        for i in range(max(len(left), len(right)))
    ]


def _name_at(steps: Sequence[Sequence[TracedStep]], split: int | None) -> str | None:
    if split is None:
        return None
    names = dict.fromkeys(side[split].name for side in steps if split < len(side))
    return " / ".join(names)


def _diffs(steps: Sequence[Sequence[TracedStep]], split: int) -> list[TextDiff]:
    """What the diverging step was asked (each call's system and user text) and what came out of it."""
    a, b = (side[split] if split < len(side) else None for side in steps)
    if a is None or b is None:
        return []
    found = []
    for i in range(max(len(a.calls), len(b.calls))):
        one, other = (step.calls[i] if i < len(step.calls) else None for step in (a, b))
        call = f" of call {i + 1}" if max(len(a.calls), len(b.calls)) > 1 else ""
        for title, name in (("System prompt", "system"), ("User prompt", "user"), ("Answer", "response")):
            texts = [(getattr(one_call, name) if one_call else None) or "" for one_call in (one, other)]
            found += _diff(title + call, texts[0], texts[1])
    outputs = [
        orjson.dumps(step.output, option=orjson.OPT_INDENT_2).decode() if step.output is not None else ""
        for step in (a, b)
    ]
    return [*found, *_diff("Output", outputs[0], outputs[1])]


def _diff(title: str, before: str, after: str) -> list[TextDiff]:
    if before == after:
        return []
    lines = list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]
    if not lines:  # they differ in how lines end
        return []
    cut = lines[:_MOST_LINES]
    if len(lines) > len(cut):
        cut.append(f"@@ {len(lines) - len(cut)} more lines @@")
    return [TextDiff(title=title, lines=diff_lines(cut))]
