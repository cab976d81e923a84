"""The evidence against each promised rate: everything observed since its epoch began, day by day in the order drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from evaluation.promise_watch import (
    HORIZON,
    PromiseWatch,
    agreement_gains,
    combined,
    watch_counts,
    watch_gains,
)
from labelproof.report.monitor import queries
from labelproof.report.monitor.metrics import AUDIT_TABLES, PRODUCTION_TABLES, Reading, Window
from labelproof.report.quality_estimates import carries_class
from labelproof.spec.monitoring import Target

DAY = timedelta(days=1)
REVIEWER_PLACES = 8
"""Half of the money is bet on all reviewers together, the other half in so many equal parts on each of them; with more
reviewers the places double."""


def epoch_start(anchor: datetime, now: datetime) -> datetime:
    """Return when the epoch that ``now`` lies in began: epochs of 180 days follow each other from ``anchor`` on.

    A sliding window would bet anew every day on days chosen afterwards, which no bound on false alarms survives.
    """
    passed = max(0, math.floor((now - anchor) / (HORIZON * DAY)))
    return anchor + passed * HORIZON * DAY


def evidence(epoch: Window, target: Target, reading: Reading, *, delta: float) -> PromiseWatch | None:
    """Return the evidence that a promised rate is broken, from the epoch's observations; None where it has none.

    ``reading``: the target's number now; recall that comes from gold has no stream, only that one sample.
    """
    n_blocks = _day(epoch, epoch.until - timedelta(microseconds=1)) + 1
    if target.name in ("coverage", "failed_rate"):
        return _decisions(epoch, target, n_blocks, delta)
    if target.name == "recall" and reading.detail.get("source") == "gold":
        found = reading.estimate
        misses = round((1 - (found.value or 0.0)) * found.n)
        return watch_counts([misses], [found.n], 1 - target.bound, delta=delta)
    if target.name in ("auto_accuracy", "recall"):
        return _audits(epoch, target, n_blocks, delta)
    if target.name == "agreement":
        return _agreement(epoch, target, n_blocks, delta)
    return _reviewers(epoch, target, n_blocks, delta)


def _decisions(epoch: Window, target: Target, n_blocks: int, delta: float) -> PromiseWatch:
    rows = epoch.rows(queries.PER_DAY, PRODUCTION_TABLES)
    bad, n = np.zeros(n_blocks), np.zeros(n_blocks)
    for row in rows:
        n[row["day"]] = row["n"]
        bad[row["day"]] = row["failed"] if target.name == "failed_rate" else row["n"] - row["auto_accepted"]
    limit = target.bound if target.name == "failed_rate" else 1 - target.bound
    return watch_counts(bad, n, limit, delta=delta)


def _audits(epoch: Window, target: Target, n_blocks: int, delta: float) -> PromiseWatch:
    """Settled audits, or those that found the recall's class; unequal chances are weighed by smallest / own."""
    rows = epoch.rows(queries.AUDIT_STREAM, AUDIT_TABLES)
    schema = epoch.folder.spec.labels
    if target.of is not None:
        rows = [row for row in rows if carries_class(schema, row["final_label"], target.of)]
        wrong = [not carries_class(schema, row["label"], target.of) for row in rows]
    else:
        wrong = [row["label"] != row["final_label"] for row in rows]
    days = np.array([row["day"] for row in rows], dtype=np.int64)
    prob = np.array([row["inclusion_prob"] for row in rows], dtype=np.float64)
    per_day = epoch.rows(queries.PER_DAY, PRODUCTION_TABLES)
    planned = [row["least_prob"] for row in per_day if row["least_prob"] is not None]
    least = min([*planned, *np.unique(prob).tolist()], default=1.0)
    limit = 1 - target.bound
    if prob.size and prob.max() > least:
        gain = (least / prob) * (np.array(wrong, dtype=np.float64) - limit) / limit
        return watch_gains(gain, days, n_blocks, delta=delta)
    return _watch_binary(wrong, days, n_blocks, limit, delta)


def _agreement(epoch: Window, target: Target, n_blocks: int, delta: float) -> PromiseWatch | None:
    """Tasks in pairs, one after the other: disagreement within against disagreement between them."""
    from evaluation._reliability import label_distances

    if target.bound >= 1:
        return None
    rows = epoch.votes(queries.VOTES, "asked_at")
    place = {task: i for i, task in enumerate(dict.fromkeys(row["task_id"] for row in rows))}
    names = tuple(sorted({row["label"] for row in rows}))
    code = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(place), len(names)))
    np.add.at(counts, ([place[row["task_id"]] for row in rows], [code[row["label"]] for row in rows]), 1)
    asked = np.zeros(len(place), dtype=np.int64)
    for row in rows:
        asked[place[row["task_id"]]] = _day(epoch, row["asked_at"])
    is_sets = epoch.folder.spec.labels.kind == "multi"
    apart = label_distances(names, "masi" if is_sets else "nominal")
    n = counts.sum(axis=1)
    within = np.einsum("ij,jk,ik->i", counts, apart, counts) / (n * (n - 1))
    first, second = np.arange(0, n.size - 1, 2), np.arange(1, n.size, 2)
    between = np.einsum("ij,jk,ik->i", counts[first], apart, counts[second]) / (n[first] * n[second])
    gain = agreement_gains((within[first] + within[second]) / 2, between, target.bound)
    return watch_gains(gain, asked[second], n_blocks, delta=delta)


def _reviewers(epoch: Window, target: Target, n_blocks: int, delta: float) -> PromiseWatch:
    """All reviewers together, and each alone: the mean of four good ones would hide a fifth who is not."""
    rows = epoch.votes(queries.CHECKS, "ts")
    limit = 1 - target.bound
    people: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        people[row["annotator"]].append(row)
    places = REVIEWER_PLACES
    while places < len(people):
        places *= 2

    def watch(votes: Sequence[dict[str, Any]]) -> PromiseWatch:
        days = np.array([_day(epoch, row["ts"]) for row in votes], dtype=np.int64)
        return _watch_binary([not row["is_right"] for row in votes], days, n_blocks, limit, delta)

    alone = [(watch(votes), 0.5 / places) for votes in people.values()]
    return combined([(watch(rows), 0.5), *alone], delta=delta)


def _watch_binary(
    wrong: Sequence[bool],
    days: np.ndarray[Any, np.dtype[np.int64]],
    n_blocks: int,
    limit: float,
    delta: float,
) -> PromiseWatch:
    n = np.bincount(days, minlength=n_blocks)
    bad = np.bincount(days, weights=np.array(wrong, dtype=np.float64), minlength=n_blocks)
    return watch_counts(bad, n, limit, delta=delta)


def _day(epoch: Window, when: datetime) -> int:
    return math.floor((when - epoch.since) / DAY)
