"""What kind of change lies between two strategy snapshots: the words under which effects are pooled across projects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Step = Mapping[str, Any]
UNKNOWN = "unknown"
_LABELLING = frozenset(("label", "consensus", "investigate"))
_SHARED = {
    "labels": "label descriptions",
    "task": "task",
    "examples": "examples",
    "calibration": "calibration gold",
    "class_prior": "class prior",
    "searched_guideline": "guideline",
}
_ADDED = {"retrieve": "examples", "label": "second reading", "calibrate": "calibrator"}
_READS_BY = ("method", "answer_with")
_MODEL_NAME = ("provider", "model", "base_url", "path", "weights_sha256")
_BILLIONS = re.compile(r"(?<![a-z0-9.])(\d{1,4}(?:\.\d{1,3})?)\s?b(?![a-z0-9])", re.IGNORECASE)
_TIERS = {"nano": 0, "mini": 1, "lite": 1, "flash": 1, "small": 1, "haiku": 1, "sonnet": 2, "opus": 3}


def kinds_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds of component that differ, sorted; empty when the snapshots decide labels alike.

    Such as prompt, guideline, examples, bigger model, add critique, drop consensus, encoder, routing. Direction counts
    where it can be told: what is added is another kind than what is dropped.
    """
    old = {step["name"]: step for step in before["steps"]}
    new = {step["name"]: step for step in after["steps"]}
    common = [name for name in new if name in old and new[name]["kind"] == old[name]["kind"]]
    added = [str(step["kind"]) for name, step in new.items() if name not in common]
    dropped = [str(step["kind"]) for name, step in old.items() if name not in common]
    found: set[str] = set()
    if not any(new[name]["kind"] in _LABELLING for name in common):
        # One way of labelling in place of another: what came says it all.
        dropped = [kind for kind in dropped if kind not in _LABELLING] if added else dropped
    found |= {f"add {_ADDED.get(kind, kind)}" for kind in added}
    found |= {f"drop {_ADDED.get(kind, kind)}" for kind in dropped}
    for name in common:
        found |= _within(old[name], new[name])
    for key, word in _SHARED.items():
        a, b = _first(before, key), _first(after, key)
        if a is not None and b is not None and a != b:
            found.add(word)
    if [name for name in old if name in common] != common:
        found.add("order")
    if "calibration gold" in found:
        found.discard("examples")  # another version of the gold changes both
    return tuple(sorted(found))


def _within(a: Step, b: Step) -> set[str]:
    """Return what differs in a step that both have, shared components apart."""
    old, new = a["components"], b["components"]
    found: set[str] = set()
    if a["when"] != b["when"]:
        found.add("cascade")
    params = {
        key
        for key in {*old.get("params", {}), *new.get("params", {})}
        if old.get("params", {}).get(key) != new.get("params", {}).get(key)
    }
    reads = params & set(_READS_BY) if "prompt" in new else set()
    if reads:
        found.add("method")
    elif old.get("prompt") != new.get("prompt"):
        found.add("prompt")
    if old.get("guideline") != new.get("guideline"):
        found.add("guideline")
    if old.get("models") != new.get("models"):
        found.add(_model_kind(old.get("models") or [], new.get("models") or []))
    kind = str(b["kind"])
    if kind == "route" and old.get("routing") != new.get("routing"):
        found.add("routing")
    rest = params - reads
    if kind == "calibrate":
        found |= {"encoder"} if "encoder" in rest else set()
        found |= {"calibrator"} if rest - {"encoder"} else set()
    elif kind == "retrieve":
        found |= {"examples"} if rest else set()
    elif kind == "normalize":
        found |= {"normalize"} if rest else set()
    elif "shortlist" in rest:
        found.add("shortlist")
    elif rest - {"max_retries"}:
        found.add(f"{kind} settings")
    return found


def _model_kind(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]) -> str:
    """Return bigger model, smaller model, model, more models, fewer models, or sampling (the same model asked otherwise)."""
    if len(old) != len(new):
        return "more models" if len(new) > len(old) else "fewer models"
    if all(all(a.get(key) == b.get(key) for key in _MODEL_NAME) for a, b in zip(old, new, strict=True)):
        return "sampling"
    sizes = [
        (model_size(str(a.get("model"))), model_size(str(b.get("model"))))
        for a, b in zip(old, new, strict=True)
    ]
    if all(a is not None and b is not None and a < b for a, b in sizes):
        return "bigger model"
    if all(a is not None and b is not None and a > b for a, b in sizes):
        return "smaller model"
    if len(old) == 1:
        rank = _rank(str(old[0].get("model"))), _rank(str(new[0].get("model")))
        if rank[0][0] == rank[1][0] and rank[0][1] != rank[1][1]:
            return "bigger model" if rank[1][1] > rank[0][1] else "smaller model"
    return "model"


def model_size(name: str) -> float | None:
    """Return the billions of parameters that a model's name tells, such as 1.5 of `qwen2.5-coder-1.5b-instruct`; else None."""
    found = [float(number) for number in _BILLIONS.findall(name.replace("_", "-"))]
    return found[0] if found else None


def _rank(name: str) -> tuple[str, int]:
    """Return a hosted model's family and tier: gpt-4o-mini stands below gpt-4o."""
    parts = re.split(r"[-_:/ ]", name.casefold())
    tiers = [_TIERS[part] for part in parts if part in _TIERS]
    return "-".join(part for part in parts if part not in _TIERS), tiers[0] if tiers else 2


def _first(snapshot: Mapping[str, Any], key: str) -> Any:
    return next((s["components"][key] for s in snapshot["steps"] if key in s["components"]), None)
