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
Problem = Callable[[str, dict[str, Any]], str | None]


class RecordedChat(BaseChatModel):
    """One item's conversation. The last turn admits only ``final_tool``, so that it always ends.

    An answer that is no call of an offered tool is asked again with the error shown, while turns are left.
    What a tool returns stands between two lines of ``fence``, as the item does.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    ask: Ask
    turns_left: Callable[[], bool]
    """False when the next answer must be the final one (turns or money nearly used up)."""
    may_ask: Callable[[], bool]
    """False when the model may not be called at all (turns or money used up): the agent ends."""
    problem_of: Problem
    """What is wrong with a call's arguments, in words for the model; None: nothing."""
    final_tool: str
    fence: str
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
        system, turns = self._split(messages)
        answer, problem = "", ""
        while self.may_ask():
            more = self.turns_left()
            offered = [tool for tool in self.bound if more or tool["name"] == self.final_tool]
            user = turns[-1].content
            if problem:
                user += f"\n\nYour last answer could not be used: {problem}"
            request = ChatRequest(
                system=f"{system}\n\n{_tool_text(self.bound)}",
                user=user if more else f"{user}\n\nDecide now: {self.final_tool}.",
                history=tuple(turns[:-1]),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=self.seed,
                json_schema=_action_schema(offered),
                schema_name="action",
            )
            answer = (await self.ask(request)).text
            try:
                message = self._call(answer, len(messages), {tool["name"] for tool in offered})
            except ValueError as error:
                problem = str(error)
            else:
                return _generated(message)
        # Plain text ends the agent; without a submission the item has no label from it.
        return _generated(AIMessage(content=answer))

    def _call(self, raw: str, turn: int, allowed: set[str]) -> AIMessage:
        """Return the tool call in an answer; ``ValueError`` says what is wrong with it."""
        start, end = raw.find("{"), raw.rfind("}")
        if start < 0 or end < start:
            raise ValueError("no JSON object in the answer")
        body = orjson.loads(raw[start : end + 1])  # its error is a ValueError too
        name, arguments = body.get("tool"), body.get("arguments")
        if name not in allowed:
            raise ValueError(f"tool must be one of {', '.join(sorted(allowed))}")
        arguments = arguments if isinstance(arguments, dict) else {}
        problem = self.problem_of(name, arguments)
        if problem is not None:
            raise ValueError(problem)
        call = {"name": name, "args": arguments, "id": f"call_{turn}", "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call])

    def _split(self, messages: Sequence[BaseMessage]) -> tuple[str, list[Message]]:
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
                evidence = f"{self.fence}\n{text.replace(self.fence, '')}\n{self.fence}"
                turns.append(Message(role="user", content=f"Result of {message.name}:\n{evidence}"))
            elif isinstance(message, HumanMessage):
                turns.append(Message(role="user", content=text))
        return system, turns


def _generated(message: AIMessage) -> LangChainResult:
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
