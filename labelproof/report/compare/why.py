"""Which component moved the metric, as far as it is known without a new model call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agents.hybrids import Component, components
from evaluation.paired import PairedDifference
from labelproof.report.compare.model import Share, Why
from labelproof.report.compare.versions import Version
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

_STORED = """
SELECT report_json FROM comparisons
WHERE project = $project AND fp_a = $fp_a AND fp_b = $fp_b AND gold_fp IS NOT DISTINCT FROM $gold_fp AND split = $split
ORDER BY ts DESC LIMIT 20
"""
_TOLERANCE = 1e-6


def changed_components(a: Version, b: Version) -> tuple[Component, ...]:
    """Return what differs between two versions, in the words of `labelproof explain`."""
    return components(a.snapshot, b.snapshot)


def find_why(
    store: TraceStore,
    project: str,
    a: Version,
    b: Version,
    primary: PairedDifference,
    *,
    gold_fp: str | None,
    split: str,
) -> Why:
    """Return the shares of the primary metric's difference.

    One changed component has all of it; the shares of a stored comparison of the same versions on the same gold count
    while they still sum to the difference; else the reason names the command that replays the hybrids.
    """
    changed = changed_components(a, b)
    if not changed:
        return _unknown(primary, 0, "A and B do not differ in anything that decides labels")
    if primary.delta is None:
        return _unknown(primary, None, f"{primary.metric} has no difference to explain: {primary.reason}")
    if len(changed) == 1:
        share = Share(component=changed[0].name, delta=primary.delta, low=primary.low, high=primary.high)
        return Why(metric=primary.metric, shares=(share,), n_new_calls=0)
    stored = _stored(store, project, a, b, primary, gold_fp, split)
    if stored is not None:
        return stored
    flags = f" --project {project} --metric {primary.metric}" + (
        "" if gold_fp is None else f" --gold {split}"
    )
    return _unknown(
        primary,
        None,
        f"{len(changed)} components changed, {2 ** len(changed) - 2} hybrids tell their shares: labelproof explain "
        f"{a.name}@{short(a.fp)} {b.name}@{short(b.fp)}{flags} (says first what it costs)",
    )


def _unknown(primary: PairedDifference, n_new_calls: int | None, reason: str) -> Why:
    return Why(metric=primary.metric, shares=(), n_new_calls=n_new_calls, reason=reason)


def _stored(
    store: TraceStore,
    project: str,
    a: Version,
    b: Version,
    primary: PairedDifference,
    gold_fp: str | None,
    split: str,
) -> Why | None:
    params = {"project": project, "fp_a": a.fp, "fp_b": b.fp, "gold_fp": gold_fp, "split": split}
    rows = store.query(_STORED, params, fresh=True, only=["comparisons"]).to_pylist()
    for row in rows:
        why = _read_why(orjson.loads(row["report_json"] or "{}").get("why"))
        if why is not None and why.metric == primary.metric and sums_to(why.shares, primary.delta):
            return why
    return None


def _read_why(given: Mapping[str, Any] | None) -> Why | None:
    if not given or not given.get("shares"):
        return None
    shares = tuple(Share(**share) for share in given["shares"])
    return Why(
        metric=str(given["metric"]), shares=shares, n_new_calls=given["n_new_calls"], reason=given["reason"]
    )


def sums_to(shares: Sequence[Share], delta: float | None) -> bool:
    """Return whether shares sum to a difference."""
    return delta is not None and abs(sum(share.delta for share in shares) - delta) <= _TOLERANCE
