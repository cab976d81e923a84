"""The rule of an experiment in words, whether its metrics exist, and how many items it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import NormalDist

from evaluation.sample_size import detectable_effect, items_needed
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.items import Item
from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import PER_CLASS, MetricRef, parse_metric
from labelproof.spec.project import ProjectFolder

_RATES = frozenset(("accuracy", "auto_accept_rate", "failed_rate", "recall"))
"""Metrics that are plain shares of items, for which the power formula holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How many items the rule needs, and what those there are can show. ``note`` says it in one sentence."""

    n_needed: int | None
    n_counted: int
    detectable: float | None
    note: str


def check_policy(policy: ExperimentPolicy, folder: ProjectFolder) -> None:
    """Raise ``ConfigError`` when a metric names a label that the project has not."""
    labels = folder.spec.labels
    known = {*labels.leaves, *(parent.name for parent in labels.classes)}
    for text in (policy.primary, *(rail.metric for rail in policy.guardrails), *policy.secondary):
        metric = parse_metric(text)
        if metric.name in PER_CLASS and metric.of not in known:
            raise ConfigError(
                f"metric {text!r} names no label of the project; labels: {', '.join(sorted(known))}",
                path=folder.folder / "project.yaml",
                key="experiments",
            )


def rule_text(policy: ExperimentPolicy, arms: Sequence[str], n_items: int, *, with_gold: bool = True) -> str:
    """Return the verdict's rule as people read it, complete enough to apply it by hand.

    Without gold a metric that needs it has no verdict: then the rule is the one by which people decide.
    """
    metric = parse_metric(policy.primary)
    if metric.needs_gold and not with_gold:
        return (
            f"No verdict without gold: {metric.text} needs it. Between two arms people decide (labelproof experiment label): "
            "they label the items that the arms answer differently, blind, in a random order fixed by this plan; the arm "
            f"that is right more often is proven more accurate when the e-value reaches {1 / policy.alpha:g} (error at most "
            f"{policy.alpha:g}, at any look). Stopping: then, or when each of the differing among {n_items} items is decided."
        )
    good, bad = ("lower", "higher") if metric.lower_is_better else ("higher", "lower")
    n = len(arms) - 1
    holm = f", Holm over the {n} candidates" if n > 1 else ""
    if policy.goal == "better":
        wanted = f"{metric.text} is proven {good} than {arms[0]}'s (two-sided p <= {policy.alpha:g}{holm})"
    else:
        wanted = (
            f"{metric.text} is proven not {bad} than {arms[0]}'s by {policy.margin:g} or more "
            f"(one-sided p <= {policy.alpha:g}{holm})"
        )
    rails = "; ".join(
        f"{rail.metric} {'up' if parse_metric(rail.metric).lower_is_better else 'down'} by less than {rail.margin:g}"
        for rail in policy.guardrails
    )
    kept = (
        f", and each guardrail is proven to hold (one-sided p <= {policy.alpha:g} each: {rails})"
        if rails
        else ""
    )
    cost = (
        f", and the cost is at most {policy.max_cost_ratio:g} times {arms[0]}'s (upper end of the interval)"
        if policy.max_cost_ratio is not None
        else ""
    )
    return (
        f"Ship a candidate if {wanted}{kept}{cost}. Regression if {metric.text} is proven {bad}, or a guardrail is proven "
        f"broken. Otherwise inconclusive. Stopping: fixed sample of {n_items} items, looked at once, when every arm has "
        "answered all of them."
    )


def sample_size(
    policy: ExperimentPolicy,
    labels: LabelSchema,
    items: Sequence[Item],
    gold: Mapping[str, str] | None,
    *,
    n_candidates: int,
) -> SampleSize:
    """Return the items needed by the power formula, against those that the primary metric speaks of.

    Guardrails that so few items cannot prove whatever they say are named too. Two-sided alpha / K for K candidates (Holm's hardest step); with goal not_worse the margin takes the place of the
    effect, one-sided. The formula is for shares of items; for other metrics it is a guide, and the note says so.
    """
    size = _primary_size(policy, labels, items, gold, n_candidates)
    short_of = [
        f"{rail.metric} needs {least} items" + (f" of {metric.of}" if metric.name == "recall" else "")
        for rail in policy.guardrails
        if (least := least_items(rail.metric, rail.margin, policy.alpha))
        > _n_counted((metric := parse_metric(rail.metric)), labels, items, gold)
    ]
    if not short_of:
        return size
    note = f"{size.note}. Too few items to prove a guardrail, even if nothing changes: {', '.join(short_of)}"
    return replace(size, note=note)


def _primary_size(
    policy: ExperimentPolicy,
    labels: LabelSchema,
    items: Sequence[Item],
    gold: Mapping[str, str] | None,
    n_candidates: int,
) -> SampleSize:
    metric = parse_metric(policy.primary)
    n = _n_counted(metric, labels, items, gold)
    alpha = policy.alpha / n_candidates * (2 if policy.goal == "not_worse" else 1)
    effect = policy.margin if policy.goal == "not_worse" else policy.min_effect
    if gold is None and metric.needs_gold:
        return SampleSize(
            n_needed=None,
            n_counted=0,
            detectable=None,
            note=f"{metric.text} needs gold, and these items have none: people decide, on those where the arms differ",
        )
    if effect > policy.expected_discordance:
        return SampleSize(
            n_needed=None,
            n_counted=n,
            detectable=None,
            note=f"no sample size: an effect of {effect:g} cannot come from {policy.expected_discordance:g} of discordant items",
        )
    if metric.name in ("cost_per_1k_usd", "latency_ms"):
        return SampleSize(
            n_needed=None,
            n_counted=n,
            detectable=None,
            note=f"no sample size: the power formula is for shares of items, {metric.text} is none",
        )
    needed = items_needed(
        discordance=policy.expected_discordance, min_effect=effect, alpha=alpha, power=policy.power
    )
    seen = (
        None
        if n < 2
        else detectable_effect(n=n, discordance=policy.expected_discordance, alpha=alpha, power=policy.power)
    )
    of = f" of {metric.of}" if metric.name == "recall" else ""
    guide = "" if metric.name in _RATES else f" (a guide: the formula is for shares, not for {metric.text})"
    sure = f"{policy.power:.0%} power at a discordance of {policy.expected_discordance:g}"
    if n >= needed:
        note = f"{n} items{of}; {needed} are enough to see {effect:g} with {sure}{guide}"
    else:
        shows = "no difference" if seen is None else f"a difference of {seen:.3f} or more"
        note = f"{n} items{of}, {needed} would be needed to see {effect:g} with {sure}{guide}: these show {shows}"
    return SampleSize(n_needed=needed, n_counted=n, detectable=seen, note=note)


def least_items(metric: str, margin: float, alpha: float) -> int:
    """Return how many items Tango's test takes to exclude the margin when no item differs: z^2 (1 - m) / m.

    0 for metrics that are no shares of items, and for a margin of 0, which is a test of better.
    """
    if parse_metric(metric).name not in _RATES or margin == 0:
        return 0
    z = NormalDist().inv_cdf(1 - alpha)
    return ceil(z * z * (1 - margin) / margin)


def _n_counted(
    metric: MetricRef, labels: LabelSchema, items: Sequence[Item], gold: Mapping[str, str] | None
) -> int:
    """Return how many items the metric speaks of: for recall those whose gold has the class, else all."""
    if metric.name != "recall" or gold is None:
        return len(items)
    wanted = metric.of or ""
    return sum(
        any(name == wanted or name.startswith(f"{wanted}/") for name in labels.members(gold[item.id]))
        for item in items
    )
