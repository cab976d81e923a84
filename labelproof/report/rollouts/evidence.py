"""What a promotion may rest on: the comparison of exactly these two versions, and a certificate of the new one."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from agents.certificates import find_valid
from agents.run.workload import Workload
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

LATEST = "latest"
COMPARISONS = """
SELECT comparison_id, experiment_id, plan_fp, strategy_a, fp_a, strategy_b, fp_b, gold_fp, split, verdict, reason,
       n_items, ts
FROM comparisons WHERE project = $project AND fp_b = $candidate ORDER BY ts DESC, comparison_id
"""
_NAMED = (
    "SELECT comparison_id, strategy_a, fp_a, strategy_b, fp_b FROM comparisons"
    " WHERE project = $project AND comparison_id = $id ORDER BY ts DESC LIMIT 1"
)
_REPORT = "SELECT report_json FROM comparisons WHERE project = $project AND comparison_id = $id ORDER BY ts DESC LIMIT 1"
_CALIBRATORS = (
    "SELECT DISTINCT calibrator_id FROM calibrators WHERE strategy_fp = $fp"
    " AND run_id = (SELECT arg_max(run_id, ts) FROM calibrators WHERE strategy_fp = $fp)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found. ``missing``: why it does not carry a promotion, None when it does. ``comparison``: its row.

    ``others``: other comparisons of these versions on this gold that did not say ship, by verdict: an approver should know.
    """

    comparison: dict[str, Any] | None
    missing: str | None
    hint: str | None
    others: tuple[tuple[str, int], ...] = ()

    @property
    def text(self) -> str:
        """The comparison in a few words."""
        if self.comparison is None:
            return "no comparison"
        one = self.comparison
        plan = f"experiment {one['experiment_id']}" if one["experiment_id"] else "no plan"
        text = f"comparison {one['comparison_id']}: {one['verdict']}, {one['n_items']} items of {one['split']}, {plan}"
        others = ", ".join(f"{n} {verdict}" for verdict, n in self.others)
        return f"{text}; others of these versions: {others}" if others else text

    def to_json(self) -> dict[str, Any]:
        found = dict(self.comparison) if self.comparison else None
        if found is not None:
            found["ts"] = found["ts"].isoformat()
        return {"comparison": found, "missing": self.missing, "others": dict(self.others)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFound:
    """Whether the new version may decide alone. ``certificate_id`` None: ``reason`` says why not."""

    needed: bool
    certificate_id: str | None
    reason: str | None

    @property
    def sentence(self) -> str:
        if not self.needed:
            return "routing is by a plain threshold: auto-accepts are uncertified"
        if self.certificate_id is not None:
            return f"certificate {self.certificate_id} holds for it"
        return f"no valid certificate ({self.reason}): everything goes to review until `labelproof certify`"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence}


def find_evidence(
    store: TraceStore, champion: Workload, candidate: Workload, wanted: str = LATEST
) -> Evidence:
    """Return the comparison of exactly these versions on today's gold, and what it lacks to carry a promotion.

    ``wanted``: a comparison's id, or `latest`: the newest of these versions on this gold counts, whatever its verdict,
    so that an earlier lucky one cannot be picked without naming it. It carries a promotion when it was planned (an
    experiment), or made by the rule that the project has today; not when it was read off for another metric.
    """
    project, compare = candidate.folder.name, _compare(champion, candidate)
    a, b = champion.resolved.fingerprint, candidate.resolved.fingerprint
    gold = None if candidate.gold is None else candidate.gold.fingerprint
    rows = store.query(COMPARISONS, {"project": project, "candidate": b}, fresh=True).to_pylist()
    if wanted != LATEST:
        rows = [row for row in rows if row["comparison_id"] == wanted]
        if not rows:
            return Evidence(comparison=None, missing=_other(store, project, wanted, b), hint=compare)
    fitting = [row for row in rows if row["fp_a"] == a and row["gold_fp"] == gold]
    if not fitting:
        return Evidence(comparison=None, missing=_why_none(rows, champion, candidate, gold), hint=compare)
    found = fitting[0]
    missing = None
    if found["verdict"] != "ship":
        said = f": {found['reason']}" if found["reason"] else ""
        missing = f"comparison {found['comparison_id']} of these versions says {found['verdict']}{said}"
    elif found["experiment_id"] is None:
        missing = _another_rule(store, project, found["comparison_id"], candidate.folder.spec.experiments)
    others = Counter(row["verdict"] for row in fitting if row is not found and row["verdict"] != "ship")
    return Evidence(
        comparison=found,
        missing=missing,
        hint=None if missing is None else compare,
        others=tuple(sorted(others.items())),
    )


def find_certificate(store: TraceStore, work: Workload, now: datetime) -> CertificateFound:
    """Return the certificate that runs of this version may rely on, as far as is known before its next run."""
    if work.resolved.routing.mode != "certified":
        return CertificateFound(needed=False, certificate_id=None, reason=None)
    fp = work.resolved.fingerprint
    fitted = store.query(_CALIBRATORS, {"fp": fp}, fresh=True)["calibrator_id"].to_pylist()
    found, reason = find_valid(
        store, work.folder.name, work.strategy.name, work.resolved.snapshot, fitted, now
    )
    if found is None and not fitted:
        reason = f"{reason}; no run has fitted its calibrator yet"
    return CertificateFound(
        needed=True, certificate_id=None if found is None else found.certificate_id, reason=reason
    )


def _compare(champion: Workload, candidate: Workload) -> str:
    return f"labelproof compare {champion.strategy.name} {candidate.strategy.name} --project {candidate.folder.name}"


def _other(store: TraceStore, project: str, wanted: str, candidate_fp: str) -> str:
    rows = store.query(_NAMED, {"project": project, "id": wanted}, fresh=True).to_pylist()
    if not rows:
        return f"there is no comparison {wanted} in this project"
    one = rows[0]
    return (
        f"comparison {wanted} judges {one['strategy_b']}@{short(one['fp_b'])}, and the candidate is version"
        f" {short(candidate_fp)}"
    )


def _another_rule(
    store: TraceStore, project: str, comparison_id: str, policy: ExperimentPolicy
) -> str | None:
    """Return how a comparison without a plan was judged otherwise than the project judges today; None: as today."""
    (row,) = store.query(_REPORT, {"project": project, "id": comparison_id}, fresh=True).to_pylist()
    judged = [
        one
        for one in orjson.loads(row["report_json"]).get("rows", ())
        if one["role"] in ("primary", "guardrail")
    ]
    used = [(one["role"], one["difference"]["metric"], one["difference"]["margin"]) for one in judged]
    margin = policy.margin if policy.goal == "not_worse" else None
    wanted = [("primary", policy.primary, margin)]
    wanted += [("guardrail", rail.metric, rail.margin) for rail in policy.guardrails]
    levels = {round(1 - one["difference"]["confidence"], 9) for one in judged}
    if used == wanted and levels == {round(policy.alpha, 9)}:
        return None
    return (
        f"comparison {comparison_id} was judged by {_rule_words(used)}, and the project judges by"
        f" {_rule_words(wanted)} at alpha {policy.alpha:g}"
    )


def _rule_words(rule: list[tuple[str, str, float | None]]) -> str:
    said = [
        f"{'guardrail ' if role == 'guardrail' else ''}{metric}"
        + ("" if margin is None else f" within {margin:g}")
        for role, metric, margin in rule
    ]
    return ", ".join(said) or "no rule that is stored"


def _why_none(rows: list[dict[str, Any]], champion: Workload, candidate: Workload, gold: str | None) -> str:
    a = champion.resolved.fingerprint
    versions = f"{champion.strategy.name}@{short(a)} and {candidate.strategy.name}@{short(candidate.resolved.fingerprint)}"
    if not rows:
        return f"no comparison of {versions} is stored"
    latest = rows[0]
    if latest["fp_a"] != a:
        return (
            f"the latest comparison of this candidate, {latest['comparison_id']}, was with {latest['strategy_a']}"
            f"@{short(latest['fp_a'])}; the champion is {short(a)} now: it was edited or replaced since"
        )
    before, after = (short(fp) if fp else "none" for fp in (latest["gold_fp"], gold))
    return (
        f"comparison {latest['comparison_id']} of {versions} is on gold {before}, and the gold is {after} now"
    )
