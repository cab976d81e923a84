"""Section 6: what a change between two periods is made of, and slices that errors gather in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np

from benchmarks.validity.harness import Row, at_least, at_most, measured
from evaluation._arrays import BoolArray, IntArray
from evaluation.decomposition import Flips, SameItems, decompose
from evaluation.slice_finder import find_slices

SECTION = "6 root causes"
_row = partial(measured, SECTION)
SHARES, RATES = (0.2, 0.4), (0.95, 0.75)
LANGUAGES, SOURCES = ["en", "es", "de"], [f"s{i}" for i in range(8)]


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; checks are seeded by their position."""
    checks = (_parts, _behaviour, _reviewers, _slice_nulls, _slice_power)
    return [
        row for i, check in enumerate(checks) for row in check(replicates, np.random.default_rng([seed, i]))
    ]


def _covered(replicates: int) -> float:
    return min(0.93, at_least(0.95, replicates))


def _world(n: int, drop: float, rng: np.random.Generator) -> tuple[IntArray, IntArray, BoolArray]:
    """Two slices whose shares shift, both ``drop`` worse in the later of two periods of n audits."""
    period = np.repeat([0, 1], n)
    code = (rng.random(2 * n) < np.repeat(SHARES, n)).astype(np.int64)
    rate = np.asarray(RATES)[code] - drop * period
    return period, code, rng.random(2 * n) < rate


def _parts(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Coverage of the intervals of mix and of the change within, and of the naive "all is behaviour"."""
    rows = []
    for n, drop in product((100, 300, 1000), (0.0, 0.05)):
        mix = (SHARES[1] - SHARES[0]) * (RATES[1] - RATES[0])
        truth = {"mix": mix, "unexplained": -drop, "change": mix - drop}
        held = dict.fromkeys(truth, 0)
        for _ in range(replicates):
            found = decompose(*_world(n, drop, rng), resamples=200, seed=int(rng.integers(2**31)))
            held["change"] += found.low <= truth["change"] <= found.high
            for part in found.parts:
                if part.name in truth and part.low is not None and part.high is not None:
                    held[part.name] += part.low <= truth[part.name] <= part.high
        for name, count in held.items():
            rows.append(
                _row(
                    "decomposition", f"{n} audits a period, {drop:.0%} worse within", f"coverage of {name}",
                    count / replicates, replicates, ">=", _covered(replicates),
                )
            )  # fmt: skip
    return rows


def _behaviour(replicates: int, rng: np.random.Generator) -> list[Row]:
    """The model did not change: how much is called behaviour all the same? And how much of a real change is found?"""
    rows = []
    n = 300
    for size, drop in product((40, 200), (0.0, 0.08)):
        blamed = np.zeros(replicates)
        sure = 0
        for i in range(replicates):
            lost = int(rng.binomial(size, drop))
            found = decompose(
                *_world(n, 0.08, rng), same_items=SameItems(n=size, lost=lost, gained=0), resamples=200,
                seed=int(rng.integers(2**31)),
            ).part("behaviour")  # fmt: skip
            blamed[i] = found.value
            sure += found.high is not None and found.high < 0
        cell = f"sentinel of {size}, 8 points lost within, the model {'lost them' if drop else 'is the same'}"
        wrong = drop == 0.0
        rows.append(
            _row(
                "behaviour", cell, "behaviour proven", sure / replicates, replicates, "<=" if wrong else "shown",
                at_most(0.025, replicates) if wrong else None,
            )
        )  # fmt: skip
        rows.append(_row("behaviour", cell, "mean part, points", 100 * blamed.mean(), replicates))
    few = [
        decompose(*_world(n, 0.08, rng), same_items=Flips(n=40, changed=0), resamples=200, seed=i).part("behaviour")
        for i in range(min(200, replicates))
    ]  # fmt: skip
    rows.append(
        _row(
            "behaviour", "0 of 40 sentinel items changed", "lowest end of an interval, points",
            100 * min(part.low or 0.0 for part in few), len(few),
        )
    )  # fmt: skip
    return rows


def _reviewers(replicates: int, rng: np.random.Generator) -> list[Row]:
    """One of five reviewers is wrong on 40 % from the second period on: coverage of that part."""
    rows = []
    for n in (150, 400):
        held = wrong = 0
        for _ in range(replicates):
            period, code, right = _world(n, 0.0, rng)
            suspect = (period == 1) & (rng.random(2 * n) < 0.2)
            seen = np.where(suspect & (rng.random(2 * n) < 0.4), ~right, right)
            later = float(np.average(RATES, weights=[1 - np.mean(SHARES), np.mean(SHARES)]))
            truth = 0.2 * 0.4 * (1 - 2 * later)
            part = decompose(
                period, code, seen, suspect=suspect, resamples=200, seed=int(rng.integers(2**31))
            ).part("reviewers")
            held += part.low is not None and part.high is not None and part.low <= truth <= part.high
            calm = decompose(
                period, code, right, suspect=suspect, resamples=200, seed=int(rng.integers(2**31))
            ).part("reviewers")
            wrong += calm.high is not None and calm.high < 0
        cell = f"{n} audits a period, one of five reviewers"
        rows.append(
            _row("reviewers", cell, "coverage", held / replicates, replicates, ">=", _covered(replicates))
        )
        rows.append(
            _row(
                "reviewers", f"{cell}, who stayed as good", "a loss proven", wrong / replicates, replicates, "<=",
                at_most(0.025, replicates),
            )
        )  # fmt: skip
    return rows


def _columns(n: int, rng: np.random.Generator) -> dict[str, list[str]]:
    return {
        "language": rng.choice(LANGUAGES, n, p=[0.7, 0.2, 0.1]).tolist(),
        "length": rng.choice(["short", "middle", "long"], n).tolist(),
        "source": rng.choice(SOURCES, n).tolist(),
        "day": rng.choice([f"d{i}" for i in range(7)], n).tolist(),
    }


def _slice_nulls(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Errors that have nothing to do with any column: how often is a slice called certain?"""
    rows = []
    runs = min(replicates, 1000)
    for n, error in product((300, 1000), (0.05, 0.2)):
        alarms = naive = 0
        for _ in range(runs):
            found = find_slices(
                _columns(n, rng), rng.random(n) < error, permutations=99, seed=int(rng.integers(2**31))
            ).slices
            alarms += any(one.p_value <= 0.05 for one in found)
            naive += any(one.error.low is not None and one.error.low > error for one in found)
        cell = f"{n} items, {error:.0%} errors, four columns without effect"
        rows.append(
            _row("slices", cell, "false discoveries", alarms / runs, runs, "<=", at_most(0.05, runs), "5 %")
        )
        rows.append(_row("slices", cell, "by uncorrected intervals", naive / runs, runs))
    return rows


def _slice_power(replicates: int, rng: np.random.Generator) -> list[Row]:
    """A slice of 7 % of the items is worse: how often is it first, and certain?"""
    rows = []
    runs = min(replicates, 500)
    for n, error in product((400, 1000), (0.25, 0.4)):
        first = certain = 0
        for _ in range(runs):
            columns = _columns(n, rng)
            planted = (np.array(columns["language"]) == "es") & (np.array(columns["length"]) == "long")
            found = find_slices(
                columns, rng.random(n) < np.where(planted, error, 0.05), permutations=99, seed=int(rng.integers(2**31))
            ).slices  # fmt: skip
            hits = [one for one in found if set(one.conditions) == {("language", "es"), ("length", "long")}]
            first += bool(hits) and hits[0] is found[0]
            certain += any(one.p_value <= 0.05 for one in hits)
        cell = f"{n} items, {error:.0%} against 5 % errors in a slice of two conditions"
        rows.append(_row("slices", cell, "planted slice first", first / runs, runs))
        rows.append(_row("slices", cell, "planted slice certain", certain / runs, runs))
    return rows
