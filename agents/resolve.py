"""A strategy with everything it depends on, and the fingerprint of all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest, verify
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder, RoutingPolicy
from labelproof.spec.strategy import (
    CalibrateStep,
    InvestigateStep,
    LabelStep,
    ModelSpec,
    ModelStep,
    RetrieveStep,
    RouteStep,
    StepSpec,
    Strategy,
)
from prompts import PromptTemplate, load_template

NOT_CONTENT = frozenset(("name", "when", "kind", "model", "models", "prompt", "guideline"))
"""Fields of a step that are no `params`: they stand elsewhere in its components, or beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStep:
    """One step with its texts; ``fingerprint`` is the hash of ``components``, which hold it whole."""

    spec: StepSpec
    fingerprint: str
    components: Mapping[str, Any]
    template: PromptTemplate | None = None
    guideline: str = ""
    models: Mapping[str, ModelSpec]
    """Model names this step calls, in order."""

    @property
    def calls_model(self) -> bool:
        return bool(self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStrategy:
    """A strategy ready to run. ``snapshot`` is stored; ``fingerprint`` is its hash."""

    name: str
    fingerprint: str
    snapshot: Mapping[str, Any]
    steps: tuple[ResolvedStep, ...]
    task: str
    routing: RoutingPolicy

    def verify(self) -> None:
        """Recompute every hash from the snapshot; ``ConfigError`` if one does not match."""
        verify_snapshot(self.snapshot, self.fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldExample:
    """A gold row as strategies depend on it."""

    item_id: str
    label: str


def verify_snapshot(snapshot: Mapping[str, Any], fingerprint: str) -> None:
    """Check a stored snapshot against its fingerprint, step by step; raises ``ConfigError``."""
    for step in snapshot["steps"]:
        verify(step["components"], step["fingerprint"])
    verify(_identity(snapshot["steps"]), fingerprint)


def snapshot_fingerprint(snapshot: Mapping[str, Any]) -> str:
    """Return a snapshot's fingerprint: the hash of its steps' names, kinds, conditions and fingerprints."""
    return digest(_identity(snapshot["steps"]))


def resolve(
    project: ProjectFolder,
    strategy: Strategy,
    *,
    examples: Sequence[GoldExample] = (),
    calibration: Sequence[GoldExample] = (),
) -> ResolvedStrategy:
    """Return ``strategy`` with prompt, guideline, examples, models and routing resolved.

    Inside the fingerprint: prompt and guideline texts, label schema, task description, model identity
    (weights' hash for embedded models), the examples snapshot of steps that show examples, the
    calibration snapshot of steps that fit on it, and the effective routing policy. Outside: the
    strategy's name and description, rate limits, prices, time-outs.
    """
    routing = effective_routing(project.spec.routing, strategy)
    task = _task(project)
    snapshots = {"examples": listed(examples), "calibration": listed(calibration)}
    steps = tuple(_resolve_step(project, strategy, step, task, routing, snapshots) for step in strategy.steps)
    steps_json = [
        {
            "name": step.spec.name,
            "kind": step.spec.kind,
            "when": step.spec.when,
            "fingerprint": step.fingerprint,
            "components": dict(step.components),
        }
        for step in steps
    ]
    return ResolvedStrategy(
        name=strategy.name,
        fingerprint=digest(_identity(steps_json)),
        snapshot={"name": strategy.name, "description": strategy.description, "steps": steps_json},
        steps=steps,
        task=task,
        routing=routing,
    )


def effective_routing(policy: RoutingPolicy, strategy: Strategy) -> RoutingPolicy:
    """Return the project's policy with what the strategy's route step overrides."""
    route = next(step for step in strategy.steps if isinstance(step, RouteStep))
    own = route.model_dump(exclude={"name", "when", "kind"}, exclude_none=True)
    return policy.model_copy(update=own)


def _identity(steps: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [[step["name"], step["kind"], step["when"], step["fingerprint"]] for step in steps]


def _task(project: ProjectFolder) -> str:
    description = project.spec.description.strip()
    return f"You are a careful annotator. {description}" if description else "You are a careful annotator."


def listed(gold: Sequence[GoldExample]) -> list[list[str]]:
    """Return gold rows as snapshots hold them: [item id, label], sorted."""
    return sorted([row.item_id, row.label] for row in gold)


def _resolve_step(
    project: ProjectFolder,
    strategy: Strategy,
    step: StepSpec,
    task: str,
    routing: RoutingPolicy,
    snapshots: Mapping[str, list[list[str]]],
) -> ResolvedStep:
    params = step.model_dump(mode="json", exclude=set(NOT_CONTENT))
    components: dict[str, Any] = {"kind": step.kind, "params": params}
    template: PromptTemplate | None = None
    guideline = ""
    models: dict[str, ModelSpec] = {}
    if isinstance(step, ModelStep):
        reference = _template_name(step, project)
        template = load_template(reference, [project.folder / "prompts"])
        guideline = _guideline(project, step.guideline, template)
        names = getattr(step, "models", ()) or (step.model,)
        models = {name: strategy.models[name] for name in names}
        components |= {
            "prompt": {"reference": template.reference, "text": template.text},
            "guideline": {"use": step.guideline, "text": guideline},
            "task": task,
            "labels": read_labels(project.spec.labels),
            "models": [model_identity(spec) for spec in models.values()],
        }
    if isinstance(step, RetrieveStep) or (isinstance(step, LabelStep) and step.shortlist):
        components["examples"] = snapshots["examples"]
    if isinstance(step, InvestigateStep):  # what its tools read besides the item
        if "similar_gold" in step.tools:
            components["examples"] = snapshots["examples"]
        if "guideline_search" in step.tools:
            components["searched_guideline"] = project.guideline()
    if isinstance(step, CalibrateStep) and step.method not in ("none", "batch"):
        components["calibration"] = {
            "n": len(snapshots["calibration"]),
            "fingerprint": digest(snapshots["calibration"]),
        }
        if step.encoder != "none":
            components["examples"] = snapshots["examples"]
    if isinstance(step, CalibrateStep) and project.spec.class_prior:
        components["class_prior"] = dict(project.spec.class_prior)
    if isinstance(step, RouteStep):
        components = {"kind": step.kind, "routing": routing.model_dump(mode="json")}
    return ResolvedStep(
        spec=step,
        fingerprint=digest(components),
        components=components,
        template=template,
        guideline=guideline,
        models=models,
    )


def read_labels(schema: LabelSchema) -> dict[str, Any]:
    """Return what a prompt says of the labels; severity orders people's work and changes no answer."""
    classes = [{"name": name, "description": leaf.description} for name, leaf in schema.leaf_classes.items()]
    return {"kind": schema.kind, "classes": classes}


def _template_name(step: ModelStep, project: ProjectFolder) -> str:
    """Return the template a step uses; the default of a logprob step depends on the schema."""
    if isinstance(step, LabelStep) and step.method == "logprob" and step.prompt == "label_json":
        if project.spec.labels.kind == "multi":
            return "label_yesno"
        return "label_name" if answers_with_names(step, project.spec.labels) else "label_letter"
    return step.prompt


def answers_with_names(step: LabelStep, schema: LabelSchema) -> bool:
    """Return whether a logprob step answers with label names: asked for, or told apart by three characters."""
    if step.answer_with != "auto":
        return step.answer_with == "name"
    starts = {leaf[:3].casefold() for leaf in schema.leaves}
    return len(starts) == len(schema.leaves)


def _guideline(project: ProjectFolder, use: str, template: PromptTemplate) -> str:
    if use == "none" or "guideline" not in template.variables:
        return ""
    return (project.guideline_short() if use == "short" else project.guideline()).strip()


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """Return the model's identity; for embedded weights the file's hash stands for its place."""
    identity = spec.identity()
    if spec.provider == "embedded":
        from agents.models.weights import known

        if spec.path is None:
            identity["weights_sha256"] = known(spec.model).artifact.sha256
        else:
            own = Path(spec.path).expanduser()
            if not own.is_file():
                raise ConfigError(f"no GGUF file at {own}", key="models.path")
            identity["weights_sha256"] = _file_sha256(own, own.stat().st_size, own.stat().st_mtime_ns)
            identity["path"] = None
    return identity


@lru_cache(maxsize=16)
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
