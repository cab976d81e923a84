"""How fast people answer, and how fast questions come: what a capacity plan starts from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from labelproof.review.model import Vote
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

DEFAULT_PER_HOUR = (60.0, 30.0, 120.0)
"""Answers an hour (median, low, high) until enough are measured."""
MIN_ANSWERS = 20
LONGEST_S = 600.0
"""More seconds on one answer than this count as a pause from here on."""
ARRIVAL_DAYS = 7.0
_TIMES = """
SELECT v.seconds, v.answer <> 'skip' AND coalesce(t.kind, '') <> 'check' AS useful
FROM current_votes AS v
LEFT JOIN (SELECT DISTINCT task_id, kind FROM review_tasks WHERE project = $project) AS t USING (task_id)
WHERE v.project = $project AND v.role = 'reviewer' AND v.answer <> 'withdrawn' AND v.ts >= $since AND v.ts <= $until
ORDER BY v.ts, v.vote_id
"""
_ARRIVED = """
SELECT coalesce(sum(wanted) FILTER (ts >= $since), 0) AS answers, min(ts) AS first
FROM (
    SELECT task_id, any_value(greatest(1, coalesce(votes_wanted, 1))) AS wanted, min(ts) AS ts
    FROM review_tasks WHERE project = $project AND kind <> 'check' AND ts <= $until GROUP BY task_id
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Answers that one person gives in an hour of work: 0 < ``low`` <= ``median`` <= ``high``.

    ``n``: answers behind it, 0 when it is assumed; ``note`` says what to know about it.
    """

    median: float
    low: float
    high: float
    n: int = 0
    note: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.median <= self.high < float("inf"):
            raise ConfigError(
                f"rate: expected 0 < low <= median <= high, found {self.low:g}, {self.median:g}, {self.high:g}"
            )


def measured_rate(votes: Iterable[Vote]) -> Rate:
    """Return answers in an hour of active time, from the seconds stored with reviewers' votes.

    Over stretches of 20 answers in order of time: the median stretch, the 10th and the 90th percentile. Skips cost
    time and settle nothing, so they are not counted as answers; nor are withdrawn votes at all. Fewer than 20
    answers with a time: 60 an hour (30 to 120) and a note.
    """
    given = sorted(
        (v for v in votes if v.role == "reviewer" and v.answer != "withdrawn"),
        key=lambda v: (v.at, v.vote_id),
    )
    return rate_of(
        np.array([np.nan if v.seconds is None else v.seconds for v in given], dtype=np.float64),
        np.array([v.answer != "skip" for v in given], dtype=np.bool_),
    )


def stored_rate(store: TraceStore, project: str, now: datetime, *, days: int = 30) -> Rate:
    """Return the same from the store's last ``days`` days; hidden gold costs time and clears no queue, too."""
    params = {"project": project, "since": now - timedelta(days=days), "until": now}
    table = store.query(_TIMES, params, fresh=True, only=("votes", "review_tasks"))
    seconds = np.array([np.nan if s is None else s for s in table["seconds"].to_pylist()], dtype=np.float64)
    return rate_of(seconds, np.array(table["useful"].to_pylist(), dtype=np.bool_))


def rate_of(seconds: npt.NDArray[np.float64], useful: npt.NDArray[np.bool_]) -> Rate:
    """Return the rate from ``seconds`` (n,) an answer took, oldest first; ``useful`` (n,): it settles something.

    Answers without a time (NaN) or with one that is not positive are left out; times are cut at ``LONGEST_S``.
    """
    timed = np.isfinite(seconds) & (seconds > 0)
    spent, counts = np.minimum(seconds[timed], LONGEST_S), useful[timed]
    n = int(counts.sum())
    if n < MIN_ANSWERS:
        median, low, high = DEFAULT_PER_HOUR
        note = f"{median:g} answers an hour are assumed: {n} of {MIN_ANSWERS} answers with a time were found"
        return Rate(median=median, low=low, high=high, n=0, note=note)
    total = np.cumsum(spent)[counts]
    ends = total[MIN_ANSWERS - 1 :: MIN_ANSWERS]
    rates = MIN_ANSWERS * 3600 / np.diff(ends, prepend=0.0)
    low, median, high = (float(x) for x in np.quantile(rates, [0.1, 0.5, 0.9]))
    few = f"measured on {n} answers: the range will settle with more" if rates.size < 5 else None
    return Rate(median=median, low=low, high=high, n=n, note=few)


def measured_arrivals(store: TraceStore, project: str, now: datetime) -> float:
    """Return how many answers new tasks asked for in an hour of the clock, over the last seven days.

    Over a shorter time when the project's first task is younger; hidden gold left out. 0 while it is younger than two
    days: a first batch, or an old run's tasks queued at once, says nothing of what will come.
    """
    params = {"project": project, "since": now - timedelta(days=ARRIVAL_DAYS), "until": now}
    row = store.query(_ARRIVED, params, fresh=True, only=("review_tasks",)).to_pylist()[0]
    if row["first"] is None:
        return 0.0
    age_hours: float = (now - row["first"]).total_seconds() / 3600
    if age_hours < 48.0:
        return 0.0
    return float(row["answers"]) / min(age_hours, 24.0 * ARRIVAL_DAYS)
