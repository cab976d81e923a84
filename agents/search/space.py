"""What a search may change of a strategy: moves, each one small edit of the strategy file, with its reason in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import (
    CalibrateStep,
    ConsensusStep,
    GuidelineUse,
    LabelStep,
    ModelSpec,
    RetrieveStep,
    StepSpec,
    Strategy,
)

Family = Literal["few_shot", "instructions", "guideline", "calibrate", "consensus", "cascade"]
FAMILIES: tuple[Family, ...] = get_args(Family)
SHOTS = (2, 4, 8, 16)
SAMPLES = (3, 5)
CASCADE_BELOW = (0.6, 0.8, 0.9)
SECOND = "second"
"""Name of the step and of the model that a cascade adds."""
_BELOW = re.compile(r"\s*confidence\s*<=?\s*(0?\.\d+|1(?:\.0*)?)\s*\Z")
_COMMON = ("model", "guideline", "max_retries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One edit. ``name`` is short and unique in a search; ``says`` is for people."""

    family: Family
    name: str
    says: str
    edit: Callable[[Strategy], Strategy] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the project offers a search. ``shown``: variables of the main step's prompt template."""

    n_examples: int
    encoders: tuple[Literal["minilm", "tfidf"], ...]
    """Text encoders that are on this machine."""
    shown: frozenset[str]
    second_models: Mapping[str, ModelSpec]
    """Other models of the project's strategies, by a name for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All moves by family, and why a family that was asked for has none."""

    moves: Mapping[Family, tuple[Move, ...]]
    skipped: Mapping[str, str]


def parse_families(text: str) -> tuple[Family, ...]:
    """Return the families of a comma-separated list, in the order of ``FAMILIES``; ``ConfigError`` lists them all."""
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in asked if part not in FAMILIES]
    if unknown or not asked:
        raise ConfigError(
            f"--space: expected some of {', '.join(FAMILIES)}, found {unknown[0] if unknown else 'nothing'!r}"
        )
    return tuple(family for family in FAMILIES if family in asked)


def main_step(strategy: Strategy) -> LabelStep | ConsensusStep:
    """Return the step that labels every item; ``ConfigError`` when the strategy has none."""
    for step in strategy.steps:
        if isinstance(step, LabelStep | ConsensusStep) and step.when is None:
            return step
    raise ConfigError(
        f"strategy {strategy.name!r} has no label or consensus step without a `when:`; a search varies such a step",
        hint="name another one with --base",
    )


def enumerate_space(base: Strategy, facts: Facts, families: Sequence[Family]) -> Space:
    """Return the moves away from ``base`` (instructions excepted: a model writes those, see ``written``)."""
    makers: dict[Family, Callable[[Strategy, Facts], tuple[list[Move], str]]] = {
        "few_shot": _few_shot,
        "guideline": _guideline,
        "calibrate": _calibrate,
        "consensus": _consensus,
        "cascade": _cascade,
    }
    moves: dict[Family, tuple[Move, ...]] = {}
    skipped: dict[str, str] = {}
    for family in families:
        if family == "instructions":
            continue
        found, why_not = makers[family](base, facts)
        moves[family] = tuple(found)
        if not found:
            skipped[family] = why_not
    return Space(moves=moves, skipped=skipped)


def written(name: str, template: str, says: str) -> Move:
    """Return the move that makes the main step read ``template``: an instruction variant."""
    return Move(family="instructions", name=name, says=says, edit=partial(_with_main, prompt=template))


def edited(strategy: Strategy, moves: Sequence[Move], *, name: str, description: str) -> Strategy:
    """Return ``strategy`` under another name with all moves made, in order; ``ConfigError`` if they do not fit."""
    try:
        for move in moves:
            strategy = move.edit(strategy)
        data = _plain(strategy) | {"name": name, "description": description}
        return Strategy.model_validate(data)
    except ValueError as error:  # pydantic's errors are ValueErrors
        raise ConfigError(
            f"{' + '.join(m.name for m in moves)} does not fit {strategy.name!r}: {error}"
        ) from error


def without_calibration(strategy: Strategy) -> Strategy:
    """Return ``strategy`` without its calibrate steps: what its models say themselves."""
    return _rebuilt(strategy, [step for step in strategy.steps if not isinstance(step, CalibrateStep)])


def plain(strategy: Strategy) -> dict[str, Any]:
    """Return a strategy as a person would write it: defaults left out, steps without a name they would get anyway."""
    data = _plain(strategy)
    seen: dict[str, int] = {}
    for step in data["steps"]:
        kind = step["kind"]
        seen[kind] = seen.get(kind, 0) + 1
        if step.get("name") == (kind if seen[kind] == 1 else f"{kind}{seen[kind]}"):
            del step["name"]
    return data


def _plain(strategy: Strategy) -> dict[str, Any]:
    return strategy.model_dump(mode="json", exclude_unset=True)


def _rebuilt(strategy: Strategy, steps: Sequence[StepSpec | dict[str, Any]], **more: Any) -> Strategy:
    listed = [
        step if isinstance(step, dict) else step.model_dump(mode="json", exclude_unset=True) for step in steps
    ]
    return Strategy.model_validate({**_plain(strategy), **more, "steps": listed})


def _changed(strategy: Strategy, old: StepSpec, **values: Any) -> Strategy:
    steps = [
        step.model_dump(mode="json", exclude_unset=True) | (values if step is old else {})
        for step in strategy.steps
    ]
    return _rebuilt(strategy, steps)


def _with_main(strategy: Strategy, **values: Any) -> Strategy:
    return _changed(strategy, main_step(strategy), **values)


def _few_shot(base: Strategy, facts: Facts) -> tuple[list[Move], str]:
    known = next((step for step in base.steps if isinstance(step, RetrieveStep)), None)
    moves: list[Move] = []
    sizes = [k for k in SHOTS if k <= facts.n_examples]
    for k in sizes:
        if "near_examples" in facts.shown:
            moves += [_shots("knn", k, encoder) for encoder in facts.encoders]
        if "fixed_examples" in facts.shown:
            moves.append(_shots("fixed", k, None))
    moves = [move for move in moves if move.edit(base) != base]
    if known is not None:
        moves.append(
            Move(family="few_shot", name="no-examples", says="no examples in the prompt", edit=_without_shots)
        )
    if not sizes:
        return moves, f"the gold split `examples` holds {facts.n_examples} items; 2 are the least to show"
    return moves, "the prompt of the main step shows no examples (variables near_examples, fixed_examples)"


def _shots(method: str, k: int, encoder: str | None) -> Move:
    of = "" if encoder is None else f" by {encoder}"
    says = f"{k} fixed examples" if method == "fixed" else f"the {k} nearest examples{of}"
    values: dict[str, Any] = {"kind": "retrieve", "method": method, "k": k}
    if encoder is not None:
        values["encoder"] = encoder
    name = f"{method}{k}" + (f"-{encoder}" if encoder else "")
    return Move(family="few_shot", name=name, says=says, edit=partial(_with_shots, values=values))


def _with_shots(strategy: Strategy, *, values: dict[str, Any]) -> Strategy:
    known = next((step for step in strategy.steps if isinstance(step, RetrieveStep)), None)
    if known is not None:
        return _changed(strategy, known, **values)
    steps: list[StepSpec | dict[str, Any]] = list(strategy.steps)
    steps.insert(strategy.steps.index(main_step(strategy)), values)
    return _rebuilt(strategy, steps)


def _without_shots(strategy: Strategy) -> Strategy:
    return _rebuilt(strategy, [step for step in strategy.steps if not isinstance(step, RetrieveStep)])


def _guideline(base: Strategy, facts: Facts) -> tuple[list[Move], str]:
    if "guideline" not in facts.shown:
        return [], "the prompt of the main step shows no guideline"
    words: dict[GuidelineUse, str] = {
        "none": "no guideline",
        "short": "the short guideline",
        "full": "the full guideline",
    }
    own = main_step(base).guideline
    return [
        Move(
            family="guideline",
            name=f"guideline-{use}",
            says=says,
            edit=partial(_with_main, guideline=use),
        )
        for use, says in words.items()
        if use != own
    ], ""


def _calibrate(base: Strategy, facts: Facts) -> tuple[list[Move], str]:
    steps = [step for step in base.steps if isinstance(step, CalibrateStep)]
    own = steps[-1] if steps else None
    moves = []
    for encoder in ("none", *facts.encoders):
        if own is not None and own.method == "auto" and own.encoder == encoder:
            continue
        says = (
            "calibrated on model signals alone" if encoder == "none" else f"calibrated with {encoder} texts"
        )
        moves.append(
            Move(
                family="calibrate",
                name=f"calibrate-{encoder}",
                says=says,
                edit=partial(_with_calibration, encoder=encoder),
            )
        )
    if own is not None and own.method != "none":
        moves.append(
            Move(
                family="calibrate",
                name="calibrate-off",
                says="no calibration on gold: only the model's bias is removed",
                edit=partial(_with_calibration, encoder="none", method="none"),
            )
        )
    return moves, "no other way to calibrate"


def _with_calibration(strategy: Strategy, *, encoder: str, method: str = "auto") -> Strategy:
    steps = [step for step in strategy.steps if isinstance(step, CalibrateStep)]
    if steps:
        return _changed(strategy, steps[-1], encoder=encoder, method=method)
    new = {"kind": "calibrate", "encoder": encoder, "method": method}
    return _rebuilt(strategy, [*strategy.steps[:-1], new, strategy.steps[-1]])


def _consensus(base: Strategy, _: Facts) -> tuple[list[Move], str]:
    main = main_step(base)
    if isinstance(main, LabelStep) and main.method == "logprob":
        return [], (
            "the main step reads the probabilities of one token, which samples would only estimate again; "
            "consensus is for written answers (`method: json`)"
        )
    if isinstance(main, ConsensusStep) and main.models:
        return [], "the main step already asks several models"
    own = main.samples if isinstance(main, ConsensusStep) else 1
    return [
        Move(
            family="consensus",
            name=f"consensus{n}",
            says=f"{n} reasoned readings that vote",
            edit=partial(_with_consensus, samples=n),
        )
        for n in SAMPLES
        if n != own
    ], ""


def _with_consensus(strategy: Strategy, *, samples: int) -> Strategy:
    main = main_step(strategy)
    if isinstance(main, ConsensusStep):
        return _changed(strategy, main, samples=samples)
    kept = main.model_dump(mode="json", exclude_unset=True, include=set(_COMMON))
    new = {"kind": "consensus", "samples": samples, **kept}
    return _rebuilt(strategy, [new if step is main else step for step in strategy.steps])


def _cascade(base: Strategy, facts: Facts) -> tuple[list[Move], str]:
    moves: list[Move] = []
    for step in base.steps:
        found = _BELOW.match(step.when or "")
        if found is None or isinstance(step, CalibrateStep):
            continue
        moves += [
            Move(
                family="cascade",
                name=f"{step.name}-below{below:g}".lower(),
                says=f"step {step.name} runs below confidence {below:g}",
                edit=partial(_with_when, step=step.name, below=below),
            )
            for below in CASCADE_BELOW
            if float(found[1]) != below
        ]
    for number, (name, spec) in enumerate(sorted(facts.second_models.items()), start=1):
        moves += [
            Move(
                family="cascade",
                name=f"second{number}-below{below:g}",
                says=f"below confidence {below:g} {name} reads again",
                edit=partial(_with_second, spec=spec, below=below),
            )
            for below in CASCADE_BELOW
        ]
    return (
        moves,
        "no strategy of the project defines a second model, and no step has `when: confidence < ...`",
    )


def _with_when(strategy: Strategy, *, step: str, below: float) -> Strategy:
    own = next(one for one in strategy.steps if one.name == step)
    return _changed(strategy, own, when=f"confidence < {below:g}")


def _with_second(strategy: Strategy, *, spec: ModelSpec, below: float) -> Strategy:
    if SECOND in strategy.models or any(step.name == SECOND for step in strategy.steps):
        raise ValueError(f"the strategy already has a model or step called {SECOND!r}")
    main = main_step(strategy)
    second: dict[str, Any] = {"kind": "label", "name": SECOND, "model": SECOND}
    second |= {"when": f"confidence < {below:g}", "guideline": main.guideline}
    if isinstance(main, LabelStep):
        second["method"] = main.method
    steps: list[StepSpec | dict[str, Any]] = list(strategy.steps)
    steps.insert(strategy.steps.index(main) + 1, second)
    models = _plain(strategy).get("models") or {"main": {}}
    return _rebuilt(
        strategy, steps, models={**models, SECOND: spec.model_dump(mode="json", exclude_unset=True)}
    )
