"""Flips of repeated answers: exact against the rate before, careful while nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hypergeom

from evaluation import sentinel_flips
from evaluation.sentinel_flips import PRIOR_ANSWERS, PRIOR_FLIPS, flips_log_e
from labelproof.spec.errors import ConfigError


def test_given_all_flips_the_mean_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    total, before, after = 9, 80, 40

    def mean(known: int, flips: int) -> float:
        chance = hypergeom(known + after, flips, after)
        return float(
            sum(chance.pmf(k) * math.exp(flips_log_e(total - k, before, k, after)) for k in range(total + 1))
        )

    assert mean(before + PRIOR_ANSWERS, total + PRIOR_FLIPS) < 1  # the prior's own flip is never after
    monkeypatch.setattr(sentinel_flips, "PRIOR_FLIPS", 0)
    monkeypatch.setattr(sentinel_flips, "PRIOR_ANSWERS", 0)
    assert mean(before, total) == pytest.approx(1.0, rel=1e-9)


def test_evidence_grows_with_flips_and_with_what_is_known() -> None:
    values = [flips_log_e(0, 400, k, 40) for k in range(9)]
    assert values == sorted(values)
    assert values[0] < 0
    assert flips_log_e(0, 400, 6, 40) > flips_log_e(0, 40, 6, 40) > flips_log_e(0, 0, 6, 40)
    assert flips_log_e(0, 0, 3, 40) < math.log(365)  # asked twice, three flips: nothing is proven
    assert flips_log_e(40, 400, 4, 40) < 0
    assert flips_log_e(0, 0, 0, 0) == 0.0


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match="after"):
        flips_log_e(0, 4, 5, 4)
    with pytest.raises(ConfigError, match="before"):
        flips_log_e(-1, 4, 0, 4)


def test_a_steady_rate_is_no_change() -> None:
    rng = np.random.default_rng(0)
    e = [
        math.exp(flips_log_e(int(rng.binomial(200, 0.1)), 200, int(rng.binomial(40, 0.1)), 40))
        for _ in range(500)
    ]
    assert np.mean(e) < 1.2
    assert np.mean(np.array(e) > 100) < 0.02
