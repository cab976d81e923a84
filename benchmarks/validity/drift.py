"""False alarms and delays of the drift detectors, for days that are alike and for days that differ without a fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.validity.harness import Row, at_most, measured
from evaluation._arrays import FloatArray
from evaluation.drift import CategoryScorer, DriftDetector, OrderedScorer, replay
from evaluation.sentinel_flips import flips_log_e
from evaluation.text_drift import TextScorer

SECTION = "6 drift and sentinel"
_row = partial(measured, SECTION)
MEAN_DAYS, KINDS = 365.0, 5
FIRST_DAY, DAYS, A_DAY = 20_000, 120, 400
LABELS = np.array([0.7, 0.2, 0.08, 0.02])
NAMES = ("a", "b", "c", "d")
CONCENTRATIONS: dict[str, float | None] = {
    "days alike": None,
    "days differ, Dirichlet 200": 200.0,
    "days differ, Dirichlet 30": 30.0,
}
SHIFTS = {"5 % of labels move": 0.05, "15 % of labels move": 0.15, "40 % of labels move": 0.40}
HORIZON = 40
PAGE = "mean days between false alarms of all kinds together >= A"
Days = Callable[[int, np.random.Generator], FloatArray]
"""(number of days, generator) -> counts (D, M)."""


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; a replicate is a stream of days, so a tenth of ``replicates`` are run (20 at least)."""
    runs = max(20, replicates // 10)
    return [
        *_false_alarms(runs, np.random.default_rng([seed, 0])),
        *_all_kinds(runs, np.random.default_rng([seed, 1])),
        *_looks_within_days(runs // 2, np.random.default_rng([seed, 6])),
        *_text(max(20, runs // 4), np.random.default_rng([seed, 2])),
        *_daily_test(runs, np.random.default_rng([seed, 3])),
        *_delays(runs, np.random.default_rng([seed, 4])),
        *_sentinel(replicates, np.random.default_rng([seed, 5])),
    ]


def daily(shares: FloatArray, concentration: float | None, a_day: int = A_DAY) -> Days:
    """Days whose shares are drawn around ``shares`` (M,): Dirichlet with the concentration, None: always the same."""

    def draw(days: int, rng: np.random.Generator) -> FloatArray:
        of_day = (
            np.tile(shares, (days, 1))
            if concentration is None
            else rng.dirichlet(shares * concentration, size=days)
        )
        return np.asarray(rng.multinomial(a_day, of_day), dtype=np.float64)

    return draw


def weekends(days: int, rng: np.random.Generator) -> FloatArray:
    """Half the volume and another mix on Saturdays and Sundays."""
    off = (np.arange(FIRST_DAY, FIRST_DAY + days) + 3) % 7 >= 5
    shares = np.where(off[:, None], [0.62, 0.26, 0.1, 0.02], LABELS)
    return np.asarray(rng.multinomial(np.where(off, A_DAY // 2, A_DAY), shares), dtype=np.float64)


def heavy_tails(days: int, rng: np.random.Generator) -> FloatArray:
    """Day effects on the logit scale with a t distribution of 4 degrees of freedom."""
    odds = LABELS * np.exp(0.15 * rng.standard_t(4, (days, len(LABELS))))
    return np.asarray(rng.multinomial(A_DAY, odds / odds.sum(axis=1, keepdims=True)), dtype=np.float64)


def sticky(days: int, rng: np.random.Generator) -> FloatArray:
    """Day effects that last: autoregressive with .6 a day. Days are not exchangeable then: shown, not promised."""
    effect = np.zeros((days, len(LABELS)))
    for day in range(days):
        last = effect[day - 1] if day else rng.normal(0, 0.15, len(LABELS))
        effect[day] = 0.6 * last + 0.8 * rng.normal(0, 0.15, len(LABELS))
    odds = LABELS * np.exp(effect)
    return np.asarray(rng.multinomial(A_DAY, odds / odds.sum(axis=1, keepdims=True)), dtype=np.float64)


def days_to_alarm(counts: FloatArray, *, threshold: float, ordered: bool = False) -> int | None:
    """The batch of the first alarm (from 0), None without one."""
    scorer = (
        OrderedScorer(counts=counts, edges=tuple(float(i + 1) for i in range(counts.shape[1])))
        if ordered
        else CategoryScorer(counts=counts, names=tuple(str(i) for i in range(counts.shape[1])))
    )
    state = DriftDetector(threshold=threshold)
    found = replay(state, np.arange(FIRST_DAY, FIRST_DAY + len(counts)), scorer).alarms
    return found[0].at if found else None


def _false_alarms(runs: int, rng: np.random.Generator) -> list[Row]:
    """One kind alone at its own bound: an alarm within T days of watching has probability <= T / A."""
    worlds: dict[str, tuple[Days, bool]] = {
        name: (daily(LABELS, concentration), True) for name, concentration in CONCENTRATIONS.items()
    }
    worlds["one category in 200 items"] = (daily(np.array([0.995, 0.005]), None, 200), True)
    worlds["weekends half as busy and 8 points off"] = (weekends, True)
    worlds["day effects with heavy tails (t4)"] = (heavy_tails, False)
    worlds["day effects that last (autoregressive .6)"] = (sticky, False)
    rows = []
    for name, (world, promised) in worlds.items():
        alarms = [days_to_alarm(world(DAYS, rng), threshold=MEAN_DAYS) is not None for _ in range(runs)]
        rows.append(
            _row(
                "drift detector",
                f"{name}, {A_DAY} items a day, A = {MEAN_DAYS:g}, {DAYS} days",
                "alarms although nothing changed",
                float(np.mean(alarms)),
                runs,
                "<=" if promised else "shown",
                at_most(DAYS / MEAN_DAYS, runs) if promised else None,
                PAGE if promised else "days are not normal and exchangeable: no promise",
            )
        )
    return rows


def _looks_within_days(runs: int, rng: np.random.Generator) -> list[Row]:
    """Today counts from 80 % of a usual day on, and is looked at again when it is fuller: three looks a day."""
    alarms = []
    for _ in range(runs):
        counts = daily(LABELS, None)(60, rng)
        state = DriftDetector(threshold=MEAN_DAYS)
        early = False
        for day in range(len(counts)):
            for part in (0.8, 0.9):
                partial = counts[: day + 1].copy()
                partial[-1] = rng.binomial(counts[day].astype(np.int64), part)
                early |= bool(
                    state.update(FIRST_DAY + day, CategoryScorer(counts=partial, names=NAMES)).alarms
                )
            state = state.update(FIRST_DAY + day, CategoryScorer(counts=counts, names=NAMES))
        alarms.append(early or bool(state.alarms))
    return [
        _row(
            "drift detector",
            f"days alike, three looks a day, {A_DAY} items a day, A = {MEAN_DAYS:g}, 60 days",
            "alarms although nothing changed",
            float(np.mean(alarms)),
            runs,
            "<=",
            at_most(60 / MEAN_DAYS, runs),
            PAGE,
        )
    ]


def _all_kinds(runs: int, rng: np.random.Generator) -> list[Row]:
    """Five kinds at once, dependent through one day effect, each with threshold 5 A."""
    rows = []
    for name, concentration in CONCENTRATIONS.items():
        alarms = np.zeros(runs, dtype=np.bool_)
        for run in range(runs):
            worlds = [daily(rng.dirichlet(np.ones(6)), concentration) for _ in range(KINDS)]
            alarms[run] = any(
                days_to_alarm(world(DAYS, rng), threshold=KINDS * MEAN_DAYS, ordered=k % 2 == 1) is not None
                for k, world in enumerate(worlds)
            )
        rows.append(
            _row(
                "drift detectors together",
                f"{name}, {KINDS} kinds, A = {MEAN_DAYS:g}, {DAYS} days",
                "alarms although nothing changed",
                alarms.mean(),
                runs,
                "<=",
                at_most(DAYS / MEAN_DAYS, runs),
                PAGE,
            )
        )
    return rows


def text_means(
    days: int, spread: float, rng: np.random.Generator, *, shift: float = 0.0, at: int = 0, texts: int = 150
) -> TextScorer:
    """Days of texts as vectors of length 1 with a Zipf mix of 300 directions, and a share of others from ``at`` on."""
    usual = 1 / np.arange(1, 301)
    usual /= usual.sum()
    means = np.empty((days, 300))
    for day in range(days):
        p = rng.dirichlet(usual * spread)
        if shift and day >= at:
            p = (1 - shift) * p + shift * np.roll(usual, 60)
        words = rng.multinomial(10, p, size=texts) > 0
        means[day] = (words / np.sqrt(words.sum(axis=1, keepdims=True))).mean(axis=0)
    return TextScorer(means=means, n=np.full(days, float(texts)))


def _text(runs: int, rng: np.random.Generator) -> list[Row]:
    rows = []
    for name, spread in (("days alike", 1e6), ("days differ", 1000.0)):
        alarms = []
        for _ in range(runs):
            scorer = text_means(DAYS, spread, rng)
            state = DriftDetector(threshold=MEAN_DAYS)
            alarms.append(bool(replay(state, np.arange(FIRST_DAY, FIRST_DAY + DAYS), scorer).alarms))
        rows.append(
            _row(
                "text drift",
                f"{name}, 150 texts a day, A = {MEAN_DAYS:g}, {DAYS} days",
                "alarms although nothing changed",
                float(np.mean(alarms)),
                runs,
                "<=",
                at_most(DAYS / MEAN_DAYS, runs),
                PAGE,
            )
        )
        for shift in (0.1, 0.3):
            delay = []
            for _ in range(runs):
                scorer = text_means(28 + HORIZON, spread, rng, shift=shift, at=28)
                state = DriftDetector(threshold=KINDS * MEAN_DAYS)
                found = replay(state, np.arange(FIRST_DAY, FIRST_DAY + 28 + HORIZON), scorer).alarms
                late = [alarm.at - 27 for alarm in found if alarm.at >= 28]
                delay.append(late[0] if late else HORIZON + 1)
            cell = f"{name}, {shift:.0%} of texts of another kind from day 29 on, 5 kinds watched"
            rows.append(_row("text drift", cell, "median days to alarm", float(np.median(delay)), runs))
    return rows


def _daily_test(runs: int, rng: np.random.Generator) -> list[Row]:
    """What people do instead: a chi-squared test of each day against the 28 days before, at 1 % of error."""
    from scipy.stats import chi2_contingency

    rows = []
    for name, concentration in CONCENTRATIONS.items():
        world = daily(LABELS, concentration)
        alarms = []
        for _ in range(runs // 2):
            counts = world(28 + 28, rng)
            alarms.append(
                any(
                    chi2_contingency(np.vstack([counts[d - 28 : d].sum(axis=0), counts[d]]) + 0.5).pvalue
                    < 0.01
                    for d in range(28, 56)
                )
            )
        rows.append(
            _row(
                "chi-squared test each day, p < .01",
                f"{name}, {A_DAY} items a day, 28 days",
                "alarms although nothing changed",
                float(np.mean(alarms)),
                runs // 2,
            )
        )
    return rows


def _delays(runs: int, rng: np.random.Generator) -> list[Row]:
    """Days until the alarm, the first changed day being 1, with as much reference as a young and a settled project."""
    rows = []
    for name, concentration in list(CONCENTRATIONS.items())[:2]:
        for known in (8, 28):
            for what, moved in SHIFTS.items():
                after = LABELS + np.array([-1.0, 0.5, 0.25, 0.25]) * moved
                delay = np.full(runs, HORIZON + 1.0)
                placed = np.full(runs, np.nan)
                for run in range(runs):
                    counts = np.vstack(
                        [
                            daily(LABELS, concentration)(known, rng),
                            daily(after, concentration)(HORIZON, rng),
                        ]
                    )
                    scorer = CategoryScorer(counts=counts, names=NAMES)
                    state = DriftDetector(threshold=KINDS * MEAN_DAYS)
                    days = np.arange(FIRST_DAY, FIRST_DAY + len(counts))
                    found = [a for a in replay(state, days, scorer).alarms if a.at >= known]
                    if found:
                        delay[run], placed[run] = found[0].at - known + 1, found[0].change.at - known
                cell = f"{what}, {name}, {known} days known, {A_DAY} items a day, {KINDS} kinds watched"
                rows.append(_row("drift detector", cell, "median days to alarm", np.median(delay), runs))
                rows.append(
                    _row("drift detector", cell, "9 in 10 within days", np.percentile(delay, 90), runs)
                )
                if np.isfinite(placed).any():
                    off = float(np.nanmedian(np.abs(placed)))
                    rows.append(_row("change point", cell, "median distance from the true day", off, runs))
    return rows


def _sentinel(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Flips of 40 frozen items after 10 asks: alarms without a change, and of models that changed."""
    rows = []
    asks, items = 10, 40
    for rate in (0.0, 0.02, 0.10):
        before = rng.binomial(asks * items, rate, replicates)
        after = rng.binomial(items, rate, replicates)
        e = np.exp(
            [flips_log_e(int(b), asks * items, int(a), items) for b, a in zip(before, after, strict=True)]
        )
        cell = f"answers flip in {rate:.0%} of repeats, {items} items, {asks} asks before"
        rows.append(
            _row("sentinel set", cell, "mean e-value", float(e.mean()), replicates, "<=", _mean_bound(e))
        )
        false = float((e >= MEAN_DAYS).mean())
        rows.append(
            _row(
                "sentinel set", cell, "alarms although nothing changed", false, replicates, "<=",
                at_most(1 / MEAN_DAYS, replicates), "at most one ask in A",
            )
        )  # fmt: skip
        for changed in (0.1, 0.2, 0.4):
            after = rng.binomial(items, min(1.0, rate + changed), replicates)
            hit = np.mean(
                [
                    flips_log_e(int(b), asks * items, int(a), items) >= np.log(MEAN_DAYS)
                    for b, a in zip(before, after, strict=True)
                ]
            )
            rows.append(
                _row(
                    "sentinel set",
                    f"{cell}; {changed:.0%} of answers change",
                    "alarms at once",
                    float(hit),
                    replicates,
                )
            )
    return rows


def _mean_bound(e: FloatArray) -> float:
    """1 plus three standard errors of the simulated mean."""
    return 1.0 + 3 * float(e.std()) / float(np.sqrt(len(e)))
