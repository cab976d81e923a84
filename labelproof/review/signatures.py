"""Whether the votes of a project are what their authors sent: every stored vote against its signature."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from labelproof.review.model import Vote
from labelproof.review.office import Signer
from labelproof.store import TraceStore

SIGNED_SOURCES = frozenset(("web", "terminal"))
"""Sources whose votes the app signs."""
_VOTES = """
SELECT vote_id, project, task_id, item_id, annotator, role, answer, label, note, source, seconds, ts, signature
FROM votes WHERE project = $project ORDER BY ts, vote_id
"""
_REASONS = {
    "altered": "its signature does not fit: it was changed, or written around the app",
    "other key": "it is signed with the key of another office, which this one cannot check",
    "unsigned": "it says it comes from the app, and has no signature",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BadVote:
    """A vote whose signature does not vouch for it."""

    vote_id: str
    task_id: str
    annotator: str
    answer: str
    label: str | None
    source: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureReport:
    """All votes of a project: valid + unsigned + invalid. ``n_unsigned``: from files, which nobody signs."""

    project: str
    n_valid: int
    n_unsigned: int
    invalid: tuple[BadVote, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "project": self.project,
            "valid": self.n_valid,
            "unsigned": self.n_unsigned,
            "invalid": [asdict(vote) for vote in self.invalid],
        }


def verify_votes(store: TraceStore, signer: Signer, project: str) -> SignatureReport:
    """Check every vote ever stored, replaced and withdrawn ones included, oldest first.

    A vote without a signature is from a file, unless it claims to come from the app: that one is invalid.
    """
    n_valid = n_unsigned = 0
    invalid: list[BadVote] = []
    for row in store.query(_VOTES, {"project": project}, fresh=True).to_pylist():
        vote = Vote(**{("at" if name == "ts" else name): value for name, value in row.items()})
        verdict = signer.verdict(vote)
        if verdict == "valid":
            n_valid += 1
        elif verdict == "unsigned" and vote.source not in SIGNED_SOURCES:
            n_unsigned += 1
        else:
            invalid.append(
                BadVote(
                    vote_id=vote.vote_id,
                    task_id=vote.task_id,
                    annotator=vote.annotator,
                    answer=vote.answer,
                    label=vote.label,
                    source=vote.source,
                    at=vote.at.isoformat(),
                    reason=_REASONS[verdict],
                )
            )
    return SignatureReport(project=project, n_valid=n_valid, n_unsigned=n_unsigned, invalid=tuple(invalid))
