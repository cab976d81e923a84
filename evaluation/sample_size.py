"""How many items a paired comparison needs, and what the items there are can show."""

from __future__ import annotations

import math
from statistics import NormalDist

from evaluation.paired import PairedDifference
from labelproof.spec.errors import ConfigError
from labelproof.spec.metrics import parse_metric


def items_needed(*, discordance: float, min_effect: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Items on which a true difference of ``min_effect`` is found (two-sided ``alpha``) with probability ``power``.

    ``discordance``: share of items that only one of both gets right, at least ``min_effect``. Miettinen (1968),
    Biometrics 24; Connor (1987), Biometrics 43: n = (z_(alpha/2) sqrt(psi) + z_beta sqrt(psi - D^2))^2 / D^2,
    to the nearest item.
    """
    _check(alpha, power)
    if not 0 < min_effect <= discordance <= 1:
        raise ConfigError(
            f"expected 0 < min_effect <= discordance <= 1, found min_effect {min_effect:g}, discordance {discordance:g}",
            hint="the difference cannot be larger than the share of items on which the strategies differ",
        )
    return max(1, round(_formula(min_effect, discordance, alpha, power)))


def detectable_effect(*, n: int, discordance: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest true difference that ``n`` items show with probability ``power``; None: not even 1.

    Inverts :func:`items_needed`. Where the answer would exceed ``discordance``, as much discordance as the
    difference takes is assumed.
    """
    _check(alpha, power)
    if not 0 <= discordance <= 1 or n < 0:
        raise ConfigError(f"expected discordance in [0, 1] and n >= 0, found {discordance:g} and {n}")

    def needed(effect: float) -> float:
        return _formula(effect, max(discordance, effect), alpha, power)

    if n < needed(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) > n else (low, middle)
    return high


def items_to_resolve(
    difference: PairedDifference, *, margin: float | None = None, power: float = 0.8
) -> int | None:
    """About how many items in all would prove what is unproven, if things are as they look; None: no number would.

    Without ``margin``: that B is better (two-sided at 1 - confidence). With it: that B is not worse by ``margin``
    (one-sided). Counts the items the metric speaks of (recall: gold items of the class) and scales the interval's
    width by 1 / sqrt(n). None when the value seen is on the wrong side, when it is proven already, or without an
    interval.
    """
    alpha = 1 - difference.confidence
    _check(alpha, power)
    if difference.delta is None or difference.low is None or difference.high is None or difference.n < 1:
        return None
    proven = difference.p_value if margin is None else difference.p_not_worse
    if margin is not None and margin != difference.margin:
        proven = None
    sign = -1.0 if parse_metric(difference.metric).lower_is_better else 1.0
    distance = sign * difference.delta + (margin or 0.0)
    if distance <= 0 or (proven is not None and proven <= alpha):
        return None
    normal = NormalDist()
    error = (difference.high - difference.low) / (2 * normal.inv_cdf(1 - alpha / 2))
    level = alpha / 2 if margin is None else alpha
    needed = difference.n * ((normal.inv_cdf(1 - level) + normal.inv_cdf(power)) * error / distance) ** 2
    return max(difference.n + 1, math.ceil(needed))


def disagreement_savings(
    n: int, disagreement: float, *, discordance: float | None = None, difference: float = 0.0
) -> float:
    """How many labels at random one label on a disagreement is worth: the ratio of the variances, at least 1.

    Labels only where A and B disagree (a share ``disagreement`` of ``n`` items) estimate the accuracy difference with
    variance (d psi - D^2) / m from m labels, labels at random with (psi - D^2) / m; psi is the ``discordance`` (one
    is right, one is wrong; unknown: every disagreement) and D the ``difference``. At d = .1, psi = .08, D = .02:
    10.5. Never more than ``n``: labelling every item leaves nothing to save.
    """
    psi = disagreement if discordance is None else discordance
    if n < 1 or not 0 <= psi <= disagreement <= 1 or abs(difference) > psi:
        raise ConfigError(
            "expected n >= 1 and |difference| <= discordance <= disagreement <= 1, found"
            f" n {n}, difference {difference:g}, discordance {psi:g}, disagreement {disagreement:g}"
        )
    at_random = psi - difference**2
    chosen = disagreement * psi - difference**2
    return float(n) if chosen <= at_random / n else max(1.0, at_random / chosen)


def _formula(effect: float, discordance: float, alpha: float, power: float) -> float:
    if effect <= 0:
        return math.inf
    normal = NormalDist()
    spread = max(0.0, discordance - effect * effect)
    root = normal.inv_cdf(1 - alpha / 2) * math.sqrt(discordance) + normal.inv_cdf(power) * math.sqrt(spread)
    return (root / effect) ** 2


def _check(alpha: float, power: float) -> None:
    if not 0 < alpha < 1 or not 0 < power < 1:
        raise ConfigError(f"expected alpha and power in (0, 1), found {alpha:g} and {power:g}")
