"""Routing: one decision for every item, thresholds that are monotone, audits that are fair."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.routing import Certificate, Evidence, Verdict, decide
from agents.secrets import RunSecrets
from labelproof.spec.items import item_id
from labelproof.spec.project import RoutingPolicy
from tests.agents.agent_helpers import item_state, make_step, resources, schema

LABELS = ("safe", "hate", "spam")
probability = st.floats(0, 1)
policies = st.builds(
    RoutingPolicy,
    mode=st.sampled_from(["certified", "threshold"]),
    threshold_prob=probability,
    always_review=st.lists(st.sampled_from(LABELS), max_size=2).map(tuple),
    audit_rate_prob=probability,
    review_manipulation=st.booleans(),
)
certificates = st.none() | st.builds(
    Certificate,
    certificate_id=st.just("c1"),
    threshold_prob=st.none() | probability,
    per_class=st.dictionaries(st.sampled_from(LABELS), probability, max_size=3),
)
evidences = st.builds(
    Evidence,
    item_id=st.just("i1"),
    label=st.none() | st.sampled_from(LABELS),
    members=st.frozensets(st.sampled_from(LABELS), max_size=2),
    confidence=st.none() | probability,
    failure=st.none() | st.just("label: no JSON"),
    manipulation=st.lists(st.sampled_from(["homoglyphs", "canary_leak"]), max_size=3).map(tuple),
)


@given(policies, evidences, certificates, st.floats(0, 0.999))
def test_on_a_stopped_line_nothing_is_decided_alone(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None, draw: float
) -> None:
    verdict = decide(
        rules, found, certificate=certificate, audit_draw=draw, stopped="the line is stopped: spam"
    )
    assert verdict.decision == ("failed" if found.failure is not None or found.label is None else "review")
    assert not verdict.audited
    assert verdict.decision == "failed" or verdict.reason == "the line is stopped: spam"


def policy(**more: Any) -> RoutingPolicy:
    return RoutingPolicy(**{"mode": "threshold", "threshold_prob": 0.8, **more})


def evidence(label: str | None = "safe", confidence: float | None = 0.9, **more: Any) -> Evidence:
    base: dict[str, Any] = {
        "item_id": "i1",
        "members": frozenset([label] if label else []),
        "failure": None,
        "manipulation": (),
        "rests_on_gold": True,
    }
    return Evidence(label=label, confidence=confidence, **{**base, **more})


def route(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None = None, draw: float = 0.5
) -> Verdict:
    return decide(rules, found, certificate=certificate, audit_draw=draw)


@given(policies, evidences, certificates, st.floats(0, 1, exclude_max=True))
def test_every_item_gets_exactly_one_decision_with_what_belongs_to_it(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None, draw: float
) -> None:
    verdict = route(rules, found, certificate, draw)
    assert verdict.decision in ("auto_accept", "review", "failed")
    assert verdict.reason
    assert (verdict.decision == "failed") == (found.failure is not None or found.label is None)
    accepted = verdict.decision == "auto_accept"
    assert (verdict.inclusion_prob is not None) == accepted
    assert verdict.inclusion_prob == (rules.audit_rate_prob if accepted else None)
    assert verdict.audited == (accepted and draw < rules.audit_rate_prob)
    assert (verdict.certificate_id is not None) == (accepted and rules.mode == "certified")
    if accepted:
        assert found.confidence is not None
        assert not found.members & set(rules.always_review)
        assert not (found.manipulation and rules.review_manipulation)
        assert rules.mode == "threshold" or certificate is not None


@given(policies, evidences, certificates, probability, probability)
def test_more_confidence_never_turns_acceptance_into_review(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None, a: float, b: float
) -> None:
    low, high = sorted((a, b))
    order = {"failed": 0, "review": 1, "auto_accept": 2}
    decisions = [
        order[
            route(
                rules,
                replace(found, confidence=confidence),
                certificate,
            ).decision
        ]
        for confidence in (low, high)
    ]
    assert decisions[0] <= decisions[1]


@given(policies, evidences, certificates, probability)
def test_a_stricter_threshold_accepts_no_more(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None, raised: float
) -> None:
    strict = rules.model_copy(update={"threshold_prob": max(raised, rules.threshold_prob)})
    if route(strict, found, certificate).decision == "auto_accept":
        assert route(rules, found, certificate).decision == "auto_accept"


@given(
    policies, evidences, certificates, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)
)
def test_the_audit_draw_changes_nothing_but_the_audit(
    rules: RoutingPolicy, found: Evidence, certificate: Certificate | None, a: float, b: float
) -> None:
    one, two = (route(rules, found, certificate, draw) for draw in (a, b))
    assert (one.decision, one.reason, one.inclusion_prob) == (two.decision, two.reason, two.inclusion_prob)


def test_a_confidence_that_is_no_number_is_no_reason_to_trust() -> None:
    """NaN is not below any threshold: it used to be accepted."""
    assert route(policy(), evidence(confidence=math.nan)).decision == "review"


def test_the_threshold_itself_is_enough_and_said_to_be_uncertified() -> None:
    accepted = route(policy(), evidence(confidence=0.8))
    assert accepted.decision == "auto_accept"
    assert "uncertified" in accepted.reason
    assert accepted.certificate_id is None
    assert route(policy(), evidence(confidence=0.7999)).decision == "review"


def test_the_reasons_come_in_order_of_gravity() -> None:
    rules = policy(always_review=("safe",))
    hostile = evidence(manipulation=("canary_leak", "canary_leak"))
    assert route(rules, evidence(failure="label: no JSON")).reason == "label: no JSON"
    assert route(rules, evidence(None)).reason == "no step produced a label"
    assert route(rules, hostile).reason == "manipulation: canary_leak"
    assert route(rules, evidence()).reason == "always reviewed: safe"
    assert route(policy(), evidence(confidence=None)).reason == "no calibrated confidence"
    assert route(policy(review_manipulation=False), hostile).decision == "auto_accept"


@pytest.mark.parametrize(
    ("held", "members", "decision"),
    [
        ("abuse", {"abuse/hate"}, "review"),
        ("abuse/hate", {"abuse/hate"}, "review"),
        ("abuse/hate", {"abuse/threat"}, "auto_accept"),
        ("hate", {"hate", "spam"}, "review"),
        ("hate", {"spam"}, "auto_accept"),
        ("hate", set(), "auto_accept"),
    ],
)
def test_always_review_holds_for_parents_and_for_members_of_sets(
    held: str, members: set[str], decision: str
) -> None:
    found = evidence("+".join(sorted(members)) or "none", members=frozenset(members))
    assert route(policy(always_review=(held,)), found).decision == decision


def test_without_a_certificate_everything_goes_to_people_and_the_reason_says_what_is_missing() -> None:
    verdict = route(policy(mode="certified"), evidence(confidence=1.0))
    assert verdict.decision == "review"
    assert "no valid certificate" in verdict.reason


@pytest.mark.parametrize(
    ("label", "members", "confidence", "decision"),
    [
        ("safe", {"safe"}, 0.7, "auto_accept"),
        ("safe", {"safe"}, 0.69, "review"),
        ("hate", {"hate"}, 0.9, "review"),
        ("hate", {"hate"}, 0.95, "auto_accept"),
        ("hate+safe", {"hate", "safe"}, 0.9, "review"),
        ("hate+safe", {"hate", "safe"}, 0.95, "auto_accept"),
        ("none", set(), 0.7, "auto_accept"),
        ("abuse/x", {"abuse/x"}, 0.98, "review"),
        ("abuse/x", {"abuse/x"}, 0.99, "auto_accept"),
        ("abuse/x+hate", {"abuse/x", "hate"}, 0.95, "auto_accept"),
    ],
)
def test_a_certificates_thresholds_hold_class_by_class(
    label: str, members: set[str], confidence: float, decision: str
) -> None:
    certificate = Certificate(
        certificate_id="c1", threshold_prob=0.7, per_class={"hate": 0.95, "abuse": 0.99}
    )
    verdict = route(
        policy(mode="certified"), evidence(label, confidence, members=frozenset(members)), certificate
    )
    assert verdict.decision == decision
    assert verdict.certificate_id == ("c1" if decision == "auto_accept" else None)


def test_a_certificate_that_covers_some_labels_accepts_no_others() -> None:
    certificate = Certificate(certificate_id="c1", threshold_prob=None, per_class={"hate": 0.5})
    rules = policy(mode="certified")
    assert route(rules, evidence("hate"), certificate).decision == "auto_accept"
    for members in ({"safe"}, {"safe", "spam"}, set()):
        found = evidence("x", members=frozenset(members))
        assert "does not cover" in route(rules, found, certificate).reason


def test_a_class_whose_own_certificate_failed_is_reviewed_whatever_the_others_have() -> None:
    certificate = Certificate(certificate_id="c1", threshold_prob=0.5, per_class={"hate": None})
    found = evidence("hate", 0.999)
    assert "does not cover" in route(policy(mode="certified"), found, certificate).reason


def test_a_certificate_of_a_finite_pool_speaks_of_no_other_item() -> None:
    certificate = Certificate(certificate_id="c1", threshold_prob=0.5, covered=frozenset(["i1"]))
    rules = policy(mode="certified")
    assert route(rules, evidence("safe"), certificate).decision == "auto_accept"
    assert "another pool" in route(rules, evidence("safe", item_id="i2"), certificate).reason


def test_an_audit_plan_decides_who_is_audited_and_is_what_is_stored() -> None:
    class Plan:
        def inclusion_prob(self, confidence: Sequence[float]) -> list[float]:
            return [0.5 if c < 0.95 else 0.1 for c in confidence]

    certificate = Certificate(certificate_id="c1", threshold_prob=0.5, audit_plan=Plan())
    rules = policy(mode="certified", audit_rate_prob=0.05)
    for confidence, prob in ((0.9, 0.5), (0.99, 0.1)):
        found = evidence("safe", confidence)
        for draw in (prob - 0.01, prob):
            verdict = route(rules, found, certificate, draw)
            assert (verdict.inclusion_prob, verdict.audited) == (prob, draw < prob)


def test_without_a_certificate_the_reason_says_why() -> None:
    verdict = decide(
        policy(mode="certified"), evidence(), certificate=None, audit_draw=0.5, no_certificate="it expired"
    )
    assert (verdict.decision, verdict.reason) == ("review", "it expired")


def test_audit_draws_are_uniform_and_know_nothing_of_content_or_confidence() -> None:
    secrets = RunSecrets(b"k" * 32)
    n = 4000
    draws = [secrets.audit_draw(item_id(f"item {i}")) for i in range(n)]
    assert all(0 <= draw < 1 for draw in draws)
    # Kolmogorov-Smirnov distance from the uniform law; 1.95 / sqrt(n) is its 0.1 % point.
    ranked = sorted(draws)
    distance = max(max((i + 1) / n - d, d - i / n) for i, d in enumerate(ranked))
    assert distance < 1.95 / math.sqrt(n)
    confidence = [(i * 0.618) % 1 for i in range(n)]
    assert abs(statistics.correlation(draws, confidence)) < 4 / math.sqrt(n)
    assert draws[:50] == [RunSecrets(b"k" * 32).audit_draw(item_id(f"item {i}")) for i in range(50)]
    assert draws[:50] != [RunSecrets(b"l" * 32).audit_draw(item_id(f"item {i}")) for i in range(50)]


def test_the_route_step_stores_what_the_policy_decided(tmp_path: Path) -> None:
    multi = schema("hate", "spam", kind="multi")
    certificate = Certificate(certificate_id="c7", threshold_prob=0.6)
    rules = policy(mode="certified", audit_rate_prob=1.0)
    own = resources(multi, routing=rules, certificate=certificate)
    step = make_step(tmp_path, "route", multi, with_=own)
    states = [
        item_state("a", label="hate+spam", confidence=0.9),
        item_state("b", label="none", confidence=0.5),
        item_state("c", failure="label: broken", label="hate", confidence=0.99),
    ]
    for state, output in zip(states, step.run_batch(states), strict=True):
        step.apply(state, output)
    assert [state.decision for state in states] == ["auto_accept", "review", "failed"]
    assert (states[0].certificate_id, states[0].inclusion_prob, states[0].audited) == ("c7", 1.0, True)
    assert (states[1].inclusion_prob, states[1].audited) == (None, False)
    before = step.inputs(states[0])
    own.certificate = None
    assert step.inputs(states[0]) != before, "a decision depends on its certificate"


def test_a_plain_threshold_trusts_no_confidence_that_no_gold_stands_behind() -> None:
    ungrounded = evidence(confidence=0.99, rests_on_gold=False)
    assert route(policy(), ungrounded).reason == "no gold stands behind the confidence"
    assert route(policy(accept_without_gold=True), ungrounded).decision == "auto_accept"
