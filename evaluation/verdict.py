"""The rule that turns numbers into ship, regression or inconclusive; written down before they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.paired import PairedDifference
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric

Goal = Literal["better", "not_worse"]
CostRatio = tuple[float | None, float, float | None]
"""B's cost as a multiple of A's: low end, value, high end; the ends None where there is no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict, why in one sentence, and per guardrail (same order): True proven to hold, False proven broken, None unproven."""

    verdict: Literal["ship", "regression", "inconclusive"]
    headline: str
    holds: tuple[bool | None, ...]


def decide(
    primary: PairedDifference,
    guardrails: Sequence[tuple[PairedDifference, bool]],
    *,
    goal: Goal,
    alpha: float,
    p_primary: float | None,
    cost_ratio: CostRatio | None = None,
    max_cost_ratio: float | None = None,
) -> Decision:
    """Judge B against A.

    *ship*: the primary metric is proven better (``p_primary``, two-sided and corrected for the number of arms, <= alpha and
    the difference is in the good direction; goal not_worse: ``primary.p_not_worse`` <= alpha), every guardrail is proven not
    worse by its margin, and the high end of the cost ratio is at most ``max_cost_ratio``. All must hold, each at level
    alpha, so the probability of shipping something bad is at most alpha without a correction (intersection-union
    test: Berger 1982, Technometrics 24).

    *regression*: the primary metric is proven worse (with goal not_worse: by more than its margin), or a guardrail's interval
    lies wholly beyond its margin, or the cost ratio's wholly above the limit. Both proofs at once are no ship.

    *inconclusive*: everything else. A guardrail is (difference, lower is better), its margin in ``difference.margin``.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha: expected a level in (0, 1), found {alpha:g}")
    down = parse_metric(primary.metric).lower_is_better
    main = _judge_primary(primary, down, goal, alpha, p_primary)
    holds = tuple(_holds(difference, lower, alpha) for difference, lower in guardrails)
    cost = _judge_cost(cost_ratio, max_cost_ratio)
    broken = [g.metric for (g, _), held in zip(guardrails, holds, strict=True) if held is False]
    open_ = [g.metric for (g, _), held in zip(guardrails, holds, strict=True) if held is None]
    parts = [_main_text(primary, goal, main, down=down)]
    parts += _names("guardrail", broken, "broken") + _names("guardrail", open_, "unproven")
    if max_cost_ratio is not None and cost is not True:
        parts.append(_cost_text(cost_ratio, max_cost_ratio, cost))
    if main is False or broken or cost is False:
        return Decision(verdict="regression", headline=", ".join(parts), holds=holds)
    if main and not open_ and cost:
        if guardrails:
            parts.append(
                "all guardrails hold"
                if len(guardrails) > 1
                else f'guardrail "{guardrails[0][0].metric}" holds'
            )
        return Decision(verdict="ship", headline=", ".join(parts), holds=holds)
    return Decision(verdict="inconclusive", headline=", ".join(parts), holds=holds)


def _judge_primary(
    primary: PairedDifference, down: bool, goal: Goal, alpha: float, p_primary: float | None
) -> bool | None:
    """True: what the goal asks for is proven; False: the opposite is; None: neither."""
    if primary.delta is None:
        return None
    gain = -primary.delta if down else primary.delta
    differs = p_primary is not None and p_primary <= alpha
    if goal == "better":
        return (gain > 0) if differs and gain != 0 else None
    if primary.margin is None:
        raise ConfigError(f"goal not_worse: expected a margin of {primary.metric}, found none")
    if primary.p_not_worse is not None and primary.p_not_worse <= alpha:
        return True
    beyond = _gain_interval(primary, down)[1]
    return False if differs and beyond is not None and beyond < -primary.margin else None


def _holds(difference: PairedDifference, down: bool, alpha: float) -> bool | None:
    if difference.margin is None:
        raise ConfigError(f"guardrail {difference.metric}: expected a margin, found none")
    if difference.p_not_worse is not None and difference.p_not_worse <= alpha:
        return True
    best = _gain_interval(difference, down)[1]
    return False if best is not None and best < -difference.margin else None


def _gain_interval(difference: PairedDifference, down: bool) -> tuple[float | None, float | None]:
    """The interval with its sign turned so that more is better."""
    if difference.low is None or difference.high is None:
        return None, None
    return (-difference.high, -difference.low) if down else (difference.low, difference.high)


def _judge_cost(ratio: CostRatio | None, most: float | None) -> bool | None:
    if most is None:
        return True
    if ratio is None:
        return None
    low, _, high = ratio
    if high is not None and high <= most:
        return True
    return False if low is not None and low > most else None


def _main_text(primary: PairedDifference, goal: Goal, judged: bool | None, *, down: bool) -> str:
    name = primary.metric
    if primary.delta is None:
        return f"{name} not measurable ({primary.reason})"
    if judged is None:
        return f"{name} not proven {'better' if goal == 'better' else 'not worse'}"
    if goal == "better":
        better = "down" if down else "up"
        return f"{name} {better}" if judged else f"{name} proven worse"
    return (
        f"{name} proven not worse by {primary.margin:g}"
        if judged
        else f"{name} proven worse by more than {primary.margin:g}"
    )


def _names(what: str, names: Sequence[str], state: str) -> list[str]:
    if not names:
        return []
    listed = ", ".join(f'"{name}"' for name in names)
    return [f"{what}{'s' if len(names) > 1 else ''} {listed} {state}"]


def _cost_text(ratio: CostRatio | None, most: float, judged: bool | None) -> str:
    if ratio is None:
        return "cost not known"
    return f"cost {ratio[1]:.2f}x {'above' if judged is False else 'not proven to be at most'} {most:g}x"
