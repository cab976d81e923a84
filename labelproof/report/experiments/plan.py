"""What an experiment will do and how it will be judged, fixed and hashed before its first call."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from agents.run.judge import pool_sample
from agents.run.workload import Workload, read_sources
from labelproof.report.experiments.rule import check_policy, rule_text, sample_size
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import digest, short, verify
from labelproof.spec.items import Item
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

NO_GOLD = "none"
"""The split of an experiment over items without gold."""
LEARNED = ("examples", "calibration")
"""Splits that strategies learn from: nothing is proven on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """One strategy version. ``name``: the arm's name in the experiment; ``ref``: how it was asked for."""

    name: str
    strategy: str
    fp: str
    ref: str

    @property
    def version(self) -> str:
        """The version as `NAME@FINGERPRINT`, which always means the same."""
        return f"{self.strategy}@{self.fp.removeprefix('b2:')}"

    @property
    def shown(self) -> str:
        """Name and short fingerprint, for people."""
        return f"{self.strategy}@{short(self.fp)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pre-registered experiment. The first arm is the control; every other arm is a candidate.

    ``source``: which items: `gold:SPLIT`, `random:N` (of the items without gold) or `all`. ``n_needed``: items that the
    power formula asks for, ``n_counted``: items of the experiment that the primary metric speaks of, ``detectable``: the
    smallest difference they show at the policy's power; None: it cannot be said, see ``size_note``.
    """

    experiment_id: str
    project: str
    name: str
    arms: tuple[PlannedArm, ...]
    source: str
    split: str
    gold_fp: str | None
    split_fp: str | None
    item_ids_fp: str
    n_items: int
    policy: ExperimentPolicy
    n_needed: int | None
    n_counted: int
    detectable: float | None
    size_note: str
    rule: str
    rerun_items: int
    budget_usd: float | None
    made_at: datetime

    @property
    def control(self) -> str:
        """Name of the arm that the others are compared with."""
        return self.arms[0].name

    @property
    def candidates(self) -> tuple[PlannedArm, ...]:
        return self.arms[1:]

    @property
    def fp(self) -> str:
        """The hash of the whole plan."""
        return digest(self.to_json())

    @property
    def key(self) -> str:
        """The hash of what makes two requests the same experiment: versions, items and the rule."""
        whole = self.to_json()
        return digest({name: whole[name] for name in _SAME} | {"arms": [[a.name, a.fp] for a in self.arms]})

    def arm(self, name: str) -> PlannedArm:
        """Return an arm by its name; ``ConfigError`` lists those there are."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        known = ", ".join(arm.name for arm in self.arms)
        raise ConfigError(f"experiment {self.experiment_id} has no arm {name!r}; its arms: {known}")

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; ``plan_from_json`` reads them back."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "arms": [asdict(arm) for arm in self.arms],
            "policy": self.policy.model_dump(mode="json"),
            "made_at": self.made_at.isoformat(),
        }


_SAME = ("project", "source", "gold_fp", "split_fp", "item_ids_fp", "policy", "rerun_items")


def plan_from_json(values: Mapping[str, Any]) -> Plan:
    """Return the plan behind ``Plan.to_json``."""
    return Plan(
        **{
            **values,
            "arms": tuple(PlannedArm(**arm) for arm in values["arms"]),
            "policy": ExperimentPolicy.model_validate(values["policy"]),
            "made_at": datetime.fromisoformat(values["made_at"]),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmWork:
    """A planned arm with everything its run depends on."""

    arm: PlannedArm
    work: Workload


def open_works(
    store: TraceStore, folder: ProjectFolder, refs: Sequence[str], names: Sequence[str] | None = None
) -> list[ArmWork]:
    """Return the arms that ``refs`` name: strategy files, or stored versions as `NAME@FINGERPRINT`.

    ``ConfigError`` with fewer than two, or when two are the same version: their answers are one.
    """
    from agents.rehydrate import workload_of

    if len(refs) < 2:
        raise ConfigError(
            f"an experiment compares at least two strategies, found {len(refs)}",
            hint="--arms champion,candidate (the first is what the others are compared with)",
        )
    works = [workload_of(store, str(folder.folder), ref) for ref in refs]
    found: dict[str, str] = {}
    for ref, work in zip(refs, works, strict=True):
        fp = work.resolved.fingerprint
        if fp in found:
            raise ConfigError(
                f"arms {found[fp]!r} and {ref!r} are the same version {work.strategy.name}@{short(fp)}",
                hint="how much an arm differs from itself is measured anyway: experiments.rerun_items in project.yaml",
            )
        found[fp] = ref
    labels = [work.strategy.name for work in works]
    arms = []
    for at, (ref, work) in enumerate(zip(refs, works, strict=True)):
        name = (
            labels[at]
            if labels.count(labels[at]) == 1
            else f"{labels[at]}@{short(work.resolved.fingerprint)}"
        )
        arm = PlannedArm(
            name=names[at] if names else name,
            strategy=work.strategy.name,
            fp=work.resolved.fingerprint,
            ref=ref,
        )
        arms.append(ArmWork(arm=arm, work=work))
    return arms


def base_of(folder: ProjectFolder, works: Sequence[ArmWork]) -> Workload:
    """Return a workload whose items and gold are those of the project's files, whatever versions the arms are."""
    sources = read_sources(folder)
    return replace(works[0].work, items=sources.read.items, read=sources.read, gold=sources.gold)


def items_of(base: Workload, works: Sequence[ArmWork], source: str) -> list[Item]:
    """Return the items of an experiment, in the order of their ids; those that an arm has learned from are left out.

    Without gold: items of the project's source that are no gold, all of them or so many drawn with a fixed seed.
    """
    learned = {
        item_id for one in works for split in LEARNED for item_id in one.work.gold_labels.get(split, ())
    }
    kind, _, what = source.partition(":")
    if kind == "gold":
        return [item for item in base.gold_items(what) if item.id not in learned]
    gold = {row.item_id for row in base.gold.rows} if base.gold else set()
    pool = [item for item in pool_sample(base, None) if item.id not in gold | learned]
    if kind == "random" and int(what) < len(pool):
        pool = sorted(random.Random(0).sample(pool, int(what)), key=lambda item: item.id)
    return pool


def rerun_items(plan: Plan, items: Sequence[Item]) -> list[Item]:
    """Return the items on which the first arm is asked again: the same ones for the same set of items."""
    chosen = random.Random(plan.item_ids_fp).sample(list(items), plan.rerun_items)
    return sorted(chosen, key=lambda item: item.id)


def make_plan(
    base: Workload,
    arms: Sequence[ArmWork],
    source: str,
    *,
    policy: ExperimentPolicy,
    now: datetime,
    name: str | None = None,
    budget_usd: float | None = None,
) -> Plan:
    """Return the plan of an experiment; nothing is stored and no model is asked.

    ``base`` (see ``base_of``) has the items and the gold, ``source`` is as in ``Plan``. ``ConfigError`` when the split cannot prove anything, holds no item, or a metric names a
    label that the project has not.
    """
    folder = base.folder
    check_policy(policy, folder)
    kind, _, split = source.partition(":")
    if kind == "gold" and split in LEARNED:
        raise ConfigError(
            f"strategies learn from the gold split {split!r}: nothing is proven on it", hint="--gold test"
        )
    items = items_of(base, arms, source)
    if not items:
        what = f"gold in the split {split!r}" if kind == "gold" else "item without gold to compare on"
        raise ConfigError(
            f"project {folder.name!r} has no {what}",
            path=folder.folder / "project.yaml",
            key="gold" if kind == "gold" else "items",
            hint="give --gold another split, or --items N to compare on items without gold",
        )
    with_gold = kind == "gold"
    labels = base.gold_labels.get(split, {}) if with_gold else None
    size = sample_size(policy, folder.spec.labels, items, labels, n_candidates=len(arms) - 1)
    plan = Plan(
        experiment_id="",
        project=folder.name,
        name=name or f"{', '.join(one.arm.name for one in arms[1:])} vs {arms[0].arm.name}",
        arms=tuple(one.arm for one in arms),
        source=source,
        split=split if with_gold else NO_GOLD,
        gold_fp=base.gold.fingerprint if with_gold and base.gold else None,
        split_fp=base.gold.split_fingerprint(split) if with_gold and base.gold else None,
        item_ids_fp=digest([item.id for item in items]),
        n_items=len(items),
        policy=policy,
        n_needed=size.n_needed,
        n_counted=size.n_counted,
        detectable=size.detectable,
        size_note=size.note,
        rule=rule_text(policy, [one.arm.name for one in arms], len(items), with_gold=with_gold),
        rerun_items=min(policy.rerun_items, len(items)),
        budget_usd=budget_usd,
        made_at=now,
    )
    unique = digest(["experiment", plan.key, now.isoformat()]).removeprefix("b2:")
    return replace(plan, experiment_id=f"E-{unique[:12]}")


def load_plan(store: TraceStore, experiment_id: str) -> Plan:
    """Return a stored plan by its id or the beginning of it, checked against its hash.

    The first event has the plan, every later one its hash: ``ConfigError`` when there is none, when several begin so, or
    when the plan does not fit its hash or another one was written beside it.
    """
    rows = store.query(
        "SELECT experiment_id, plan_json, plan_fp FROM experiments WHERE starts_with(experiment_id, ?)"
        " ORDER BY experiment_id, ts, plan_json IS NULL",
        [experiment_id],
        fresh=True,
    ).to_pylist()
    mine = [row for row in rows if row["experiment_id"] == experiment_id] or rows
    if len({row["experiment_id"] for row in mine}) != 1:
        what = "no experiment" if not rows else "several experiments"
        raise ConfigError(
            f"{what} of this store begin{'s' if not rows else ''} with {experiment_id!r}",
            hint="labelproof experiment list",
        )
    found, fp = mine[0]["experiment_id"], mine[0]["plan_fp"]
    values = orjson.loads(mine[0]["plan_json"] or "{}")
    verify(values, fp)
    if values.get("kind") == "search":
        raise ConfigError(
            f"{experiment_id!r} is a strategy search, not an experiment",
            hint="labelproof optimize with the same options tells it again",
        )
    others = sorted({row["plan_fp"] for row in mine} - {fp})
    if others or values["experiment_id"] != found:
        what = f"hash {short(others[0])}" if others else f"id {values['experiment_id']}"
        raise ConfigError(
            f"experiment {found} was planned as {short(fp)}, and its record holds another plan ({what}): it is not judged",
            hint=f"look at it: labelproof sql \"SELECT * FROM experiments WHERE experiment_id = '{found}'\"",
        )
    return plan_from_json(values)
