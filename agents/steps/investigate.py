"""A LangChain tool-using agent for items still unsure; bounded in turns and money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

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


class Investigate(Prompted):
    """Evidence first, then a label; the last admitted turn can only submit one."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, InvestigateStep)
        self.spec = resolved.spec
        self.model = next(iter(resolved.models))
        self.model_spec = resolved.models[self.model]

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {"text": state.text, "label": state.label, "signals": _shown_signals(state)}

    async def run(self, state: ItemState, calls: CallScope) -> Output:
        from langchain.agents import create_agent
        from langchain_core.messages import HumanMessage, ToolMessage
        from langchain_core.tools import StructuredTool

        from agents.recorded_chat import RecordedChat
        from agents.tools import build_tools

        spent = {"turns": 0, "usd": 0.0}

        async def ask(request: ChatRequest) -> ChatResult:
            result = await calls.chat(self.model, request)
            spent["turns"] += 1
            spent["usd"] += result.cost_usd
            return result

        def submit_label(label: str, confidence: float, reason: str) -> str:
            """Submit the final label, your probability from 0 to 1 that it is right, and why."""
            return label

        chat = RecordedChat(
            ask=ask,
            turns_left=lambda: (
                spent["turns"] + 1 < self.spec.max_turns and spent["usd"] < self.spec.max_cost_usd
            ),
            final_tool=SUBMIT,
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

    def _output(self, messages: list[Any], tool_message: type, spent: Mapping[str, Any]) -> InvestigateOutput:
        asked = {call["id"]: call for m in messages for call in getattr(m, "tool_calls", None) or []}
        evidence = [
            [m.name, asked[m.tool_call_id]["args"], str(m.content)[:600]]
            for m in messages
            if isinstance(m, tool_message) and m.name != SUBMIT and m.tool_call_id in asked
        ]
        submitted = [call["args"] for call in asked.values() if call["name"] == SUBMIT]
        if not submitted:
            last = str(messages[-1].content)
            raise OutputError(f"no label after {spent['turns']} turns", raw=last)
        final = submitted[-1]
        try:
            label = self.schema.canonical(str(final.get("label", "")))
            confidence = min(1.0, max(0.0, float(final.get("confidence", 0.5))))
        except (ValueError, TypeError) as error:
            raise OutputError(str(error), raw=str(final)) from error
        reading = Reading(label=label, confidence=confidence, rationale=str(final.get("reason", "")))
        log_probs = claimed_distribution(reading, self.schema)
        return {
            "label": best(log_probs, self.schema)[0],
            "log_probs": [round(value, 5) for value in log_probs],
            "rationale": reading.rationale[:2000],
            "evidence": evidence,
            "turns": int(spent["turns"]),
            "cost_usd": float(spent["usd"]),
        }

    def apply(self, state: ItemState, output: Output) -> None:
        apply_reading(state, output, self)


def _shown_signals(state: ItemState) -> str:
    shown = state.signals()
    confidence = shown["confidence"]
    parts = [f"confidence {confidence:.2f}" if confidence is not None else "confidence unknown"]
    if state.agreement is not None:
        parts.append(f"agreement {state.agreement:.2f}")
    if state.manipulation:
        parts.append("found " + ", ".join(dict.fromkeys(state.manipulation)))
    return "; ".join(parts)
