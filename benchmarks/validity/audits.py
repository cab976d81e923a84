"""Coverage and width of audit intervals: error rates, the methods not chosen, and a rare class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.validity.harness import Relation, Row
from evaluation import (
    AuditPlan,
    Estimate,
    active_probabilities,
    audit_probabilities,
    audit_strata,
    class_precision,
    class_recall,
    decision_quality,
    error_rate,
    ppi_error_rate,
)
from evaluation._arrays import BoolArray, FloatArray

SECTION = "2 production quality"
POOL_N = 20_000
EVENTS = (0.078, 0.012)
SCORES = ("useful", "useless", "overconfident")
SIZES = (200, 500, 1000)
LEAST_COVERAGE = 0.93
MOST_WIDTH = 0.85
USEFUL_CORR = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """N items: confidence, and whether the label is wrong (fixed over all replicates of a cell)."""

    confidence: FloatArray
    wrong: BoolArray

    @property
    def rate(self) -> float:
        return float(self.wrong.mean())

    @property
    def correlation(self) -> float:
        return float(np.corrcoef(1 - self.confidence, self.wrong)[0, 1])


def make_pool(score: str, event: float, rng: np.random.Generator, size: int = POOL_N) -> Pool:
    """Exactly event x size wrong items; "useful": calibrated with corr .45 between 1 - confidence and wrong.

    "useless": the same confidences, errors anywhere. "overconfident": the log-odds of an error 2.5 times
    too far out, and half of all errors anywhere, so most of those at high confidence.
    """
    total = 1 / USEFUL_CORR**2 - 1  # corr^2 of Beta(a, b) risks with their own coin flips is 1/(a + b + 1)
    risk = np.clip(rng.beta(event * total, (1 - event) * total, size), 1e-12, 1 - 1e-12)
    count = round(event * size)
    margin = rng.random(size) - risk
    wrong = np.zeros(size, dtype=np.bool_)
    if score == "useless":
        wrong[rng.choice(size, count, replace=False)] = True
        return Pool(confidence=1 - risk, wrong=wrong)
    wrong[np.argpartition(margin, count)[:count]] = True
    if score == "overconfident":
        moved = rng.choice(np.flatnonzero(wrong), count // 2, replace=False)
        wrong[moved] = False
        wrong[rng.choice(np.flatnonzero(~wrong), moved.size, replace=False)] = True
        odds = (risk / (1 - risk)) ** 2.5
        risk = odds / (1 + odds)
    return Pool(confidence=1 - risk, wrong=wrong)


def simulate(replicates: int, seed: int) -> Sequence[Row]:
    """All rows; cells are seeded by their position."""
    rows: list[Row] = []
    for cell, (event, score, n) in enumerate((e, s, n) for e in EVENTS for s in SCORES for n in SIZES):
        rng = np.random.default_rng([seed, cell])
        rows += _error_rate_cell(make_pool(score, event, rng), score, n, replicates, rng)
    rows += _few_errors(replicates, np.random.default_rng([seed, 100]))
    for cell, (prevalence, score, n) in enumerate(
        (p, s, n) for p in (0.05, 0.015) for s in SCORES for n in SIZES
    ):
        rows += _rare_class_cell(prevalence, score, n, replicates, np.random.default_rng([seed, 200 + cell]))
    return rows


class _Tally:
    """Coverage, mean width and value of one method over replicates; an Estimate without interval misses."""

    def __init__(self, truth: float) -> None:
        self.truth = truth
        self.covered: list[bool] = []
        self.widths: list[float] = []

    def add(self, estimate: Estimate) -> None:
        if estimate.low is None or estimate.high is None:
            self.covered.append(False)
            return
        self.covered.append(estimate.low <= self.truth <= estimate.high)
        self.widths.append(estimate.high - estimate.low)

    @property
    def coverage(self) -> float:
        return float(np.mean(self.covered))

    @property
    def width(self) -> float:
        return float(np.mean(self.widths))


class _Default:
    """decision_quality on one pool, its strata found once (a run's time goes there otherwise)."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.strata = audit_strata(pool.confidence)
        self.codes = self.strata.codes(pool.confidence)
        self.checked = False

    def error(self, audited: BoolArray, pi: FloatArray) -> Estimate:
        estimate = error_rate(
            self.pool.wrong[audited],
            pi[audited],
            stratum=self.codes[audited],
            stratum_sizes=self.strata.sizes,
        )
        if not self.checked:
            c = self.pool.confidence
            full = decision_quality(
                self.pool.wrong[audited], pi[audited], c[audited], population_confidence=c
            )
            assert full.error == estimate, "the short cut must report what decision_quality reports"
            self.checked = True
        return estimate


def _drawn(pi: FloatArray, rng: np.random.Generator) -> Callable[[], BoolArray]:
    return lambda: rng.random(pi.size) < pi


def _error_rate_cell(pool: Pool, score: str, n: int, replicates: int, rng: np.random.Generator) -> list[Row]:
    """The default (60/40 plan, post-stratified), the same on plain audits, and what was not chosen."""
    rate, c, wrong = pool.rate, pool.confidence, pool.wrong
    planned = audit_probabilities(c, rate_prob=n / POOL_N).inclusion_prob(c)
    even = AuditPlan.uniform(n / POOL_N).inclusion_prob(c)
    active = active_probabilities(np.sqrt(c * (1 - c)), n=n)
    names = ("default", "plain", "wilson", "ppi", "ppi wald", "aipw wald")
    tally = {name: _Tally(rate) for name in names}
    draw_planned, draw_even, draw_active = _drawn(planned, rng), _drawn(even, rng), _drawn(active, rng)
    default = _Default(pool)
    for _ in range(replicates):
        a = draw_planned()
        tally["default"].add(default.error(a, planned))
        a = draw_even()
        tally["plain"].add(default.error(a, even))
        tally["wilson"].add(error_rate(wrong[a], even[a]))
        tally["ppi"].add(ppi_error_rate(wrong[a], 1 - c[a], 1 - c))
        tally["ppi wald"].add(_ppi_wald(wrong[a], 1 - c[a], 1 - c))
        a = draw_active()
        tally["aipw wald"].add(_aipw_wald(wrong[a], active[a], 1 - c[a], 1 - c))
    cell = f"event {rate:.1%}, {score} (corr {pool.correlation:.2f}), n {n}"
    page = "coverage >= .93 in every cell"

    def row(name: str, measure: str, value: float, *, bound: float | None = None, page: str = "") -> Row:
        relation: Relation = "shown"
        if bound is not None:
            relation = ">=" if measure == "coverage" else "<="
        return Row(
            section=SECTION,
            check=CHECKS[name],
            cell=cell,
            measure=measure,
            value=value,
            relation=relation,
            bound=bound,
            replicates=replicates,
            page=page,
        )

    rows = [row("default", "coverage", tally["default"].coverage, bound=LEAST_COVERAGE, page=page)]
    rows.append(row("plain", "coverage", tally["plain"].coverage, bound=LEAST_COVERAGE, page=page))
    rows.append(row("wilson", "coverage", tally["wilson"].coverage, bound=LEAST_COVERAGE, page=page))
    rows.append(row("ppi", "coverage", tally["ppi"].coverage, bound=LEAST_COVERAGE, page=page))
    rows.append(row("ppi wald", "coverage", tally["ppi wald"].coverage))
    rows.append(row("aipw wald", "coverage", tally["aipw wald"].coverage, page=".68-.86 for rare classes"))
    plain_wilson = _wilson_width(rate, n)
    must = n == 1000 and score == "useful"  # made for corr .45; a pool drawn a little below is not let off
    for name in ("default", "plain", "ppi"):
        bar = must and name == "default"
        rows.append(
            row(
                name,
                "width / Wilson's",
                tally[name].width / plain_wilson,
                bound=MOST_WIDTH if bar else None,
                page=">= 15 % narrower at corr >= .4, n 1000" if bar else "",
            )
        )
    return rows


CHECKS = {
    "default": "error rate, what `quality` reports (60/40 plan)",
    "plain": "error rate, what `quality` reports (uniform plan)",
    "wilson": "error rate, simple random sample, Wilson / Clopper-Pearson",
    "ppi": "error rate, PPI++ with its guards (uniform plan)",
    "ppi wald": "not shipped: PPI++ Wald interval (uniform plan)",
    "aipw wald": "not shipped: AIPW Wald interval (active draws)",
}


def _wilson_width(rate: float, n: int) -> float:
    """The width of Wilson's interval when the sample shows the true rate."""
    z = 1.959964
    return 2 * z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)


def _ppi_wald(y: BoolArray, f: FloatArray, f_all: FloatArray) -> Estimate:
    from evaluation.ppi import ppi_moments

    m = ppi_moments(y.astype(np.float64), f, f_all, np.ones(y.size))
    return _wald(m.value, m.std_error, y.size)


def _aipw_wald(y: BoolArray, pi: FloatArray, f: FloatArray, f_all: FloatArray) -> Estimate:
    """Active inference as published: mean f + mean (y - f)/pi, normal interval."""
    residual = (y - f) / pi
    size = f_all.size
    value = float(f_all.mean() + residual.sum() / size)
    variance = float(np.sum(residual**2 * (1 - pi))) / size**2
    return _wald(value, math.sqrt(variance), y.size)


def _wald(value: float, std_error: float, n: int) -> Estimate:
    half = 1.959964 * std_error
    return Estimate(value=value, low=value - half, high=value + half, n=n, method="wald")


def _few_errors(replicates: int, rng: np.random.Generator) -> list[Row]:
    """Rates so low that a sample holds about four errors, where Korn-Graubard alone fell to .90."""
    rows = []
    for n in (200, 350, 500, 1000, 2000):
        for score in ("useless", "overconfident"):
            pool = make_pool(score, 3.8 / n, rng)
            c = pool.confidence
            pi = audit_probabilities(c, rate_prob=n / POOL_N).inclusion_prob(c)
            tally, default = _Tally(pool.rate), _Default(pool)
            for _ in range(replicates):
                tally.add(default.error(rng.random(POOL_N) < pi, pi))
            rows.append(
                Row(
                    section=SECTION,
                    check=CHECKS["default"],
                    cell=f"event {pool.rate:.2%}, {score}, n {n}",
                    measure="coverage",
                    value=tally.coverage,
                    relation=">=",
                    bound=LEAST_COVERAGE,
                    replicates=replicates,
                    note="about four errors found",
                )
            )
    return rows


def _rare_class_cell(
    prevalence: float, score: str, n: int, replicates: int, rng: np.random.Generator
) -> list[Row]:
    """Recall and precision by active draws; undefined answers are counted apart, with their share shown."""
    truth, guess, label = make_class(prevalence, score, rng)
    pi = active_probabilities(np.sqrt(guess * (1 - guess)), n=n)
    hits = float(np.sum(truth & label))
    recall, precision = _Tally(hits / truth.sum()), _Tally(hits / label.sum())
    unanswered = 0
    for _ in range(replicates):
        a = rng.random(POOL_N) < pi
        found = class_recall(
            truth[a], label[a], pi[a], predicted_all=label, probability=guess[a], probability_all=guess
        )
        if found.low is None:
            unanswered += 1
        else:
            recall.add(found)
        precise = class_precision(
            truth[a], label[a], pi[a], predicted_all=label, probability=guess[a], probability_all=guess
        )
        if precise.low is not None:
            precision.add(precise)
    cell = f"class {prevalence:.1%}, {score}, n {n}"
    note = f"refused in {unanswered / replicates:.1%} of runs" if unanswered else ""
    rows = []
    for name, tally in (("recall", recall), ("precision", precision)):
        check = f"{name} of a rare class, active AIPW ratio"
        for measure, value in (("coverage", tally.coverage), ("mean width", tally.width)):
            bound = LEAST_COVERAGE if measure == "coverage" else None
            rows.append(
                Row(
                    section=SECTION,
                    check=check,
                    cell=f"{cell}, true {tally.truth:.2f}",
                    measure=measure,
                    value=value,
                    relation="shown" if bound is None else ">=",
                    bound=bound,
                    replicates=replicates,
                    note=note if name == "recall" else "",
                )
            )
    return rows


def make_class(
    prevalence: float, score: str, rng: np.random.Generator
) -> tuple[BoolArray, FloatArray, BoolArray]:
    """(is of the class, the model's probability, the model's label) for a pool of POOL_N items."""
    signal = 2.0 * rng.normal(size=POOL_N)
    low, high = -30.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if np.mean(1 / (1 + np.exp(-middle - signal))) < prevalence else (low, middle)
        )
    log_odds = low + signal
    risk = 1 / (1 + np.exp(-log_odds))
    truth = rng.random(POOL_N) < risk
    if score == "useless":
        label = np.where(truth, rng.random(POOL_N) < 0.6, rng.random(POOL_N) < 0.02)
        return truth, rng.permutation(risk), label
    guess = risk if score == "useful" else 1 / (1 + np.exp(-2.5 * log_odds))
    return truth, guess, risk > 0.3
