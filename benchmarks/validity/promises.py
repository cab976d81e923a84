"""False alarms and delays of the evidence against a promise, looked at once a day for sixty days."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.validity.harness import Relation, Row, at_most
from evaluation._arrays import FloatArray, IntArray
from evaluation.monitors import sla_log_e_values
from evaluation.promise_watch import agreement_gains, watch_counts, watch_gains

SECTION = "2 production quality"
LIMIT, DELTA, DAYS, A_DAY, GOOD = 0.05, 0.05, 60, 25, 100
PAGE = "type I <= .0646 over 60 daily looks"
SHARES = (0.02, 0.1, 0.5)
"""Inclusion probabilities of the weighted audits."""


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; checks are seeded by their position."""
    return [
        *_false_alarms(replicates, np.random.default_rng([seed, 0])),
        _weighted(replicates, np.random.default_rng([seed, 1])),
        _agreement(replicates, np.random.default_rng([seed, 2])),
        *_delays(replicates, np.random.default_rng([seed, 3])),
    ]


def first_alarm(bad: IntArray, n: IntArray, start: int = 1) -> int | None:
    """The first daily look (1 = after the first day) from ``start`` on that alarms; None without."""
    looks = range(start, bad.size + 1)
    return next((t for t in looks if watch_counts(bad[:t], n[:t], LIMIT, delta=DELTA).alarm), None)


def _row(
    check: str,
    cell: str,
    measure: str,
    value: float,
    replicates: int,
    *,
    bound: float | None = None,
    note: str = "",
) -> Row:
    relation: Relation = "shown" if bound is None else "<="
    return Row(
        section=SECTION,
        check=check,
        cell=cell,
        measure=measure,
        value=value,
        relation=relation,
        bound=bound,
        replicates=replicates,
        page="" if bound is None else PAGE,
        note=note,
    )


def _false_alarms(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for a_day in (10, A_DAY, 100):
        n = np.full(DAYS, a_day)
        alarms = sum(first_alarm(rng.binomial(a_day, LIMIT, DAYS), n) is not None for _ in range(replicates))
        cell = f"true rate = limit {LIMIT:.0%}, {a_day} audits a day, {DAYS} looks"
        bound = at_most(DELTA, replicates)
        rows.append(_row("promise watch", cell, "false alarms", alarms / replicates, replicates, bound=bound))
    return rows


def _weighted(replicates: int, rng: np.random.Generator) -> Row:
    """What was drawn more often is wrong more often: unweighted, the same audits would alarm almost surely."""
    risk = dict(zip(SHARES, (0.0263, 0.08, 0.2), strict=True))
    days = np.repeat(np.arange(DAYS), A_DAY)
    alarms = 0
    for _ in range(replicates):
        prob = rng.choice(SHARES, size=days.size)
        chance = np.array([risk[p] for p in prob])
        mean = sum(risk[p] / p for p in SHARES) / sum(1 / p for p in SHARES)
        gain = (SHARES[0] / prob) * ((rng.random(days.size) < chance) - mean) / mean
        alarms += _ever(gain, days, every=2)
    return _row(
        "promise watch, weighted audits",
        f"true rate = limit, probabilities {SHARES[0]:g} to {SHARES[-1]:g}",
        "false alarms",
        alarms / replicates,
        replicates,
        bound=at_most(DELTA, replicates),
    )


def _agreement(replicates: int, rng: np.random.Generator) -> Row:
    pairs, right = 10, 0.9  # two votes that are right with .9 on balanced items: alpha = (2 x .9 - 1)^2
    alarms = 0
    for _ in range(replicates):
        n = 2 * pairs * DAYS
        truth = rng.integers(0, 2, n)
        votes = np.where(rng.random((2, n)) < right, truth, 1 - truth).reshape(2, n // 2, 2)
        within = (votes[0] != votes[1]).mean(axis=1)
        between = (votes[:, None, :, 0] != votes[None, :, :, 1]).mean(axis=(0, 1))
        gain = agreement_gains(within, between, (2 * right - 1) ** 2)
        alarms += _ever(gain, np.repeat(np.arange(DAYS), pairs), every=2)
    return _row(
        "promise watch, agreement",
        f"true alpha = promise, {2 * pairs} double votes a day",
        "false alarms",
        alarms / replicates,
        replicates,
        bound=at_most(DELTA, replicates),
    )


def _ever(gain: FloatArray, days: IntArray, *, every: int) -> bool:
    per_day = gain.size // DAYS
    looks = range(every, DAYS + 1, every)
    return any(watch_gains(gain[: t * per_day], days[: t * per_day], t, delta=DELTA).alarm for t in looks)


def _delays(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Days until the alarm after 100 good days; the SLA monitor, which bets from the first day on, beside it."""
    runs = max(20, replicates // 10)
    rows = []
    for rate in (0.08, 0.10, 0.15, 0.25):
        ours, theirs = [], []
        n = np.full(GOOD + DAYS, A_DAY)
        for _ in range(runs):
            bad = np.concatenate([rng.binomial(A_DAY, 0.02, GOOD), rng.binomial(A_DAY, rate, DAYS)])
            found = first_alarm(bad, n, start=GOOD + 1)
            ours.append(DAYS if found is None else found - GOOD)
            plain = sla_log_e_values(np.cumsum(bad), np.cumsum(n), LIMIT)[GOOD:] >= -math.log(DELTA)
            theirs.append(int(np.argmax(plain)) + 1 if plain.any() else DAYS)
        cell = f"2 % wrong for {GOOD} days, then {rate:.0%}; limit {LIMIT:.0%}, {A_DAY} audits a day"
        note = f"{DAYS} where none was raised in {DAYS} days"
        rows += [
            _row("promise watch", cell, "median days to the alarm", float(np.median(ours)), runs, note=note),
            _row("promise watch", cell, "the same, SLA monitor", float(np.median(theirs)), runs, note=note),
        ]
    return rows
