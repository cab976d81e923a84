"""The routing decision as a pure function: every item gets exactly one of three decisions, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.state import Decision
from labelproof.spec.project import RoutingPolicy

REST = "*"
"""The group of all labels that no other group names."""


class InclusionProbabilities(Protocol):
    """An audit plan (``evaluation.audits.AuditPlan``)."""

    def inclusion_prob(self, confidence: Sequence[float]) -> Any:
        """Return the probability of an audit, in (0, 1], for each confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What routing needs of a valid certificate: thresholds by label, and for all other labels."""

    certificate_id: str
    threshold_prob: float | None
    """Auto-accept at or above this confidence; None: labels that no group names are not certified."""
    per_class: Mapping[str, float | None] = field(default_factory=dict)
    """Thresholds certified class by class, None where that failed, strictest promise first (see ``group_of``)."""
    audit_plan: InclusionProbabilities | None = None
    """Inclusion probabilities by confidence; None: the policy's flat audit rate."""
    covered: frozenset[str] | None = None
    """Ids of the only items it speaks of; None: whatever comes from where its gold came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of an item when it is routed."""

    item_id: str
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
    policy: RoutingPolicy,
    evidence: Evidence,
    *,
    certificate: Certificate | None,
    audit_draw: float,
    no_certificate: str = "no valid certificate for this strategy version",
    stopped: str | None = None,
) -> Verdict:
    """Return the decision for one item.

    ``audit_draw`` is uniform on [0, 1) and independent of the item's content; the item is audited when it
    is below its inclusion probability (the certificate's audit plan, else the policy's flat rate), which is
    stored. ``no_certificate`` says why there is none; ``stopped`` why nothing may be decided alone now, if so. Order of
    the rules: failure, stopped, manipulation, always-review labels, missing confidence, threshold.
    """
    if evidence.failure is not None or evidence.label is None:
        return Verdict(decision="failed", reason=evidence.failure or "no step produced a label")
    if stopped is not None:
        return _review(stopped)
    held = held_back(policy, evidence)
    if held is not None or evidence.confidence is None:
        return _review(held or "no calibrated confidence")
    if policy.mode == "certified":
        if certificate is None:
            return _review(no_certificate)
        if certificate.covered is not None and evidence.item_id not in certificate.covered:
            return _review("the certificate speaks of another pool of items")
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
    inclusion_prob = policy.audit_rate_prob
    if certificate_id is not None and certificate is not None and certificate.audit_plan is not None:
        inclusion_prob = float(certificate.audit_plan.inclusion_prob([evidence.confidence])[0])
    return Verdict(
        decision="auto_accept",
        reason=f"confidence {evidence.confidence:.3f} at or above {kind} threshold {threshold:.3f}",
        certificate_id=certificate_id,
        inclusion_prob=inclusion_prob,
        audited=audit_draw < inclusion_prob,
    )


def held_back(policy: RoutingPolicy, evidence: Evidence) -> str | None:
    """Return why a labelled item goes to a person whatever its confidence, else None."""
    if evidence.manipulation and policy.review_manipulation:
        return f"manipulation: {', '.join(dict.fromkeys(evidence.manipulation))}"
    parents = {name.partition("/")[0] for name in evidence.members}
    held = sorted((evidence.members | parents) & set(policy.always_review))
    return f"always reviewed: {', '.join(held)}" if held else None


def _review(reason: str) -> Verdict:
    return Verdict(decision="review", reason=reason)


def group_of(members: frozenset[str], groups: Sequence[str]) -> str:
    """Return the group of labels an item is certified with: the first of ``groups`` that names one of its labels
    (or a parent of one), else ``REST``. Certifying and routing divide the items by this one rule.
    """
    named = members | {name.partition("/")[0] for name in members}
    return next((group for group in groups if group in named), REST)


def _certified_threshold(certificate: Certificate, members: frozenset[str]) -> float | None:
    group = group_of(members, list(certificate.per_class))
    return certificate.threshold_prob if group == REST else certificate.per_class[group]
