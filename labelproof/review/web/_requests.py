"""What browsers send to the task pages, checked; JSON or a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import Request

from labelproof.review.model import Answer, Ballot

_MANY = frozenset(("label", "token", "task_id"))
"""Fields that a form may repeat."""
Id = Annotated[str, Field(min_length=1, max_length=200)]
Body = TypeVar("Body", bound=BaseModel)


class VoteIn(BaseModel):
    """An answer. ``task_id``: the task's handle. ``label``: a name, a list of them (several labels; empty: none of them), or null."""

    model_config = ConfigDict(extra="forbid")

    task_id: Id
    token: Id
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,100}$")]
    answer: Answer
    label: Annotated[str, Field(max_length=2_000)] | Annotated[list[str], Field(max_length=200)] | None = None
    note: Annotated[str, Field(max_length=4_000)] | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    def ballot(self, task_id: str, *, multi: bool) -> Ballot:
        """Return it as the desk takes it; the labels of a multi-label answer joined. ``task_id``: behind the handle."""
        label = self.label
        if isinstance(label, list):
            label = "+".join(label) if multi else (label[0] if len(label) == 1 else None)
            if multi and not label:
                label = "none"
        return Ballot(
            task_id=task_id,
            token=self.token,
            key=self.key,
            answer=self.answer,
            label=label if self.answer == "label" else None,
            note=self.note,
            seconds=self.seconds,
        )


class ReleaseIn(BaseModel):
    """Tasks that a page lets go of, with their tokens in the same order."""

    model_config = ConfigDict(extra="forbid")

    task_id: Annotated[list[Id], Field(max_length=20)]
    token: Annotated[list[Id], Field(max_length=20)]

    @field_validator("task_id", "token", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class LeasesIn(BaseModel):
    """Task id -> token of the tasks on a page."""

    model_config = ConfigDict(extra="forbid")

    leases: Annotated[dict[Id, Id], Field(max_length=20)]


class ReasonIn(BaseModel):
    """Why, in a person's words."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


async def read(request: Request, shape: type[Body]) -> Body:
    """Return the request's body, JSON or form, in its shape; 422 with a sentence when it does not fit."""
    given = await _given(request)
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise HTTPException(422, f"{where}: {first['msg']}. Reload the page and answer again.") from error


async def read_leases(request: Request) -> Mapping[str, str]:
    """Return the leases of a heartbeat, whose JSON body is {task id: token}."""
    given = await _given(request)
    try:
        return LeasesIn.model_validate({"leases": given}).leases
    except ValidationError as error:
        raise HTTPException(422, "Expected a JSON object of task ids and their tokens.") from error


async def _given(request: Request) -> Any:
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            return orjson.loads(await request.body())
        except orjson.JSONDecodeError as error:
            raise HTTPException(422, "The request's body is not JSON.") from error
    form = await request.form()
    found: dict[str, Any] = {}
    for name in form:
        values = [value for value in form.getlist(name) if isinstance(value, str)]
        found[name] = values if name in _MANY and len(values) > 1 else values[0] if values else None
    found.pop("csrf", None)
    return found
