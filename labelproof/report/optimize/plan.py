"""The plan of a search: what the project offers, which candidates are tried, how many calls that takes at most."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from agents.models.pricing import FREE, is_loopback, price_of
from agents.resolve import ResolvedStrategy
from agents.run.plan import plan_run
from agents.run.session import LabelRequest
from agents.run.workload import Sources, read_sources
from agents.search.halving import affordable, most_calls, schedule
from agents.search.instructions import ATTEMPTS, instruction_prompt
from agents.search.propose import proposals
from agents.search.space import (
    Facts,
    Family,
    Move,
    edited,
    enumerate_space,
    main_step,
    written,
)
from agents.search.tuning import JUDGE, LEARN, Judged, drafts, judged_items, learning_from
from labelproof.report.optimize.model import Planned, SearchPlan, SearchRequest
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import MetricRef, parse_metric
from labelproof.spec.project import ProjectFolder
from labelproof.spec.strategy import (
    NAME,
    CalibrateStep,
    ConsensusStep,
    InvestigateStep,
    LabelStep,
    ModelSpec,
    RetrieveStep,
    StepSpec,
    Strategy,
)
from labelproof.store import TraceStore
from prompts import PromptTemplate

RANKED = frozenset({"accuracy", "macro_f1", "recall", "precision", "f1"})
"""Metrics a search can rank by: what routing accepts would rest on certificates that candidates do not have."""
STUDY_ITEMS = 60
"""Items of the examples split on which the base's mistakes are looked for."""
MOST_VARIANTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A planned search with what it works on; nothing was asked or stored yet."""

    plan: SearchPlan
    request: SearchRequest
    folder: ProjectFolder
    base: Strategy
    template: PromptTemplate
    """The prompt of the base's main step, from which instruction variants are made."""
    guideline: str
    task: str
    sources: Sources
    judged: Judged
    metric: MetricRef
    writer: ModelSpec | None


def prepare(folder: ProjectFolder, request: SearchRequest) -> Prepared:
    """Return the plan of a search; ``ConfigError`` says what keeps the project from being searched."""
    metric = parse_metric(request.metric or folder.spec.experiments.primary)
    if metric.name not in RANKED:
        raise ConfigError(
            f"a search ranks by {', '.join(sorted(RANKED))}; the metric is {metric.text}",
            hint="name another one: --metric accuracy",
        )
    base = folder.strategy(request.base or folder.spec.default_strategy)
    sources = read_sources(folder)
    judged = judged_items(sources, request.seed)
    main = main_step(base)
    resolved = sources.workload(base).resolved
    step = next(one for one in resolved.steps if one.spec == main)
    assert step.template is not None
    writer = _writer(folder, base, main.model, request.writer) if "instructions" in request.space else None
    facts, unusable = _facts(folder, base, sources, step.template)
    space = enumerate_space(base, facts, request.space)
    skipped = {**space.skipped}
    if unusable and "cascade" in request.space:
        known = "second models" if "cascade" not in skipped else "cascade"
        skipped[known] = "; ".join(unusable)
    n_study = min(STUDY_ITEMS, facts.n_examples)
    n_variants = 0
    if "instructions" in request.space:
        n_variants = min(MOST_VARIANTS, max(1, request.candidates // 4)) if n_study else 0
        if not n_study:
            skipped["instructions"] = (
                f"the gold split `{LEARN}`, whose mistakes the writer reads, holds no items"
            )
    assert sources.gold is not None
    learn_fp, judge_fp = (sources.gold.split_fingerprint(name) for name in (LEARN, JUDGE))
    writer_identity = writer.identity() if writer else None
    tag = digest([resolved.fingerprint, request.seed, learn_fp, judge_fp, writer_identity])[3:9]
    candidates = _candidates(
        folder, base, sources, step.template, request, dict(space.moves), n_variants, tag
    )
    if not candidates:
        why = "; ".join(f"{family}: {reason}" for family, reason in skipped.items())
        raise ConfigError(f"nothing to try from {base.name!r} in this space. {why}", hint="widen --space")
    own_calls = calls_per_item(resolved, folder.spec.labels)
    aside = n_study * own_calls + n_variants * ATTEMPTS if n_variants else 0
    per_item = [one.calls_per_item for one in candidates]
    if request.max_calls is None:
        rungs = schedule(len(candidates), len(judged), rounds=request.rounds)
    else:
        most = max(0, request.max_calls - aside)
        rungs = affordable(per_item, own_calls, len(judged), most, rounds=request.rounds)
    plan = SearchPlan(
        project=folder.name,
        base=base.name,
        base_fp=resolved.fingerprint,
        metric=metric.text,
        seed=request.seed,
        rungs=rungs,
        candidates=candidates,
        skipped=skipped,
        n_learn=facts.n_examples,
        n_judge=rungs[-1].n_items,
        learn_fp=learn_fp,
        judge_fp=judge_fp,
        tag=tag,
        n_study=n_study if n_variants else 0,
        n_variants=n_variants,
        writer=writer.model if writer and n_variants else None,
        n_calls_most=aside + most_calls(rungs, per_item, own_calls),
    )
    _check_name(folder, request, plan.search_id)
    return Prepared(
        plan=plan,
        request=request,
        folder=folder,
        base=base,
        template=step.template,
        guideline=step.guideline,
        task=resolved.task,
        sources=sources,
        judged=judged,
        metric=metric,
        writer=writer if n_variants else None,
    )


def _check_name(folder: ProjectFolder, request: SearchRequest, search_id: str) -> None:
    """Refuse, before anything is paid, a winner's name that no file can have or that another strategy's file has."""
    name = request.name
    if name is None:
        return
    if re.fullmatch(NAME, name) is None:
        raise ConfigError(
            f"--name {name!r}: expected a strategy's name: a letter, then letters, digits, - _ ."
        )
    for stem in (name, *(f"{name}-{rank}" for rank in range(1, request.top + 1))):
        path = folder.folder / "strategies" / f"{stem}.yaml"
        if path.exists() and f" of search {search_id}: " not in path.read_text(encoding="utf-8"):
            raise ConfigError(
                "the winner would be written here, and another strategy is there",
                path=path,
                hint="give the winner another --name, or move the file",
            )


def variant_name(tag: str, index: int) -> str:
    """Return the name of the prompt that holds an instruction variant."""
    return f"search_{tag}_{index}"


def calls_per_item(resolved: ResolvedStrategy, schema: LabelSchema) -> int:
    """Return the model calls an item takes at most, conditional steps counted for every item."""
    total = 0
    for step in resolved.steps:
        spec = step.spec
        if isinstance(spec, ConsensusStep):
            total += len(spec.models) or spec.samples
        elif isinstance(spec, InvestigateStep):
            total += spec.max_turns
        elif isinstance(spec, LabelStep) and spec.method == "logprob" and schema.kind == "multi":
            total += len(schema.leaves)
        else:
            total += step.calls_model
    return total


def is_free(prepared: Prepared) -> bool:
    """Return whether no call of the search can cost money."""
    used = [spec for one in prepared.plan.candidates for spec in one.strategy.models.values()]
    used += [*prepared.base.models.values(), *((prepared.writer,) if prepared.writer else ())]
    return all(price_of(spec, spec.base_url) == FREE for spec in used)


def estimate(store: TraceStore, prepared: Prepared) -> tuple[float | None, float]:
    """Return US dollars (None: a price is not known) and seconds of the rounds at most, from the first round's prompts.

    What is stored already counts as free. Instruction variants count as the base's prompt.
    """
    plan, first = prepared.plan, prepared.plan.rungs[0].n_items
    items = prepared.judged.items[:first]
    fit = frozenset(item.id for item in items)
    costs: list[float | None] = []
    seconds: list[float] = []
    with drafts(prepared.folder) as place:
        _placeholders(place, prepared.template, plan.tag, plan.n_variants)
        sources = learning_from(prepared.sources, place, fit)
        for strategy in (prepared.base, *(one.strategy for one in plan.candidates)):
            work = replace(sources.workload(strategy), items=items)
            run = plan_run(LabelRequest(project=plan.project), work, store)
            costs.append(run.cost_usd)
            seconds.append(run.seconds)
    whole = _over_rounds(prepared, seconds)
    known = [cost for cost in costs if cost is not None]
    return (_over_rounds(prepared, known) if len(known) == len(costs) else None), whole


def _over_rounds(prepared: Prepared, of_first: Sequence[float]) -> float:
    first = prepared.plan.rungs[0].n_items
    per_item = [value / first for value in of_first]
    dear, total, before = sorted(per_item[1:], reverse=True), 0.0, 0
    for rung in prepared.plan.rungs:
        total += (rung.n_items - before) * (per_item[0] + sum(dear[: rung.n_candidates]))
        before = rung.n_items
    return total + prepared.plan.n_study * per_item[0] + prepared.plan.n_variants * fmean(per_item)


def _candidates(
    folder: ProjectFolder,
    base: Strategy,
    sources: Sources,
    template: PromptTemplate,
    request: SearchRequest,
    moves: dict[Family, tuple[Move, ...]],
    n_variants: int,
    tag: str,
) -> tuple[Planned, ...]:
    if n_variants:
        moves["instructions"] = tuple(
            written(
                f"instruction{i}",
                f"{variant_name(tag, i)}@1",
                f"instruction variant {i}, written from mistakes",
            )
            for i in range(1, n_variants + 1)
        )
    found: list[Planned] = []
    with drafts(folder) as place:
        _placeholders(place, template, tag, n_variants)
        learned = learning_from(sources, place)
        seen = {learned.workload(base).resolved.fingerprint}
        for combo in proposals(moves, request.candidates, request.seed):
            if len(found) == request.candidates:
                break
            number = f"c{len(found) + 1:02d}"
            says = ", ".join(move.says for move in combo)
            try:
                strategy = edited(
                    base,
                    combo,
                    name=f"{base.name[:40]}-{tag}-{number}",
                    description=f"{base.name} with {says}.",
                )
                resolved = learned.workload(strategy).resolved
            except ConfigError:
                continue  # moves that do not go together make no candidate
            if resolved.fingerprint in seen:
                continue
            seen.add(resolved.fingerprint)
            found.append(
                Planned(
                    id=number,
                    name="+".join(move.name for move in combo),
                    says=says,
                    families=tuple(move.family for move in combo),
                    strategy=strategy,
                    instructions=tuple(
                        int(move.name.removeprefix("instruction"))
                        for move in combo
                        if move.family == "instructions"
                    ),
                    calls_per_item=calls_per_item(resolved, folder.spec.labels),
                )
            )
    return tuple(found)


def _placeholders(place: ProjectFolder, template: PromptTemplate, tag: str, n_variants: int) -> None:
    for index in range(1, n_variants + 1):
        name = variant_name(tag, index)
        text = instruction_prompt(template, name, f"Instruction variant {index}, not written yet.", "planned")
        (place.folder / "prompts" / f"{name}.md").write_text(text, encoding="utf-8")


def _facts(
    folder: ProjectFolder, base: Strategy, sources: Sources, template: PromptTemplate
) -> tuple[Facts, list[str]]:
    """Return what the project offers, and which second models cannot be used here and why."""
    from agents.models.download import installed
    from agents.models.weights import ENCODER_MODEL, ENCODER_TOKENIZER, known

    here = all(installed(known(name).artifact) for name in (ENCODER_MODEL, ENCODER_TOKENIZER))
    uses = any(_reads_with(step) == "minilm" for step in base.steps)
    encoders: tuple[Literal["minilm", "tfidf"], ...] = ("minilm", "tfidf") if here or uses else ("tfidf",)
    models, unusable = _second_models(folder, base)
    items = {item.id for item in (*sources.read.items, *(sources.gold.items if sources.gold else ()))}
    rows = sources.gold.split(LEARN) if sources.gold else ()
    facts = Facts(
        n_examples=sum(row.item_id in items for row in rows),
        encoders=encoders,
        shown=frozenset(template.variables),
        second_models=models,
    )
    return facts, unusable


def _reads_with(step: StepSpec) -> str | None:
    """Return the encoder a step needs, None when it needs none."""
    if isinstance(step, RetrieveStep):
        return step.encoder if step.method == "knn" else None
    if isinstance(step, CalibrateStep):
        return step.encoder
    return step.encoder if isinstance(step, LabelStep) and step.shortlist else None


def _second_models(folder: ProjectFolder, base: Strategy) -> tuple[dict[str, ModelSpec], list[str]]:
    known = [spec.identity() for spec in base.models.values()]
    found: dict[str, ModelSpec] = {}
    unusable: list[str] = []
    for _, spec in _project_models(folder):
        if spec.identity() in known:
            continue
        known.append(spec.identity())
        why = _why_unusable(spec)
        if why:
            unusable.append(f"{spec.model}: {why}")
        else:
            found.setdefault(spec.model, spec)
    return found, unusable


def _project_models(folder: ProjectFolder) -> list[tuple[str, ModelSpec]]:
    found: list[tuple[str, ModelSpec]] = []
    for name in folder.strategy_names():
        try:
            found += sorted(folder.strategy(name).models.items())
        except ConfigError:
            continue  # a broken file of another strategy is not this search's business
    return found


def _why_unusable(spec: ModelSpec, env: Mapping[str, str] | None = None) -> str | None:
    from agents.models.weights import needed_by

    env = os.environ if env is None else env
    if spec.provider == "embedded":
        return None if needed_by(spec) is None else "its weights are not on this machine"
    if spec.provider == "openai_compatible":
        url = spec.base_url or env.get("OPENAI_BASE_URL", "")
        if not env.get(spec.api_key_env) and not is_loopback(url):
            return f"${spec.api_key_env} is not set"
    return None


def _writer(folder: ProjectFolder, base: Strategy, main: str, wanted: str | None) -> ModelSpec:
    if wanted is None:
        return base.models.get(main) or next(iter(base.models.values()))
    known = [*base.models.items(), *_project_models(folder)]
    for name, spec in known:
        if wanted in (name, spec.model):
            return spec
    names = sorted({spec.model for _, spec in known})
    raise ConfigError(
        f"--writer {wanted!r}: expected a model of one of the project's strategies, {', '.join(names)}",
        hint="define the model in a strategy file of the project",
    )
