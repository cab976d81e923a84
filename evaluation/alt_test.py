"""The alternative annotator test: may the model replace the annotators?

Calderon, Reichart & Dror (2025), "The Alternative Annotator Test for LLM-as-a-Judge", ACL, section 3. Leave out
one annotator at a time and ask who represents the remaining ones better: the left-out person or the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation._alt_test_indicators import FAILED, Alignment, indicators, model_codes
from evaluation._alt_test_stats import PTest, benjamini_yekutieli, difference_p_value
from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.intervals import Estimate, bootstrap, undefined
from evaluation.votes import VoteTable
from labelproof.spec.errors import ConfigError

EPSILONS = {"expert": 0.2, "skilled": 0.15, "crowd": 0.1}
"""The paper's epsilon by kind of annotator: what a person's greater cost is worth, in probability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AltTestRow:
    """The model against one annotator on their ``n`` common items.

    ``rho_model``: share of items where the model agrees with the others at least as well as this annotator does;
    ``rho_annotator``: the reverse (ties count for both, so they may add up to more than 1). ``rejected``: the
    model won. An annotator who could not be tested has None everywhere and ``reason``.
    """

    annotator: str
    n: int
    rho_model: float | None
    rho_annotator: float | None
    p_value: float | None
    test: PTest | None
    rejected: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AltTest:
    """The verdict: ``passed`` when the model wins against at least ``needed_rate`` of the tested annotators.

    ``passed`` and ``winning_rate`` are None when the test cannot be made, with ``reason``. ``advantage``: the
    average advantage probability rho, the mean of ``rho_model`` (use it to compare models), with an item
    bootstrap interval. ``n_failed``: items on which the model gave no answer, counted against it; ``n_dropped``:
    items with two votes for which nothing is known about the model. ``constant_label``: the label most voted for,
    and ``constant_passes``: whether answering it for every item would pass too; then passing proves nothing.
    ``assumptions``: what the verdict rests on.
    """

    rows: tuple[AltTestRow, ...]
    n_items: int
    n_tested: int
    n_won: int
    winning_rate: float | None
    needed_rate: float
    advantage: Estimate
    epsilon: float
    q: float
    alignment: Alignment
    passed: bool | None
    reason: str | None
    n_failed: int
    n_dropped: int
    constant_label: str | None
    constant_passes: bool | None
    assumptions: tuple[str, ...]


def alt_test(
    table: VoteTable,
    model: Mapping[str, str | None],
    *,
    epsilon: float = 0.1,
    q: float = 0.05,
    needed_rate: float = 0.5,
    min_items: int = 30,
    min_annotators: int = 3,
    alignment: Alignment = "exact",
    test: Literal["paper", "exact"] = "paper",
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> AltTest:
    """The alternative annotator test of ``model`` (item -> label, None where it failed) against ``table``.

    For annotator j and each item i that j and someone else voted on, W^f = 1 when the model's score against the
    others is at least j's, W^h = 1 when j's is at least the model's, d = W^h - W^f. H0_j: E[d] >= ``epsilon``, i.e.
    rho_f <= rho_j - epsilon, against E[d] < epsilon, by a one-sided t-test of d (eqs. 1-3; Wilcoxon below 30
    items, their FAQ) or ``exact`` (see ``difference_p_value``). Benjamini-Yekutieli at ``q`` over annotators;
    the model passes when it wins against at least ``needed_rate`` of those tested.

    Score against the others: ``exact``: share that gave the same label (the paper's accuracy); ``ordinal``: negative
    RMSE over label positions; ``masi``: mean MASI similarity of label sets. Models among the annotators are
    left out. Annotators with fewer than ``min_items`` such items are not tested; fewer than ``min_annotators``
    tested: no verdict. ConfigError for a label the table does not know, anonymous votes and bad settings.
    """
    _check(epsilon, q, needed_rate, min_items, min_annotators)
    table.need_annotators("the alternative annotator test")
    people = table.people()
    answers, known = model_codes(people, model)
    counts = people.counts
    usable = (counts.sum(axis=1) >= 2) & known
    won, lost, seen = indicators(people, answers, counts, usable, alignment)
    rows = _rows(people.annotators, won, lost, seen, epsilon, q, min_items, test)
    tested = [j for j, row in enumerate(rows) if row.p_value is not None]
    n_won = sum(bool(row.rejected) for row in rows)
    reason = _why_not(
        len(people.annotators), len(tested), min_annotators, min_items, n_items=int(usable.sum())
    )
    rate = n_won / len(tested) if reason is None else None
    constant = int(counts[usable].sum(axis=0).argmax()) if usable.any() else None
    constant_passes = None
    if rate is not None and constant is not None:
        always = indicators(people, np.full_like(answers, constant), counts, usable, alignment)
        would = _rows(people.annotators, *always, epsilon, q, min_items, test)
        constant_passes = sum(bool(row.rejected) for row in would) / len(tested) >= needed_rate
    return AltTest(
        rows=rows,
        n_items=int(usable.sum()),
        n_tested=len(tested),
        n_won=n_won,
        winning_rate=rate,
        needed_rate=needed_rate,
        advantage=_advantage(
            won[:, tested], seen[:, tested], seed=seed, confidence=confidence, resamples=resamples
        ),
        epsilon=epsilon,
        q=q,
        alignment=alignment,
        passed=None if rate is None else rate >= needed_rate,
        reason=reason,
        n_failed=int((answers[usable] == FAILED).sum()),
        n_dropped=int(((counts.sum(axis=1) >= 2) & ~known).sum()),
        constant_label=None if constant is None else table.labels[constant],
        constant_passes=constant_passes,
        assumptions=_assumptions(rows, test),
    )


def _check(epsilon: float, q: float, needed_rate: float, min_items: int, min_annotators: int) -> None:
    if not 0 <= epsilon < 1:
        raise ConfigError(
            f"epsilon: expected a probability in [0, 1), found {epsilon}",
            hint="0.2 for experts, 0.15 for skilled annotators, 0.1 for crowd workers",
        )
    if not 0 < q < 1:
        raise ConfigError(f"q: expected a rate in (0, 1), found {q}")
    if not 0 < needed_rate <= 1:
        raise ConfigError(f"needed_rate: expected a share in (0, 1], found {needed_rate}")
    if min_items < 2 or min_annotators < 1:
        raise ConfigError(
            f"expected min_items >= 2 and min_annotators >= 1, found {min_items} and {min_annotators}"
        )


def _rows(
    annotators: tuple[str, ...],
    won: BoolArray,
    lost: BoolArray,
    seen: BoolArray,
    epsilon: float,
    q: float,
    min_items: int,
    test: Literal["paper", "exact"],
) -> tuple[AltTestRow, ...]:
    made: list[tuple[int, float | None, PTest | None]] = []
    for j in range(len(annotators)):
        n = int(seen[:, j].sum())
        if n < min_items:
            made.append((n, None, None))
            continue
        d = lost[seen[:, j], j].astype(np.int64) - won[seen[:, j], j]
        made.append((n, *difference_p_value(d, epsilon, exact=test == "exact")))
    found = [p for _, p, _ in made if p is not None]
    rejections = iter(benjamini_yekutieli(found, q))
    rows = []
    for j, (n, p, name) in enumerate(made):
        tested = p is not None
        rows.append(
            AltTestRow(
                annotator=annotators[j],
                n=n,
                rho_model=float(won[seen[:, j], j].mean()) if tested else None,
                rho_annotator=float(lost[seen[:, j], j].mean()) if tested else None,
                p_value=p,
                test=name,
                rejected=next(rejections) if tested else None,
                reason=None if tested else f"{n} items shared with others and the model; {min_items} needed",
            )
        )
    return tuple(rows)


def _why_not(n_people: int, n_tested: int, needed: int, min_items: int, *, n_items: int) -> str | None:
    if n_items == 0:
        return "no item has votes of two people and a label of the model"
    if n_tested < max(needed, 1):
        return (
            f"{n_tested} of {n_people} annotators share at least {min_items} items with others and the model; "
            f"at least {needed} are needed"
        )
    return None


def _advantage(won: BoolArray, seen: BoolArray, *, seed: int, confidence: float, resamples: int) -> Estimate:
    """The mean over annotators of W^f's mean over their items, resampling items."""
    kept = seen.any(axis=1)
    if not kept.any():
        return undefined("bootstrap-percentile", 0, "no annotator could be tested")
    w, s = (won & seen)[kept].astype(np.float64), seen[kept].astype(np.float64)

    def statistic(index: IntArray) -> FloatArray:
        out = np.empty(len(index))
        for b, rows in enumerate(index):
            times = np.bincount(rows, minlength=len(w)).astype(np.float64)
            number = times @ s
            out[b] = (times @ w / number).mean() if (number > 0).all() else np.nan
        return out

    return bootstrap(statistic, len(w), seed=seed, confidence=confidence, resamples=resamples)


def _assumptions(rows: tuple[AltTestRow, ...], test: str) -> tuple[str, ...]:
    found = [
        "the items are a random draw from those the model would label",
        "annotators voted without seeing each other's or the model's label",
        "epsilon was chosen before looking at the result",
        "the remaining annotators are the yardstick: an error they share counts as right",
    ]
    if test == "paper":
        found.append(
            "t-test: with few items or rare disagreement it can reject too easily (see test='exact')"
        )
    if any(row.test == "wilcoxon" for row in rows):
        found.append("Wilcoxon below 30 items tests a median shift of a symmetric difference, not its mean")
    return tuple(found)
