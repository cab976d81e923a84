"""Section 3: error rates, coverage and power of paired comparisons, and what peeking and choosing do to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from benchmarks.validity._experiment_sequential import sequential_rows
from benchmarks.validity._experiment_worlds import CHANGED_WORLDS, EQUAL_WORLDS, World, clustered
from benchmarks.validity.harness import Relation, Row, at_least, at_most, measured
from evaluation._arrays import FloatArray, IntArray
from evaluation._paired_units import kinds_of_items
from evaluation.mcnemar import mcnemar_mid_p, tango_interval, tango_z
from evaluation.multiple_testing import holm
from evaluation.paired import PairedAnswers
from evaluation.paired_metrics import ratio_mean
from evaluation.paired_tests import paired_difference
from evaluation.sample_size import disagreement_savings, items_needed
from evaluation.verdict import decide
from labelproof.spec.metrics import parse_metric

SECTION = "3 experiments"
_row = partial(measured, SECTION)
ACCURACY, MACRO_F1 = parse_metric("accuracy"), parse_metric("macro_f1")
ALPHA, ONE_SIDED_95 = 0.05, 1.6448536
EXCHANGES = 499


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; checks are seeded by their position."""
    checks = (
        _shares, _not_worse, _power, _macro_f1_nulls, _macro_f1_coverage, _clusters, _disagreements, sequential_rows,
        _arms, _verdicts,
    )  # fmt: skip
    return [
        row for i, check in enumerate(checks) for row in check(replicates, np.random.default_rng([seed, i]))
    ]


def _covered(replicates: int) -> float:
    """The page's .93, and lower where few runs cannot tell .93 from .95."""
    return min(0.93, at_least(0.95, replicates))


def tables(
    n: int, psi: float, delta: float, replicates: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Items won by B only and by A only (R,), for discordance ``psi`` and difference ``delta``."""
    up, down = (psi + delta) / 2, (psi - delta) / 2
    drawn = rng.multinomial(n, [up, down, 1 - up - down], replicates)
    return drawn[:, 0], drawn[:, 1]


def _shares(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for n, psi, delta in product((100, 300, 1000), (0.05, 0.15, 0.3), (0.0, 0.03)):
        b, a = tables(n, psi, delta, replicates, rng)
        cell = f"n {n}, discordance {psi:.0%}, difference {delta:.0%}"
        low, high = tango_interval(b, a, n)
        held = ((low <= delta) & (delta <= high)).mean()
        rows.append(
            _row(
                "Tango interval", cell, "coverage", held, replicates, ">=", _covered(replicates), "coverage >= .93"
            )
        )  # fmt: skip
        if delta == 0:
            wrong = (mcnemar_mid_p(b, a) <= ALPHA).mean()
            rows.append(
                _row(
                    "mid-p McNemar", cell, "false alarms", wrong, replicates, "<=", at_most(ALPHA, replicates),
                    "type I .05",
                )
            )  # fmt: skip
    return rows


def _not_worse(replicates: int, rng: np.random.Generator) -> list[Row]:
    """B is worse by exactly the margin: how often is it "proven" not worse?"""
    rows = []
    for n, psi, margin in product((300, 1000), (0.05, 0.15), (0.01, 0.03)):
        b, a = tables(n, psi, -margin, replicates, rng)
        cell = f"n {n}, discordance {psi:.0%}, margin {margin:.0%}"
        wrong = (tango_z(b, a, n, -margin) >= ONE_SIDED_95).mean()
        bound = at_most(ALPHA, replicates)
        rows.append(_row("not worse by a margin", cell, "false proofs", wrong, replicates, "<=", bound))
    return rows


def _power(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for psi, delta in ((0.08, 0.03), (0.15, 0.03), (0.3, 0.05)):
        n = items_needed(discordance=psi, min_effect=delta)
        b, a = tables(n, psi, delta, replicates, rng)
        found = ((mcnemar_mid_p(b, a) <= ALPHA) & (b > a)).mean()
        cell = f"discordance {psi:.0%}, difference {delta:.0%}, n {n} by the formula"
        bound = min(0.78, at_least(0.8, replicates))
        rows.append(_row("sample size", cell, "power", found, replicates, ">=", bound, "power >= .78"))
    return rows


def _macro_f1_nulls(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for world, n in product(EQUAL_WORLDS, (100, 300, 1000)):
        wrong = 0
        for _ in range(replicates):
            found = paired_difference(
                world.draw(n, rng), MACRO_F1, seed=int(rng.integers(2**32)), resamples=EXCHANGES
            )
            wrong += found.p_value is not None and found.p_value <= ALPHA
        cell, bound = f"{world.name}, n {n}", at_most(ALPHA, replicates)
        rows.append(
            _row(
                "macro-F1 randomisation", cell, "false alarms", wrong / replicates, replicates, "<=", bound, "type I .05"
            )
        )  # fmt: skip
    return rows


def _macro_f1_coverage(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Intervals of macro-F1 and of a rare class's F1, the percentile bootstrap shown beside."""
    rows = []
    for world, n, name in product(
        (*EQUAL_WORLDS[:1], *CHANGED_WORLDS), (100, 300, 1000), ("macro_f1", "f1:c2")
    ):
        metric = parse_metric(name)
        truth = world.truth(metric)
        held = measured = plain = 0
        for _ in range(replicates):
            drawn = world.draw(n, rng)
            found = paired_difference(drawn, metric, resamples=1)
            if found.low is None or found.high is None:
                continue
            measured += 1
            held += found.low <= truth <= found.high
            if name == "macro_f1":
                low, high = np.nanquantile(bootstrap_differences(drawn, 200, rng), [0.025, 0.975])
                plain += low <= truth <= high
        cell = f"{world.name} ({truth:+.3f}), n {n}"
        bound = _covered(measured)
        rows.append(_row(f"{name} interval", cell, "coverage", held / measured, measured, ">=", bound))
        if name == "macro_f1":
            rows.append(_row("macro_f1 percentile bootstrap", cell, "coverage", plain / measured, measured))
    return rows


def bootstrap_differences(answers: PairedAnswers, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Macro-F1 of B minus A on items drawn with replacement (resamples,)."""
    units = kinds_of_items(answers, MACRO_F1)
    drawn = rng.multinomial(units.n, units.count / units.n, resamples).astype(np.float64)
    return ratio_mean(drawn @ units.b) - ratio_mean(drawn @ units.a)


def _clusters(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for clusters in (8, 20, 50):
        wrong = naive = 0
        held = {0.0: 0, 0.05: 0}
        for delta in held:
            for _ in range(replicates):
                drawn = clustered(clusters, delta, rng)
                found = paired_difference(drawn, ACCURACY, seed=int(rng.integers(2**32)), resamples=EXCHANGES)
                assert found.low is not None
                assert found.high is not None
                held[delta] += found.low <= delta <= found.high
                if delta == 0:
                    wrong += (found.p_value or 1.0) <= ALPHA
                    alone = paired_difference(replace(drawn, cluster=None), ACCURACY)
                    naive += (alone.p_value or 1.0) <= ALPHA
        cell, bound = f"{clusters} authors of 5 to 20 items, correlation .3", at_most(ALPHA, replicates)
        rows.append(
            _row("sign flips of clusters", cell, "false alarms", wrong / replicates, replicates, "<=", bound)
        )
        rows.append(_row("McNemar on the same items", cell, "false alarms", naive / replicates, replicates))
        for delta, number in held.items():
            of = f"{cell}, difference {delta:.0%}"
            rows.append(
                _row("cluster t interval", of, "coverage", number / replicates, replicates, ">=", _covered(replicates))
            )  # fmt: skip
    return rows


def _disagreements(replicates: int, rng: np.random.Generator) -> list[Row]:
    """A pool of 20 000 items, 200 labels: at random, or among the items on which A and B disagree."""
    pool, labels, disagreement, psi, delta = 20_000, 200, 0.1, 0.08, 0.02
    runs = 10 * replicates
    won, lost = round(pool * (psi + delta) / 2), round(pool * (psi - delta) / 2)
    apart = round(pool * disagreement)
    random = rng.multivariate_hypergeometric([won, lost, pool - won - lost], labels, runs)
    chosen = rng.multivariate_hypergeometric([won, lost, apart - won - lost], labels, runs)
    at_random = (random[:, 0] - random[:, 1]) / labels
    # Drawing without replacement from the smaller set helps it: taken out, so that only the choice is compared.
    smaller = np.sqrt((1 - labels / pool) / (1 - labels / apart))
    among = disagreement * (chosen[:, 0] - chosen[:, 1]) / labels
    ratio = at_random.var() / (among.var() * smaller**2)
    theory = disagreement_savings(pool, disagreement, discordance=psi, difference=delta)
    cell = f"{disagreement:.0%} disagree, discordance {psi:.0%}, difference {delta:.0%}, {labels} labels"
    off, noise = abs(ratio / theory - 1), 3 * np.sqrt(4 / runs)
    bias = abs(among.mean() - delta) / (among.std() / np.sqrt(runs))
    name = "labels on disagreements"
    return [
        _row(name, cell, "variance ratio", ratio, runs, page="10.5 at 10 % disagreement"),
        _row(name, cell, "off theory", off, runs, "<=", max(0.1, noise), "within 10 %"),
        _row(name, cell, "bias in standard errors", bias, runs, "<=", 4.0),
    ]


def _arms(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Candidates as good as the control, all against the same control answers; the best is looked at again on new items."""
    rows = []
    n, right = 500, 0.8
    for arms in (2, 4, 10):
        any_raw = any_holm = 0
        best, again = np.empty(replicates), np.empty(replicates)
        for r in range(replicates):
            hard = rng.random(n) < right
            anew = rng.random((arms, n)) < 0.3
            candidates = np.where(anew, rng.random((arms, n)) < right, hard)
            b, a = (candidates & ~hard).sum(axis=1), (hard & ~candidates).sum(axis=1)
            p = mcnemar_mid_p(b, a)
            any_raw += bool((p <= ALPHA).any())
            any_holm += bool((holm(p) <= ALPHA).any())
            best[r] = ((b - a) / n).max()
            fresh_b, fresh_a = tables(n, 0.3 * 2 * right * (1 - right), 0.0, 1, rng)
            again[r] = (fresh_b[0] - fresh_a[0]) / n
        cell, bound = f"{arms} arms as good as the control, n {n}", at_most(ALPHA, replicates)
        rows += [
            _row("Holm over arms", cell, "any false alarm", any_holm / replicates, replicates, "<=", bound),
            _row("no correction", cell, "any false alarm", any_raw / replicates, replicates),
            _row("winner's curse", cell, "mean difference of the best arm", best.mean(), replicates),
            _row("winner's curse", cell, "the same arm on fresh items", again.mean(), replicates),
        ]
    return rows


def judged(drawn: PairedAnswers) -> str:
    """The verdict on accuracy with two guardrails, as a project has it by default and one for a class."""
    primary = paired_difference(drawn, ACCURACY)
    recall, failed = (
        paired_difference(drawn, parse_metric(name), margin=margin)
        for name, margin in (("recall:c1", 0.05), ("failed_rate", 0.01))
    )
    found = decide(
        primary, [(recall, False), (failed, True)], goal="better", alpha=ALPHA, p_primary=primary.p_value
    )
    return found.verdict


def _verdicts(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Verdicts on a strategy against itself, on one that harms a class by its margin, and on a good one."""
    equal = World(
        name="A against itself asked again",
        share=(0.7, 0.3),
        right_a=(0.8, 0.8),
        right_b=(0.8, 0.8),
        anew=0.3,
    )
    harms = World(
        name="better, but recall of a class lower by the margin", share=(0.7, 0.3), right_a=(0.8, 0.8),
        right_b=(1.0, 0.8 - 0.05 / 0.3), anew=0.3,
    )  # fmt: skip
    good = World(
        name="better everywhere", share=(0.7, 0.3), right_a=(0.8, 0.8), right_b=(0.95, 0.95), anew=0.3
    )
    rows = []
    for world, most in ((equal, ALPHA / 2), (harms, ALPHA), (good, None)):
        found = [judged(world.draw(1000, rng)) for _ in range(replicates)]
        for verdict in ("ship", "regression", "inconclusive"):
            share = found.count(verdict) / replicates
            relation: Relation = "shown"
            bound = None
            if most is not None and verdict == "ship":
                relation, bound = "<=", at_most(most, replicates)
            elif world is equal and verdict == "inconclusive":
                relation, bound = ">=", at_least(0.9, replicates)
            rows.append(_row("verdict", f"{world.name}, n 1000", verdict, share, replicates, relation, bound))
    return rows
