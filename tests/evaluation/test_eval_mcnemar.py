"""Paired shares: against published examples, statsmodels, and the score equation itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar

from evaluation.mcnemar import mcnemar_mid_p, tango_interval, tango_z
from labelproof.spec.errors import ConfigError

COUNTS = st.integers(0, 60)


def test_published_examples() -> None:
    """Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33: airway (n 21) and consolidation (n 161)."""
    assert mcnemar_mid_p([1, 6], [7, 16]) == pytest.approx([0.039, 0.035], abs=5e-4)
    assert np.array(tango_interval(1, 7, 21)) == pytest.approx([-0.517, -0.026], abs=5e-4)
    # R, PropCIs::scoreci.mp(25, 28, 618, .9), whose difference is (second - first) / n.
    found = np.array(tango_interval(28, 25, 618, confidence=0.9))
    assert found == pytest.approx([-0.0148, 0.0247], abs=5e-5)


@settings(deadline=None, max_examples=60)
@given(COUNTS, COUNTS)
def test_mid_p_is_statsmodels_exact_p_less_half_of_what_was_seen(b: int, a: int) -> None:
    exact = mcnemar(np.array([[5, b], [a, 9]]), exact=True).pvalue
    if a == b:
        assert exact == 1.0
        assert mcnemar_mid_p(b, a) == pytest.approx(1.0)
    else:
        seen = binom.pmf(min(a, b), a + b, 0.5)
        assert mcnemar_mid_p(b, a) == pytest.approx(exact - seen, rel=1e-9, abs=1e-15)


@settings(deadline=None, max_examples=60)
@given(COUNTS, COUNTS)
def test_at_zero_the_score_test_is_mcnemars(b: int, a: int) -> None:
    z = float(tango_z(b, a, 200, 0.0))
    if a + b == 0:
        assert z == 0.0
    else:
        chi2 = mcnemar(np.array([[50, b], [a, 30]]), exact=False, correction=False).statistic
        assert z**2 == pytest.approx(chi2, rel=1e-9, abs=1e-12)
        assert z == 0.0 or np.sign(z) == np.sign(b - a)


@settings(deadline=None, max_examples=80)
@given(COUNTS, COUNTS, st.integers(1, 200))
def test_the_interval_holds_what_the_test_does_not_reject(b: int, a: int, rest: int) -> None:
    n = a + b + rest
    low, high = (float(end) for end in tango_interval(b, a, n))
    assert -1 <= low <= (b - a) / n <= high <= 1
    for end, side in ((low, 1), (high, -1)):
        assert abs(float(tango_z(b, a, n, end))) == pytest.approx(1.959964, abs=1e-5)
        assert float(tango_z(b, a, n, end)) * side > 0
    mirrored = tango_interval(a, b, n)
    assert (-float(mirrored[1]), -float(mirrored[0])) == pytest.approx((low, high), abs=1e-12)


def test_the_restricted_variance_is_the_likelihoods() -> None:
    """Tango's closed form against a grid over the share of losses."""
    b, a, n, delta = 14, 6, 120, -0.08
    share = np.linspace(1e-6, 1 - 1e-6, 400_001)
    share = share[(share + delta > 0) & (2 * share + delta < 1)]
    likelihood = b * np.log(share + delta) + a * np.log(share) + (n - a - b) * np.log(1 - 2 * share - delta)
    best = share[likelihood.argmax()]
    z = (b - a - n * delta) / np.sqrt(n * (2 * best + delta - delta**2))
    assert float(tango_z(b, a, n, delta)) == pytest.approx(z, rel=1e-4)


def test_no_flip_still_has_an_interval_and_huge_tables_do_not_overflow() -> None:
    low, high = tango_interval(0, 0, 100)
    assert (float(low), float(high)) == pytest.approx((-0.0370, 0.0370), abs=1e-4)
    assert float(mcnemar_mid_p(0, 0)) == 1.0
    assert 0 < float(mcnemar_mid_p(10**6, 10)) < 1e-300
    low, high = tango_interval(50_000, 48_000, 1_000_000)
    assert (float(low), float(high)) == pytest.approx((0.002 - 0.00061, 0.002 + 0.00061), abs=1e-5)
    assert [float(end) for end in tango_interval(5, 0, 5)] == pytest.approx([0.1309, 1.0], abs=2e-3)


def test_impossible_tables_are_refused() -> None:
    for table in ((3, 3, 5), (0, 0, 0), (-1, 2, 9)):
        with pytest.raises(ConfigError, match="paired table"):
            tango_interval(*table)
    with pytest.raises(ConfigError, match="counts >= 0"):
        mcnemar_mid_p(-1, 2)


@pytest.mark.parametrize("n", [100, 300, 1000])
@pytest.mark.parametrize("discordance", [0.05, 0.15, 0.3])
@pytest.mark.parametrize("delta", [0.0, 0.03])
def test_exact_coverage(n: int, discordance: float, delta: float) -> None:
    """All tables that can occur, weighed by their probability: no simulation noise."""
    from scipy.stats import multinomial

    up, down = (discordance + delta) / 2, (discordance - delta) / 2
    most = int(n * discordance + 6 * np.sqrt(n * discordance)) + 1
    b, a = (grid.ravel() for grid in np.meshgrid(np.arange(most), np.arange(most), indexing="ij"))
    inside = a + b <= min(n, most)
    b, a = b[inside], a[inside]
    weight = multinomial.pmf(np.column_stack([b, a, n - a - b]), n, [up, down, 1 - up - down])
    held = np.abs(tango_z(b, a, n, delta)) <= 1.959964
    assert weight.sum() == pytest.approx(1, abs=1e-6)
    assert weight @ held >= 0.93
    rejected = mcnemar_mid_p(b, a) <= 0.05
    if delta == 0:
        assert weight @ rejected <= 0.051
