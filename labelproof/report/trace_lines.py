"""The steps of a trace as pages show them: what came out, what it cost, and what the models were asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from labelproof.report.numbers import count
from labelproof.report.trace import TracedStep
from labelproof.report.visible_text import Segment, segments


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A step of the item's run; ``output``: its JSON, ``calls``: what the models were asked and said."""

    name: str
    kind: str
    status: str
    error: str | None
    cached: bool
    cost: str
    latency: str
    output: tuple[Segment, ...] | None
    calls: tuple[Mapping[str, Any], ...]


def step_lines(steps: Sequence[TracedStep], *, with_calls: bool) -> tuple[StepLine, ...]:
    """Return the steps of a trace; prompts and raw answers only ``with_calls``."""
    return tuple(
        StepLine(
            name=step.name,
            kind=step.kind,
            status=step.status,
            error=step.error,
            cached=step.cache_hit,
            cost=f"${step.cost_usd:.5f}" if step.cost_usd else "-",
            latency=f"{count(round(step.latency_ms))} ms" if step.latency_ms else "-",
            output=json_segments(step.output),
            calls=tuple(
                {
                    "model": call.model,
                    "tokens": f"{count(call.tokens_in or 0)} in, {count(call.tokens_out or 0)} out",
                    "texts": [
                        (title, segments(text))
                        for title, text in (
                            ("System", call.system),
                            ("User", call.user),
                            ("Answer", call.response),
                        )
                        if text
                    ],
                }
                for call in step.calls
            )
            if with_calls
            else (),
        )
        for step in steps
    )


def json_segments(value: Mapping[str, Any] | None) -> tuple[Segment, ...] | None:
    """Return a step's output as indented JSON in pieces; None for none."""
    if value is None:
        return None
    return segments(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
