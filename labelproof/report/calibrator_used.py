"""Which calibrator stood behind the decisions, and why that one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from labelproof.store import TraceStore

_STORED = """
SELECT calibrator_id, method, n, report_json FROM calibrators
WHERE list_contains($ids, calibrator_id)
QUALIFY row_number() OVER (PARTITION BY calibrator_id ORDER BY ts DESC) = 1
ORDER BY calibrator_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratorUsed:
    """A stored calibrator: ``n_decisions`` of the scored items have their confidence from it.

    ``method`` maps log-probabilities to classes, ``top_label`` the top class's probability to confidence (none,
    temperature, platt, platt+isotonic; for multi-label one for each class). ``n``: labelled items it was fitted on.
    """

    calibrator_id: str
    method: str
    top_label: str
    n: int
    n_decisions: int
    why: str

    def sentence(self) -> str:
        """Return it in words, one line."""
        mapped = "" if self.top_label == "none" else f", then {self.top_label}"
        return f"{self.method}{mapped}, fitted on {self.n} labelled items. {self.why}"


def calibrators_used(store: TraceStore, rows: Sequence[Mapping[str, Any]]) -> tuple[CalibratorUsed, ...]:
    """Return the calibrators that the ``calibrator_id`` of the decisions name, most used first.

    Empty when confidence is the model's own. An id without a stored calibrator is left out.
    """
    ids = [row["calibrator_id"] for row in rows if row["calibrator_id"] is not None]
    if not ids:
        return ()
    stored = store.query(_STORED, {"ids": sorted(set(ids))}, fresh=True).to_pylist()
    found = [_used(row, ids.count(row["calibrator_id"])) for row in stored]
    return tuple(sorted(found, key=lambda used: (-used.n_decisions, used.calibrator_id)))


def _used(row: Mapping[str, Any], n_decisions: int) -> CalibratorUsed:
    reports = orjson.loads(row["report_json"]) if row["report_json"] else []
    return CalibratorUsed(
        calibrator_id=row["calibrator_id"],
        method=row["method"],
        top_label=_each(report.get("top_label", "none") for report in reports),
        n=row["n"],
        n_decisions=n_decisions,
        why=reports[0].get("why", "")
        if len(reports) == 1
        else f"One calibrator for each of {len(reports)} classes, each chosen by cross-validation."
        if reports
        else "",
    )


def _each(names: Any) -> str:
    found: Collection[str] = sorted(set(names))
    return "+".join(name for name in found if name != "none") or "none"
