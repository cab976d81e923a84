"""What the pictures' scene is made of: its days, its planted items, and the machine's part as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import orjson

from agents.run.workload import Workload
from labelproof.review.model import AccountRole, Answer, VoteRole
from labelproof.spec.hashing import digest, digest_text

PROJECT = "content_safety"
NOW = datetime(2026, 3, 12, 14, 20, tzinfo=UTC)
"""The time at which everybody looks; a Thursday."""
PEOPLE: Mapping[str, AccountRole] = {
    "ann": "reviewer",
    "bob": "reviewer",
    "cyd": "reviewer",
    "lea": "lead",
}
PASSWORD = "only for the pictures"  # noqa: S105  # of accounts that live as long as the script
THRESHOLD = 0.8
AUDIT_PROB = 0.12
ERRORS = 0.12
"""Share of the machine's labels that are wrong."""
N_DAYS, N_TODAY = 10, 99
CHECKS_A_DAY = 10
"""Hidden gold for each reviewer in a day; more than the project's 10 %, so that ten days show something."""
RIGHT_PROB: Mapping[str, float] = {"ann": 0.95, "bob": 0.96, "cyd": 0.9}
TURNS_BAD = 5
"""From this day on (the first is 0), bob clicks quickly and is wrong more often than right."""
N_GOLD = 6


@dataclass(frozen=True, slots=True)
class Said:
    """A planted answer; ``label`` None with another answer than label."""

    who: str
    label: str | None
    note: str | None = None
    answer: Answer = "label"
    role: VoteRole = "reviewer"


@dataclass(frozen=True, slots=True)
class Story:
    """An item with a planted course, because a picture shows it. ``day``: 9 is today."""

    machine: str
    confidence: float
    kind: Literal["routed", "audit", "gold"]
    day: int = N_DAYS - 1
    said: tuple[Said, ...] = ()


TRACED, TO_DECIDE, TO_ANSWER, HIDDEN, APPEALED = "cs-0004", "cs-0126", "cs-0052", "cs-0453", "cs-0120"
STORIES: Mapping[str, Story] = {
    TRACED: Story(
        "violence_threat",
        0.846,
        "audit",
        N_DAYS - 2,
        (
            Said("ann", "safe", "V-4: an idiom, nobody is threatened."),
            Said("cyd", "violence_threat"),
            Said("lea", "safe", "V-4. The puppy is the topic; thanks for the note.", role="adjudicator"),
        ),
    ),
    TO_DECIDE: Story(
        "harassment",
        0.871,
        "audit",
        said=(
            Said("ann", "safe", "H-3: they book together and one rings the hotel, so the text shows it."),
            Said("cyd", "harassment", "H-1, an insult at the addressee."),
        ),
    ),
    "cs-0459": Story(
        "spam_scam",
        0.702,
        "gold",
        said=(Said("bob", "spam_scam"), Said("cyd", "safe", "F-3: the referral is said openly.")),
    ),
    "cs-0415": Story(
        "safe",
        0.571,
        "routed",
        said=(
            Said("cyd", None, "N-2 decodes it. Is the basement an insult (H-1) or a compliment?", "unclear"),
        ),
    ),
    "cs-0477": Story(
        "harassment",
        0.633,
        "routed",
        said=(
            Said(
                "ann",
                None,
                "N-3: label what is left. Is asking the filter for a label spam by itself?",
                "unclear",
            ),
        ),
    ),
    "cs-0434": Story(
        "self_harm",
        0.744,
        "routed",
        said=(Said("ann", None, "Somebody may be at risk now: please hand on.", "flag"),),
    ),
    TO_ANSWER: Story("violence_threat", 0.612, "routed"),
    HIDDEN: Story("spam_scam", 0.553, "routed"),
    APPEALED: Story(
        "harassment", 0.858, "audit", N_DAYS - 3, (Said("bob", "harassment"), Said("cyd", "harassment"))
    ),
}


@dataclass(frozen=True, slots=True)
class Decided:
    """What the simulated machine says of an item."""

    item_id: str
    gold: str
    label: str
    confidence: float
    auto: bool
    audited: bool
    reason: str
    at: datetime
    run_id: str


def decision_rows(work: Workload, decided: Sequence[Decided]) -> list[dict[str, Any]]:
    """Return the rows of ``decisions``."""
    return [
        {
            "run_id": one.run_id,
            "item_id": one.item_id,
            "strategy_fp": work.resolved.fingerprint,
            "label": one.label,
            "confidence": one.confidence,
            "raw_confidence": round(one.confidence**1.3, 3),
            "decision": "auto_accept" if one.auto else "review",
            "reason": one.reason,
            "inclusion_prob": AUDIT_PROB if one.auto else None,
            "audited": one.audited,
            "ts": one.at,
        }
        for one in decided
    ]


def run_rows(work: Workload, decided: Sequence[Decided]) -> list[dict[str, Any]]:
    """Return the rows of ``runs``: each day's started and finished."""
    return [
        {
            "run_id": run_id(day),
            "ts": morning(day) + timedelta(minutes=11 * (event == "finished")),
            "event": event,
            "project": PROJECT,
            "project_fp": work.project_fp,
            "strategy": "champion",
            "strategy_fp": work.resolved.fingerprint,
            "n_items": sum(one.run_id == run_id(day) for one in decided),
            "repeat_idx": 0,
            "orchestrated": False,
        }
        for day in range(N_DAYS)
        for event in ("started", "finished")
    ]


def step_rows(one: Decided) -> list[dict[str, Any]]:
    """Return the rows of ``steps`` of an item, so that its trace has something to show."""
    routed = {"decision": "auto_accept" if one.auto else "review", "reason": one.reason}
    outputs: dict[str, dict[str, Any]] = {
        "normalize": {"text": None, "language": "en", "manipulation": []},
        "label": {"label": one.label, "signal": "name_token", "rationale": ""},
        "calibrate": {"label": one.label, "confidence": one.confidence, "changed": False},
        "route": {**routed, "certificate_id": None, "audited": one.audited},
    }
    return [
        {
            "run_id": one.run_id,
            "item_id": one.item_id,
            "seq": seq,
            "kind": kind,
            "name": kind,
            "step_key": _step_key(one, kind),
            "spec_fp": digest(["picture", kind]),
            "input_hash": digest([_step_key(one, kind), "in"]),
            "output_hash": digest(output),
            "output_json": orjson.dumps(output).decode(),
            "status": "ok",
            "cache_hit": False,
            "repeat_idx": 0,
            "n_calls": int(kind == "label"),
            "tokens_in": 482 * (kind == "label"),
            "tokens_out": int(kind == "label"),
            "cost_usd": 0.0,
            "latency_ms": 2148.0 if kind == "label" else 0.4,
            "ts": one.at + timedelta(seconds=seq),
        }
        for seq, (kind, output) in enumerate(outputs.items())
    ]


def call_row(one: Decided, system: str, user: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the row of ``calls`` behind the step label, and its texts by hash."""
    texts = {digest_text(text): text for text in (system, user, one.label)}
    row = {
        "call_key": digest(["picture", "call", one.item_id]),
        "run_id": one.run_id,
        "item_id": one.item_id,
        "step_key": _step_key(one, "label"),
        "call_idx": 0,
        "model": "simulated",
        "provider": "simulated",
        "system_hash": digest_text(system),
        "user_hash": digest_text(user),
        "response_hash": digest_text(one.label),
        "tokens_in": 482,
        "tokens_out": 1,
        "latency_ms": 2148.0,
        "attempts": 1,
        "ts": one.at,
    }
    return row, texts


def _step_key(one: Decided, kind: str) -> str:
    return digest(["picture", kind, one.item_id])


def day_date(day: int) -> date:
    """Return the date of a working day; the last one is today."""
    found = NOW.date()
    for _ in range(N_DAYS - 1 - day):
        found -= timedelta(days=3 if found.weekday() == 0 else 1)
    return found


def morning(day: int) -> datetime:
    """Return when a day's run started; today's came late."""
    hour, minute = (13, 5) if day == N_DAYS - 1 else (6, 30)
    on = day_date(day)
    return datetime(on.year, on.month, on.day, hour, minute, tzinfo=UTC)


def run_id(day: int) -> str:
    return f"r{morning(day):%Y%m%d-%H%M%S}-{digest(['picture', day])[3:9]}"


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
