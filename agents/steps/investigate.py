"""A LangChain tool-using agent for items still unsure; bounded in turns and money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from agents.instructions import InstructionFilter
from agents.models.protocol import ChatRequest, ChatResult
from agents.readings import Reading, best, claimed_distribution
from agents.resolve import ResolvedStep
from agents.state import ItemState
from agents.steps.base import CallScope, Output, Resources
from agents.steps.label import Prompted, apply_reading
from labelproof.spec.errors import OutputError
from labelproof.spec.strategy import InvestigateStep

SUBMIT = "submit_label"


class InvestigateOutput(TypedDict):
    """``evidence``: [tool, arguments, result] in order; ``turns``: model calls made."""

    label: str
    log_probs: list[float]
    rationale: str
    evidence: list[list[Any]]
    turns: int
    cost_usd: float
    manipulation: list[str]


class Investigate(Prompted):
    """Evidence first, then a label; the last admitted turn can only submit one."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, InvestigateStep)
        self.spec = resolved.spec
        self.model = next(iter(resolved.models))
        self.model_spec = resolved.models[self.model]
        self._instructions = InstructionFilter(self.schema.leaves)

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        # The item's id stands for its raw text, which the decode tool reads.
        shown = {"item": state.item.id, "label": state.label, "signals": _shown_signals(state)}
        return {**super().inputs(state), **shown}

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        from langchain.agents import create_agent
        from langchain_core.messages import HumanMessage, ToolMessage
        from langchain_core.tools import StructuredTool

        from agents.recorded_chat import RecordedChat
        from agents.tools import build_tools

        spent = _Spent()

        async def ask(request: ChatRequest) -> ChatResult:
            result = await calls.chat(self.model, request)
            spent.add(result.cost_usd)
            return result

        def submit_label(**arguments: Any) -> str:
            """Submit the final label, your probability from 0 to 1 that it is right, and why."""
            return str(arguments.get("label"))

        turns, money = self.spec.max_turns, self.spec.max_cost_usd
        chat = RecordedChat(
            ask=ask,
            may_ask=lambda: spent.turns < turns and spent.usd < money,
            # Room for one more call after the next: the one that submits.
            turns_left=lambda: spent.turns + 1 < turns and spent.usd + 2 * spent.largest_usd <= money,
            problem_of=self._problem_of,
            final_tool=SUBMIT,
            fence=self.resources.secrets.fence(state.item.id, state.item.text),
            max_tokens=self.model_spec.max_tokens,
            temperature=self.model_spec.temperature,
            seed=self.model_spec.seed,
        )
        submit = StructuredTool.from_function(
            submit_label, name=SUBMIT, return_direct=True, args_schema=self._submit_schema()
        )
        agent: Any = create_agent(
            chat,
            [*build_tools(self.spec.tools, state, self.resources), submit],
            system_prompt=self.system(state),
        )
        opening = self.user(state, label=state.label or "none", signals=_shown_signals(state))
        done = await agent.ainvoke(
            {"messages": [HumanMessage(opening)]}, {"recursion_limit": 4 * self.spec.max_turns + 4}
        )
        return dict(self._output(done["messages"], ToolMessage, spent))

    def _submit_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "label": {"type": "string", "enum": list(self.schema.leaves)}
                if self.schema.kind != "multi"
                else {"type": "string", "description": "names joined by +, or none"},
                "confidence": {"type": "number"},
                "reason": {"type": "string"},
            },
            "required": ["label", "confidence", "reason"],
        }

    def _problem_of(self, tool: str, arguments: dict[str, Any]) -> str | None:
        if tool != SUBMIT:
            return None
        try:
            self._submitted(arguments)
        except (ValueError, TypeError) as error:
            return str(error)[:300]
        return None

    def _submitted(self, arguments: Mapping[str, Any]) -> Reading:
        label = self.schema.canonical(str(arguments.get("label", "")))
        confidence = float(arguments.get("confidence", math.nan))
        if not 0 <= confidence <= 1:
            raise ValueError("confidence must be a number from 0 to 1")
        return Reading(label=label, confidence=confidence, rationale=str(arguments.get("reason", ""))[:2000])

    def _output(self, messages: list[Any], tool_message: Any, spent: _Spent) -> InvestigateOutput:
        asked = {call["id"]: call for m in messages for call in getattr(m, "tool_calls", None) or []}
        evidence = [
            [m.name, asked[m.tool_call_id]["args"], str(m.content)[:600]]
            for m in messages
            if isinstance(m, tool_message) and m.name != SUBMIT and m.tool_call_id in asked
        ]
        submitted = [call["args"] for call in asked.values() if call["name"] == SUBMIT]
        if not submitted:
            raise OutputError(
                f"no usable label after {spent.turns} turns and ${spent.usd:.4f}",
                raw=str(messages[-1].content),
            )
        reading = self._submitted(submitted[-1])
        log_probs = [round(value, 5) for value in claimed_distribution(reading, self.schema)]
        disguised = any(tool == "decode" and self._instructions.matches(found) for tool, _, found in evidence)
        return {
            "label": best(log_probs, self.schema)[0],
            "log_probs": log_probs,
            "rationale": reading.rationale,
            "evidence": evidence,
            "turns": spent.turns,
            "cost_usd": spent.usd,
            "manipulation": ["instruction_like"] if disguised else [],
        }

    def apply(self, state: ItemState, output: Output) -> None:
        apply_reading(state, output, self)


class _Spent:
    """Model calls of one investigation: how many, what they cost, and the dearest."""

    def __init__(self) -> None:
        self.turns = 0
        self.usd = 0.0
        self.largest_usd = 0.0

    def add(self, usd: float) -> None:
        self.turns += 1
        self.usd += usd
        self.largest_usd = max(self.largest_usd, usd)


def _shown_signals(state: ItemState) -> str:
    shown = state.signals()
    confidence = shown["confidence"]
    parts = [f"confidence {confidence:.2f}" if confidence is not None else "confidence unknown"]
    if state.agreement is not None:
        parts.append(f"agreement {state.agreement:.2f}")
    if state.manipulation:
        parts.append("found " + ", ".join(dict.fromkeys(state.manipulation)))
    return "; ".join(parts)
