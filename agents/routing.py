"""The routing decision as a pure function: every item gets exactly one of three decisions, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.state import Decision
from labelproof.spec.project import RoutingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What routing needs of a valid certificate: thresholds by label, and for all other labels."""

    certificate_id: str
    threshold_prob: float | None
    """Auto-accept at or above this confidence; None: this certificate allows no label in general."""
    per_class: Mapping[str, float] = field(default_factory=dict)
    """Thresholds certified class by class; a taxonomy's parent stands for those of its leaves not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of an item when it is routed."""

    label: str | None
    members: frozenset[str]
    confidence: float | None
    failure: str | None
    manipulation: tuple[str, ...]
    rests_on_gold: bool
    """Whether the confidence was fitted on gold items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision; ``inclusion_prob`` (0 to 1) and ``audited`` are set for auto-accepted items only."""

    decision: Decision
    reason: str
    certificate_id: str | None = None
    inclusion_prob: float | None = None
    audited: bool = False


def decide(
    policy: RoutingPolicy, evidence: Evidence, *, certificate: Certificate | None, audit_draw: float
) -> Verdict:
    """Return the decision for one item.

    ``audit_draw`` is uniform on [0, 1) and independent of the item's content; the item is audited when it
    is below the policy's audit rate, which is stored as its inclusion probability. Order of the rules:
    failure, manipulation, always-review labels, missing confidence, threshold.
    """
    if evidence.failure is not None or evidence.label is None:
        return Verdict(decision="failed", reason=evidence.failure or "no step produced a label")
    if evidence.manipulation and policy.review_manipulation:
        return _review(f"manipulation: {', '.join(dict.fromkeys(evidence.manipulation))}")
    parents = {name.partition("/")[0] for name in evidence.members}
    held = sorted((evidence.members | parents) & set(policy.always_review))
    if held:
        return _review(f"always reviewed: {', '.join(held)}")
    if evidence.confidence is None:
        return _review("no calibrated confidence")
    if policy.mode == "certified":
        if certificate is None:
            return _review("no valid certificate for this strategy version")
        threshold = _certified_threshold(certificate, evidence.members)
        kind, certificate_id = "certified", certificate.certificate_id
        if threshold is None:
            return _review("the certificate does not cover this label")
    elif not evidence.rests_on_gold and not policy.accept_without_gold:
        return _review("no gold stands behind the confidence")
    else:
        threshold, kind, certificate_id = policy.threshold_prob, "uncertified", None
    if not evidence.confidence >= threshold:  # NaN too is no reason to trust
        return _review(f"confidence {evidence.confidence:.3f} below {kind} threshold {threshold:.3f}")
    return Verdict(
        decision="auto_accept",
        reason=f"confidence {evidence.confidence:.3f} at or above {kind} threshold {threshold:.3f}",
        certificate_id=certificate_id,
        inclusion_prob=policy.audit_rate_prob,
        audited=audit_draw < policy.audit_rate_prob,
    )


def _review(reason: str) -> Verdict:
    return Verdict(decision="review", reason=reason)


def _certified_threshold(certificate: Certificate, members: frozenset[str]) -> float | None:
    """Return the strictest threshold among the item's labels; None if one of them has none."""
    general = certificate.threshold_prob
    found = [
        certificate.per_class.get(name, certificate.per_class.get(name.partition("/")[0], general))
        for name in members
    ]
    if not found:
        return certificate.threshold_prob
    if any(value is None for value in found):
        return None
    return max(value for value in found if value is not None)
