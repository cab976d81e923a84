"""What the office tests share: fixed instants, a cheap password hash, and one office per test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher

from labelproof.review.model import Lease, Vote, VoteRole
from labelproof.review.office import Office, Signer, open_office

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "a long sentence of words"
TEN_MINUTES = timedelta(minutes=10)
VOTE = Vote(
    vote_id="v1",
    project="p",
    task_id="t",
    item_id="i",
    annotator="ann",
    role="reviewer",
    answer="label",
    label="spam",
    note="clear",
    source="web",
    seconds=4.0,
    at=datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC),
)


def at(seconds: float) -> datetime:
    """Return an instant, in seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def cheap_office(folder: Path) -> Office:
    """Return the office in this folder, with a hash that costs nothing and a clock that stands at T0."""
    return open_office(folder / "office.db", clock=lambda: T0, hasher=CHEAP)


def claim(
    office: Office, task_id: str, who: str, now: datetime = T0, *, role: VoteRole = "reviewer"
) -> Lease | None:
    """Claim a task of the project p for ten minutes."""
    return office.leases.claim(task_id, "p", who, now=now, until=now + TEN_MINUTES, role=role)


def must_claim(office: Office, task_id: str, who: str, now: datetime = T0) -> Lease:
    """Claim a task that must be free."""
    lease = claim(office, task_id, who, now)
    assert lease is not None
    return lease


def signed(signer: Signer, vote: Vote = VOTE) -> Vote:
    """Return the vote with its signature."""
    return replace(vote, signature=signer.sign(vote))
