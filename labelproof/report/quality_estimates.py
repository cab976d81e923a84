"""Estimates from settled audits: over all automatic decisions, under each promise, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.decision_quality import QualityEstimate, decision_quality
from evaluation.intervals import Estimate, undefined
from evaluation.rare_class import class_precision, class_recall
from labelproof.report.quality_data import AutoDecisions
from labelproof.report.quality_promises import PromiseCheck, Promises, judge
from labelproof.spec.labels import LabelSchema

MOST_DAYS = 92
"""Decisions that span more days than this are shown by week."""
_A_MONDAY = 4  # days from the epoch, a Thursday, to a Monday


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassQuality:
    """One class among automatic decisions: what its label is worth, and how much of it was found.

    ``recall`` is over automatic decisions only; ``n_wrong`` counts audited decisions with the label that are
    not of the class.
    """

    label: str
    n_decisions: int
    n_audited: int
    n_wrong: int
    precision: Estimate
    recall: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DayQuality:
    """The decisions of one day (UTC), or of the week that begins on that Monday."""

    day: date
    n_decisions: int
    n_audited: int
    right: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Audits:
    """What became of the drawn audits. ``n_undecided``: open ones that were answered skip, flag or unclear."""

    n_drawn: int
    n_settled: int
    n_open: int
    n_disputed: int
    n_undecided: int

    @property
    def response(self) -> float | None:
        """Share of drawn audits with a final label."""
        return self.n_settled / self.n_drawn if self.n_drawn else None


def audits_of(found: AutoDecisions) -> Audits:
    state = np.array(["open" if one is None else one for one in found.state], dtype=np.object_)
    is_open = state == "open"
    return Audits(
        n_drawn=int(found.drawn.size),
        n_settled=int(found.settled.size),
        n_open=int(is_open.sum()),
        n_disputed=int((state == "disputed").sum()),
        n_undecided=int((is_open & (found.n_undecided > 0)).sum()),
    )


def _wrong(found: AutoDecisions, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return whether each of the ``chosen`` drawn audits found another label; an unsettled one counts as wrong."""
    said = found.label[found.drawn[chosen]]
    return np.array([a != b for a, b in zip(said, found.final_label[chosen], strict=True)], dtype=np.bool_)


def quality_of(
    found: AutoDecisions, chosen: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]
) -> QualityEstimate | None:
    """Return the estimate over the decisions ``inside`` (N,) from their ``chosen`` audits; None without any.

    Of the drawn items only some are settled: to be seen, an item had to be drawn *and* settled, so the
    probability behind it is that of the draw times the share settled. Without that, a stratum audited in full
    would show no sampling error however many of its audits are still open.
    """
    chosen = chosen[inside[found.drawn[chosen]]]
    n_drawn = int(inside[found.drawn].sum())
    if chosen.size == 0:
        return None
    at = found.drawn[chosen]
    response = chosen.size / n_drawn
    return decision_quality(
        _wrong(found, chosen),
        found.inclusion_prob[at] * response,
        found.confidence[at],
        population_confidence=found.confidence[inside],
    )


def if_disputed_wrong(found: AutoDecisions, settled: npt.NDArray[np.int64]) -> Estimate | None:
    disputed = np.flatnonzero(found.state == "disputed")
    everything = np.ones(found.n, dtype=np.bool_)
    quality = quality_of(found, np.sort(np.concatenate([settled, disputed])), everything)
    return None if quality is None else quality.correct


def check_promises(
    found: AutoDecisions, settled: npt.NDArray[np.int64], promises: Promises
) -> tuple[tuple[PromiseCheck, ...], float | None]:
    """Return each promise beside its audits, and the rate promised over all (None: some carry no promise)."""
    named, code = promises.codes(found.certificate_id, found.label)
    disputed = np.flatnonzero(found.state == "disputed")
    checks = []
    for i, promise in enumerate(named):
        inside = code == i
        quality = quality_of(found, settled, inside)
        worst = quality_of(found, np.sort(np.concatenate([settled, disputed])), inside)
        right = undefined("none", 0, "no audit of these is settled") if quality is None else quality.correct
        checks.append(
            PromiseCheck(
                promise=promise,
                n_decisions=int(inside.sum()),
                right=right,
                verdict=judge(right, 1 - promise.alpha, even_if=None if worst is None else worst.correct),
            )
        )
    if found.n == 0 or (code < 0).any():
        return tuple(checks), None
    if len(named) == 1:
        return tuple(checks), 1 - named[0].alpha
    alphas = np.array([promise.alpha for promise in named])
    return tuple(checks), float(1 - alphas[code].mean())


def daily_quality(found: AutoDecisions, settled: npt.NDArray[np.int64]) -> tuple[DayQuality, ...]:
    """Return the rate of right decisions by day; by week from Monday when they span more than ``MOST_DAYS``."""
    day = found.day
    if found.n and (day.max() - day.min()).astype(int) >= MOST_DAYS:
        day = day - (day.astype("datetime64[D]").astype(np.int64) - _A_MONDAY) % 7
    rows = []
    for one in np.unique(day):
        inside = day == one
        quality = quality_of(found, settled, inside)
        rows.append(
            DayQuality(
                day=one.astype(object),
                n_decisions=int(inside.sum()),
                n_audited=0 if quality is None else quality.audited_n,
                right=undefined("none", 0, "no settled audit") if quality is None else quality.correct,
            )
        )
    return tuple(rows)


def carries_class(schema: LabelSchema, label: str, name: str) -> bool:
    """Whether a stored label names the class: itself, one of a set, or a child of it in a taxonomy."""
    members = schema.members(label)
    return name in members or any(member.startswith(f"{name}/") for member in members)


def class_quality(
    found: AutoDecisions,
    settled: npt.NDArray[np.int64],
    schema: LabelSchema,
    names_of: Sequence[str] | None = None,
) -> tuple[ClassQuality, ...]:
    """Return precision and recall among automatic decisions, class by class in the schema's order.

    ``names_of``: of these classes only; a parent of a taxonomy stands for all its children.
    """
    names = {name: i for i, name in enumerate(sorted(set(found.label)))}
    code = np.array([names[label] for label in found.label], dtype=np.int64)
    at = found.drawn[settled]
    prob = found.inclusion_prob[at] * (settled.size / found.drawn.size)
    truths = found.final_label[settled]
    rows = []
    for name in schema.leaves if names_of is None else names_of:
        carries = np.array([carries_class(schema, label, name) for label in names], dtype=np.bool_)
        predicted_all = carries[code]
        predicted = predicted_all[at]
        truth = np.array([carries_class(schema, label, name) for label in truths], dtype=np.bool_)
        how: dict[str, Any] = {"predicted_all": predicted_all}
        if schema.kind != "multi":
            # The rest of the confidence is shared by the other labels: a guess that only sharpens the estimate.
            guess = np.where(
                predicted_all, found.confidence, (1 - found.confidence) / (len(schema.leaves) - 1)
            )
            how |= {"probability": guess[at], "probability_all": guess}
        rows.append(
            ClassQuality(
                label=name,
                n_decisions=int(predicted_all.sum()),
                n_audited=int(predicted.sum()),
                n_wrong=int((predicted & ~truth).sum()),
                precision=class_precision(truth, predicted, prob, **how),
                recall=class_recall(truth, predicted, prob, **how),
            )
        )
    return tuple(rows)
