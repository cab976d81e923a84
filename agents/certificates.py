"""Certificates in the store: issued, found for a run, listed with their state, voided with a reason.

A certificate speaks of one way of answering: everything that decides an item's label, its confidence, and
whether it is held for a person whatever the confidence. That is its ``answers_fp``. Thresholds, audit
rates and the routing mode are not part of it: they read the certificate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from agents.routing import REST, Certificate
from agents.snapshots import diff_snapshots
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest, short
from labelproof.store import TraceStore

State = Literal["valid", "expired", "void", "not applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProof:
    """What was proven of the items with one label, or of all others (``REST``), and with what evidence."""

    group: str
    certified: bool
    threshold: float | None
    alpha: float
    delta: float
    n_gold: int
    n_accepted: int
    n_errors: int
    coverage: float | None
    upper: float | None
    method: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCertificate:
    """A certificate as issued; ``certificate_id`` is the hash of everything else."""

    certificate_id: str
    project: str
    strategy: str
    strategy_fp: str
    answers_fp: str
    calibrator_ids: tuple[str, ...]
    gold_fp: str
    split_fp: str
    design: str
    """How the gold was drawn: simple_random, region (uniform above a confidence) or active (weighted)."""
    alpha: float
    delta: float
    groups: tuple[GroupProof, ...]
    """Strictest promise first, ``REST`` last: an item belongs to the first group that names one of its labels."""
    coverage: float
    """Share of the pool that is auto-accepted under it."""
    pool_n: int
    pool_fp: str
    finite_pool: bool
    """True: it speaks of the items of this very pool only."""
    n_looks: int
    """Judgements that rest on this gold so far, this one included."""
    audit_plan: str | None
    """`AuditPlan.to_json` of the pool's confidences; None: the flat audit rate of the policy."""
    run_id: str
    issued_at: str
    expires_at: str

    @classmethod
    def of(cls, **fields: Any) -> StoredCertificate:
        """Return the certificate with its id computed from the fields."""
        draft = cls(certificate_id="", **fields)
        return cls(certificate_id=draft._identity(), **fields)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StoredCertificate:
        """Return a stored certificate; ``ConfigError`` when its content does not match its id."""
        fields = dict(values)
        fields["groups"] = tuple(GroupProof(**group) for group in fields["groups"])
        fields["calibrator_ids"] = tuple(fields["calibrator_ids"])
        found = cls(**fields)
        if found._identity() != found.certificate_id:
            raise ConfigError(
                f"certificate {found.certificate_id} was changed after it was issued: its content hashes to "
                f"{found._identity()}",
                hint="issue a new one: labelproof certify",
            )
        return found

    def _identity(self) -> str:
        content = {key: value for key, value in asdict(self).items() if key != "certificate_id"}
        return "C-" + digest(content).removeprefix("b2:")[:16]

    def headline(self) -> dict[str, Any]:
        """Return what a run's summary says of the certificate it ran under."""
        return {
            "certificate_id": self.certificate_id,
            "alpha": self.alpha,
            "delta": self.delta,
            "groups": [asdict(proof) for proof in self.groups],
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
            "finite_pool": self.finite_pool,
        }

    def for_routing(self, covered: frozenset[str] | None = None) -> Certificate:
        """Return what routing reads. ``covered``: ids of the pool, for a certificate of a finite pool."""
        from evaluation.audits import AuditPlan

        thresholds = {proof.group: proof.threshold if proof.certified else None for proof in self.groups}
        return Certificate(
            certificate_id=self.certificate_id,
            threshold_prob=thresholds.pop(REST, None),
            per_class=thresholds,
            audit_plan=None if self.audit_plan is None else AuditPlan.from_json(self.audit_plan),
            covered=covered,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A certificate and whether routing may rely on it now; ``reason`` says why not."""

    certificate: StoredCertificate
    state: State
    reason: str | None


def answers_fingerprint(snapshot: Mapping[str, Any]) -> str:
    """Return the hash of what decides label, confidence and holding back, from a strategy's snapshot."""
    answering = [
        [step["name"], step["kind"], step["when"], step["fingerprint"]]
        for step in snapshot["steps"]
        if step["kind"] != "route"
    ]
    routing = next(step for step in snapshot["steps"] if step["kind"] == "route")["components"]["routing"]
    held = {
        "always_review": sorted(routing["always_review"]),
        "review_manipulation": routing["review_manipulation"],
    }
    return digest({"steps": answering, "held": held})


def issue(store: TraceStore, certificate: StoredCertificate, now: datetime) -> None:
    """Store a certificate, and void those of the same strategy name that answer differently."""
    for other in standings(store, certificate.project, now):
        known = other.certificate
        if (
            other.state == "valid"
            and known.strategy == certificate.strategy
            and known.answers_fp != certificate.answers_fp
        ):
            changed = strategy_change(store, known.strategy_fp, certificate.strategy_fp)
            void(store, known.certificate_id, f"strategy changed: {changed}", now)
    store.append_many(
        {
            "certificates": {
                "certificate_id": [certificate.certificate_id],
                "project": [certificate.project],
                "strategy_fp": [certificate.strategy_fp],
                "gold_fp": [certificate.gold_fp],
                "spec_json": [orjson.dumps(certificate.to_json()).decode()],
                "ts": [now],
            },
            "certificate_events": _event(certificate.certificate_id, "issued", None, now),
        }
    )


def void(store: TraceStore, certificate_id: str, reason: str, now: datetime) -> None:
    """Void a certificate for good; routing stops relying on it from the next run (or batch) on."""
    store.append("certificate_events", _event(certificate_id, "voided", reason, now))


def standings(store: TraceStore, project: str, now: datetime) -> list[Standing]:
    """Return all certificates of a project, newest first, with their state by events and expiry."""
    rows = store.query(
        "SELECT c.spec_json, c.ts, e.reason, e.voided FROM certificates c LEFT JOIN ("
        " SELECT certificate_id, arg_min(reason, ts) AS reason, true AS voided FROM certificate_events"
        " WHERE event = 'voided' GROUP BY certificate_id) e USING (certificate_id)"
        " WHERE c.project = ? ORDER BY c.ts DESC, c.certificate_id",
        [project],
        fresh=True,
    ).to_pylist()
    found = []
    for row in rows:
        certificate = StoredCertificate.from_json(orjson.loads(row["spec_json"]))
        state: State = "valid"
        reason = None
        if row["voided"]:
            state, reason = "void", row["reason"]
        elif now >= datetime.fromisoformat(certificate.expires_at):
            state, reason = "expired", f"expired on {certificate.expires_at[:10]}"
        found.append(Standing(certificate=certificate, state=state, reason=reason))
    return found


def find_valid(
    store: TraceStore,
    project: str,
    strategy: str,
    snapshot: Mapping[str, Any],
    calibrator_ids: Sequence[str],
    now: datetime,
) -> tuple[StoredCertificate | None, str | None]:
    """Return the newest certificate a run of this strategy may rely on, else None and why."""
    answers = answers_fingerprint(snapshot)
    mine = [s for s in standings(store, project, now) if s.certificate.answers_fp == answers]
    fitted = tuple(sorted(calibrator_ids))
    reason = None
    for standing in mine:
        if standing.state == "valid" and standing.certificate.calibrator_ids == fitted:
            return standing.certificate, None
        if reason is None and standing.state == "valid":
            reason = (
                f"certificate {standing.certificate.certificate_id} was issued for another fit of the calibrator: "
                "the model answered differently"
            )
        elif reason is None:
            reason = (
                f"certificate {standing.certificate.certificate_id} is {standing.state}: {standing.reason}"
            )
    if reason is None:
        reason = _other_version(store, project, strategy, snapshot, now)
    return None, reason


def pool_of(store: TraceStore, certificate: StoredCertificate) -> frozenset[str]:
    """Return the ids of the items that a certificate's run looked at."""
    rows = store.query(
        "SELECT DISTINCT item_id FROM steps WHERE run_id = ?", [certificate.run_id], fresh=True
    )
    return frozenset(rows["item_id"].to_pylist())


def strategy_change(store: TraceStore, before_fp: str, after_fp: str) -> str:
    """Return what differs between two stored strategy versions, in a few words."""
    versions = f"{short(before_fp)} is now {short(after_fp)}"
    before, after = stored_snapshot(store, before_fp), stored_snapshot(store, after_fp)
    if before is None or after is None:
        return versions
    return f"{versions} ({change_words(before, after)})"


def stored_snapshot(store: TraceStore, strategy_fp: str) -> dict[str, Any] | None:
    """Return a strategy version as it was first stored; None if it never was."""
    rows = store.query(
        "SELECT spec_json FROM strategies WHERE strategy_fp = ? LIMIT 1", [strategy_fp], fresh=True
    ).to_pylist()
    return dict(orjson.loads(rows[0]["spec_json"])) if rows else None


def change_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the changed steps and keys of two snapshots, at most four."""
    words = []
    for step in diff_snapshots(before, after):
        if step.state in ("added", "removed", "moved"):
            words.append(f"{step.name} {step.state}")
        words += [f"{step.name}.{text.path} +{text.n_added}/-{text.n_removed}" for text in step.texts]
        words += [f"{step.name}.{key.path}" for key in step.keys]
    if len(words) > 4:
        words = [*words[:4], f"and {len(words) - 4} more"]
    return ", ".join(words) or "nothing that decides an answer"


def _other_version(
    store: TraceStore, project: str, strategy: str, snapshot: Mapping[str, Any], now: datetime
) -> str:
    for standing in standings(store, project, now):
        other = standing.certificate
        if other.strategy != strategy:
            continue
        before = stored_snapshot(store, other.strategy_fp)
        changed = "" if before is None else f": {change_words(before, snapshot)}"
        return (
            f"certificate {other.certificate_id} is for {other.strategy}@{short(other.strategy_fp)}, "
            f"and the strategy has changed since{changed}"
        )
    return "no certificate was issued for this strategy"


def _event(certificate_id: str, event: str, reason: str | None, now: datetime) -> dict[str, list[Any]]:
    return {"certificate_id": [certificate_id], "event": [event], "reason": [reason], "ts": [now]}
