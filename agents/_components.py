"""Where two strategy snapshots differ, in the smallest pieces that can be taken from one or the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.snapshots import compare_values

Step = Mapping[str, Any]
Atom = tuple[str, ...]
"""("part", step, part), ("step", step), ("shared", key) or ("order",): taken from one side as a whole."""

PARTS = {"prompt": "prompt", "guideline": "guideline", "model": "models"}
"""Part of a model step → its key among the components; the part `params` is all the rest, with the condition."""
SHARED = {
    "task": "task",
    "labels": "labels",
    "examples": "examples",
    "calibration": "calibration",
    "class_prior": "class_prior",
    "searched_guideline": "guideline_search",
}
"""Components that all steps of a strategy share, because a run has one of each → their name for people."""
_LABELLING = frozenset(("label", "consensus", "investigate"))
_READS_BY = ("method", "answer_with")
"""Parameters that a prompt is written for: a letter prompt cannot be read as JSON."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Two snapshots with their steps by name."""

    a: Mapping[str, Step]
    b: Mapping[str, Step]

    @classmethod
    def of(cls, a: Mapping[str, Any], b: Mapping[str, Any]) -> Sides:
        return cls({step["name"]: step for step in a["steps"]}, {step["name"]: step for step in b["steps"]})

    @property
    def common(self) -> list[str]:
        """Names of the steps of one kind that both have, in A's order."""
        return [
            name for name, step in self.a.items() if name in self.b and self.b[name]["kind"] == step["kind"]
        ]

    def shared(self, key: str) -> tuple[Any, Any]:
        """Return a shared component of A and of B; None where no step of that side says it."""
        return _shared(self.a.values(), key), _shared(self.b.values(), key)


def _shared(steps: Any, key: str) -> Any:
    steps = list(steps)
    found = next((step["components"][key] for step in steps if key in step["components"]), None)
    if found is None and key == "class_prior" and any(step["kind"] == "calibrate" for step in steps):
        return {}  # without a known share of labels the key is left out
    return found


def part_of(step: Step, part: str) -> Any:
    """Return what a part of a step says; None: the step has no such part."""
    if part != "params":
        return step["components"].get(PARTS[part])
    beside = {*PARTS.values(), *SHARED}
    return {
        "when": step["when"],
        **{key: value for key, value in step["components"].items() if key not in beside},
    }


def atoms(sides: Sides) -> list[tuple[str, tuple[Atom, ...]]]:
    """Return (name for people, atoms) of everything that differs, in the order of the steps."""
    found = _replaced(sides)
    for name in sides.common:
        found += _parts(sides, name)
    place = {name: n for n, name in enumerate(merged_order(sides, from_b=False))}
    found.sort(key=lambda pair: place[pair[1][0][1]])
    for key, name in SHARED.items():
        a, b = sides.shared(key)
        if a is not None and b is not None and a != b:
            found.append((name, (("shared", key),)))
    if is_reordered(sides):
        found.append(("order", (("order",),)))
    return _unique(found)


def is_reordered(sides: Sides) -> bool:
    both = [name for name in sides.a if name in sides.b]
    return both != [name for name in sides.b if name in sides.a]


def merged_order(sides: Sides, *, from_b: bool) -> list[str]:
    """Return the names of all steps: one side's order, the other's own steps each behind what it follows there."""
    base, other = (sides.b, sides.a) if from_b else (sides.a, sides.b)
    order = list(base)
    before: str | None = None
    for name in other:
        if name not in base:
            order.insert(0 if before is None else order.index(before) + 1, name)
        before = name
    return order


def _parts(sides: Sides, name: str) -> list[tuple[str, tuple[Atom, ...]]]:
    """Return what differs within a step that both have; parts that only make sense together are one."""
    found: list[tuple[str, tuple[Atom, ...]]] = []
    a, b = sides.a[name], sides.b[name]
    parts = [*PARTS, "params"] if "prompt" in a["components"] else ["params"]
    differing = [part for part in parts if part_of(a, part) != part_of(b, part)]
    if "prompt" not in a["components"]:
        return found + [(name, (("part", name, part),)) for part in differing]
    together: list[str] = []
    label = "prompt"
    if "prompt" in differing and "params" in differing and _reads_differently(a, b):
        together, label = ["prompt", "params"], "method"
    if {"prompt", "guideline"} <= set(differing) and _hides_guideline(a, b):
        together = [*(together or ["prompt"]), "guideline"]
    found = [(f"{name}.{label}", tuple(("part", name, part) for part in together))] if together else []
    return found + [(f"{name}.{part}", (("part", name, part),)) for part in differing if part not in together]


def _reads_differently(a: Step, b: Step) -> bool:
    then, now = (side["components"]["params"] for side in (a, b))
    return any(then.get(key) != now.get(key) for key in _READS_BY)


def _hides_guideline(a: Step, b: Step) -> bool:
    """Return whether one prompt shows the guideline and the other has no place for it."""
    then, now = (side["components"]["guideline"] for side in (a, b))
    return "none" not in (then["use"], now["use"]) and bool(then["text"]) != bool(now["text"])


def _replaced(sides: Sides) -> list[tuple[str, tuple[Atom, ...]]]:
    """Return steps that came, went, or became another kind; one that takes another's place goes with it."""
    gone = [name for name in sides.a if name not in sides.b]
    new = [name for name in sides.b if name not in sides.a]
    groups = [[name] for name in sides.a if name in sides.b and name not in sides.common]
    for name in gone:
        kind = sides.a[name]["kind"]
        twin = next((other for other in new if sides.b[other]["kind"] == kind), None)
        groups.append([name] if twin is None else [twin, name])
        if twin is not None:
            new.remove(twin)
    groups += [[name] for name in new]
    for kind in ("normalize", "route"):  # a strategy has one of each at most
        groups = _joined(sides, groups, frozenset((kind,)))
    stays = any(
        sides.a[name]["kind"] in _LABELLING
        and sides.a[name]["when"] is None
        and sides.b[name]["when"] is None
        for name in sides.common
    )
    if not stays:  # without any labelling step no item has a label
        groups = _joined(sides, groups, _LABELLING)
    return [(group[0], tuple(("step", name) for name in group)) for group in groups]


def _joined(sides: Sides, groups: Sequence[list[str]], kinds: frozenset[str]) -> list[list[str]]:
    """Return the groups with those that hold a step of ``kinds`` on either side made one, B's names first."""

    def is_of(name: str) -> bool:
        return any(name in side and side[name]["kind"] in kinds for side in (sides.a, sides.b))

    touched = [group for group in groups if any(is_of(name) for name in group)]
    if len(touched) < 2:
        return list(groups)
    joined = sorted((name for group in touched for name in group), key=lambda name: name not in sides.b)
    return [group for group in groups if group not in touched] + [joined]


def _unique(found: Sequence[tuple[str, tuple[Atom, ...]]]) -> list[tuple[str, tuple[Atom, ...]]]:
    names: dict[str, tuple[Atom, ...]] = {}
    for name, own in found:
        free, n = name, 1
        while free in names:
            n += 1
            free = f"{name}{n}"
        names[free] = own
    return list(names.items())


def content(sides: Sides, atom: Atom) -> tuple[Any, Any]:
    """Return what A and B say of an atom, for a diff; an absent step is an empty object."""
    if atom[0] == "part":
        pair = part_of(sides.a[atom[1]], atom[2]), part_of(sides.b[atom[1]], atom[2])
        return ({atom[2]: pair[0]}, {atom[2]: pair[1]}) if atom[2] != "params" else pair
    if atom[0] == "shared":
        a, b = sides.shared(atom[1])
        return {atom[1]: a}, {atom[1]: b}
    if atom[0] == "order":
        return {"order": list(sides.a)}, {"order": list(sides.b)}
    return tuple(dict(side[atom[1]]["components"]) if atom[1] in side else {} for side in (sides.a, sides.b))  # type: ignore[return-value]


def changed(sides: Sides, own: Sequence[Atom]) -> Any:
    """Return the keys and texts that differ within some atoms."""
    pairs = [compare_values(*content(sides, atom)) for atom in own]
    return tuple(key for keys, _ in pairs for key in keys), tuple(
        text for _, texts in pairs for text in texts
    )
