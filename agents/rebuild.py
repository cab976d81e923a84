"""From a stored snapshot to a strategy that can run: step fingerprints come out as they were stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agents.resolve import (
    NOT_CONTENT,
    ResolvedStep,
    ResolvedStrategy,
    model_identity,
    read_labels,
    snapshot_fingerprint,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest, verify
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder, RoutingPolicy
from labelproof.spec.strategy import ModelSpec, RouteStep, StepSpec, Strategy
from prompts import PromptTemplate, stored_template

_SPEC: TypeAdapter[StepSpec] = TypeAdapter(StepSpec)


@dataclass(frozen=True, slots=True)
class FolderAsStored(ProjectFolder):
    """A project as a stored strategy saw it: label descriptions, label shares, and the guideline its tools search."""

    searched: str | None = None

    def guideline(self) -> str:
        """Return the guideline that was stored, else the file's."""
        return self.read(self.spec.guideline) if self.searched is None else self.searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A strategy made from a snapshot: as a file would say it, as it resolves, and the project as it saw it."""

    strategy: Strategy
    resolved: ResolvedStrategy
    folder: ProjectFolder


def rebuild(snapshot: Mapping[str, Any], folder: ProjectFolder) -> Rebuilt:
    """Return a stored snapshot as a strategy that can run; every fingerprint comes out as stored.

    Rate limits, prices and names of key variables are in no snapshot: they come from the project's strategy files where
    a model of the same identity is used, else from the defaults. ``ConfigError`` names what cannot be rebuilt.
    """
    models = _Models(folder, prefer=str(snapshot["name"]))
    steps = tuple(_step(step, models) for step in snapshot["steps"])
    routing = _routing(snapshot)
    try:
        strategy = Strategy(
            name=snapshot["name"],
            description=snapshot.get("description", ""),
            models=models.named or {"main": ModelSpec()},
            steps=tuple(step.spec for step in steps),
        )
    except ValidationError as error:
        raise _unusable("strategy", snapshot["name"], error) from error
    resolved = ResolvedStrategy(
        name=strategy.name,
        fingerprint=snapshot_fingerprint(snapshot),
        snapshot=snapshot,
        steps=steps,
        task=shared(snapshot, "task", ""),
        routing=routing,
    )
    return Rebuilt(strategy=strategy, resolved=resolved, folder=_folder(snapshot, folder))


def _step(step: Mapping[str, Any], models: _Models) -> ResolvedStep:
    verify(step["components"], step["fingerprint"])
    components = step["components"]
    used: dict[str, ModelSpec] = {}
    template: PromptTemplate | None = None
    fields: dict[str, Any] = {"name": step["name"], "kind": step["kind"], "when": step["when"]}
    if step["kind"] == "route":
        stored = components["routing"]
        fields |= {name: stored[name] for name in RouteStep.model_fields if name in stored}
    else:
        fields |= components["params"]
    if "prompt" in components:
        template = stored_template(components["prompt"]["reference"], components["prompt"]["text"])
        used = models.of(components["models"])
        names = list(used)
        fields |= {"prompt": template.reference, "guideline": components["guideline"]["use"]}
        fields |= {"model": names[0]} if len(names) == 1 else {"models": names}
    try:
        spec = _SPEC.validate_python(fields)
    except ValidationError as error:
        raise _unusable("step", step["name"], error) from error
    _same_params(step, spec)
    return ResolvedStep(
        spec=spec,
        fingerprint=step["fingerprint"],
        components=components,
        template=template,
        guideline=components["guideline"]["text"] if template is not None else "",
        models=used,
    )


def _same_params(step: Mapping[str, Any], spec: StepSpec) -> None:
    """Refuse a stored parameter that would not act as stored; one that is newer than the snapshot has its default."""
    now = spec.model_dump(mode="json", exclude=set(NOT_CONTENT))
    for name, value in step["components"].get("params", {}).items():
        if now.get(name) != value:
            raise ConfigError(
                f"step {step['name']!r} was stored with {name} = {value!r}; this release makes {now.get(name)!r} of it",
                hint="run it with the release that stored it",
            )


def _routing(snapshot: Mapping[str, Any]) -> RoutingPolicy:
    route = snapshot["steps"][-1]
    try:
        return RoutingPolicy.model_validate(route["components"].get("routing"))
    except ValidationError as error:
        raise _unusable("step", route["name"], error) from error


def shared(snapshot: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return a component that all steps share; ``ConfigError`` when they do not agree: no run could serve both."""
    found = {digest(step["components"][key]): step["components"][key] for step in _with(snapshot, key)}
    if len(found) > 1:
        raise ConfigError(
            f"the steps of strategy {snapshot['name']!r} rest on {len(found)} versions of {key}"
        )
    return next(iter(found.values()), default)


def _with(snapshot: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    return (step for step in snapshot["steps"] if key in step["components"])


def _unusable(what: str, name: Any, error: ValidationError) -> ConfigError:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return ConfigError(
        f"stored {what} {name!r} cannot be run by this release: {place}: {problem['msg']}",
        hint="it was stored by another release of Labelproof",
    )


def _folder(snapshot: Mapping[str, Any], folder: ProjectFolder) -> ProjectFolder:
    """Return the project with what the snapshot says differently of labels, their shares and the guideline."""
    changes: dict[str, Any] = {}
    labels = shared(snapshot, "labels", None)
    if labels is not None and labels != read_labels(folder.spec.labels):
        changes["labels"] = _described(folder.spec.labels, labels)
    calibrates = [step for step in snapshot["steps"] if step["kind"] == "calibrate"]
    prior = shared(snapshot, "class_prior", {})
    if calibrates and prior != folder.spec.class_prior:
        changes["class_prior"] = prior
    searched = shared(snapshot, "searched_guideline", None)
    if searched is not None and searched == folder.guideline():
        searched = None
    if not changes and searched is None:
        return folder
    return FolderAsStored(folder.folder, folder.spec.model_copy(update=changes), searched)


def _described(schema: LabelSchema, stored: Mapping[str, Any]) -> LabelSchema:
    """Return the schema with the stored descriptions; other names, order or kind are another schema."""
    then, now = [entry["name"] for entry in stored["classes"]], list(schema.leaves)
    if then != now or stored["kind"] != schema.kind:
        raise ConfigError(
            f"the strategy was stored for labels {', '.join(then)} ({stored['kind']}); the project has "
            f"{', '.join(now)} ({schema.kind})",
            hint="its answers cannot be told in today's labels; compare versions with the same labels",
        )
    texts = {entry["name"]: entry["description"] for entry in stored["classes"]}
    raw = schema.model_dump()
    for parent in raw["classes"]:
        if parent["children"]:
            for child in parent["children"]:
                child["description"] = texts[f"{parent['name']}/{child['name']}"]
        else:
            parent["description"] = texts[parent["name"]]
    return LabelSchema.model_validate(raw)


class _Models:
    """Names and specs for stored model identities; ``named`` are those in use."""

    def __init__(self, folder: ProjectFolder, *, prefer: str) -> None:
        self.named: dict[str, ModelSpec] = {}
        self._known: dict[str, tuple[str, ModelSpec]] = {}
        names = sorted(folder.strategy_names(), key=lambda name: name != prefer)
        for name, spec in (pair for strategy in names for pair in _models_of(folder, strategy)):
            identity = _identity_or_none(spec)
            if identity is not None:
                self._known.setdefault(digest(identity), (name, spec))

    def of(self, identities: Sequence[Mapping[str, Any]]) -> dict[str, ModelSpec]:
        """Return the models of one step by name, in order; the same model twice gets two names."""
        step: dict[str, ModelSpec] = {}
        for identity in identities:
            name, spec = self._known.get(digest(identity)) or ("main", _spec(identity))
            wanted, n = name, 1
            while name in step or self.named.get(name, spec) != spec:
                n += 1
                name = f"{wanted}{n}"
            step[name] = self.named[name] = spec
        return step


def _models_of(folder: ProjectFolder, strategy: str) -> list[tuple[str, ModelSpec]]:
    try:
        return list(folder.strategy(strategy).models.items())
    except ConfigError:
        return []  # a file that is being edited is no reason not to run a stored version


def _identity_or_none(spec: ModelSpec) -> dict[str, Any] | None:
    try:
        return model_identity(spec)
    except ConfigError:
        return None  # weights that are not here are no match


def _spec(identity: Mapping[str, Any]) -> ModelSpec:
    """Return a model by its identity alone; ``ConfigError`` when its weights are not to be had."""
    named = {key: value for key, value in identity.items() if key != "weights_sha256"}
    try:
        spec = ModelSpec.model_validate(named)
    except ValidationError as error:
        raise _unusable("model", identity.get("model"), error) from error
    if identity.get("weights_sha256") != (_identity_or_none(spec) or {}).get("weights_sha256"):
        raise ConfigError(
            f"the strategy was stored with weights {spec.model} (SHA-256 {str(identity.get('weights_sha256'))[:12]}…), "
            "which are neither bundled nor named by a strategy of this project",
            key="models.path",
            hint="write a strategy whose model has `path:` to that GGUF file",
        )
    return spec
