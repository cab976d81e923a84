"""What peeking does: early stop of a comparison, and the sample-ratio check of a split."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import betaln

from benchmarks.validity.harness import Row, at_least, at_most, measured
from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.mcnemar import mcnemar_mid_p
from evaluation.sample_size import items_needed
from evaluation.sequential import srm_log_e_values

SECTION = "3 experiments"
_row = partial(measured, SECTION)
ALPHA, SRM_ALPHA = 0.05, 0.01
PAIRS = 1000
PSI, DELTA = 0.08, 0.03
UNITS, LOOK = 40_000, 200


def sequential_rows(replicates: int, rng: np.random.Generator) -> list[Row]:
    """All rows about looking early."""
    return [*_early_stop(replicates, rng), *_srm(replicates, rng)]


def log_e_path(won: BoolArray) -> FloatArray:
    """Log of the discordant e-value after each pair (R, T)."""
    wins = np.cumsum(won, axis=1)
    pairs = np.arange(1, won.shape[1] + 1)
    return np.asarray(betaln(2 + wins, 2 + pairs - wins) - betaln(2, 2) + pairs * np.log(2))


def _early_stop(replicates: int, rng: np.random.Generator) -> list[Row]:
    won = rng.random((replicates, PAIRS)) < 0.5
    peeked = (log_e_path(won) >= -np.log(ALPHA)).any(axis=1).mean()
    wins: IntArray = np.cumsum(won, axis=1)
    repeated = (mcnemar_mid_p(wins, np.arange(1, PAIRS + 1) - wins) <= ALPHA).any(axis=1).mean()
    cell = f"equal strategies, a look after each of {PAIRS} discordant pairs"
    n = items_needed(discordance=PSI, min_effect=DELTA)
    better = log_e_path(rng.random((replicates, 4 * PAIRS)) < (PSI + DELTA) / 2 / PSI) >= -np.log(ALPHA)
    stop = np.where(better.any(axis=1), better.argmax(axis=1) + 1.0, better.shape[1])
    # Items until the k-th discordant pair: negative binomial.
    items = stop + rng.negative_binomial(stop, PSI)
    other = f"discordance {PSI:.0%}, difference {DELTA:.0%}, fixed n {n}"
    page = "type I <= .0646 peeking after every pair"
    return [
        _row("early stop", cell, "false alarms", peeked, replicates, "<=", at_most(ALPHA, replicates), page),
        _row("McNemar repeated", cell, "false alarms", repeated, replicates, page=".43"),
        _row("early stop", other, "mean items / fixed n", items.mean() / n, replicates, "<=", 1.2, "<= 1.2"),
        _row("early stop", other, "median items / fixed n", np.median(items) / n, replicates),
        _row("early stop", other, "stopped by the fixed n", (items <= n).mean(), replicates),
    ]


def srm_path(share: float, replicates: int, rng: np.random.Generator, nominal: float) -> FloatArray:
    """Log e-value at each look (R, looks) when a share ``share`` arrives at the first side."""
    first = np.cumsum(rng.binomial(LOOK, share, (replicates, UNITS // LOOK)), axis=1).astype(np.float64)
    total = LOOK * np.arange(1, UNITS // LOOK + 1)
    return srm_log_e_values(np.stack([first, total - first], axis=-1), (nominal, 1 - nominal))


def _srm(replicates: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for nominal in (0.5, 0.95):
        alarm = (srm_path(nominal, replicates, rng, nominal) >= -np.log(SRM_ALPHA)).any(axis=1).mean()
        cell = f"split {nominal:.0%}, {UNITS} units, a look every {LOOK}"
        bound = at_most(SRM_ALPHA, replicates)
        rows.append(
            _row("sample-ratio e-value", cell, "false alarms", alarm, replicates, "<=", bound, "false alarm <= .01")
        )  # fmt: skip
    for share in (0.52, 0.55):
        reached = srm_path(share, replicates, rng, 0.5) >= -np.log(SRM_ALPHA)
        hit = reached.any(axis=1)
        when = np.where(hit, (reached.argmax(axis=1) + 1) * LOOK, UNITS + LOOK)
        cell = f"meant 50 %, found {share:.0%}"
        rows.append(
            _row(
                "sample-ratio e-value", cell, f"alarms within {UNITS} units", hit.mean(), replicates, ">=",
                at_least(0.99, replicates),
            )
        )  # fmt: skip
        rows.append(_row("sample-ratio e-value", cell, "median units to alarm", np.median(when), replicates))
    return rows
