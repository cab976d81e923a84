"""``docs/reference/strategy.md`` and ``project.md``, written from the models: ``python -m labelproof.spec.reference``."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from labelproof.spec.conditions import SIGNALS
from labelproof.spec.experiment import ExperimentPolicy, Guardrail
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.monitoring import Contact, MonitorPolicy, SentinelPolicy, Target
from labelproof.spec.project import (
    Columns,
    GoldSpec,
    Project,
    RoutingPolicy,
    SourceSpec,
    SplitFractions,
)
from labelproof.spec.review import Care, Checks, ReviewPolicy, SkillRule
from labelproof.spec.strategy import (
    CalibrateStep,
    ConsensusStep,
    CritiqueStep,
    InvestigateStep,
    LabelStep,
    ModelSpec,
    NormalizeStep,
    RetrieveStep,
    RouteStep,
    Strategy,
)

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
Section = tuple[str, type[BaseModel]]

_STEPS: tuple[type[BaseModel], ...] = (
    NormalizeStep,
    RetrieveStep,
    LabelStep,
    ConsensusStep,
    CritiqueStep,
    InvestigateStep,
    CalibrateStep,
    RouteStep,
)
_PROJECT: tuple[Section, ...] = (
    ("project.yaml", Project),
    ("labels", LabelSchema),
    ("labels.classes", LabelClass),
    ("items", SourceSpec),
    ("items.columns", Columns),
    ("gold", GoldSpec),
    ("gold.fractions", SplitFractions),
    ("routing", RoutingPolicy),
    ("review", ReviewPolicy),
    ("review.checks", Checks),
    ("review.skills.NAME", SkillRule),
    ("review.care", Care),
    ("experiments", ExperimentPolicy),
    ("experiments.guardrails", Guardrail),
    ("monitoring", MonitorPolicy),
    ("monitoring.sentinel", SentinelPolicy),
    ("targets", Target),
    ("contacts", Contact),
)
_SHARED_KIND = "Which step this is."
_MEANINGS: Mapping[str, str] = {
    "ModelSpec.temperature": "Randomness of the answer; 0 takes the most probable token.",
    "ModelSpec.max_tokens": "Longest answer, in tokens. The letter method asks for one token, whatever stands here.",
    "ModelSpec.seed": "Sent to servers that take one; null sends none.",
    "ModelSpec.requests_per_minute": "Calls started per minute at most; null: no limit of ours.",
    "ModelSpec.tokens_per_minute": "Prompt and answer tokens per minute at most; null: no limit of ours.",
    "ModelSpec.timeout_s": "Longest wait for one answer, in seconds. The embedded model waits 600 unless this is set.",
    "ModelSpec.max_attempts": "Tries per call, the first included, when the failure may pass (429, 5xx, timeouts).",
    "ModelSpec.price_out_usd_per_mtok": "Overrides the price list, USD per million answer tokens.",
    "NormalizeStep.unicode_form": "Unicode form of the text that the model reads.",
    "RetrieveStep.k": "How many examples.",
    "RetrieveStep.encoder": "What measures nearness for `knn`: minilm by meaning (23 MB, fetched once), tfidf by spelling.",
    "RetrieveStep.seed": "Which examples `fixed` takes.",
    "LabelStep.prompt": "Template; the default becomes `label_letter` (multi-label: `label_yesno`) with `method: logprob`.",
    "ConsensusStep.prompt": "Template name, optionally with its version.",
    "ConsensusStep.samples": "Readings of `model`; ignored when `models` is set.",
    "ConsensusStep.temperature": "Of the samples; must be above 0 unless `models` is set, whose own temperature then counts.",
    "CritiqueStep.prompt": "Template name, optionally with its version.",
    "CritiqueStep.adopt": "Take the critic's label when it disagrees; otherwise its answer is averaged into the probabilities.",
    "InvestigateStep.prompt": "Template name, optionally with its version.",
    "InvestigateStep.max_turns": "Model calls per item at most; the last one can only submit a label.",
    "InvestigateStep.tools": "What the agent may use besides submitting a label.",
    "CalibrateStep.method": "How to fit; auto compares the others on held-out items. none: as batch, remove the model's bias only.",
    "CalibrateStep.seed": "Of the folds and resamples while fitting.",
    "RouteStep.mode": "Overrides routing.mode of the project.",
    "RouteStep.threshold_prob": "Overrides routing.threshold_prob.",
    "RouteStep.alpha": "Overrides routing.alpha.",
    "RouteStep.per_class_alpha": "Overrides routing.per_class_alpha.",
    "RouteStep.always_review": "Overrides routing.always_review.",
    "RouteStep.audit_rate_prob": "Overrides routing.audit_rate_prob.",
    "Strategy.name": "Name in reports; the file's name is what commands take.",
    "Strategy.description": "For people; outside the fingerprint.",
    "Strategy.models": "Models by a name of your choice; steps refer to it. See `models.NAME`.",
    "Strategy.steps": "What happens to each item, in order; the last one is the only `route`.",
    "Project.name": "Name in the store and in reports. Keep it equal to the folder's.",
    "Project.description": "One sentence on the task; it opens every prompt, so it is inside the fingerprint.",
    "Project.labels": "The answers to choose from.",
    "Project.guideline": "The full rules, a file in the project folder.",
    "Project.items": "Where the items come from.",
    "Project.gold": "Human labels; null: nothing is scored, and calibration removes bias only.",
    "Project.routing": "Who decides what, unless the strategy's route step says otherwise.",
    "Project.default_strategy": "Used by commands without `--strategy`.",
    "ReviewPolicy.skills": "What some tasks ask of a reviewer, by a name of your choice; reviewers have skills of these names.",
    "ReviewPolicy.checks": "Hidden gold that measures reviewers.",
    "ReviewPolicy.care": "What protects reviewers.",
    "SkillRule.kinds": "Tasks of these kinds ask for it.",
    "Care.blur_from": "Lowest severity that starts blurred with `blur: severe`.",
    "Project.targets": "Promised levels, measured by `labelproof monitor`; `reviewer_accuracy` is also the bar of reviewers' hidden gold.",
    "Project.contacts": "People to tell when a target breaks, in order: each later one when the breach lasts (`monitoring.escalate_after_hours`).",
    "LabelSchema.classes": "The labels, in the order prompts show them.",
    "LabelClass.severity": "Harm when missed; stored for ordering and reports, changes no decision.",
    "SourceSpec.format": "auto: by the file's name.",
    "SourceSpec.columns": "What the columns hold.",
    "Columns.text": "The text to label.",
    "GoldSpec.path": "File or URL, as of items.",
    "GoldSpec.text_column": "Column with the text, for gold that is not among the items; null: joined by id.",
    "GoldSpec.label_column": "Column with the label. Multi-label: a list, or names joined by `+`; `none` for no label.",
    "GoldSpec.fractions": "Shares of the splits when there is no `split_column`.",
    "GoldSpec.seed": "Changes which item falls into which split.",
    "GoldSpec.inclusion_prob_column": "Column with each item's probability of having been drawn, above 0 and at most 1.",
    "SplitFractions.examples": "Shown to the model as solved examples; trains the text classifiers.",
    "SplitFractions.calibration": "Fits confidence.",
    "SplitFractions.certify": "Kept for certificates; used by nothing else.",
    "SplitFractions.test": "Scored; used by nothing else.",
    "RoutingPolicy.alpha": "Highest error rate promised among auto-accepted items; what `labelproof certify` proves.",
    "RoutingPolicy.mode": "certified: auto-accept only under a valid certificate, without one all goes to review; threshold: at or above `threshold_prob`, shown as uncertified everywhere.",
    "RoutingPolicy.threshold_prob": "Confidence at or above which `mode: threshold` auto-accepts.",
    "RoutingPolicy.per_class_alpha": "Stricter promise for single labels; for certificates, as `alpha`.",
    "Target.at_least": "Lowest promised value.",
    "Target.at_most": "Highest promised value.",
    "Target.note": "For people.",
    "MonitorPolicy.sentinel": "Items asked anew in every run.",
    "Contact.role": "For example policy owner.",
    "Contact.name": "Who.",
    "Contact.channel": "Where they are reached.",
}


def strategy_page() -> str:
    """Return the reference of strategy files."""
    lines = _head("Strategy file", "projects/NAME/strategies/*.yaml", "how-to/write-a-strategy.md")
    lines += _section("The file", Strategy)
    lines += _section("models.NAME", ModelSpec)
    for step in _STEPS:
        lines += _section(f"steps: {_kind(step)}", step)
    lines += ["", "## Signals in `when:`", "", "| signal | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell(text)} |" for name, text in SIGNALS.items()]
    return "\n".join(lines) + "\n"


def project_page() -> str:
    """Return the reference of project files."""
    lines = _head("Project file", "projects/NAME/project.yaml", "how-to/bring-your-data.md")
    for title, model in _PROJECT:
        lines += _section(title, model)
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return path → text of the pages this module writes."""
    return {FOLDER / "strategy.md": strategy_page(), FOLDER / "project.md": project_page()}


def meaning(model: type[BaseModel], name: str) -> str:
    """Return what a key means in one line; ``KeyError`` if nobody has said."""
    if name == "kind" and _kind(model):
        return _SHARED_KIND
    for owner in model.__mro__:
        own = _MEANINGS.get(f"{owner.__name__}.{name}")
        if own is not None:
            return own
        said = _attribute_texts(owner).get(name) if issubclass(owner, BaseModel) else None
        if said:
            return said
    raise KeyError(f"{model.__name__}.{name} has no meaning; write a docstring under it")


def _head(title: str, where: str, guide: str) -> list[str]:
    return [
        f"# {title}",
        "",
        "Written by `python -m labelproof.spec.reference`; do not edit.",
        "",
        f"Every key of `{where}`. Unknown keys and repeated keys are errors, reported with their line.",
        f"How the parts work together: [{guide}](../{guide}).",
    ]


def _section(title: str, model: type[BaseModel]) -> list[str]:
    about = " ".join((inspect.getdoc(model) or "").split())
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(meaning(model, name))} |"
        for name, field in _ordered(model)
    ]
    return [
        "",
        f"## {title}",
        "",
        about,
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *rows,
    ]


def _ordered(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield fields with ``kind``, ``name``, ``when`` first, as files are written."""
    first = [name for name in ("kind", "name", "when") if name in model.model_fields]
    rest = [name for name in model.model_fields if name not in first]
    for name in [*first, *rest]:
        yield name, model.model_fields[name]


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    values = get_args(field.annotation) if field is not None else ()
    return str(values[0]) if len(values) == 1 else ""


def _type(field: FieldInfo) -> str:
    limits = [limit for part in field.metadata for limit in _limits(part)]
    return _cell(", ".join([_spelled(field.annotation), *limits]))


def _spelled(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " / ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_spelled(part) for part in inner))
    if origin is tuple:
        return f"list of {_spelled(inner[0])}"
    if origin is dict:
        return f"mapping of {_spelled(inner[0])} to {_spelled(inner[1])}"
    if hasattr(annotation, "__metadata__"):
        return "steps"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "step" if _kind(annotation) else "mapping"
    names: Mapping[Any, str] = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true / false",
        type(None): "null",
        Any: "value",
    }
    return names[annotation]


def _limits(part: Any) -> Iterator[str]:
    for attribute, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        bound = getattr(part, attribute, None)
        if bound is not None:
            yield f"{words} {bound:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    made: Any = field.get_default(call_default_factory=True, validated_data={})
    return _cell(_written(made)) if made is not PydanticUndefined else "required"


def _written(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}`: {_written(inner)}" for key, inner in value.items()) or "`{}`"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"`{inner}`" for inner in value) or "`[]`"
    if value is None:
        return "null"
    if value == "":
        return "empty"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _attribute_texts(model: type) -> dict[str, str]:
    """Return attribute → the docstring under it, of the class's own body."""
    if model is BaseModel:
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[statement.target.id] = inspect.cleandoc(below.value.value)
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    for page, content in pages().items():
        page.write_text(content, encoding="utf-8")
