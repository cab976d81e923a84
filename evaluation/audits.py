"""Which auto-accepted items people check: strata, allocation, and a plan that routing can apply item by item."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation._arrays import FloatArray, IntArray, as_floats, as_probabilities, same_length
from labelproof.spec.errors import ConfigError

DEFAULT_STRATA = 5
_LEAST_EXPECTED_ERROR = 0.001  # a stratum believed to be perfect still has a spread to look for


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStrata:
    """Confidence strata, low to high: stratum h holds edges[h-1] <= confidence < edges[h].

    ``edges`` (H-1,) ascending and outermost open, ``sizes`` (H,) how many pool items fell into each.
    """

    edges: tuple[float, ...]
    sizes: tuple[int, ...]

    def codes(self, confidence: npt.ArrayLike) -> IntArray:
        """The stratum 0..H-1 of each confidence (n,); equal confidences share one."""
        return stratum_codes(self.edges, as_probabilities(confidence, "confidence"))


def stratum_codes(edges: tuple[float, ...], confidence: FloatArray) -> IntArray:
    """Index of the stratum of each confidence; a confidence on an edge belongs to the upper stratum."""
    return np.searchsorted(np.asarray(edges, dtype=np.float64), confidence, side="right").astype(np.int64)


def audit_strata(confidence: npt.ArrayLike, *, n_strata: int = DEFAULT_STRATA) -> AuditStrata:
    """At most ``n_strata`` strata of about equal size, cut at quantiles of the pool's confidences (N,).

    Items with the same confidence are never divided, so coarse scores give fewer strata, each with at
    least one pool item. An empty pool is refused.
    """
    c = as_probabilities(confidence, "confidence")
    if c.size == 0:
        raise ConfigError("confidence: expected the pool's confidences, found none")
    if n_strata < 1:
        raise ConfigError(f"n_strata: expected at least 1, found {n_strata}")
    # "higher" cuts at observed values: what lies below an edge and what lies on it differ in confidence.
    cuts = np.unique(np.quantile(c, np.arange(1, n_strata) / n_strata, method="higher"))
    edges = tuple(float(cut) for cut in cuts[cuts > c.min()])
    sizes = np.bincount(stratum_codes(edges, c), minlength=len(edges) + 1)
    return AuditStrata(edges=edges, sizes=tuple(int(size) for size in sizes))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAllocation:
    """Expected audits ``n`` (H,) and inclusion probability (H,) in (0, 1] of each stratum."""

    n: FloatArray
    inclusion_prob: FloatArray


def audit_allocation(
    strata_sizes: npt.ArrayLike,
    expected_error: npt.ArrayLike,
    n: float,
    *,
    proportional: float = 0.6,
    neyman: float = 0.4,
    minimum: float = 2.0,
) -> AuditAllocation:
    """How many of ``n`` audits go to each stratum: 60 % by size, 40 % to where errors are uncertain.

    ``expected_error`` (H,) is the error rate thought likely in each stratum. The second share is
    Neyman's (1934, JRSS 97): size x sqrt(e(1-e)), best if the expectation is right. The first bounds
    what a wrong one can cost: no item weighs more than 1/.6 of an item of a simple random sample.
    ``minimum`` audits per stratum are kept (fewer when n does not reach); nothing exceeds the stratum.
    Audits need not be whole numbers: they are expectations of independent draws.
    """
    sizes = as_floats(strata_sizes, "strata_sizes")
    error = as_probabilities(expected_error, "expected_error")
    same_length(strata_sizes=sizes, expected_error=error)
    if sizes.size == 0 or (sizes < 1).any():
        raise ConfigError(f"strata_sizes: expected at least one item in each stratum, found {sizes.tolist()}")
    if not 0 < n <= sizes.sum():
        raise ConfigError(f"n: expected more than 0 and at most {sizes.sum():g} audits, found {n:g}")
    if min(proportional, neyman, minimum) < 0 or proportional + neyman <= 0:
        raise ConfigError(
            f"expected shares and minimum >= 0 and not both shares 0, found proportional {proportional:g},"
            f" neyman {neyman:g}, minimum {minimum:g}"
        )
    error = np.clip(error, _LEAST_EXPECTED_ERROR, 1 - _LEAST_EXPECTED_ERROR)
    spread = sizes * np.sqrt(error * (1 - error))
    wanted = proportional * sizes / sizes.sum() + neyman * spread / spread.sum()
    least = np.minimum(min(minimum, n / len(sizes)), sizes)
    audits = fill_to_total(wanted, n, least, sizes)
    return AuditAllocation(n=audits, inclusion_prob=np.minimum(audits / sizes, 1.0))


def fill_to_total(wanted: FloatArray, total: float, least: FloatArray, most: FloatArray) -> FloatArray:
    """The multiple of ``wanted`` (all > 0), kept within [least, most], that sums to ``total``."""
    low, high = 0.0, float((most / wanted).max())
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(middle * wanted, least, most).sum() < total:
            low = middle
        else:
            high = middle
    return np.asarray(np.clip(high * wanted, least, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """Fixed inclusion probabilities by confidence: item i is audited when a uniform draw is < pi_i.

    ``edges`` (H-1,) ascending, ``stratum_prob`` (H,) in (0, 1], ``rate_prob`` the average over the pool
    that the plan was made for. Each item is drawn on its own (Poisson sampling), so routing can go one
    item at a time and in any order. The probability is stored with the decision: a later plan, made
    from other confidences, cannot give it back.
    """

    edges: tuple[float, ...]
    stratum_prob: tuple[float, ...]
    rate_prob: float

    def __post_init__(self) -> None:
        if len(self.stratum_prob) != len(self.edges) + 1:
            raise ConfigError(
                f"audit plan: expected one probability more than edges, found {len(self.stratum_prob)}"
                f" for {len(self.edges)} edges"
            )
        if list(self.edges) != sorted(set(self.edges)) or not all(0 <= edge <= 1 for edge in self.edges):
            raise ConfigError(f"audit plan: expected ascending edges in [0, 1], found {list(self.edges)}")
        if not all(0 < p <= 1 for p in (*self.stratum_prob, self.rate_prob)):
            raise ConfigError(
                f"audit plan: expected probabilities in (0, 1], found {list(self.stratum_prob)}, rate"
                f" {self.rate_prob:g}"
            )

    @classmethod
    def uniform(cls, rate_prob: float) -> AuditPlan:
        """Every item with the same probability: what to do before any pool has been seen."""
        return cls(edges=(), stratum_prob=(float(rate_prob),), rate_prob=float(rate_prob))

    def inclusion_prob(self, confidence: npt.ArrayLike) -> FloatArray:
        """The inclusion probability (n,) of items with these confidences (n,)."""
        c = as_probabilities(confidence, "confidence")
        return np.asarray(self.stratum_prob, dtype=np.float64)[stratum_codes(self.edges, c)]

    def item_inclusion_prob(self, confidence: float) -> float:
        """The inclusion probability of one item."""
        return float(self.inclusion_prob([confidence])[0])

    def to_json(self) -> str:
        """The plan as one line of JSON; :meth:`from_json` gives back exactly this plan."""
        return json.dumps(
            {
                "edges": list(self.edges),
                "stratum_prob": list(self.stratum_prob),
                "rate_prob": self.rate_prob,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> AuditPlan:
        """The plan that :meth:`to_json` wrote; ConfigError for anything else."""
        try:
            fields = json.loads(text)
            return cls(
                edges=tuple(float(edge) for edge in fields["edges"]),
                stratum_prob=tuple(float(p) for p in fields["stratum_prob"]),
                rate_prob=float(fields["rate_prob"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"audit plan: expected JSON with edges, stratum_prob and rate_prob, found {text[:80]!r}"
            ) from error


def audit_probabilities(
    confidence: npt.ArrayLike,
    *,
    rate_prob: float,
    strata: AuditStrata | None = None,
    expected_error: npt.ArrayLike | None = None,
) -> AuditPlan:
    """An AuditPlan whose ``inclusion_prob`` averages to ``rate_prob`` over the pool's confidences (N,).

    ``strata``: :func:`audit_strata` of the same pool by default. ``expected_error`` (N,): how likely each
    item is wrong, 1 - confidence by default; averaged within strata, then :func:`audit_allocation`.
    """
    c = as_probabilities(confidence, "confidence")
    if not 0 < rate_prob <= 1:
        raise ConfigError(f"rate_prob: expected a rate in (0, 1], found {rate_prob:g}")
    strata = audit_strata(c) if strata is None else strata
    error = 1.0 - c if expected_error is None else as_probabilities(expected_error, "expected_error")
    same_length(confidence=c, expected_error=error)
    codes = strata.codes(c)
    sizes = np.bincount(codes, minlength=len(strata.sizes))
    if (sizes == 0).any():
        raise ConfigError(
            f"strata: expected pool items in each of the {len(sizes)} strata, found {sizes.tolist()}",
            hint="make the strata from the same confidences with audit_strata",
        )
    mean_error = np.bincount(codes, weights=error, minlength=len(sizes)) / sizes
    allocation = audit_allocation(sizes, np.clip(mean_error, 0.0, 1.0), rate_prob * c.size)
    return AuditPlan(
        edges=strata.edges,
        stratum_prob=tuple(float(p) for p in allocation.inclusion_prob),
        rate_prob=float(rate_prob),
    )
