"""What differs between two strategy snapshots: steps, keys, texts. Pure functions on JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from enum import Enum
from typing import Any, Literal

_TEXT_CHARS = 100


class Absent(Enum):
    """Stands for a key that one side does not have; None is a value."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return self.value


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One key with another value. ``path`` is dotted, list entries by their name."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """One text that reads differently; ``unified`` are the lines of a unified diff."""

    path: str
    n_added: int
    n_removed: int
    unified: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """One step of either strategy; fingerprints are None on the side that lacks it."""

    name: str
    state: Literal["same", "changed", "added", "removed", "moved"]
    before: str | None
    after: str | None
    keys: tuple[KeyChange, ...] = ()
    texts: tuple[TextChange, ...] = ()


def diff_snapshots(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[StepChange]:
    """Return every step of both snapshots, in the order of ``after`` and then what was removed."""
    old = {step["name"]: step for step in before["steps"]}
    new = {step["name"]: step for step in after["steps"]}
    common = [name for name in new if name in old]
    moved = set() if common == [name for name in old if name in new] else _moved(list(old), common)
    changes = []
    for name, step in new.items():
        if name not in old:
            changes.append(StepChange(name=name, state="added", before=None, after=step["fingerprint"]))
            continue
        keys, texts = compare_values(_content(old[name]), _content(step))
        state: Literal["same", "changed", "moved"] = "same"
        if keys or texts:
            state = "changed"
        elif name in moved:
            state = "moved"
        changes.append(
            StepChange(
                name=name,
                state=state,
                before=old[name]["fingerprint"],
                after=step["fingerprint"],
                keys=keys,
                texts=texts,
            )
        )
    changes += [
        StepChange(name=name, state="removed", before=step["fingerprint"], after=None)
        for name, step in old.items()
        if name not in new
    ]
    return changes


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return path → leaf. Lists of named objects and of pairs go by name, other lists by position."""
    if isinstance(value, Mapping):
        pairs = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = _entries(value)
    else:
        return {path: value}
    if not pairs:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, inner in pairs:
        joined = key if not path else f"{path}{key}" if key.startswith("[") else f"{path}.{key}"
        flat |= flatten(inner, joined)
    return flat


def _entries(values: Sequence[Any]) -> list[tuple[str, Any]]:
    names = [value.get("name") if isinstance(value, Mapping) else None for value in values]
    if values and None not in names and len(set(names)) == len(names):
        return [(f"[{name}]", value) for name, value in zip(names, values, strict=True)]
    if values and all(isinstance(v, list) and len(v) == 2 and isinstance(v[0], str) for v in values):
        keys = [value[0] for value in values]
        if len(set(keys)) == len(keys):
            return [(f"[{key}]", value[1]) for key, value in zip(keys, values, strict=True)]
    return [(f"[{n}]", value) for n, value in enumerate(values)]


def _content(step: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": step["kind"], "when": step["when"], **step["components"]}


def compare_values(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[tuple[KeyChange, ...], tuple[TextChange, ...]]:
    """Return the keys and texts that differ between two JSON objects, in the order of ``before``."""
    old, new = flatten(before), flatten(after)
    keys: list[KeyChange] = []
    texts: list[TextChange] = []
    for path in dict.fromkeys((*old, *new)):
        was, now = old.get(path, ABSENT), new.get(path, ABSENT)
        # 1 and True are equal in Python and different in JSON.
        if was == now and type(was) is type(now):
            continue
        if _is_text(was) or _is_text(now):
            texts.append(_text_change(path, was, now))
        else:
            keys.append(KeyChange(path=path, before=was, after=now))
    return tuple(keys), tuple(texts)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > _TEXT_CHARS)


def _text_change(path: str, before: Any, after: Any) -> TextChange:
    was, now = (value.splitlines() if isinstance(value, str) else [] for value in (before, after))
    unified = tuple(unified_diff(was, now, "before", "after", lineterm="", n=2))[2:]
    return TextChange(
        path=path,
        n_added=sum(line.startswith("+") for line in unified),
        n_removed=sum(line.startswith("-") for line in unified),
        unified=unified,
    )


def _moved(old: list[str], common: list[str]) -> set[str]:
    order = [name for name in old if name in common]
    return {name for name, other in zip(common, order, strict=True) if name != other}
