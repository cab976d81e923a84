"""False alarms and delays of the monitors that may be looked at every day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.validity.harness import Row, at_most
from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation._e_processes import log_bets, log_mean_exp, shiryaev_roberts
from evaluation.audits import audit_probabilities
from evaluation.monitors import DriftMonitor, SlaMonitor, drift_bets, sla_log_e_values, weighted_bets

SECTION = "2 production quality"
LIMIT, DELTA, DAYS, A_DAY = 0.05, 0.05, 60, 25
BASELINE, DRIFTED, MEAN_RUN = 0.03, 0.10, 1000.0
HORIZON = 20_000
SLA_PAGE = "type I <= .0646 over 60 daily looks"
DRIFT_PAGE = "mean run length >= A; delay <= 130 audits for 3 % -> 10 %"


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; checks are seeded by their position."""
    return [
        *_sla_false_alarms(replicates, np.random.default_rng([seed, 0])),
        *_sla_delays(replicates, np.random.default_rng([seed, 1])),
        _anytime_coverage(replicates, np.random.default_rng([seed, 2])),
        _weighted_false_alarms(replicates, np.random.default_rng([seed, 3])),
        _run_length(replicates, np.random.default_rng([seed, 4])),
        *_drift_delays(replicates, np.random.default_rng([seed, 5])),
    ]


def _row(check: str, cell: str, measure: str, value: float, replicates: int, **more: str | float) -> Row:
    relation = str(more.get("relation", "shown"))
    assert relation in {"<=", ">=", "shown"}
    return Row(
        section=SECTION,
        check=check,
        cell=cell,
        measure=measure,
        value=float(value),
        relation="<=" if relation == "<=" else ">=" if relation == ">=" else "shown",
        bound=float(more["bound"]) if "bound" in more else None,
        replicates=replicates,
        page=str(more.get("page", "")),
        note=str(more.get("note", "")),
    )


def daily_counts(
    rate: float, replicates: int, rng: np.random.Generator, a_day: int = A_DAY
) -> tuple[IntArray, IntArray]:
    """Cumulative errors (R, days) and audits (days,)."""
    errors = np.cumsum(rng.binomial(a_day, rate, (replicates, DAYS)), axis=1)
    return errors, a_day * np.arange(1, DAYS + 1)


def ever_above(errors: IntArray, n: IntArray, threshold: float) -> BoolArray:
    """Whether the log e-value reaches ``threshold`` at any look (R,)."""
    looks = np.broadcast_to(n, errors.shape)
    log_e = sla_log_e_values(errors.ravel(), looks.ravel(), LIMIT).reshape(errors.shape)
    return np.asarray((log_e >= threshold).any(axis=1))


def _sla_false_alarms(replicates: int, rng: np.random.Generator) -> list[Row]:
    from scipy.stats import binom

    rows = []
    for a_day in (10, A_DAY, 100):
        errors, n = daily_counts(LIMIT, replicates, rng, a_day)
        cell = f"true rate = limit {LIMIT:.0%}, {a_day} audits a day, {DAYS} looks"
        rows.append(
            _row(
                "SLA monitor", cell, "false alarms", ever_above(errors, n, -np.log(DELTA)).mean(), replicates,
                relation="<=", bound=at_most(DELTA, replicates), page=SLA_PAGE,
            )
        )  # fmt: skip
        exact = np.any(binom.sf(errors - 1, n, LIMIT) <= DELTA, axis=1)
        rows.append(
            _row(
                "exact test repeated daily",
                cell,
                "false alarms",
                exact.mean(),
                replicates,
                page="false-alarms .225",
            )
        )
    return rows


def _sla_delays(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Audits until the alarm at true rates above the limit, of those that alarm within 2000 audits."""
    rows = []
    for rate in (0.075, 0.10, 0.15):
        wrong = rng.random((replicates, 2000)) < rate
        errors = np.cumsum(wrong, axis=1)
        n = np.broadcast_to(np.arange(1, 2001), errors.shape)
        reached = sla_log_e_values(errors.ravel(), n.ravel(), LIMIT).reshape(errors.shape) >= -np.log(DELTA)
        hit = reached.any(axis=1)
        cell = f"true rate {rate:.1%}, limit {LIMIT:.0%}, a look after each audit"
        rows.append(_row("SLA monitor", cell, "alarms within 2000 audits", hit.mean(), replicates))
        delay = np.median(np.where(hit, reached.argmax(axis=1) + 1, 2001))
        rows.append(_row("SLA monitor", cell, "median audits to alarm", delay, replicates))
    return rows


def _anytime_coverage(replicates: int, rng: np.random.Generator) -> Row:
    """Whether the confidence sequence covers at all 60 looks together."""
    wrong = rng.random((replicates, DAYS * A_DAY)) < BASELINE
    held = np.ones(replicates, dtype=np.bool_)
    for r in range(replicates):
        monitor = SlaMonitor(limit=LIMIT, delta=DELTA)
        for day in range(DAYS):
            monitor = monitor.update(wrong[r, day * A_DAY : (day + 1) * A_DAY])
            found = monitor.anytime_interval()
            assert found.low is not None
            assert found.high is not None
            if not found.low <= BASELINE <= found.high:
                held[r] = False
                break
    cell = f"true rate {BASELINE:.0%}, {A_DAY} audits a day, {DAYS} looks"
    bound = at_most(DELTA, replicates)
    return _row(
        "anytime interval",
        cell,
        "misses at any look",
        1 - held.mean(),
        replicates,
        relation="<=",
        bound=bound,
    )


def _weighted_false_alarms(replicates: int, rng: np.random.Generator) -> Row:
    """Stratified audits (60/40 plan) whose raw error share is above the limit although the population is at it."""
    risk = rng.beta(LIMIT * 5, (1 - LIMIT) * 5, 20_000)
    risk *= LIMIT / risk.mean()
    risk = np.minimum(risk, 1.0)
    plan = audit_probabilities(1 - risk, rate_prob=0.05)
    pi = plan.inclusion_prob(1 - risk)
    drawn = rng.choice(risk.size, size=(replicates, DAYS * A_DAY), p=pi / pi.sum())
    wrong = rng.random(drawn.shape) < risk[drawn]
    least = min(plan.stratum_prob)
    bets = weighted_bets()
    alarms = np.empty(replicates, dtype=np.bool_)
    for r in range(replicates):
        path = np.cumsum(log_bets(wrong[r], least / pi[drawn[r]], LIMIT, bets), axis=0)
        alarms[r] = (log_mean_exp(path) >= -np.log(DELTA)).any()
    cell = (
        f"population rate {risk.mean():.1%} = limit, raw share of audits {wrong.mean():.1%}, look after each"
    )
    return _row(
        "SLA monitor, weighted audits", cell, "false alarms", alarms.mean(), replicates,
        relation="<=", bound=at_most(DELTA, replicates), page=SLA_PAGE,
    )  # fmt: skip


def drift_log_m(wrong: BoolArray, log_start: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(log M (R, T), log M of each bet at the end (R, K)) for streams (R, T) continued from ``log_start``."""
    bets = drift_bets(BASELINE)
    ones = np.ones(wrong.shape[1])
    path = np.empty(wrong.shape)
    end = np.empty((wrong.shape[0], bets.size))
    for r in range(wrong.shape[0]):
        log_m = shiryaev_roberts(log_bets(wrong[r], ones, BASELINE, bets), log_start[r])
        path[r], end[r] = log_mean_exp(log_m), log_m[-1]
    return path, end


def first_alarm_at(wrong: BoolArray, log_start: FloatArray) -> FloatArray:
    """The audit (from 1) of the first alarm, one after the end of the stream when there is none (R,)."""
    reached = drift_log_m(wrong, log_start)[0] >= np.log(MEAN_RUN)
    return np.asarray(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, wrong.shape[1] + 1.0))


def _run_length(replicates: int, rng: np.random.Generator) -> Row:
    """Streams without a change, cut at the horizon: the mean is then a lower bound of the mean run length."""
    length = np.full(replicates, float(HORIZON))
    running = np.arange(replicates)
    start = np.full((replicates, drift_bets(BASELINE).size), -np.inf)
    block = 2000
    for begin in range(0, HORIZON, block):
        wrong = rng.random((running.size, block)) < BASELINE
        path, end = drift_log_m(wrong, start)
        reached = path >= np.log(MEAN_RUN)
        hit = reached.any(axis=1)
        length[running[hit]] = begin + reached[hit].argmax(axis=1) + 1.0
        running, start = running[~hit], end[~hit]
        if running.size == 0:
            break
    note = f"{running.size} runs cut at {HORIZON}" if running.size else ""
    return _row(
        "drift monitor", f"no change, rate {BASELINE:.0%}, A = {MEAN_RUN:g}", "mean run length", length.mean(),
        replicates, relation=">=", bound=MEAN_RUN, page=DRIFT_PAGE, note=note,
    )  # fmt: skip


def _drift_delays(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Change at the very first audit (the worst case), and after 300 quiet audits; and where it is placed."""
    rows = []
    k = drift_bets(BASELINE).size
    fresh = np.full((replicates, k), -np.inf)
    for label, quiet in (("change at the first audit", 0), ("change after 300 audits", 300)):
        start = fresh
        if quiet:
            path, start = drift_log_m(rng.random((replicates, quiet)) < BASELINE, fresh)
            start = start[~(path >= np.log(MEAN_RUN)).any(axis=1)]
        for rate, must in ((DRIFTED, True), (0.06, False)):
            delay = first_alarm_at(rng.random((len(start), 3000)) < rate, start)
            more: dict[str, str | float] = (
                {"relation": "<=", "bound": 130.0, "page": DRIFT_PAGE} if must else {}
            )
            cell = f"{BASELINE:.0%} -> {rate:.0%}, {label}, A = {MEAN_RUN:g}"
            rows.append(_row("drift monitor", cell, "mean audits to alarm", delay.mean(), len(start), **more))
    runs = min(replicates, 500)
    found = np.empty(runs)
    for r in range(runs):
        wrong = np.concatenate([rng.random(300) < BASELINE, rng.random(300) < DRIFTED])
        monitor = DriftMonitor(baseline=BASELINE, mean_run=MEAN_RUN).update(wrong)
        found[r] = np.nan if monitor.change_at is None else monitor.change_at
    cell = f"{BASELINE:.0%} -> {DRIFTED:.0%} at audit 301, 300 audits later"
    off = float(np.nanmedian(np.abs(found - 301)))
    rows.append(_row("drift monitor", cell, "median distance of the change point", off, runs))
    return rows
