"""Whether the provider answers with another model: a new mark on its answers is an event, not a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelproof.report.drift.read import DAY, with_values
from labelproof.report.monitor.model import Measurement
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

RESTLESS = 0.5
"""A provider whose mark is a new one on more than this share of days says nothing by it."""
_SHOWN = 5
MARKS = """WITH mine AS (SELECT DISTINCT run_id FROM runs WHERE project = $project AND strategy_fp = $version)
SELECT coalesce(provider, '') AS provider, coalesce(model, '') AS model,
       coalesce(provider_fingerprint, '') AS mark, min(ts) AS first_ts, max(ts) AS last_ts, count(*) AS n,
       count(*) FILTER (ts >= $window) AS n_window, count(DISTINCT epoch_us(ts) // 86400000000) AS days,
       any_value(item_id) AS item_id
FROM calls JOIN mine USING (run_id) WHERE ts <= $until
GROUP BY ALL ORDER BY first_ts, provider, model, mark
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    provider: str
    model: str
    mark: str
    first: datetime
    last: datetime
    n: int
    n_window: int
    item: str

    @property
    def name(self) -> str:
        return f"{self.model} {self.mark}".strip() or "without a name"


def measure_provider(
    store: TraceStore, folder: ProjectFolder, *, version: str | None, now: datetime, run_id: str | None
) -> Measurement:
    """Return whether answers of the strategy version carry a provider mark or model name not seen before.

    ``value``: share of the window's calls that carry it. The alarm ends when the mark is ``window_days`` old (what it
    says is known by then) or is gone from the latest calls.
    """
    policy = folder.spec.monitoring
    window = now - policy.window_days * DAY
    params: dict[str, Any] = {
        "project": folder.name,
        "version": version or "",
        "window": window,
        "until": now,
    }
    marks = [
        _Mark(
            provider=row["provider"],
            model=row["model"],
            mark=row["mark"],
            first=row["first_ts"],
            last=row["last_ts"],
            n=row["n"],
            n_window=row["n_window"],
            item=row["item_id"],
        )
        for row in store.query(MARKS, params, fresh=True).to_pylist()
    ]
    total = sum(mark.n_window for mark in marks)
    new = [mark for mark in _new(marks) if mark.first >= window]
    back = bool(new) and _is_back(marks, new)
    state, reason = _said(marks, new, total=total, back=back)
    alarm = state == "alarm"
    return Measurement(
        kind="drift",
        subject="provider",
        state=state,
        value=sum(mark.n_window for mark in new) / total if total and state != "unknown" else None,
        n=total,
        method="share of calls with a new mark; a count, no test",
        reason=reason,
        sql=with_values(MARKS, params),
        window_from=window,
        window_to=now,
        strategy_fp=version,
        run_id=run_id,
        change_from=min(mark.first for mark in new) if alarm else None,
        detail={
            "new": [mark.name for mark in new[:_SHOWN]],
            "known": [mark.name for mark in marks if mark not in new][:_SHOWN],
            "items": [mark.item for mark in new[:_SHOWN]],
        },
    )


def _said(marks: Sequence[_Mark], new: Sequence[_Mark], *, total: int, back: bool) -> tuple[Any, str]:
    """State and reason."""
    if not marks:
        return "unknown", "no call of this strategy version is stored"
    if not total:
        return "unknown", "no call was made in the window: stored answers were reused"
    days = max(1.0, (max(mark.last for mark in marks) - marks[0].first) / DAY)
    if len(marks) > 3 and len(marks) / (days + 1) > RESTLESS:
        return "quiet", f"{len(marks)} marks in {days:.0f} days: this provider's mark changes all the time"
    if not new:
        return "quiet", f"{total} calls carry the marks known before ({_names(marks)})"
    share = sum(mark.n_window for mark in new) / total
    if back:
        return "quiet", f"the latest calls carry the old mark again; {_names(new)} was on {100 * share:.0f} %"
    old = _names([mark for mark in marks if mark not in new])
    since = min(mark.first for mark in new)
    return "alarm", (
        f"answers carry a mark not seen before since {since:%Y-%m-%d %H:%M}: {_names(new)} on {100 * share:.0f} % of "
        f"{total} calls (before: {old})"
    )


def _new(marks: Sequence[_Mark]) -> list[_Mark]:
    """Marks that took over from others: a new one of the same model, or a new model where one fell silent.

    A model first asked later, by a step under a condition, replaces nothing.
    """
    found = []
    for mark in marks:
        before = [other for other in marks if other.first < mark.first]
        same = [other for other in before if (other.provider, other.model) == (mark.provider, mark.model)]
        silent = [other for other in before if other.last <= mark.first]
        if same or (silent and not any(_runs_on(other, mark) for other in before)):
            found.append(mark)
    return found


def _runs_on(other: _Mark, mark: _Mark) -> bool:
    """Whether ``other`` goes on for long beside ``mark``: then each has its own step."""
    return (other.last - mark.first) > DAY and other.last >= mark.last - DAY


def _is_back(marks: Sequence[_Mark], new: Sequence[_Mark]) -> bool:
    """Whether the last calls carry a known mark alone, for a day or more."""
    known = [mark.last for mark in marks if mark not in new]
    return bool(known) and max(known) - max(mark.last for mark in new) >= DAY


def _names(marks: Sequence[_Mark]) -> str:
    shown = ", ".join(mark.name[:60] for mark in marks[:3])
    return shown + (f" and {len(marks) - 3} more" if len(marks) > 3 else "")
