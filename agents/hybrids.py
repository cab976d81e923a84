"""Between two strategies: the components in which they differ, and every mixture of them as a strategy of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from agents._components import PARTS, SHARED, Atom, Sides, Step, atoms, changed, merged_order
from agents.snapshots import ABSENT, KeyChange
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest

MOST = 8
"""Components told apart at most: their hybrids are 2 to the power of it."""
_REST = "other steps"
_SHOWN = 2
_PLACE = {"normalize": 0, "route": 2}
"""What every strategy begins with, if it has it, and what it ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One change from A to B that can be made or left by itself.

    ``name``: `label.prompt`, `label.guideline`, `label.model`, `label.params`, `label.method` (method and prompt, which
    belong together), a step's name (local steps, and steps that came, went or were replaced), `examples`, `calibration`,
    `class_prior`, `labels`, `task`, `guideline_search` (what all steps share), or `order`.
    """

    name: str
    state: Literal["changed", "added", "removed"]
    n_added: int
    """Lines of texts that B has more."""
    n_removed: int
    keys: tuple[KeyChange, ...]
    """Short values that differ."""
    atoms: tuple[Atom, ...] = field(repr=False)

    @property
    def words(self) -> str:
        """The change in a few words: `label.prompt +6/-2`, `route alpha 0.05→0.03`, `retrieve added`."""
        if self.state != "changed":
            return f"{self.name} {self.state}"
        said = [self.name]
        if self.n_added or self.n_removed:
            said.append(f"+{self.n_added}/-{self.n_removed}")
        if len(self.keys) > _SHOWN:
            said.append(f"{len(self.keys)} values")
        else:
            said += [
                f"{key.path.rpartition('.')[2]} {_short(key.before)}→{_short(key.after)}" for key in self.keys
            ]
        return " ".join(said)


def components(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Component, ...]:
    """Return the changed components of two snapshots, at most ``MOST``; beyond that a step's changes are one.

    Changes that make no sense apart are one component: a prompt and the method it is written for, a step and what takes
    its place, all labelling steps when none of them stays.
    """
    sides = Sides.of(a, b)
    groups = atoms(sides)
    if len(groups) > MOST:
        groups = _merged(groups, lambda atom: atom[1] if atom[0] in ("part", "step") else "")
    if len(groups) > MOST:
        kept, rest = groups[: MOST - 1], groups[MOST - 1 :]
        groups = [*kept, (_REST, tuple(atom for _, own in rest for atom in own))]
    return tuple(_component(sides, name, own) for name, own in groups)


def hybrid(a: Mapping[str, Any], b: Mapping[str, Any], taken: frozenset[str]) -> dict[str, Any]:
    """Return snapshot A with the components named in ``taken`` from B.

    All of them give B and none gives A, fingerprint by fingerprint.
    """
    found = {component.name: component for component in components(a, b)}
    unknown = sorted(taken - found.keys())
    if unknown:
        raise ConfigError(
            f"no changed component {unknown[0]!r}; expected some of {', '.join(found) or 'none'}"
        )
    own = {atom for name in taken for atom in found[name].atoms}
    sides = Sides.of(a, b)
    steps = []
    for name in merged_order(sides, from_b=("order",) in own):
        step = _mixed(sides, name, own)
        if step is not None:
            steps.append(_with_shared(sides, step, own))
    steps.sort(key=lambda step: _PLACE.get(step["kind"], 1))  # of a mixture, too: stable for all between
    named = a if not taken else b if taken == found.keys() else None
    mark = digest([[step["name"], step["fingerprint"]] for step in steps]).removeprefix("b2:")[:8]
    return {
        "name": named["name"] if named is not None else f"hybrid-{mark}",
        "description": named.get("description", "")
        if named is not None
        else f"{a['name']} with {', '.join(sorted(taken))} of {b['name']}",
        "steps": steps,
    }


def coalitions(names: Iterable[str]) -> list[frozenset[str]]:
    """Return all subsets of component names, smallest first; 2 to the power of their number."""
    pool = list(names)
    return [frozenset(chosen) for n in range(len(pool) + 1) for chosen in combinations(pool, n)]


def _component(sides: Sides, name: str, own: tuple[Atom, ...]) -> Component:
    keys, texts = changed(sides, own)
    steps = [atom[1] for atom in own if atom[0] == "step"]
    state: Literal["changed", "added", "removed"] = "changed"
    if len(steps) == len(own) and all(step not in sides.a for step in steps):
        state = "added"
    elif len(steps) == len(own) and all(step not in sides.b for step in steps):
        state = "removed"
    return Component(
        name=name,
        state=state,
        n_added=sum(text.n_added for text in texts),
        n_removed=sum(text.n_removed for text in texts),
        keys=keys,
        atoms=own,
    )


def _merged(groups: list[tuple[str, tuple[Atom, ...]]], step_of: Any) -> list[tuple[str, tuple[Atom, ...]]]:
    """Return groups joined by the step of their first atom; what belongs to no step stays as it is."""
    joined: dict[str, tuple[Atom, ...]] = {}
    for name, own in groups:
        key = step_of(own[0]) or name
        joined[key] = (*joined.get(key, ()), *own)
    return list(joined.items())


def _mixed(sides: Sides, name: str, own: set[Atom]) -> dict[str, Any] | None:
    """Return one step of the hybrid before what all share, None where it has no such step."""
    a, b = sides.a.get(name), sides.b.get(name)
    if a is None or b is None or a["kind"] != b["kind"]:
        whole = b if ("step", name) in own else a
        return None if whole is None else dict(whole)

    def side(part: str) -> Step:
        return b if ("part", name, part) in own else a

    base = side("params")
    mixed = dict(base["components"])
    for part, key in PARTS.items():
        if key in mixed:
            mixed[key] = side(part)["components"][key]
    return {**base, "components": mixed}


def _with_shared(sides: Sides, step: dict[str, Any], own: set[Atom]) -> dict[str, Any]:
    """Return the step with the hybrid's own shared components, and its fingerprint."""
    mixed = dict(step["components"])
    for key in SHARED:
        a, b = sides.shared(key)
        value = b if a is None or ("shared", key) in own else a
        if key == "class_prior":
            mixed.pop(key, None)
            if value and step["kind"] == "calibrate":
                mixed[key] = value
        elif key in mixed:
            mixed[key] = value
    return {**step, "components": mixed, "fingerprint": digest(mixed)}


def _short(value: Any) -> str:
    text = "none" if value is ABSENT or value is None else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
