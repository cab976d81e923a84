"""A comparison of two strategy versions from what the store holds: no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.snapshots import diff_snapshots
from evaluation._arrays import IntArray
from labelproof.report.compare.advice import next_step, notes_on
from labelproof.report.compare.changes import few_keys
from labelproof.report.compare.data import (
    Repeats,
    Runs,
    SideAnswers,
    read_repeats,
    read_side,
    said_rows,
    wanted_without_gold,
)
from labelproof.report.compare.flips import MOST_READ, Flips, read_flips
from labelproof.report.compare.gold import (
    NO_GOLD,
    GoldItems,
    current_gold_fp,
    find_gold,
    learned_rows,
    read_gold_items,
)
from labelproof.report.compare.metadata import Column, cluster_codes, read_columns, slice_keys
from labelproof.report.compare.model import CompareReport, Side
from labelproof.report.compare.pairs import Pairs, make_pairs
from labelproof.report.compare.panels import balance_of, rerun_of, side_curves, slice_rows
from labelproof.report.compare.queries import Question, panel_queries
from labelproof.report.compare.rows import judge_rows, suite_cases
from labelproof.report.compare.stored import record
from labelproof.report.compare.timing import PhaseTimes
from labelproof.report.compare.versions import Version, find_version, known_versions
from labelproof.report.compare.wear import GoldWear, look_at
from labelproof.report.compare.why import find_why
from labelproof.report.experiments.rule import check_policy, rule_text
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import PREFIX, digest, short
from labelproof.spec.metrics import parse_metric
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

__all__ = ["compare", "record"]


class _PlannedArm(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def strategy(self) -> str: ...
    @property
    def fp(self) -> str: ...


class PlanLike(Protocol):
    """What a comparison reads of an experiment's plan."""

    @property
    def experiment_id(self) -> str: ...
    @property
    def policy(self) -> ExperimentPolicy: ...
    @property
    def rule(self) -> str: ...
    @property
    def fp(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def gold_fp(self) -> str | None: ...
    @property
    def arms(self) -> Sequence[_PlannedArm]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Everything a comparison takes from the store before it computes."""

    gold: GoldItems | None
    sides: tuple[SideAnswers, SideAnswers]
    runs: tuple[Runs, Runs]
    pairs: Pairs
    columns: tuple[Column, ...]


def compare(
    store: TraceStore,
    folder: ProjectFolder,
    a: str,
    b: str,
    *,
    split: str = "test",
    gold_fp: str | None = None,
    plan: PlanLike | None = None,
    policy: ExperimentPolicy | None = None,
    p_family: Sequence[float] = (),
    repeat: int = 0,
    now: datetime,
    seed: int = 0,
    most_flips: int = MOST_READ,
    times: PhaseTimes | None = None,
) -> CompareReport:
    """Return the comparison of B against A on the gold items of a split that both answered.

    ``a``, ``b``: `NAME`, `NAME@FP`, `@FP`, a fingerprint's first digits, or an arm of ``plan``. ``split`` `none`: all
    items that both answered, without gold. ``gold_fp``: a stored version of the gold, or its first digits; default: the
    project's gold as it stands. ``plan``: its rule, split and gold are used; else ``policy`` (default: the project's).
    ``p_family``: primary p-values of the experiment's other candidates (Holm). ``repeat``: which repeat of B is compared
    with A's first answers; A = B with repeat 1 is an A/A comparison. ``most_flips``: read whole, of each kind.

    A look of both versions at the gold is stored: results are shown. ``ConfigError``: nothing to compare, and why.
    """
    times = times or PhaseTimes()
    rule_of = plan.policy if plan is not None else policy or folder.spec.experiments
    check_policy(rule_of, folder)
    if plan is not None:
        split, gold_fp = plan.split, plan.gold_fp or gold_fp
    with times.phase("versions"):
        now_fp = current_gold_fp(store, folder, now=now)
        one, other = _versions(store, folder, a, b, now_fp, plan)
        _check_planned(plan, one, other)
    with times.phase("read"):
        chosen = _chosen_gold(store, folder, split, gold_fp, now_fp, now)
        read = _read(store, folder, (one, other), split, chosen, rule_of, repeat, plan)
    gold, pairs, sides = read.gold, read.pairs, read.sides
    question = Question(
        project=folder.name,
        fp_a=one.fp,
        fp_b=other.fp,
        repeat=repeat,
        gold_fp=None if gold is None else gold.gold_fp,
        split=split,
        experiment_id=None if plan is None else plan.experiment_id,
    )
    skipped = (0, repeat) if one.fp == other.fp else (0,)

    def changed() -> tuple[tuple[Repeats, Repeats], Flips]:
        asked = (
            read_repeats(store, pairs.keys, read.runs[0], skipped),
            read_repeats(store, pairs.keys, read.runs[1], (*skipped, repeat)),
        )
        return asked, read_flips(store, question, pairs, *sides, asked, most=most_flips)

    with ThreadPoolExecutor(
        1
    ) as pool:  # reading flips waits for the store, the numbers below for the processor
        reading = pool.submit(changed)
        with times.phase("metrics"):
            suites = suite_cases(store, folder.name, one.fp, other.fp)
            judged = judge_rows(
                pairs, rule_of, question, folder.spec.labels, suites=suites, p_family=p_family, seed=seed
            )
        with times.phase("slices"):
            primary = parse_metric(rule_of.primary)
            slices = slice_rows(pairs, read.columns, primary, alpha=rule_of.alpha, seed=seed)
        with times.phase("curves"):
            curves = side_curves(pairs)
        with times.phase("flips (rest)"):
            asked, flips = reading.result()
    balance = balance_of(pairs, asked_again=one.fp == other.fp)
    with times.phase("gold wear"):
        wear = GoldWear(n_looks=0, split_fp="", notes=())
        if gold is not None:
            wear = look_at(store, folder.name, gold, (one, other), now=now)
    main = judged.rows[0].difference
    decision = judged.decision
    designs = () if gold is None else gold.designs
    why = find_why(store, folder.name, one, other, main, gold_fp=question.gold_fp, split=split)
    return CompareReport(
        project=folder.name,
        comparison_id=_identity(folder.name, one, other, question, plan, now),
        experiment_id=None if plan is None else plan.experiment_id,
        a=_side(one, sides[0], read.runs[0].of(0)),
        b=_side(other, sides[1], read.runs[1].of(repeat)),
        split=split,
        gold_fp=question.gold_fp,
        gold_name="no gold" if gold is None else gold.name,
        n_items=len(pairs.index),
        changes=few_keys(diff_snapshots(one.snapshot, other.snapshot)),
        verdict=decision.verdict,
        headline=decision.headline,
        rule=plan.rule if plan is not None else _rule(rule_of, one.name, len(pairs.index)),
        planned=plan is not None,
        rows=judged.rows,
        flips=flips.shown,
        n_fixed=flips.counts["fixed"],
        n_broke=flips.counts["broke"],
        n_both_wrong=flips.counts["both_wrong"],
        flips_left_out=flips.left_out,
        rerun=rerun_of(pairs, sides[0], asked[0], name=one.name, fp=one.fp, project=folder.name),
        balance=balance,
        why=why,
        next_step=next_step(
            decision.verdict,
            judged.rows,
            rule_of,
            balance,
            project=folder.name,
            a=one,
            b=other,
            gold_fp=question.gold_fp,
            experiment_id=plan.experiment_id if plan is not None and len(plan.arms) == 2 else None,
            repeat=repeat,
        ),
        slices=slices,
        curves_a=curves[0],
        curves_b=curves[1],
        n_looks=wear.n_looks,
        notes=(
            *notes_on(one, other, sides, pairs, balance, repeat=repeat, designs=designs),
            *_gold_notes(question.gold_fp, now_fp),
            *wear.notes,
        ),
        sql={
            "metrics": judged.rows[0].sql,
            **panel_queries(question, [column.key for column in read.columns]),
        },
        at=now,
    )


def _versions(
    store: TraceStore, folder: ProjectFolder, a: str, b: str, gold_fp: str | None, plan: PlanLike | None
) -> tuple[Version, Version]:
    known = known_versions(store, folder.name)
    learned = learned_rows(store, folder.name, gold_fp)
    arms: Mapping[str, tuple[str, str]] = (
        {} if plan is None else {arm.name: (arm.strategy, arm.fp) for arm in plan.arms}
    )
    one = find_version(store, folder, a, known=known, learned=learned, arms=arms)
    return one, find_version(store, folder, b, known=known, learned=learned, arms=arms)


def _check_planned(plan: PlanLike | None, a: Version, b: Version) -> None:
    """Raise ``ConfigError`` unless the plan's control is A and one of its arms B: it says nothing of others."""
    if plan is None:
        return
    control, fps = plan.arms[0], [arm.fp for arm in plan.arms]
    if a.fp == control.fp and b.fp in fps:
        return
    names = ", ".join(f"{arm.name}@{short(arm.fp)}" for arm in plan.arms[1:])
    raise ConfigError(
        f"experiment {plan.experiment_id} judges {names} against {control.name}@{short(control.fp)}, not"
        f" {b.name}@{short(b.fp)} against {a.name}@{short(a.fp)}",
        hint=f"labelproof compare {control.name} {plan.arms[-1].name} --experiment {plan.experiment_id}",
    )


def _chosen_gold(
    store: TraceStore,
    folder: ProjectFolder,
    split: str,
    gold_fp: str | None,
    now_fp: str | None,
    now: datetime,
) -> str | None:
    if split == NO_GOLD:
        return None
    if gold_fp is not None:
        return find_gold(store, folder, gold_fp, now=now)
    if now_fp is None:
        raise ConfigError(
            f"project {folder.name!r} has no gold",
            hint="`--gold none` compares what does not need it; `labelproof gold sample` draws items for people to label",
        )
    return now_fp


def _read(
    store: TraceStore,
    folder: ProjectFolder,
    versions: tuple[Version, Version],
    split: str,
    gold_fp: str | None,
    policy: ExperimentPolicy,
    repeat: int,
    plan: PlanLike | None,
) -> _Read:
    one, other = versions
    runs = (Runs(store, folder.name, one.fp), Runs(store, folder.name, other.fp))
    asked = [(runs[0], 0), (runs[1], repeat)]
    gold = None
    clusters = [] if policy.cluster is None else [policy.cluster]
    with ThreadPoolExecutor(3) as pool:  # the store's threads and ours wait for each other less
        early = [pool.submit(said_rows, store, *ask) for ask in asked]
        if gold_fp is None:
            experiment = None if plan is None else plan.experiment_id
            item_ids, keys = wanted_without_gold(store, asked, experiment)
        else:
            gold = read_gold_items(store, folder.name, gold_fp, split)
            item_ids, keys = gold.item_ids, gold.keys
        names = list(policy.slices) or slice_keys(store, folder.name, item_ids)
        columns_read = pool.submit(
            read_columns, store, folder.name, keys, [*clusters, *names], whole=frozenset(clusters)
        )
        one_side, other_side = (
            pool.submit(read_side, store, keys, *ask, rows) for ask, rows in zip(asked, early, strict=True)
        )
        a, b, found = one_side.result(), other_side.result(), columns_read.result()
    for version, side, n in ((one, a, 0), (other, b, repeat)):
        if not side.answered.any():
            again = f" --repeat {n}" if n else ""
            raise ConfigError(
                f"{version.name}@{short(version.fp)} has answered none of the {len(keys)} items of "
                f"{'the store' if gold is None else gold.name}" + (f" in repeat {n}" if n else ""),
                hint=f"labelproof run {folder.name} --strategy {version.name}{again}",
            )
    if not (a.answered & b.answered).any():
        raise ConfigError(
            "no item was answered by both sides", hint=f"labelproof run {folder.name} --strategy NAME"
        )
    cluster: IntArray | None = None
    if policy.cluster is not None and policy.cluster in found:
        cluster = cluster_codes(found[policy.cluster])
    pairs = make_pairs(folder.spec.labels, item_ids, keys, gold, a, b, cluster)
    columns = tuple(found[name] for name in names if name in found and name not in clusters)
    return _Read(gold=gold, sides=(a, b), runs=runs, pairs=pairs, columns=columns)


def _side(version: Version, side: SideAnswers, run_ids: Sequence[str]) -> Side:
    return Side(
        name=version.name,
        fp=version.fp,
        arm=version.arm,
        n_answers=int(side.answered.sum()),
        run_ids=tuple(run_ids),
    )


def _rule(policy: ExperimentPolicy, control: str, n_items: int) -> str:
    """The project's rule, without the stopping rule that only a plan made before the first call can promise."""
    said = rule_text(policy, (control, "candidate"), n_items).partition(" Stopping:")[0]
    return f"{said} Read off at the time of looking, not fixed before: an experiment (`labelproof experiment run`) fixes it."


def _gold_notes(gold_fp: str | None, now_fp: str | None) -> list[str]:
    if gold_fp is None or now_fp is None or gold_fp == now_fp:
        return []
    return [f"the project's gold is now version {short(now_fp)}; compared on {short(gold_fp)}"]


def _identity(
    project: str, a: Version, b: Version, question: Question, plan: PlanLike | None, now: datetime
) -> str:
    """A short id from what was compared and when; safe in a URL."""
    whole = digest(
        [
            project, a.fp, b.fp, question.gold_fp, question.split, question.repeat,
            None if plan is None else plan.fp, now.isoformat(),
        ]
    )  # fmt: skip
    return f"c{whole.removeprefix(PREFIX)[:15]}"
