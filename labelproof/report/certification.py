"""From a strategy and gold to a certificate, or to the reason why there is none and what would help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from agents.certificates import GroupProof, StoredCertificate, answers_fingerprint, issue, standings
from agents.routing import REST, group_of
from agents.run.judge import Answer, Answers, judge, pool_sample
from agents.run.session import LabelSession
from agents.run.workload import Workload
from evaluation.audits import audit_probabilities
from evaluation.certificates import Certification, certificate_p_value, certify, certify_weighted
from labelproof.report.certify_gold import certify_rows, usable_rows
from labelproof.report.certify_report import CertifyReport, group_name
from labelproof.report.gold_looks import Wear, record_look, wear
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest
from labelproof.store import TraceStore
from labelproof.store.interchange import GoldRow

POOL_SAMPLE = 2000
"""Items of the pool whose confidences choose the candidate thresholds; no label of theirs is needed."""
VALID_DAYS = 30
WORN_OUT = 10
"""From this many judgements on it, gold should be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifyRequest:
    """What to certify. None: the project's routing policy says it."""

    alpha: float | None = None
    delta: float = 0.05
    per_class: Mapping[str, float] | None = None
    pool: int | None = POOL_SAMPLE
    """How many items of the pool to look at; None: all."""
    finite_pool: bool = False
    valid_days: int = VALID_DAYS
    max_cost_usd: float | None = None


def certify_strategy(
    store: TraceStore,
    work: Workload,
    request: CertifyRequest,
    *,
    now: datetime,
    listen: Callable[[LabelSession], Callable[[], None]] | None = None,
    drive: Callable[[LabelSession], Mapping[str, Any] | None] | None = None,
) -> CertifyReport:
    """Judge a strategy on the certify split, store the look, and issue a certificate if one is earned.

    The strategy's answers to the split and to a sample of the pool are computed where they are not stored yet.
    ``ConfigError`` when there is no gold to certify on, or gold that cannot carry a certificate.
    """
    gold, rows = work.gold, certify_rows(work)
    assert gold is not None
    policy = work.resolved.routing
    alpha = request.alpha if request.alpha is not None else policy.alpha
    alphas = _alphas(work, alpha, request.per_class)
    if any(row.design in ("stratified", "active") for row in rows) and len(alphas) > 1:
        raise ConfigError(
            "a certificate per class needs uniformly drawn gold; this gold is weighted",
            hint="leave per-class promises out, or draw gold with `labelproof gold sample`",
        )
    pool = pool_sample(work, None if request.finite_pool else request.pool)
    items = work.gold_items("certify")
    answers = judge(
        work, store, [*pool, *items], max_cost_usd=request.max_cost_usd, listen=listen, drive=drive
    )
    worn = wear(store, work, [row.item_id for row in rows])
    delta = request.delta / worn.n_looks
    usable, region_low, notes = usable_rows(store, work, rows, answers, worn)
    notes += _wear_notes(request.delta, worn)
    pool_answers = answers.of(pool)
    open_gold = [row for row in usable if answers.by_item[row.item_id].is_open]
    held = len(usable) - len(open_gold)
    if held:
        notes.append(
            f"{held} of {len(usable)} gold items go to people whatever their confidence (failed, manipulation, or a "
            "label that is always reviewed); no promise is needed for them"
        )
    if not answers.rests_on_gold:
        notes.append(
            "the confidence was fitted on no gold: thresholds are certified all the same, coverage suffers"
        )
    results = _tested(
        work, open_gold, usable, answers, pool_answers, alphas, delta, request, region_low, worn.n_looks
    )
    if any(_could_have_passed(found) for found in results.values()):
        record_look(store, work, "certify", "certify", now)
    elif usable:
        notes.append(
            "no outcome could have certified with so little gold, so this was not counted as a look at it"
        )
    coverage = _coverage(pool_answers, results)
    certificate, stale = None, None
    if any(found.certified for found in results.values()):
        proven_at = _proven_at(store, work, now)
        stale = _stale(proven_at, request.valid_days, now)
        if stale is None:
            certificate = _certificate(
                work, answers, results, worn, coverage, request, now,
                designs={row.design for row in usable}, pool=pool_answers, alpha=alpha, proven_at=proven_at,
            )  # fmt: skip
            issue(store, certificate, now)
    return CertifyReport(
        project=work.folder.name,
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        certificate=certificate,
        reason=None if certificate else stale or _why(results, usable, rows, worn),
        results=results,
        n_gold=len(usable),
        n_held=held,
        wear=worn,
        notes=notes,
        alpha=alpha,
        delta=request.delta,
        pool_n=len(pool),
        coverage=coverage,
        summary=answers.summary,
    )


def _alphas(work: Workload, alpha: float, per_class: Mapping[str, float] | None) -> dict[str, float]:
    """Return group → alpha, strictest first, all other labels last."""
    named = dict(work.resolved.routing.per_class_alpha if per_class is None else per_class)
    schema = work.folder.spec.labels
    known = {*schema.leaves, *(parent.name for parent in schema.classes)}
    for name in named:
        if name not in known:
            raise ConfigError(
                f"per-class promise for unknown label {name!r}", hint=f"labels: {', '.join(sorted(known))}"
            )
    for value in (alpha, *named.values()):
        if not 0 < value < 1:
            raise ConfigError(f"alpha must lie between 0 and 1, found {value}")
    ordered = sorted(named.items(), key=lambda pair: (pair[1], pair[0]))
    return {**dict(ordered), REST: alpha}


def _tested(
    work: Workload,
    open_gold: Sequence[GoldRow],
    usable: Sequence[GoldRow],
    answers: Answers,
    pool: Sequence[Answer],
    alphas: Mapping[str, float],
    delta: float,
    request: CertifyRequest,
    region_low: float | None,
    n_looks: int,
) -> dict[str, Certification]:
    if any(row.design in ("stratified", "active") for row in usable):
        return {REST: _weighted(work, usable, answers, pool, alphas[REST], delta)}
    groups = list(alphas)
    share = delta / len(groups)
    results = {}
    for group in groups:
        own = [row for row in open_gold if _group(answers.by_item[row.item_id], groups) == group]
        mine = [answer for answer in pool if answer.is_open and _group(answer, groups) == group]
        results[group] = certify(
            [_confidence(answers.by_item[row.item_id]) for row in own],
            [answers.by_item[row.item_id].label == row.label for row in own],
            pool_confidence=[_confidence(answer) for answer in mine],
            alpha=alphas[group],
            delta=share,
            pool_is_complete=request.finite_pool,
            region_low=region_low,
            plan_delta=share * n_looks / (n_looks + 1),
        )
    return results


def _could_have_passed(found: Certification) -> bool:
    """Return whether some labels of the gold would have earned a certificate: else the verdict tells nothing."""
    if found.method != "fixed-sequence-binomial" or not found.tested:
        return found.n_gold > 0
    return certificate_p_value(0, found.tested[0].n_accepted, found.alpha) <= found.delta


def _weighted(
    work: Workload,
    usable: Sequence[GoldRow],
    answers: Answers,
    pool: Sequence[Answer],
    alpha: float,
    delta: float,
) -> Certification:
    """Certify on gold drawn with unequal probabilities; held items count as never accepted (confidence 0)."""
    spec = work.folder.spec.gold
    assert spec is not None
    assert work.gold is not None
    if spec.weight_max is None:
        raise ConfigError(
            "weighted gold needs a bound on its weights to carry a certificate",
            path=work.folder.folder / "project.yaml",
            key="gold.weight_max",
            hint="1/s if the design mixes in a uniform share s; or draw with `labelproof gold sample`",
        )
    missing = sum(row.inclusion_prob is None for row in usable)
    if missing:
        raise ConfigError(
            f"{missing} of {len(usable)} gold items have no inclusion probability, the others do: the gold cannot be "
            "weighted",
            key="gold.inclusion_prob_column",
        )
    # The split is a random part of the gold: an item's chance to be here is its chance to be gold times that part.
    part = len(usable) / len(work.gold.rows)
    found = [answers.by_item[row.item_id] for row in usable]
    return certify_weighted(
        [_confidence(answer) if answer.is_open else 0.0 for answer in found],
        [answer.label == row.label for answer, row in zip(found, usable, strict=True)],
        [part * (row.inclusion_prob or 0.0) for row in usable],
        pool_confidence=[_confidence(answer) if answer.is_open else 0.0 for answer in pool],
        pool_n=len(work.items),
        alpha=alpha,
        delta=delta,
        w_max=spec.weight_max,
        region_low=1e-6,  # a threshold of 0 would accept what is held back
    )


def _group(answer: Answer, groups: Sequence[str]) -> str:
    return group_of(answer.members, [group for group in groups if group != REST])


def _confidence(answer: Answer) -> float:
    assert answer.confidence is not None
    return answer.confidence


def _coverage(pool: Sequence[Answer], results: Mapping[str, Certification]) -> float:
    if not pool:
        return 0.0
    return len(_accepted(pool, results)) / len(pool)


def _accepted(pool: Sequence[Answer], results: Mapping[str, Certification]) -> list[float]:
    """Return the confidences of the pool's items that the thresholds accept."""
    kept = []
    for answer in pool:
        if answer.is_open:
            threshold = results[_group(answer, list(results))].threshold
            if threshold is not None and _confidence(answer) >= threshold:
                kept.append(_confidence(answer))
    return kept


def _certificate(
    work: Workload,
    answers: Answers,
    results: Mapping[str, Certification],
    worn: Wear,
    coverage: float,
    request: CertifyRequest,
    now: datetime,
    *,
    designs: set[str],
    pool: Sequence[Answer],
    alpha: float,
    proven_at: datetime,
) -> StoredCertificate:
    assert work.gold is not None
    accepted = np.asarray(_accepted(pool, results))
    rate = work.resolved.routing.audit_rate_prob
    weighted = designs & {"stratified", "active"}
    return StoredCertificate.of(
        project=work.folder.name,
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        answers_fp=answers_fingerprint(work.resolved.snapshot),
        calibrator_ids=answers.calibrator_ids,
        gold_fp=work.gold.fingerprint,
        split_fp=work.gold.split_fingerprint("certify"),
        design="active" if weighted else "region" if "region" in designs else "simple_random",
        alpha=alpha,
        delta=request.delta,
        groups=tuple(
            GroupProof(
                group=group,
                certified=found.certified,
                threshold=found.threshold,
                alpha=found.alpha,
                delta=found.delta,
                n_gold=found.n_gold,
                n_accepted=found.n_accepted,
                n_errors=found.n_errors,
                coverage=found.coverage,
                upper=found.upper,
                method=found.method,
                reason=found.reason,
            )
            for group, found in results.items()
        ),
        coverage=coverage,
        pool_n=len(pool),
        pool_fp=digest(sorted(answer.item_id for answer in pool)),
        finite_pool=request.finite_pool,
        n_looks=worn.n_looks,
        audit_plan=audit_probabilities(accepted, rate_prob=rate).to_json()
        if len(accepted) and rate
        else None,
        run_id=answers.run_id,
        issued_at=now.isoformat(),
        expires_at=(proven_at + timedelta(days=request.valid_days)).isoformat(),
    )


def _proven_at(store: TraceStore, work: Workload, now: datetime) -> datetime:
    """Return when these answers were first certified on this very gold: testing it again proves nothing new."""
    assert work.gold is not None
    same = (answers_fingerprint(work.resolved.snapshot), work.gold.split_fingerprint("certify"))
    earlier = [
        datetime.fromisoformat(standing.certificate.issued_at)
        for standing in standings(store, work.folder.name, now)
        if (standing.certificate.answers_fp, standing.certificate.split_fp) == same
    ]
    return min([*earlier, now])


def _stale(proven_at: datetime, valid_days: int, now: datetime) -> str | None:
    if now < proven_at + timedelta(days=valid_days):
        return None
    return (
        f"this gold proved it on {proven_at:%Y-%m-%d}, more than {valid_days} days ago, and testing it again proves nothing "
        "about today's items. Draw fresh gold (or allow more with --valid-days)"
    )


def _why(
    results: Mapping[str, Certification], usable: Sequence[GoldRow], rows: Sequence[GoldRow], worn: Wear
) -> str:
    if not usable and not worn.opened:
        return (
            f"all {len(rows)} gold items were drawn for another version of the strategy, so they speak of its "
            "confidences. Draw again; a draw with --design random serves every version"
        )
    if not usable:
        return (
            f"all {len(rows)} gold items had been looked at before this version of the strategy existed "
            f"({next(iter(worn.opened.values()))}); it may be tuned on them. Draw fresh gold."
        )
    if len(results) == 1:
        return next(iter(results.values())).reason or "not certified"
    return "; ".join(
        f"{group_name(group)}: {found.reason}" for group, found in results.items() if found.reason
    )


def _wear_notes(delta: float, worn: Wear) -> list[str]:
    if worn.n_looks == 1:
        return []
    note = (
        f"{worn.n_looks} judgements rest on this gold (other strategy versions, or this one when there was less gold): "
        f"each is tested at delta {delta:g}/{worn.n_looks}"
    )
    if worn.n_looks >= WORN_OUT:
        note += "; the gold is worn out, draw fresh gold (labelproof gold sample)"
    return [note]
