"""The project folder: label schema, guideline, sources, gold, targets, routing policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import parse_metric
from labelproof.spec.monitoring import Contact, MonitorPolicy, Target
from labelproof.spec.review import ReviewPolicy
from labelproof.spec.strategy import NAME, Spec, Strategy, load_strategy
from labelproof.spec.yamlio import load_yaml

SPLITS = ("examples", "calibration", "certify", "test")
Split = Literal["examples", "calibration", "certify", "test"]
PROJECT_FILE = "project.yaml"


class Columns(Spec):
    """Which columns of a source hold what."""

    id: str | None = "id"
    """The caller's name of an item; null: the content hash serves."""
    text: str = "text"
    meta: tuple[str, ...] | Literal["*"] = "*"
    """Columns kept as metadata, usable as slices; `*`: all others that hold plain values."""


class SourceSpec(Spec):
    """Where items come from: a file or URL (JSONL, CSV, Parquet, anything DuckDB reads), or a query."""

    path: str | None = None
    """File or URL, relative to the project folder; wildcards allowed."""
    query: str | None = None
    """A DuckDB SELECT instead of a path."""
    format: Literal["auto", "jsonl", "csv", "parquet"] = "auto"
    columns: Columns = Columns()
    on_error: Literal["skip", "fail"] = "skip"
    """Malformed rows are counted and listed either way; `fail` stops the run."""

    @model_validator(mode="after")
    def _one(self) -> SourceSpec:
        if (self.path is None) == (self.query is None):
            raise ValueError("give exactly one of `path` and `query`")
        return self


Design = Literal["simple_random", "stratified", "active", "region"]
"""How a gold item was drawn; `region`: uniformly among the items above a confidence (`labelproof gold sample`)."""


class SplitFractions(Spec):
    """How gold without a split column is divided, by a hash of each item's content."""

    examples: float = Field(default=0.10, ge=0, le=1)
    calibration: float = Field(default=0.30, ge=0, le=1)
    certify: float = Field(default=0.30, ge=0, le=1)
    test: float = Field(default=0.30, ge=0, le=1)

    @model_validator(mode="after")
    def _sum(self) -> SplitFractions:
        total = self.examples + self.calibration + self.certify + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"split fractions must sum to 1; found {total:g}")
        return self


class GoldSpec(Spec):
    """Human-labelled items and how they were drawn."""

    path: str
    id_column: str = "id"
    """Joined to the items' ids; rows may carry their own `text_column` instead."""
    text_column: str | None = None
    label_column: str = "label"
    split_column: str | None = None
    """Column that holds the split; without it, `fractions` and `seed` decide."""
    fractions: SplitFractions = SplitFractions()
    seed: int = 0
    design: Literal["simple_random", "stratified", "active"] = "simple_random"
    """How items were drawn from the pool: each with the same chance; with one chance per stratum; each with its
    own. The last two are weighted and need `inclusion_prob_column`."""
    inclusion_prob_column: str | None = None
    """Column with the probability, above 0 and at most 1, with which the design drew the item."""
    design_column: str | None = None
    """Column with each item's own design; empty cells mean `design`. `labelproof gold build` writes it."""
    sample_column: str | None = None
    """Column with the id of the draw an item comes from (design `region`)."""

    weight_max: float | None = Field(default=None, ge=1)
    """Weighted designs: the largest weight n / (N x inclusion probability) any item of the pool can have; 1/s for a
    design that mixes in a uniform share s. Certificates need it: the largest weight among the gold is no bound."""

    @model_validator(mode="after")
    def _weighted(self) -> GoldSpec:
        if self.design != "simple_random" and self.inclusion_prob_column is None:
            raise ValueError(
                f"design {self.design} needs inclusion_prob_column: its items do not count alike"
            )
        return self


class RoutingPolicy(Spec):
    """Who decides what."""

    mode: Literal["certified", "threshold"] = "certified"
    """certified: auto-accept only above a certified threshold; threshold: above `threshold_prob`,
    shown as uncertified everywhere."""
    threshold_prob: float = Field(default=0.9, ge=0, le=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Highest error rate promised among auto-accepted items."""
    per_class_alpha: dict[str, float] = Field(default_factory=dict)
    always_review: tuple[str, ...] = ()
    """Predicted labels that always go to a person."""
    audit_rate_prob: float = Field(default=0.05, ge=0, le=1)
    """Probability that an auto-accepted item is audited by a person."""
    accept_without_gold: bool = False
    """Threshold mode only: trust confidences that no gold was used for. Off: such items go to review."""
    review_manipulation: bool = True
    """Send items that try to steer the model to a person."""


class Project(Spec):
    """A project file."""

    name: str = Field(pattern=NAME)
    description: str = ""
    labels: LabelSchema
    guideline: str = "guideline.md"
    guideline_short: str | None = None
    """A version small enough for a small model's prompt; default: the labels' descriptions."""
    items: SourceSpec
    gold: GoldSpec | None = None
    class_prior: dict[str, float] = Field(default_factory=dict)
    """Known share of each label in the traffic, summing to 1 (multi-label: the share of items that carry it).
    Calibration without gold presumes equal shares otherwise, which hurts when one label dominates."""
    routing: RoutingPolicy = RoutingPolicy()
    default_strategy: str = "champion"
    targets: tuple[Target, ...] = ()
    contacts: tuple[Contact, ...] = ()
    review: ReviewPolicy = ReviewPolicy()
    """How people work on its review tasks: overlap, order, leases, care. Decides no label: outside every fingerprint."""
    experiments: ExperimentPolicy = ExperimentPolicy()
    """How changes of strategy are judged. Decides no label: outside every fingerprint."""
    monitoring: MonitorPolicy = MonitorPolicy()
    """How production is watched: windows, drift, the sentinel set, escalation. Outside every fingerprint."""

    @model_validator(mode="after")
    def _known_labels(self) -> Project:
        named = {
            **{label: "review.skills" for rule in self.review.skills.values() for label in rule.labels},
            **dict.fromkeys((*self.routing.always_review, *self.routing.per_class_alpha), "routing"),
        }
        known = {*self.labels.leaves, *(parent.name for parent in self.labels.classes)}
        judged = (self.experiments.primary, *self.experiments.secondary)
        judged += tuple(guardrail.metric for guardrail in self.experiments.guardrails)
        refs = [parse_metric(metric) for metric in judged]
        named |= {ref.of: "experiments" for ref in refs if ref.of is not None and ref.name != "suite"}
        named |= {target.of: "targets" for target in self.targets if target.of is not None}
        unknown = sorted(named.keys() - known)
        if unknown:
            raise ValueError(
                f"{named[unknown[0]]} names label {unknown[0]!r}; expected one of {', '.join(sorted(known))}"
            )
        if self.class_prior:
            leaves = set(self.labels.leaves)
            if set(self.class_prior) != leaves:
                raise ValueError(f"class_prior must name every label once: {', '.join(self.labels.leaves)}")
            if any(not 0 < share < 1 for share in self.class_prior.values()):
                raise ValueError("class_prior: every share must lie between 0 and 1")
            total = sum(self.class_prior.values())
            if self.labels.kind != "multi" and abs(total - 1) > 1e-6:
                raise ValueError(f"class_prior must sum to 1; found {total:g}")
        return self


@dataclass(frozen=True, slots=True)
class ProjectFolder:
    """A project on disk: its folder and its validated file."""

    folder: Path
    spec: Project

    @property
    def name(self) -> str:
        return self.spec.name

    def read(self, relative: str) -> str:
        """Return the text of a file of the project; ``ConfigError`` if it is not there."""
        path = self.folder / relative
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigError(
                "no such file", path=path, hint=f"create it or change {PROJECT_FILE}"
            ) from error

    def guideline(self) -> str:
        return self.read(self.spec.guideline)

    def guideline_short(self) -> str:
        """Return the short guideline; without one, the classes with their descriptions."""
        if self.spec.guideline_short is not None:
            return self.read(self.spec.guideline_short)
        classes = self.spec.labels.leaf_classes.items()
        return "\n".join(f"- {name}: {leaf.description or name}" for name, leaf in classes)

    def strategy_names(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "strategies").glob("*.yaml"))

    def strategy(self, name: str) -> Strategy:
        """Return a strategy by file name (without .yaml) or path."""
        path = Path(name) if name.endswith((".yaml", ".yml")) else self.folder / "strategies" / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(self.strategy_names()) or "none"
            raise ConfigError(f"no strategy {name!r} in this project; found: {known}", path=path)
        return load_strategy(path)


def find_project(name: str, *, root: Path | None = None) -> ProjectFolder:
    """Return a project by folder path, by `projects/NAME` or by NAME below ``root`` (default: cwd)."""
    base = root if root is not None else Path.cwd()
    tried = [Path(name), base / name, base / "projects" / name]
    for folder in tried:
        folder = folder.parent if folder.name == PROJECT_FILE else folder
        if (folder / PROJECT_FILE).is_file():
            spec = load_yaml(folder / PROJECT_FILE, Project, what="project")
            return ProjectFolder(folder, spec)
    known = sorted(path.parent.name for path in (base / "projects").glob(f"*/{PROJECT_FILE}"))
    raise ConfigError(
        f"no project {name!r}: looked for {PROJECT_FILE} in {', '.join(str(p) for p in dict.fromkeys(tried))}",
        hint=f"projects here: {', '.join(known) or 'none'}; `labelproof init {name}` makes a new one",
    )
