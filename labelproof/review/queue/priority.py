"""How urgent a task is: from a row of ``review_tasks`` to the task as the queue orders it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, cast

from labelproof.review.model import Task
from labelproof.spec.errors import StoreError
from labelproof.spec.labels import LabelSchema, Severity
from labelproof.spec.review import TASK_KINDS, ReviewPolicy, SkillRule, TaskKind

BY_MACHINE: frozenset[TaskKind] = frozenset(("routed", "disagreement", "appeal"))
"""Kinds ordered by the machine's answer. Audits, gold and checks must tell nothing of it, not even by their order."""
DAY_S = 86_400.0


def build_task(
    row: Mapping[str, Any], policy: ReviewPolicy, schema: LabelSchema, meta: Mapping[str, Any]
) -> Task:
    """Return the task behind a row of ``review_tasks``, with its due time, its skills and its place in the order.

    ``meta`` is the item's metadata. ``rank`` is the time the task is due (seconds since 1970, lowest first), pulled
    earlier by uncertainty: ``due - uncertainty_pull * (1 - confidence) * sla``, no confidence counts as 0. Every
    task ages at one second per second, so two tasks never change places while they wait: that is why the order is
    computed once and never again. Audits, gold and checks come by the start of their day (UTC) plus the SLA plus a
    time within a day that is a hash of the task's id, and have no severity: neither label nor confidence
    can be read off their order.

    Raises ``StoreError`` when the row has no time or a kind that this release does not know.
    """
    kind, made_at = _kind(row), _made_at(row)
    label = cast("str | None", row.get("label"))
    confidence = cast("float | None", row.get("confidence"))
    severity = _severity(label, schema) if kind in BY_MACHINE else None
    sla = timedelta(hours=policy.due_hours(kind, severity))
    due_at = made_at + sla
    if kind in BY_MACHINE:
        doubt = 1.0 - _clipped(confidence)
        rank = due_at.timestamp() - policy.uncertainty_pull * doubt * sla.total_seconds()
    else:
        day = made_at.replace(hour=0, minute=0, second=0, microsecond=0)
        rank = (day + sla).timestamp() + _jitter_s(str(row["task_id"]))
    wanted = row.get("votes_wanted")
    return Task(
        task_id=str(row["task_id"]),
        project=str(row["project"]),
        kind=kind,
        item_id=str(row["item_id"]),
        label=label,
        confidence=confidence,
        severity=severity,
        language=_language(meta, policy.language_column),
        skills=_skills(policy, kind, label, schema, meta),
        # A row that does not say so is blind: showing the machine's answer is what has to be asked for.
        blind=kind not in BY_MACHINE or row.get("blind") is not False,
        votes_wanted=max(1, int(wanted if wanted is not None else policy.votes(kind))),
        reason=str(row.get("reason") or ""),
        made_at=made_at,
        due_at=due_at,
        rank=rank,
        run_id=cast("str | None", row.get("run_id")),
        strategy_fp=cast("str | None", row.get("strategy_fp")),
    )


def _kind(row: Mapping[str, Any]) -> TaskKind:
    kind = row.get("kind")
    if kind not in TASK_KINDS:
        raise StoreError(
            f"review task {row.get('task_id')!r}: expected a kind of {', '.join(TASK_KINDS)}, found {kind!r}",
            hint="the store may come from a newer release: upgrade, or look at the row in review_tasks",
        )
    return cast("TaskKind", kind)


def _made_at(row: Mapping[str, Any]) -> datetime:
    at = row.get("ts")
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise StoreError(
            f"review task {row.get('task_id')!r}: expected a time with time zone in ts, found {at!r}",
            hint="without it nobody knows when the task is due; look at the row in review_tasks",
        )
    return at.astimezone(UTC)


def _severity(label: str | None, schema: LabelSchema) -> Severity | None:
    """Return the severity of a label, None when there is none or when the schema does not have it (any more)."""
    if not label or not schema.members(label) <= schema.leaf_classes.keys():
        return None
    return schema.severity(label)


def _clipped(confidence: float | None) -> float:
    """Return a confidence within 0..1; unknown (None, NaN) is 0."""
    if confidence is None or confidence != confidence:  # noqa: PLR0124  # NaN
        return 0.0
    return min(1.0, max(0.0, confidence))


def _jitter_s(task_id: str) -> float:
    """Return seconds within a day, [0, 86 400), that only the task's id decides."""
    raw = blake2b(task_id.encode("utf-8", "surrogatepass"), digest_size=6, person=b"lp.queue").digest()
    return int.from_bytes(raw, "big") / 2**48 * DAY_S


def _language(meta: Mapping[str, Any], column: str) -> str | None:
    value = meta.get(column)
    return None if value is None else _spelled(value).strip() or None


def _skills(
    policy: ReviewPolicy, kind: TaskKind, label: str | None, schema: LabelSchema, meta: Mapping[str, Any]
) -> frozenset[str]:
    if not policy.skills:
        return frozenset()
    told = label if kind in BY_MACHINE else None
    names = schema.members(told) | {told} if told else frozenset[str]()
    return frozenset(name for name, rule in policy.skills.items() if _matches(rule, kind, names, meta))


def _matches(rule: SkillRule, kind: TaskKind, labels: frozenset[str], meta: Mapping[str, Any]) -> bool:
    """Return whether every part that the rule gives matches; ``labels``: empty when not to be told."""
    if rule.labels and labels.isdisjoint(rule.labels):
        return False
    if rule.kinds and kind not in rule.kinds:
        return False
    for column, wanted in rule.meta.items():
        value = meta.get(column)
        allowed = (wanted,) if isinstance(wanted, str) else wanted
        if value is None or _spelled(value) not in allowed:
            return False
    return True


def _spelled(value: Any) -> str:
    """Return a metadata value as a project file writes it; truth values as true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)
