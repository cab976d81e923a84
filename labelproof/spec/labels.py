"""What labels a project has, and the one canonical spelling of each answer.

A label travels as a string everywhere (store, scores, CLI): the class name (single-label), the sorted
names joined by ``+`` or ``none`` (multi-label), ``parent/child`` (two-level taxonomy).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal
from unicodedata import category

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Severity = Literal["low", "medium", "high", "critical"]
EMPTY_SET = "none"
_BREAKS = frozenset(("Cc", "Zl", "Zp", "Cs"))
"""Unicode categories of control characters, line and paragraph breaks, halves of characters."""


class LabelClass(BaseModel):
    """One class of the schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    """How the class is written in data, prompts and reports."""
    description: str = ""
    """One line that goes into the prompt."""
    severity: Severity = "low"
    """Harm when missed; orders the review queue."""
    children: tuple[LabelClass, ...] = ()
    """Second level; only in a taxonomy."""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        is_broken = any(mark in "+/" or category(mark) in _BREAKS for mark in name)
        if is_broken or name != name.strip():
            raise ValueError("a label name may not hold '+', '/', line breaks or outer spaces")
        return name


class LabelSchema(BaseModel):
    """The closed set of answers of a project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["single", "multi", "taxonomy"] = "single"
    """single: exactly one class; multi: any subset; taxonomy: one leaf of two levels."""
    classes: tuple[LabelClass, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> LabelSchema:
        names = [c.name for c in self.classes]
        if len(set(names)) != len(names):
            raise ValueError(f"class names must differ; found {sorted(names)}")
        if self.kind != "multi" and len(self.leaves) < 2:
            raise ValueError("a schema needs at least two labels to choose from")
        if self.kind == "multi" and EMPTY_SET in names:
            raise ValueError("'none' is how the empty set is written; leave it out of the classes")
        for parent in self.classes:
            if parent.children and self.kind != "taxonomy":
                raise ValueError(f"class {parent.name!r} has children; that needs kind: taxonomy")
            kids = [c.name for c in parent.children]
            if len(set(kids)) != len(kids):
                raise ValueError(f"children of {parent.name!r} must differ")
            if any(c.children for c in parent.children):
                raise ValueError("a taxonomy has two levels; found a third")
        return self

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Return the labels to choose from; a class without children is its own leaf."""
        names: list[str] = []
        for parent in self.classes:
            if parent.children:
                names.extend(f"{parent.name}/{child.name}" for child in parent.children)
            else:
                names.append(parent.name)
        return tuple(names)

    @cached_property
    def leaf_classes(self) -> dict[str, LabelClass]:
        """Return leaf label → its class, in order."""
        found: dict[str, LabelClass] = {}
        for parent in self.classes:
            if parent.children:
                found.update({f"{parent.name}/{child.name}": child for child in parent.children})
            else:
                found[parent.name] = parent
        return found

    @cached_property
    def _leaf_set(self) -> frozenset[str]:
        return frozenset(self.leaves)

    def canonical(self, value: str | Iterable[str]) -> str:
        """Return the stored spelling of an answer.

        Strings are matched exactly, then without regard to case; multi-label accepts a list or a
        canonical string. Raises ``ValueError`` naming the allowed labels.
        """
        if self.kind != "multi":
            if not isinstance(value, str):
                raise ValueError(f"expected one of {list(self.leaves)}, found {value!r}")
            return self._leaf(value)
        if isinstance(value, str):
            value = [] if value in ("", EMPTY_SET) else value.split("+")
        if not isinstance(value, Iterable):
            raise ValueError(f"expected a list of names from {list(self.leaves)}, found {value!r}")  # noqa: TRY004  # as documented
        chosen = {self._leaf(name) for name in value}
        return "+".join(name for name in sorted(chosen)) if chosen else EMPTY_SET

    def members(self, label: str) -> frozenset[str]:
        """Return the classes behind a canonical label; for multi-label the set, else the one."""
        if self.kind != "multi":
            return frozenset((label,))
        return frozenset() if label == EMPTY_SET else frozenset(label.split("+"))

    def severity(self, label: str) -> Severity:
        """Return the highest severity among the classes behind ``label``."""
        order: tuple[Severity, ...] = ("low", "medium", "high", "critical")
        ranks = [order.index(self.leaf_classes[name].severity) for name in self.members(label)]
        return order[max(ranks, default=0)]

    def _leaf(self, value: str) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected a label name, found {value!r}")  # noqa: TRY004  # as documented
        name = value.strip()
        if name in self._leaf_set:
            return name
        folded = [leaf for leaf in self.leaves if leaf.casefold() == name.casefold()]
        if len(folded) == 1:
            return folded[0]
        shown = ", ".join(self.leaves[:12]) + (" …" if len(self.leaves) > 12 else "")
        raise ValueError(f"label {value[:80]!r} is not in the schema; expected one of: {shown}")
