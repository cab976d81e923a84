"""A LangChain chat model over our own calls, so that an agent's every turn is limited, paid once and traced.

Tool calls are schema-bound JSON (one tool and its arguments a turn): they work the same on a hosted
model, a llama.cpp server and the embedded model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.outputs import ChatResult as LangChainResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict

from agents.models.protocol import ChatRequest, ChatResult, Message
from labelproof.spec.errors import BugError

Ask = Callable[[ChatRequest], Awaitable[ChatResult]]


class RecordedChat(BaseChatModel):
    """One item's conversation. The last turn admits only ``final_tool``, so that it always ends."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    ask: Ask
    turns_left: Callable[[], bool]
    """False when the next answer must be the final one (turns or money used up)."""
    final_tool: str
    max_tokens: int
    temperature: float
    seed: int | None
    bound: tuple[dict[str, Any], ...] = ()

    @property
    def _llm_type(self) -> str:
        return "labelproof-recorded"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Return the same model with these tools offered."""
        specs = tuple(convert_to_openai_tool(tool)["function"] for tool in tools)
        return self.model_copy(update={"bound": specs})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LangChainResult:
        raise BugError("the investigating agent runs asynchronously only")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LangChainResult:
        more = self.turns_left()
        offered = [tool for tool in self.bound if more or tool["name"] == self.final_tool]
        system, turns = _split(messages)
        request = ChatRequest(
            system=f"{system}\n\n{_tool_text(self.bound)}",
            user=turns[-1].content if more else f"{turns[-1].content}\n\nDecide now: {self.final_tool}.",
            history=tuple(turns[:-1]),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            json_schema=_action_schema(offered),
            schema_name="action",
        )
        result = await self.ask(request)
        message = _action(result.text, len(messages), {tool["name"] for tool in offered})
        return LangChainResult(generations=[ChatGeneration(message=message)])


def _tool_text(tools: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"- {tool['name']}({', '.join(tool['parameters'].get('properties', {}))}): "
        f"{tool['description'].splitlines()[0]}"
        for tool in tools
    ]
    return (
        "Tools:\n"
        + "\n".join(lines)
        + '\n\nAnswer each turn with one JSON object: {"tool": name, "arguments": {…}}.'
    )


def _action_schema(tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    choices = [
        {
            "type": "object",
            "properties": {
                "tool": {"type": "string", "enum": [tool["name"]]},
                "arguments": {
                    "type": "object",
                    "properties": tool["parameters"].get("properties", {}),
                    "required": list(tool["parameters"].get("properties", {})),
                    "additionalProperties": False,
                },
            },
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _action(raw: str, turn: int, allowed: set[str]) -> AIMessage:
    """Return the tool call in an answer; an unreadable one becomes plain text, which ends the agent."""
    start, end = raw.find("{"), raw.rfind("}")
    try:
        body = orjson.loads(raw[start : end + 1])
    except orjson.JSONDecodeError:
        return AIMessage(content=raw)
    if not isinstance(body, dict) or body.get("tool") not in allowed:
        return AIMessage(content=raw)
    arguments = body.get("arguments")
    call = {
        "name": body["tool"],
        "args": arguments if isinstance(arguments, dict) else {},
        "id": f"call_{turn}",
        "type": "tool_call",
    }
    return AIMessage(content="", tool_calls=[call])


def _split(messages: Sequence[BaseMessage]) -> tuple[str, list[Message]]:
    system = ""
    turns: list[Message] = []
    for message in messages:
        text = message.content if isinstance(message.content, str) else str(message.content)
        if isinstance(message, SystemMessage):
            system = text
        elif isinstance(message, AIMessage):
            calls = [{"tool": call["name"], "arguments": call["args"]} for call in message.tool_calls]
            shown = orjson.dumps(calls[0]).decode() if calls else text
            turns.append(Message(role="assistant", content=shown))
        elif isinstance(message, ToolMessage):
            turns.append(Message(role="user", content=f"Result of {message.name}:\n{text}"))
        elif isinstance(message, HumanMessage):
            turns.append(Message(role="user", content=text))
    return system, turns
