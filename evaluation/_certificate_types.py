"""What a certification run answers: the certificate or why there is none, and what was tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CertificateMethod = Literal["fixed-sequence-binomial", "fixed-sequence-hypergeometric", "betting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedThreshold:
    """One candidate threshold: accept confidence >= ``threshold``.

    ``coverage`` is the share of the pool accepted, ``n_accepted``/``n_errors`` count gold items. ``p_value`` tests
    "the error rate among accepted items exceeds alpha"; ``upper`` is the 1 - delta upper bound on that rate for this
    threshold alone (None without accepted gold). ``tested`` is False after the first failure: those rows are for
    plots, and their ``p_value`` decided nothing. ``passed`` is True only where the sequence got to and p <= delta.
    """

    __test__ = False  # a name that pytest would collect

    threshold: float
    coverage: float
    n_accepted: int
    n_errors: int
    p_value: float
    upper: float | None
    passed: bool
    tested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveThreshold:
    """The laxest threshold whose gold accuracy is >= 1 - alpha: no certificate, shown for comparison.

    ``threshold`` is None (and the counts 0) when no threshold reaches it. Picked from the same gold that
    judges it, it breaks its promise in about half of all gold draws.
    """

    threshold: float | None
    coverage: float | None
    n_accepted: int
    n_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldNeed:
    """How much more gold would probably bring a certificate, and of which kind.

    ``n_accepted_more`` items drawn uniformly among those with confidence >= ``confidence_at_least``, or
    ``n_random_more`` drawn from the whole pool, certify that threshold with probability ``chance`` if the error
    rate there is what the gold so far suggests. Both are None, and ``chance`` 0, when no amount helps; ``why``
    says so in words either way.
    """

    n_accepted_more: int | None
    confidence_at_least: float
    n_random_more: int | None
    chance: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """A certified auto-accept threshold, or the reason why there is none.

    Certified: over the draw of the gold, with probability >= 1 - ``delta`` the error rate among the items with
    confidence >= ``threshold`` is at most ``alpha``. ``threshold`` and ``coverage`` (share of the pool accepted)
    are None without certificate; ``n_accepted``, ``n_errors`` and ``upper`` then describe the strictest
    threshold tested. ``n_gold`` counts the gold that could be used (inside the region, when there is one). ``upper``:
    one-sided 1 - delta upper bound on the error rate at that one threshold. ``tested``: strict to lenient.
    ``reason`` and ``more_gold`` are None exactly when certified (``more_gold`` also when the pool is empty).
    """

    certified: bool
    threshold: float | None
    alpha: float
    delta: float
    n_gold: int
    n_accepted: int
    n_errors: int
    coverage: float | None
    upper: float | None
    method: CertificateMethod
    tested: tuple[TestedThreshold, ...]
    reason: str | None
    more_gold: GoldNeed | None
    naive: NaiveThreshold


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOf:
    """Certifications of several strategies, valid jointly; ``best`` indexes the one with the highest coverage.

    None when no strategy is certified. Ties go to the first.
    """

    certifications: tuple[Certification, ...]
    best: int | None
