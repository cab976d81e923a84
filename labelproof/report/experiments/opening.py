"""From a request to an experiment whose plan is stored: a new one, or the same one found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn

from pydantic import ValidationError

from agents.run.register import gold_rows, item_rows
from agents.run.workload import Workload
from labelproof.report.experiments.plan import (
    ArmWork,
    Plan,
    base_of,
    items_of,
    load_plan,
    make_plan,
    open_works,
)
from labelproof.report.experiments.state import Standing, record, standing, standings
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import digest, short
from labelproof.spec.items import Item
from labelproof.spec.metrics import parse_metric
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

Found = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRequest:
    """What to compare, on what, by which rule. ``items``: `all` or a number, in place of gold."""

    project: str
    arms: tuple[str, ...]
    split: str = "test"
    items: int | Literal["all"] | None = None
    budget_usd: float | None = None
    name: str | None = None
    primary: str | None = None
    goal: Literal["better", "not_worse"] | None = None
    again: bool = False

    @property
    def source(self) -> str:
        """Which items, as plans write it."""
        if self.items is None:
            return f"gold:{self.split}"
        return "all" if self.items == "all" else f"random:{self.items}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An experiment ready to run, its plan stored. ``found``: new, unfinished (it goes on), or finished."""

    plan: Plan
    folder: ProjectFolder
    works: tuple[ArmWork, ...]
    items: tuple[Item, ...]
    found: Found
    budget_usd: float | None

    def work(self, arm: str) -> ArmWork:
        """Return the arm of this name with what it depends on."""
        return next(one for one in self.works if one.arm.name == arm)


def open_experiment(
    store: TraceStore,
    request: ExperimentRequest,
    *,
    now: datetime,
    actor: str | None = None,
    root: Path | None = None,
    flow_run_id: str | None = None,
) -> Opened:
    """Plan an experiment and store the plan, or find the same one again; no model is asked.

    ``ConfigError`` when an unfinished experiment of these arms has a plan that no longer fits: what it planned to run
    is not what the files say now.
    """
    folder = find_project(request.project, root=root)
    works = open_works(store, folder, request.arms)
    base = base_of(folder, works)
    plan = make_plan(
        base,
        works,
        request.source,
        policy=_policy(folder, request),
        now=now,
        name=request.name,
        budget_usd=request.budget_usd,
    )
    found: Found = "new"
    if not request.again:
        before = _same_or_refuse(standings(store, project=folder.name), plan)
        if before is not None:
            plan = load_plan(store, before.plan.experiment_id)
            found = "finished" if before.state == "finished" else "unfinished"
    opened = _opened(plan, base, works, found, request.budget_usd)
    if found == "new":
        inputs = {**item_rows(store, folder.name, base, now, only=opened.items)}
        store.append_many({**inputs, **gold_rows(store, folder.name, base, now)})
        record(store, plan, "planned", now, actor=actor, flow_run_id=flow_run_id)
    return opened


def reopen_experiment(
    store: TraceStore,
    experiment_id: str,
    *,
    project: str | None = None,
    root: Path | None = None,
    budget_usd: float | None = None,
) -> Opened:
    """Return a stored experiment ready to go on, a withdrawn one too; ``ConfigError`` when its files have changed."""
    plan = load_plan(store, experiment_id)
    folder = find_project(project or plan.project, root=root)
    if folder.name != plan.project:
        raise ConfigError(
            f"experiment {plan.experiment_id} is of project {plan.project!r}, not {folder.name!r}"
        )
    works = open_works(store, folder, [arm.ref for arm in plan.arms], [arm.name for arm in plan.arms])
    base = base_of(folder, works)
    now_plan = make_plan(base, works, plan.source, policy=plan.policy, now=plan.made_at)
    if now_plan.key != plan.key:
        _refuse(plan, now_plan)
    state = standing(store, plan).state
    return _opened(plan, base, works, "finished" if state == "finished" else "unfinished", budget_usd)


def parse_items(text: str | None) -> int | Literal["all"] | None:
    """Return what `--items` means: `all`, a number from 1 on, or None for gold; ``ConfigError`` otherwise."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ConfigError(f"items: expected a number from 1 on, or all, found {text!r}", hint="--items 2000")


def _policy(folder: ProjectFolder, request: ExperimentRequest) -> ExperimentPolicy:
    changed = {"primary": request.primary, "goal": request.goal}
    values = folder.spec.experiments.model_dump(mode="json")
    values |= {name: value for name, value in changed.items() if value is not None}
    if request.primary is not None:
        parse_metric(request.primary)  # names what there is
    try:
        return ExperimentPolicy.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"the experiment's rule: {error.errors()[0]['msg']}") from error


def _opened(
    plan: Plan,
    base: Workload,
    works: Sequence[ArmWork],
    found: Found,
    budget_usd: float | None,
) -> Opened:
    items = items_of(base, works, plan.source)
    assert digest([item.id for item in items]) == plan.item_ids_fp
    return Opened(
        plan=plan,
        folder=base.folder,
        works=tuple(works),
        items=tuple(items),
        found=found,
        budget_usd=plan.budget_usd if budget_usd is None else budget_usd,
    )


def _same_or_refuse(before: Sequence[Standing], plan: Plan) -> Standing | None:
    """Return the latest experiment with this very plan: an unfinished one before a finished one.

    ``ConfigError`` when an unfinished one has the same arms over the same items by name, and another content.
    """
    same = [one for one in before if one.plan.key == plan.key and one.state != "withdrawn"]
    unfinished = [one for one in same if one.is_unfinished]
    if unfinished:
        return unfinished[-1]
    for one in reversed(before):
        names = [arm.ref for arm in one.plan.arms] == [arm.ref for arm in plan.arms]
        if one.is_unfinished and names and one.plan.source == plan.source:
            _refuse(one.plan, plan)
    return same[-1] if same else None


def _refuse(planned: Plan, found: Plan) -> NoReturn:
    """Raise what differs between a plan and what would be run now."""
    changed = [
        f"strategy {was.name!r} was planned as {was.shown} and is {now.shown} now"
        for was, now in zip(planned.arms, found.arms, strict=True)
        if was.fp != now.fp
    ]
    if planned.policy != found.policy:
        old, new = planned.policy.model_dump(mode="json"), found.policy.model_dump(mode="json")
        names = [f"{name} {old[name]!r} -> {new[name]!r}" for name in old if old[name] != new[name]]
        changed.append(f"the rule has changed: {'; '.join(names)}")
    if (planned.gold_fp, planned.split_fp) != (found.gold_fp, found.split_fp):
        changed.append(
            f"gold was {short(planned.gold_fp or 'none')} and is {short(found.gold_fp or 'none')} now"
        )
    if planned.item_ids_fp != found.item_ids_fp:
        changed.append(f"the items have changed: {planned.n_items} were planned, {found.n_items} are there")
    what = "; ".join(changed) or "its plan differs"
    raise ConfigError(
        f"experiment {planned.experiment_id} is under way and its plan no longer fits: {what}",
        hint=f"put the files back and go on, or end it (labelproof experiment stop {planned.experiment_id}) and plan "
        "anew; --again plans a new one beside it",
    )
