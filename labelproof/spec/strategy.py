"""The strategy file: everything that decides how an item is labeled, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from labelproof.spec.conditions import parse_condition
from labelproof.spec.yamlio import load_yaml

_SECRET_NAME = re.compile(
    r"api[-_]?key|authorization|secret|passw(or)?d|bearer|access[-_]?token|credential|cookie"
    r"|^(auth|(hf|auth|id|session|refresh|user|x)?[-_]?token)$",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{16,}|AIza[\w-]{30,}|AKIA[0-9A-Z]{12,}|gh[pousr]_\w{20,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,})|^(bearer|basic)\s+\S{6,}",
    re.IGNORECASE,
)
"""Keys as well-known services write them."""
NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
EncoderName = Literal["none", "minilm", "tfidf"]
GuidelineUse = Literal["none", "short", "full"]


class Spec(BaseModel):
    """Base of everything read from a file: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _secrets(value: object, name: str = "") -> Iterator[str]:
    """Yield the names of what looks like a secret in parameters, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _SECRET_NAME.search(str(key)):
                yield str(key)
            else:
                yield from _secrets(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, name)
    elif isinstance(value, str) and SECRET_VALUE.search(value):
        yield name


class ModelSpec(Spec):
    """One chat model and how hard it may be driven."""

    provider: Literal["embedded", "openai_compatible", "langchain"] = "embedded"
    """embedded: llama.cpp in this process; openai_compatible: any /chat/completions URL; langchain:
    any provider of init_chat_model, written provider:model."""
    model: str = "qwen2.5-coder-1.5b-instruct-q4_k_m"
    """The provider's name of the model, or one of `labelproof model list`."""
    base_url: str | None = None
    """Where an OpenAI-compatible server answers; default: $OPENAI_BASE_URL, else api.openai.com."""
    path: str | None = None
    """A GGUF file of your own for the embedded provider."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=1, le=32_768)
    seed: int | None = 0
    params: dict[str, Any] = Field(default_factory=dict)
    """Further provider parameters; part of the fingerprint."""
    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Z][A-Z0-9_]*$")
    """Name of the environment variable that holds the key; the key itself is never read from a file."""
    concurrency: int | None = Field(default=None, ge=1, le=4096)
    """Calls in flight at most; default 1 for embedded, 64 otherwise."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=60, gt=0, le=3600)
    max_attempts: int = Field(default=6, ge=1, le=20)
    price_in_usd_per_mtok: float | None = Field(default=None, ge=0)
    """Overrides the price list, USD per million prompt tokens."""
    price_out_usd_per_mtok: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _no_secrets(self) -> ModelSpec:
        """Strategies are stored and shown: a key in one would be, too."""
        named = next(_secrets(self.params), None)
        if named is not None:
            raise ValueError(
                f"params: {named!r} looks like a secret; keys come from the environment variable named by "
                "`api_key_env` only"
            )
        if self.base_url is not None and "@" in self.base_url.partition("://")[2].partition("/")[0]:
            raise ValueError("base_url may not hold a user or password; keys come from the environment only")
        address, _, query = (self.base_url or "").partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        if (
            asked.keys() & {"key", "sig", "code"}
            or any(_secrets(asked))
            or SECRET_VALUE.search(address.replace("/", " "))
        ):
            raise ValueError("base_url may not hold a key; keys come from the environment only")
        return self

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _name_of_a_variable(cls, name: object) -> object:
        """Say no to a key itself without repeating it, as an error about the pattern would."""
        if isinstance(name, str) and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise ValueError(
                "expected the name of an environment variable such as OPENAI_API_KEY, never the key itself"
            )
        return name

    def identity(self) -> dict[str, Any]:
        """Return what can change an answer; limits, prices and URLs' credentials cannot."""
        return {
            "provider": self.provider,
            "model": self.model,
            "base_url": self.base_url,
            "path": self.path,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "params": self.params,
        }


class _Step(Spec):
    name: str = Field(default="", pattern=r"^$|" + NAME)
    """Name in traces and diffs; default: the kind."""
    when: str | None = None
    """Run only for items where this holds, e.g. `confidence < 0.7`."""

    @field_validator("when")
    @classmethod
    def _readable(cls, when: str | None) -> str | None:
        if when is not None:
            parse_condition(when)
        return when


class NormalizeStep(_Step):
    """Make hidden characters visible to us and invisible to the model; the raw text stays in the trace."""

    kind: Literal["normalize"]
    unicode_form: Literal["NFC", "NFKC"] = "NFKC"
    fold_homoglyphs: bool = True
    """Write look-alike letters inside a mixed-script word in the word's main script."""
    max_chars: int = Field(default=6000, ge=100, le=200_000)
    """Longer texts keep head and tail; the cut is recorded."""


class RetrieveStep(_Step):
    """Choose solved examples from the `examples` split."""

    kind: Literal["retrieve"]
    method: Literal["fixed", "knn"] = "knn"
    """fixed: the same class-balanced examples for all (prompt stays cached); knn: nearest by text."""
    k: int = Field(default=4, ge=1, le=64)
    encoder: Literal["minilm", "tfidf"] = "minilm"
    seed: int = 0


class _ModelStep(_Step):
    model: str = "main"
    """Which of the strategy's models."""
    prompt: str
    """Template name, optionally with its version: `label_letter@1`."""
    guideline: GuidelineUse = "full"
    """Which guideline text the prompt gets."""
    max_retries: int = Field(default=2, ge=0, le=10)
    """Further attempts, error shown, when the answer does not fit the label schema."""


class LabelStep(_ModelStep):
    """One structured reading of the item."""

    kind: Literal["label"]
    prompt: str = "label_json"
    method: Literal["logprob", "json"] = "json"
    """logprob: the answer is one token and the probabilities of its alternatives are the signal;
    json: schema-bound answer with rationale and verbalized confidence."""
    answer_with: Literal["auto", "name", "letter"] = "auto"
    """What a logprob answer is: the label's name (its first token decides) or a letter per label. auto: names
    where no two labels begin with the same three characters, which small models read better."""
    shortlist: int | None = Field(default=None, ge=2, le=50)
    """Offer only the labels of this many nearest examples; needed for more than 52 labels by logprob."""
    encoder: Literal["minilm", "tfidf"] = "minilm"
    """What measures nearness for the shortlist."""


class ConsensusStep(_ModelStep):
    """Several readings with reasoning, or several models; their agreement is the signal."""

    kind: Literal["consensus"]
    prompt: str = "label_reason"
    samples: int = Field(default=5, ge=1, le=50)
    models: tuple[str, ...] = ()
    """Names of models that vote; empty: `samples` readings of `model`."""
    temperature: float = Field(default=0.7, ge=0, le=2)

    @model_validator(mode="after")
    def _more_than_one(self) -> ConsensusStep:
        if not self.models and self.samples < 2:
            raise ValueError("consensus needs at least 2 samples, or a list of models")
        if not self.models and self.temperature == 0:
            raise ValueError("samples at temperature 0 are copies; set temperature above 0")
        return self


class CritiqueStep(_ModelStep):
    """A second reading that argues against the label with the guideline in hand."""

    kind: Literal["critique"]
    prompt: str = "critique"
    adopt: bool = False
    """Take the critic's label when it disagrees; otherwise only the signal is kept."""


class InvestigateStep(_ModelStep):
    """A tool-using agent for items still unsure."""

    kind: Literal["investigate"]
    prompt: str = "investigate"
    max_turns: int = Field(default=6, ge=1, le=30)
    max_cost_usd: float = Field(default=0.05, gt=0)
    """Per item; the model is not called again once reached."""
    tools: tuple[Literal["guideline_search", "similar_gold", "decode", "detect_language"], ...] = (
        "guideline_search",
        "similar_gold",
        "decode",
        "detect_language",
    )


class CalibrateStep(_Step):
    """Turn raw signals into labels and probabilities of being right, fitted on the calibration split."""

    kind: Literal["calibrate"]
    method: Literal["auto", "none", "batch", "temperature", "multinomial", "fused"] = "auto"
    encoder: EncoderName = "minilm"
    """Local text encoder whose class scores may be fused in; none: model signals only."""
    seed: int = 0


class RouteStep(_Step):
    """Decide who decides. Keys left out come from the project's routing policy."""

    kind: Literal["route"]
    mode: Literal["certified", "threshold"] | None = None
    threshold_prob: float | None = Field(default=None, ge=0, le=1)
    alpha: float | None = Field(default=None, gt=0, lt=1)
    per_class_alpha: dict[str, float] | None = None
    always_review: tuple[str, ...] | None = None
    audit_rate_prob: float | None = Field(default=None, ge=0, le=1)
    accept_without_gold: bool | None = None
    """Threshold mode only: trust confidences that no gold was used for."""


StepSpec = Annotated[
    NormalizeStep
    | RetrieveStep
    | LabelStep
    | ConsensusStep
    | CritiqueStep
    | InvestigateStep
    | CalibrateStep
    | RouteStep,
    Field(discriminator="kind"),
]
ModelStep = LabelStep | ConsensusStep | CritiqueStep | InvestigateStep


class Strategy(Spec):
    """A strategy file."""

    name: str = Field(pattern=NAME)
    description: str = ""
    models: dict[str, ModelSpec] = Field(default_factory=lambda: {"main": ModelSpec()})
    steps: tuple[StepSpec, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _name_steps(cls, data: Any) -> Any:
        """Give unnamed steps their kind as name, numbered when a kind repeats."""
        if not isinstance(data, Mapping) or not isinstance(data.get("steps"), list):
            return data
        seen: dict[str, int] = {}
        steps = []
        for step in data["steps"]:
            if isinstance(step, Mapping) and "kind" in step and not step.get("name"):
                kind = str(step["kind"])
                seen[kind] = seen.get(kind, 0) + 1
                step = {**step, "name": kind if seen[kind] == 1 else f"{kind}{seen[kind]}"}
            steps.append(step)
        return {**data, "steps": steps}

    @model_validator(mode="after")
    def _whole(self) -> Strategy:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"step names must differ; found {names}")
        kinds = [step.kind for step in self.steps]
        if kinds[-1] != "route" or kinds.count("route") != 1:
            raise ValueError("steps must end with exactly one `route`, which makes the decision")
        if not {"label", "consensus", "investigate"} & set(kinds):
            raise ValueError("no step labels anything; add a `label` step")
        if "normalize" in kinds[1:]:
            raise ValueError("`normalize` must be the first step: the others read its output")
        for step in self.steps:
            if isinstance(step, ModelStep):
                wanted = getattr(step, "models", ()) or (step.model,)
                missing = [name for name in wanted if name not in self.models]
                if missing:
                    raise ValueError(
                        f"step {step.name!r} uses model {missing[0]!r}, which `models` does not "
                        f"define; found {sorted(self.models)}"
                    )
        return self


def load_strategy(path: Path) -> Strategy:
    """Return the strategy of a YAML file; ``ConfigError`` names line and key."""
    return load_yaml(path, Strategy, what="strategy")
