"""Corrections, sample sizes and verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from evaluation.multiple_testing import benjamini_hochberg, holm
from evaluation.paired import PairedDifference
from evaluation.sample_size import (
    detectable_effect,
    disagreement_savings,
    items_needed,
    items_to_resolve,
)
from evaluation.verdict import Decision, decide
from labelproof.spec.errors import ConfigError

PROBABILITY = st.floats(0, 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(PROBABILITY, st.none()), max_size=12))
def test_corrections_are_statsmodels(p_values: list[float | None]) -> None:
    tested = [p for p in p_values if p is not None]
    for ours, method in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        found = ours(p_values)
        assert len(found) == len(p_values)
        assert np.isnan(found).tolist() == [p is None for p in p_values]
        if tested:
            assert found[~np.isnan(found)] == pytest.approx(multipletests(tested, method=method)[1])
            as_array = ours(np.array([np.nan if p is None else p for p in p_values]))
            assert as_array == pytest.approx(found, nan_ok=True)


def test_no_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"numbers in \[0, 1\]"):
        holm([0.2, 1.5])


def test_sample_size_of_the_design() -> None:
    assert items_needed(discordance=0.08, min_effect=0.03) == 695
    assert items_needed(discordance=0.15, min_effect=0.03, power=0.9) > items_needed(
        discordance=0.15, min_effect=0.03
    )
    with pytest.raises(ConfigError, match="min_effect <= discordance"):
        items_needed(discordance=0.02, min_effect=0.03)
    with pytest.raises(ConfigError, match="alpha and power"):
        items_needed(discordance=0.2, min_effect=0.03, power=1.0)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.005, 1), st.floats(0.05, 1))
def test_what_n_items_show_inverts_what_is_needed(discordance: float, part: float) -> None:
    effect = part * discordance
    n = items_needed(discordance=discordance, min_effect=effect)
    if n >= 20:
        found = detectable_effect(n=n, discordance=discordance)
        assert found == pytest.approx(effect, rel=0.05)


def test_few_items_show_little() -> None:
    assert detectable_effect(n=3, discordance=0.1) is None
    assert detectable_effect(n=4, discordance=0.1) == pytest.approx(0.98, abs=0.03)
    assert detectable_effect(n=30, discordance=0.0) == pytest.approx(0.25, abs=0.02)


def _difference(delta: float | None = 0.02, *, error: float = 0.01, **more: Any) -> PairedDifference:
    """As if from a normal estimate."""
    measured = delta is not None
    value = delta or 0.0
    fields: dict[str, Any] = {
        "metric": "accuracy",
        "value_a": 0.8 if measured else None,
        "value_b": 0.8 + value if measured else None,
        "delta": delta,
        "low": value - 1.96 * error if measured else None,
        "high": value + 1.96 * error if measured else None,
        "p_value": math.erfc(abs(value) / error / math.sqrt(2)) if measured else None,
        "n": 400,
        "method": "mcnemar-tango" if measured else "not-measurable",
        "confidence": 0.95,
        "reason": None if measured else "no gold",
    }
    fields |= more
    margin = fields.get("margin")
    if measured and margin is not None and "p_not_worse" not in fields:
        sign = -1 if fields["metric"] in {"failed_rate", "latency_ms"} else 1
        fields["p_not_worse"] = 0.5 * math.erfc((sign * value + margin) / error / math.sqrt(2))
    return PairedDifference(**fields)


def test_items_to_resolve() -> None:
    assert items_to_resolve(_difference(0.014, error=0.01)) == pytest.approx(
        400 * (2.8016 / 1.4) ** 2, rel=0.01
    )
    assert items_to_resolve(_difference(-0.014)) is None, "more items do not turn it round"
    assert items_to_resolve(_difference(0.03)) is None, "proven already"
    assert items_to_resolve(_difference(None)) is None
    down = _difference(-0.014, metric="failed_rate")
    assert items_to_resolve(down) == items_to_resolve(_difference(0.014))
    unproven = _difference(-0.005, margin=0.01)
    assert items_to_resolve(unproven, margin=0.01) == pytest.approx(400 * (2.4865 / 0.5) ** 2, rel=0.01)
    assert items_to_resolve(_difference(-0.02, margin=0.01), margin=0.01) is None
    assert items_to_resolve(_difference(0.04, margin=0.01), margin=0.01) is None


def test_savings_of_labelling_disagreements() -> None:
    assert disagreement_savings(5000, 0.1, discordance=0.08, difference=0.02) == pytest.approx(10.5, abs=0.05)
    assert disagreement_savings(5000, 0.1) == pytest.approx(10)
    assert disagreement_savings(5000, 1.0) == 1
    assert disagreement_savings(50, 0.0) == 50
    with pytest.raises(ConfigError, match="discordance <= disagreement"):
        disagreement_savings(50, 0.1, discordance=0.2)


GUARD = _difference(0.0, metric="failed_rate", error=0.002, margin=0.01)
OPEN = _difference(-0.005, metric="recall:minor", error=0.01, margin=0.01)
BROKEN = _difference(-0.05, metric="recall:minor", error=0.01, margin=0.01)


def _decide(
    primary: PairedDifference,
    *guards: tuple[PairedDifference, bool],
    goal: Literal["better", "not_worse"] = "better",
    alpha: float = 0.05,
    p: float | None = -1.0,
    cost: tuple[float | None, float, float | None] | None = None,
    most: float | None = None,
) -> Decision:
    return decide(
        primary,
        guards,
        goal=goal,
        alpha=alpha,
        p_primary=primary.p_value if p == -1.0 else p,
        cost_ratio=cost,
        max_cost_ratio=most,
    )


def test_a_proven_gain_with_held_guardrails_ships() -> None:
    found = _decide(_difference(0.03), (GUARD, True))
    assert (found.verdict, found.holds) == ("ship", (True,))
    assert found.headline == 'accuracy up, guardrail "failed_rate" holds'


def test_one_open_guardrail_is_no_ship_and_a_broken_one_a_regression() -> None:
    found = _decide(_difference(0.03), (GUARD, True), (OPEN, False))
    assert (found.verdict, found.holds) == ("inconclusive", (True, None))
    assert found.headline == 'accuracy up, guardrail "recall:minor" unproven'
    found = _decide(_difference(0.03), (BROKEN, False), (GUARD, True))
    assert (found.verdict, found.holds) == ("regression", (False, True))
    assert found.headline == 'accuracy up, guardrail "recall:minor" broken'


def test_direction_and_correction_decide() -> None:
    assert _decide(_difference(-0.03)).verdict == "regression"
    assert _decide(_difference(-0.03)).headline == "accuracy proven worse"
    assert _decide(_difference(-0.03, metric="latency_ms")).verdict == "ship", "lower is better"
    assert _decide(_difference(0.03, metric="latency_ms")).verdict == "regression"
    found = _decide(_difference(0.03), p=0.06)
    assert (found.verdict, found.headline) == ("inconclusive", "accuracy not proven better")
    assert _decide(_difference(None)).headline == "accuracy not measurable (no gold)"
    assert _decide(_difference(0.0), p=0.01).verdict == "inconclusive", "no direction"


def test_not_worse() -> None:
    cheap = _difference(-0.002, error=0.004, margin=0.01)
    assert cheap.p_not_worse is not None
    found = _decide(cheap, (GUARD, True), goal="not_worse")
    assert (found.verdict, found.headline.split(",")[0]) == ("ship", "accuracy proven not worse by 0.01")
    unproven = _decide(_difference(-0.008, error=0.002, margin=0.01), goal="not_worse")
    assert unproven.verdict == "inconclusive", "worse, but perhaps within the margin"
    worse = _decide(_difference(-0.03, error=0.004, margin=0.01), goal="not_worse")
    assert (worse.verdict, worse.headline) == ("regression", "accuracy proven worse by more than 0.01")
    with pytest.raises(ConfigError, match="margin of accuracy"):
        _decide(_difference(0.0), goal="not_worse")
    with pytest.raises(ConfigError, match="guardrail failed_rate"):
        _decide(_difference(0.03), (replace(GUARD, margin=None), True))


def test_cost() -> None:
    gain = _difference(0.03)
    assert _decide(gain, cost=(0.9, 1.0, 1.1), most=1.2).verdict == "ship"
    above = _decide(gain, cost=(1.3, 1.4, 1.5), most=1.2)
    assert (above.verdict, above.headline) == ("regression", "accuracy up, cost 1.40x above 1.2x")
    open_ = _decide(gain, cost=(1.1, 1.15, 1.25), most=1.2)
    assert (open_.verdict, open_.headline) == (
        "inconclusive",
        "accuracy up, cost 1.15x not proven to be at most 1.2x",
    )
    assert _decide(gain, most=1.2).headline == "accuracy up, cost not known"
    assert _decide(gain, cost=(3.0, 4.0, 5.0)).verdict == "ship", "no limit, no condition"


@settings(deadline=None, max_examples=80)
@given(PROBABILITY, PROBABILITY, st.floats(-0.1, 0.1), st.sampled_from([0.01, 0.05, 0.2]))
def test_shipping_needs_every_proof(p: float, guard: float, delta: float, alpha: float) -> None:
    guardrail = replace(OPEN, p_not_worse=guard)
    found = _decide(_difference(delta, error=1.0, p_value=p), (guardrail, False), alpha=alpha)
    assert (found.verdict == "ship") == (p <= alpha and delta > 0 and guard <= alpha)
    if found.verdict == "regression":
        assert p <= alpha
        assert delta < 0
