"""Entries pooled by kind of change, and what they advise for a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Literal

import numpy as np

from evaluation.meta_analysis import FEWEST, MetaAnalysis, random_effects
from labelproof.report.numbers import percent
from labelproof.report.playbook.entries import Entry
from labelproof.report.playbook.traits import Traits, is_similar

Scope = Literal["similar", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindEffect:
    """What one kind of change did: all entries that were measured, whether they shipped or not.

    ``meta`` pools projects, each with the mean of its entries; ``k`` of it counts projects. ``helps_prob``: probability
    that it helps in a further project (None: too few to say). ``n_shipped``: entries that were promoted; ``shipped_mean``
    is what those alone would have one believe.
    """

    kind: str
    metric: str
    scope: Scope
    meta: MetaAnalysis
    entries: tuple[Entry, ...]
    helps_prob: float | None
    cost_ratio: float | None
    n_shipped: int
    shipped_mean: float | None
    start_from: Entry | None
    """The measured strategy to begin with: the best after each entry was drawn towards the mean by how uncertain it is."""

    @property
    def n_projects(self) -> int:
        return self.meta.k

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, entries by id."""
        meta = self.meta
        return {
            "kind": self.kind,
            "metric": self.metric,
            "scope": self.scope,
            "n_projects": meta.k,
            "n_entries": len(self.entries),
            "effect": meta.mean,
            "low": meta.low,
            "high": meta.high,
            "prediction_low": meta.prediction_low,
            "prediction_high": meta.prediction_high,
            "helps_prob": self.helps_prob,
            "tau2": meta.tau2,
            "i2": meta.i2,
            "reason": meta.reason,
            "cost_ratio": self.cost_ratio,
            "n_shipped": self.n_shipped,
            "shipped_mean": self.shipped_mean,
            "start_from": None if self.start_from is None else self.start_from.entry_id,
            "entries": [entry.entry_id for entry in self.entries],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Kinds of change for a project, the likeliest to help first, and what nothing can be said of."""

    project: str
    traits: Traits
    metric: str
    ranked: tuple[KindEffect, ...]
    unknown: tuple[KindEffect, ...]
    """Kinds that fewer than two projects tried."""
    n_entries: int

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        if not self.ranked:
            return (
                f"Nothing is known yet: no kind of change was measured in two projects or more ({self.metric}, "
                f"{self.n_entries} measured changes)."
            )
        best = self.ranked[0]
        chance = "" if best.helps_prob is None else f", {percent(best.helps_prob, 0)} likely to help here"
        mean = best.meta.mean or 0.0
        return f"Try first: {best.kind} ({100 * mean:+.1f} points of {self.metric} on average in {best.n_projects} projects{chance})."

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "traits": self.traits.to_json(),
            "metric": self.metric,
            "headline": self.headline,
            "ranked": [one.to_json() for one in self.ranked],
            "unknown": [one.to_json() for one in self.unknown],
            "n_entries": self.n_entries,
        }


def pool(entries: Sequence[Entry], metric: str, *, scope: Scope = "all") -> tuple[KindEffect, ...]:
    """Return the effect of each kind of change on ``metric``, those tried in most projects first."""
    usable = [entry for entry in entries if entry.metric == metric and entry.reason is None]
    kinds: dict[str, list[Entry]] = {}
    for entry in usable:
        kinds.setdefault(entry.kind, []).append(entry)
    found = [_pool_kind(kind, metric, mine, scope) for kind, mine in kinds.items()]
    return tuple(sorted(found, key=lambda one: (-one.n_projects, -len(one.entries), one.kind)))


def recommend(
    entries: Sequence[Entry], traits: Traits, *, project: str, metric: str = "accuracy", own: bool = False
) -> Advice:
    """Return what to try in a project: effects on similar projects where two or more tried it, else on all.

    ``own``: count the project's own entries too; normally they say what was tried here already, not what will help.
    """
    others = [entry for entry in entries if own or (entry.origin, entry.project) != ("here", project)]
    similar = [entry for entry in others if is_similar(entry.traits, traits)]
    near = {one.kind: one for one in pool(similar, metric, scope="similar")}
    ranked: list[KindEffect] = []
    unknown: list[KindEffect] = []
    everywhere = pool(others, metric)
    for one in everywhere:
        close = near.get(one.kind)
        chosen = close if close is not None and close.n_projects >= FEWEST else one
        (ranked if chosen.n_projects >= FEWEST else unknown).append(chosen)
    ranked.sort(key=_rank)
    return Advice(
        project=project,
        traits=traits,
        metric=metric,
        ranked=tuple(ranked),
        unknown=tuple(unknown),
        n_entries=sum(len(one.entries) for one in everywhere),
    )


def _rank(one: KindEffect) -> tuple[float, float, str]:
    """Likeliest to help first; where that is unknown (two projects), behind those that are likelier than not."""
    sign = -1.0 if one.entries[0].lower_is_better else 1.0
    chance = 0.5 if one.helps_prob is None else one.helps_prob
    return (-chance, -sign * (one.meta.mean or 0.0), one.kind)


def _pool_kind(kind: str, metric: str, entries: Sequence[Entry], scope: Scope) -> KindEffect:
    effects, errors = _by_project(entries)
    meta = random_effects(effects, errors)
    above = meta.prob_above(0.0)
    lower = entries[0].lower_is_better
    shipped = [entry for entry in entries if entry.shipped]
    costs = [log(entry.cost_ratio) for entry in entries if entry.cost_ratio]
    return KindEffect(
        kind=kind,
        metric=metric,
        scope=scope,
        meta=meta,
        entries=tuple(entries),
        helps_prob=None if above is None else 1 - above if lower else above,
        cost_ratio=exp(float(np.median(costs))) if costs else None,
        n_shipped=len(shipped),
        shipped_mean=float(np.mean([entry.effect for entry in shipped if entry.effect is not None]))
        if shipped
        else None,
        start_from=_start_from(entries, meta, lower=lower),
    )


def _by_project(entries: Sequence[Entry]) -> tuple[list[float], list[float]]:
    """Return one effect and standard error a project.

    Entries of one project share its gold, so they are averaged as if fully correlated: mean effect, mean standard error.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.origin, entry.project), []).append(entry)
    effects = [
        float(np.mean([entry.effect for entry in mine if entry.effect is not None]))
        for mine in groups.values()
    ]
    errors = [
        float(np.mean([entry.standard_error for entry in mine if entry.standard_error is not None]))
        for mine in groups.values()
    ]
    return effects, errors


def _start_from(entries: Sequence[Entry], meta: MetaAnalysis, *, lower: bool) -> Entry | None:
    """Return the entry with the best effect after shrinkage towards the mean (empirical Bayes), against the winner's curse."""
    usable = [entry for entry in entries if entry.reusable is not None]
    if not usable:
        return None
    tau2, mean = meta.tau2 or 0.0, meta.mean or 0.0

    def shrunk(entry: Entry) -> tuple[float, int]:
        effect, error = entry.effect or 0.0, entry.standard_error or 0.0
        kept = tau2 / (tau2 + error * error) if tau2 or error else 0.0
        value = mean + kept * (effect - mean)
        return (-value if lower else value), entry.n_items

    return max(usable, key=shrunk)
