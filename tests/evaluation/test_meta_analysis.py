"""Pooling across projects against an independent library, published numbers, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from statsmodels.stats.meta_analysis import combine_effects

from benchmarks.validity.meta_analysis import simulate
from evaluation.meta_analysis import random_effects
from labelproof.spec.errors import ConfigError


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [2, 3, 7, 30])
def test_it_agrees_with_statsmodels(seed: int, k: int) -> None:
    rng = np.random.default_rng([seed, k])
    errors = rng.uniform(0.005, 0.03, k)
    effects = 0.02 + rng.normal(0, 0.02 * (seed % 3), k) + rng.normal(0, errors)
    found = random_effects(effects, errors)
    theirs = combine_effects(effects, errors**2, method_re="pm", use_t=True, atol=1e-7, maxiter=500)
    assert found.tau2 == pytest.approx(theirs.tau2, rel=1e-6, abs=1e-12)
    assert found.mean == pytest.approx(theirs.mean_effect_re, rel=1e-7)
    assert found.q == pytest.approx(theirs.q, rel=1e-9)
    assert found.i2 == pytest.approx(max(0.0, theirs.i2), rel=1e-9, abs=1e-12)
    # Theirs is the factor without the bound of 1; where it exceeds 1 the intervals are the same.
    bounded = max(theirs.sd_eff_w_re_hksj, theirs.sd_eff_w_re)
    assert found.standard_error == pytest.approx(bounded, rel=1e-6)


def test_a_published_example_comes_out() -> None:
    """Borenstein et al. (2009), Introduction to Meta-Analysis, table 14.1: Q 12.003, I² 58 %, k = 6."""
    effects = [0.0945, 0.2774, 0.3665, 0.6644, 0.4618, 0.1852]
    variances = np.array([0.0329, 0.0307, 0.0499, 0.0105, 0.0427, 0.0234])
    found = random_effects(effects, np.sqrt(variances))
    assert found.q == pytest.approx(12.003, abs=0.02)
    assert found.i2 == pytest.approx(0.58, abs=0.01)


def test_few_projects_say_what_they_cannot_say() -> None:
    none = random_effects([], [])
    assert (none.k, none.mean, none.reason) == (0, None, "no project has tried it")
    one = random_effects([0.03], [0.01])
    assert (one.mean, one.low, one.prediction_low, one.tau2) == (0.03, None, None, None)
    assert one.reason == "one project says nothing about others"
    assert one.prob_above() is None
    two = random_effects([0.03, 0.01], [0.01, 0.01])
    assert two.low is not None
    assert two.low < 0.02 < (two.high or 0)
    assert (two.prediction_low, two.prob_above()) == (None, None)
    assert "no prediction" in (two.reason or "")


def test_the_probability_is_the_predictive_distribution() -> None:
    found = random_effects([0.04, 0.02, 0.03, 0.05], [0.01, 0.02, 0.01, 0.015])
    assert found.mean is not None
    assert found.prediction_low is not None
    assert found.prediction_high is not None
    assert found.prob_above(found.mean) == pytest.approx(0.5, abs=0.03)
    assert found.prob_above(found.prediction_low) == pytest.approx(0.975)
    assert found.prob_above(found.prediction_high) == pytest.approx(0.025)


@pytest.mark.parametrize("bad", [0.0, -0.1])
def test_errors_must_be_positive(bad: float) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        random_effects([0.1, 0.2], [0.1, bad])


@settings(max_examples=60)
@given(
    effects=hnp.arrays(float, st.integers(2, 9), elements=st.floats(-1, 1)),
    scale=st.floats(0.001, 1),
    shift=st.floats(-2, 2),
)
def test_shifting_and_scaling_effects_does_the_same_to_the_answer(
    effects: np.ndarray, scale: float, shift: float
) -> None:
    errors = np.full(len(effects), 0.1)
    a, b = random_effects(effects, errors), random_effects(effects * scale + shift, errors * scale)
    assert a.mean is not None
    assert b.mean == pytest.approx(a.mean * scale + shift, abs=1e-9)
    assert b.tau2 == pytest.approx((a.tau2 or 0) * scale**2, rel=1e-5, abs=1e-12)
    assert a.low is not None
    assert a.low <= a.mean <= (a.high or 0)
    if a.prediction_low is not None:
        assert b.prediction_low == pytest.approx(a.prediction_low * scale + shift, rel=1e-5, abs=1e-6)


def test_coverage_holds_when_simulated_small() -> None:
    rows = simulate(200, 1)
    assert rows
    assert [row for row in rows if row.holds is False] == []
