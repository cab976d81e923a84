"""What of a measured strategy another project can start from: models and steps as a file, with the prompts it needs.

Labels, guideline, task and examples stay where they are: they are the other project's. So do private addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from agents.search.space import plain
from labelproof.report.optimize.result import strategy_text
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import digest
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import parse_metric
from labelproof.spec.project import RoutingPolicy
from labelproof.spec.strategy import ModelSpec, RouteStep, Strategy
from prompts import bundled_templates, stored_template

_ROUTE_KEPT = ("mode", "threshold_prob", "alpha", "audit_rate_prob", "accept_without_gold")
"""What of routing speaks of no label."""
_OF_ITEMS = ("cluster", "slices")
"""Parts of an experiment policy that name columns of one project's items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reusable:
    """A strategy without its project. ``prompts``: template name → text, those that are not bundled.

    ``notes``: what was left out or must be looked at, for people.
    """

    strategy: Strategy
    prompts: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def text(self, name: str, origin: Sequence[str]) -> str:
        """Return the strategy file under another name, its origin as a comment."""
        return strategy_text(self.strategy.model_copy(update={"name": name}), origin)

    def to_json(self) -> dict[str, Any]:
        return {"strategy": plain(self.strategy), "prompts": dict(self.prompts), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reusable:
        """Return what ``to_json`` wrote, every part checked; ``ConfigError`` or ``ValidationError`` if it is not sound."""
        strategy = Strategy.model_validate(value["strategy"])
        prompts = {str(name): str(text) for name, text in value.get("prompts", {}).items()}
        used = {
            name.partition("@")[0]: name
            for name in (getattr(step, "prompt", None) for step in strategy.steps)
            if name
        }
        for name, text in prompts.items():
            if name not in used or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
                raise ConfigError(f"prompt {name!r} is used by no step of the strategy")
            reference = used[name]
            stored_template(reference if "@" in reference else _reference(name, text), text)
        return cls(strategy=strategy, prompts=prompts, notes=tuple(map(str, value.get("notes", ()))))


def _reference(name: str, text: str) -> str:
    """Return name@version as the text says it, for a step that names no version."""
    for line in text.splitlines()[:12]:
        key, _, value = line.partition(":")
        if key.strip() == "version":
            return f"{name}@{value.strip()}"
    raise ConfigError(f"prompt {name!r}: expected front matter with a version")


def reusable(snapshot: Mapping[str, Any], *, keep_routing: bool = False) -> Reusable:
    """Return what a stored strategy consists of besides its project; ``ConfigError`` names what cannot be rebuilt."""
    models = _Models()
    bundled = _bundled()
    prompts: dict[str, str] = {}
    notes: list[str] = []
    steps: list[dict[str, Any]] = []
    for step in snapshot["steps"]:
        parts = step["components"]
        fields: dict[str, Any] = {"name": step["name"], "kind": step["kind"]}
        if step["when"] is not None:
            fields["when"] = step["when"]
        if step["kind"] == "route":
            fields |= _route(parts.get("routing") or {}, notes, keep=keep_routing)
        else:
            fields |= parts["params"]
        if "prompt" in parts:
            reference, text = parts["prompt"]["reference"], parts["prompt"]["text"]
            if bundled.get(reference) != text:
                name = reference.partition("@")[0]
                prompts[name] = stored_template(reference, text).text
                notes.append(
                    f"prompt {reference} was written for another project: read it before you rely on it"
                )
            names = models.of(parts["models"])
            fields |= {"prompt": reference, "guideline": parts["guideline"]["use"]}
            fields |= {"model": names[0]} if len(names) == 1 else {"models": names}
        steps.append(fields)
    try:
        strategy = Strategy.model_validate(
            {
                "name": snapshot["name"],
                "description": snapshot.get("description", ""),
                "models": models.named or {"main": {}},
                "steps": steps,
            }
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigError(
            f"stored strategy {snapshot['name']!r} cannot be written as a file of this release: "
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        ) from error
    short = Strategy.model_validate(strategy.model_dump(mode="json", exclude_defaults=True))
    return Reusable(strategy=short, prompts=prompts, notes=tuple(dict.fromkeys((*notes, *models.notes))))


@cache
def _bundled() -> dict[str, str]:
    return {template.reference: template.text for template in bundled_templates()}


def _route(routing: Mapping[str, Any], notes: list[str], *, keep: bool) -> dict[str, Any]:
    """Return what of the routing goes along: nothing, or what was measured as the change and names no label."""
    if not keep:
        return {}
    plain_policy = RoutingPolicy().model_dump(mode="json")
    named = [key for key in ("per_class_alpha", "always_review") if routing.get(key)]
    if named:
        notes.append(f"{' and '.join(named)} of its routing name labels of the other project: left out")
    return {
        key: routing[key]
        for key in _ROUTE_KEPT
        if key in RouteStep.model_fields and key in routing and routing[key] != plain_policy[key]
    }


class _Models:
    """Names for stored model identities; the same model has one name."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []
        self._names: dict[str, str] = {}

    def of(self, identities: Sequence[Mapping[str, Any]]) -> list[str]:
        return [self._name(identity) for identity in identities]

    def _name(self, identity: Mapping[str, Any]) -> str:
        key = digest(dict(identity))
        if key in self._names:
            return self._names[key]
        name = "main" if not self._names else f"model{len(self._names) + 1}"
        defaults = ModelSpec().model_dump(mode="json")
        said = {
            field: value
            for field, value in identity.items()
            if field != "weights_sha256" and (field == "provider" or value != defaults.get(field))
        }
        if identity.get("provider") == "embedded" and not _is_bundled(identity):
            self.notes.append(
                f"model {name} ran on weights of the other project's own (SHA-256 "
                f"{str(identity.get('weights_sha256'))[:12]}…): give `models.{name}.path`"
            )
        self._names[key] = name
        self.named[name] = said
        return name


def _is_bundled(identity: Mapping[str, Any]) -> bool:
    from agents.models.weights import known

    try:
        return bool(known(str(identity.get("model"))).artifact.sha256 == identity.get("weights_sha256"))
    except ConfigError:
        return False


def without_addresses(found: Reusable) -> Reusable:
    """Return the strategy as it may leave or enter a house: no server address, no file path, no key's name, no parameter
    that holds a URL. A foreign file could otherwise send texts to whoever wrote it.
    """
    notes = list(found.notes)
    models: dict[str, ModelSpec] = {}
    for name, spec in found.strategy.models.items():
        changes: dict[str, Any] = {}
        if spec.base_url is not None:
            changes["base_url"] = None
            notes.append(
                f"model {name}: its server's address is left out; set `models.{name}.base_url` or $OPENAI_BASE_URL"
            )
        if spec.path is not None:
            changes["path"] = None
            notes.append(f"model {name}: give `models.{name}.path`")
        if spec.api_key_env != ModelSpec().api_key_env:
            changes["api_key_env"] = ModelSpec().api_key_env
            notes.append(
                f"model {name}: the key is read from ${ModelSpec().api_key_env} unless you set `api_key_env`"
            )
        kept = {key: value for key, value in spec.params.items() if _is_plain(key, value)}
        if kept != spec.params:
            gone = sorted(spec.params.keys() - kept.keys())
            changes["params"] = kept
            notes.append(
                f"model {name}: parameters {', '.join(gone)[:80]} are left out: they name a place or are no plain values"
            )
        models[name] = ModelSpec.model_validate(
            {
                k: v
                for k, v in {**spec.model_dump(mode="json", exclude_unset=True), **changes}.items()
                if v is not None
            }
        )
    data = {
        **plain(found.strategy),
        "models": {n: m.model_dump(mode="json", exclude_unset=True) for n, m in models.items()},
    }
    return Reusable(
        strategy=Strategy.model_validate(data), prompts=found.prompts, notes=tuple(dict.fromkeys(notes))
    )


def _is_plain(key: str, value: Any) -> bool:
    """Whether a provider parameter is a number, a flag or a short word, and none that says where to send things."""
    if any(
        word in key.casefold()
        for word in ("url", "base", "host", "endpoint", "proxy", "header", "path", "file")
    ):
        return False
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= 40 and not any(mark in value for mark in ":/\\@")
    )


def policy_for(policy: ExperimentPolicy, schema: LabelSchema) -> tuple[dict[str, Any], list[str]]:
    """Return what of an experiment policy holds for another project's labels, defaults left out, and what was left out."""
    known = {*schema.leaves, *(parent.name for parent in schema.classes)}
    notes: list[str] = []

    def fits(metric: str) -> bool:
        ref = parse_metric(metric)
        if ref.of is None or (ref.name != "suite" and ref.of in known):
            return True
        notes.append(f"experiments: {metric} is about the other project's labels or suites: left out")
        return False

    data = policy.model_dump(mode="json", exclude_defaults=True)
    notes += [
        f"experiments: {key} names columns of the other project's items: left out"
        for key in _OF_ITEMS
        if data.pop(key, None)
    ]
    if "primary" in data and not fits(data["primary"]):
        del data["primary"]
    if "guardrails" in data:
        data["guardrails"] = [one for one in data["guardrails"] if fits(one["metric"])]
    if "secondary" in data:
        data["secondary"] = [one for one in data["secondary"] if fits(one)]
    ExperimentPolicy.model_validate(data)
    return data, notes
