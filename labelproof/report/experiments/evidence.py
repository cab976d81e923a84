"""What people's labels on the disagreements of two arms say: evidence, difference of accuracy, and what was saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from evaluation.mcnemar import tango_interval
from evaluation.sample_size import disagreement_savings
from evaluation.sequential import discordant_e_value

Right = Literal["a", "b", "neither"]
"""Which arm gave the label that people gave; both cannot: they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How sure it is that the arms differ in accuracy, whatever the looks before.

    ``wins``: pairs that B got right and A wrong, ``losses`` the other way round, ``neither``: both wrong. ``skipped``:
    undecided items before the last decided one. ``e_value``: of the decided pairs. ``e_sure``: the largest so far of
    the e-value that the first items of the order have however the skipped ones end: people may answer in any
    order, and peeking is free. ``stopped_at``: the first place in the order (from 1) where it reached 1 / alpha.
    """

    wins: int
    losses: int
    neither: int
    skipped: int
    e_value: float
    e_sure: float
    alpha: float
    stopped_at: int | None

    @property
    def n_decided(self) -> int:
        return self.wins + self.losses + self.neither

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "the arms are equally accurate"."""
        return min(1.0, 1.0 / self.e_sure)

    @property
    def better(self) -> Literal["a", "b"] | None:
        """The arm that is proven more accurate, None while nothing is proven."""
        if self.stopped_at is None or self.wins == self.losses:
            return None
        return "b" if self.wins > self.losses else "a"


def weigh(outcomes: Sequence[Right | None], *, alpha: float) -> Evidence:
    """Return the evidence of disagreements in the random order in which they were to be asked; None: undecided.

    Ville's inequality on the e-process of the whole random order bounds the error by ``alpha``; at every prefix the
    undecided items are filled in as it suits the null best, so that a slow or disputed answer cannot help.
    """
    wins = losses = neither = skipped = pending = 0
    sure, stopped = 1.0, None
    for place, outcome in enumerate(outcomes, start=1):
        if outcome is None:
            pending += 1
            continue
        skipped = pending
        wins, losses = wins + (outcome == "b"), losses + (outcome == "a")
        neither += outcome == "neither"
        least = _least(wins, losses, skipped)
        sure = max(sure, least)
        if stopped is None and least >= 1 / alpha:
            stopped = place
    return Evidence(
        wins=wins,
        losses=losses,
        neither=neither,
        skipped=skipped,
        e_value=discordant_e_value(wins, losses),
        e_sure=sure,
        alpha=alpha,
        stopped_at=stopped,
    )


def _least(wins: int, losses: int, undecided: int) -> float:
    """Return the smallest e-value of any outcome of ``undecided`` further pairs.

    One more pair for the side that is behind lowers it (by 2 (2 + l) / (4 + w + l) < 1), at a balance every second does.
    """
    low, high = sorted((wins, losses))
    lift = min(undecided, high - low)
    half, odd = divmod(undecided - lift, 2)
    return discordant_e_value(high + half, low + lift + half + odd)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyDifference:
    """Accuracy of B minus accuracy of A over all items, from labels on disagreements only.

    (|D| / N) mean_D(right_B - right_A): items on which the arms agree contribute 0 whatever their truth. It says
    nothing about either arm's accuracy. ``labels_at_random``: how many labels on items drawn from all would give
    the same standard error. None: not measurable, see ``reason``.
    """

    value: float | None
    low: float | None
    high: float | None
    confidence: float
    n_items: int
    n_disagree: int
    n_labels: int
    labels_at_random: int | None
    reason: str | None = None


def accuracy_difference(
    evidence: Evidence, *, n_items: int, n_disagree: int, confidence: float = 0.95
) -> AccuracyDifference:
    """Return the difference with an interval for new items of the same kind.

    Two sources of error: the items are a sample, and only a random part of the disagreements was labelled (with the
    finite-population correction; its variance from counts with one added each and Student's t, so that few labels
    are not taken for certainty). Both together give an effective number of items, on which Tango's interval is taken.
    """
    m, wins, losses = evidence.n_decided, evidence.wins, evidence.losses
    if n_disagree == 0 or m == 0:
        reason = "no disagreement has been decided by people yet"
        none_differ = n_items > 0 and n_disagree == 0
        return AccuracyDifference(
            value=0.0 if none_differ else None,
            low=None,
            high=None,
            confidence=confidence,
            n_items=n_items,
            n_disagree=n_disagree,
            n_labels=m,
            labels_at_random=None,
            reason="the arms agree on every item" if none_differ else reason,
        )
    share = n_disagree / n_items
    discordance = min(share, share * (wins + losses) / m)
    value = discordance * ((wins - losses) / max(1, wins + losses))
    n_eff = _effective_items(evidence, n_items=n_items, n_disagree=n_disagree)
    low, high = tango_interval(
        n_eff * share * wins / m, n_eff * share * losses / m, n_eff, confidence=confidence
    )
    worth = disagreement_savings(n_items, share, discordance=discordance, difference=value)
    return AccuracyDifference(
        value=value,
        low=float(low),
        high=float(high),
        confidence=confidence,
        n_items=n_items,
        n_disagree=n_disagree,
        n_labels=m,
        labels_at_random=min(n_items, ceil(m * worth)),
    )


def _effective_items(evidence: Evidence, *, n_items: int, n_disagree: int) -> float:
    """Return of how many fully labelled items the estimate is worth, 1 to ``n_items``."""
    from scipy.stats import norm, t

    m, share = evidence.n_decided, n_disagree / n_items
    up, down = (evidence.wins + 1) / (m + 3), (evidence.losses + 1) / (m + 3)
    within = up + down - (up - down) ** 2
    items = share * (up + down) - (share * (up - down)) ** 2
    few = float(t.ppf(0.975, max(1, m - 1)) / norm.ppf(0.975)) ** 2
    labels = few * share**2 * within * (1 / m - 1 / n_disagree)
    return float(min(n_items, max(1.0, items / (items / n_items + max(0.0, labels)))))
