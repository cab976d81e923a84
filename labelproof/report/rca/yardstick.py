"""Whether the yardstick changed: reviewers who turned, by hidden gold and by agreement with the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from evaluation.enrichment import fisher_greater
from evaluation.multiple_testing import holm
from labelproof.report.rca import queries as sql
from labelproof.report.rca.data import Bools, JudgedRow
from labelproof.report.rca.facts import Facts
from labelproof.report.rca.periods import Period
from labelproof.store import TraceStore

HISTORY_DAYS = 180
_ALPHA = 0.05
_LEAST_DROP = 0.05
"""A fall by less is nobody's root cause."""
_READS = ("votes", "review_tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerCheck:
    """One reviewer against earlier: right answers of checks, or votes that agree with another's; ``p_value``: by Holm."""

    annotator: str
    by: str
    """hidden gold, or agreement with the others."""
    n_before: int
    right_before: int
    n_after: int
    right_after: int
    p_value: float | None
    turned: bool

    @property
    def words(self) -> str:
        before = f"{self.right_before} of {self.n_before} before, " if self.n_before else "none before, "
        return f"{self.annotator}: {self.by} {before}{self.right_after} of {self.n_after} now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """``turned``: reviewers whose answers fell. ``n_checks``: answers in the later period that could tell."""

    checks: tuple[ReviewerCheck, ...]
    n_checks: int
    since: datetime
    """From when on earlier answers count."""

    @property
    def turned(self) -> frozenset[str]:
        return frozenset(one.annotator for one in self.checks if one.turned)

    @property
    def is_measured(self) -> bool:
        return any(one.p_value is not None for one in self.checks)


def read_yardstick(store: TraceStore, project: str, earlier: Period | None, later: Period) -> Yardstick:
    """Return how reviewers did in the later period against before (the last ``HISTORY_DAYS`` days)."""
    since = later.start - timedelta(days=HISTORY_DAYS)
    if earlier is not None:
        since = min(since, earlier.start)
    params = {"project": project, "start": later.start, "end": later.end, "since": since}
    checks = store.query(sql.REVIEWER_CHECKS, params, fresh=True, only=_READS).to_pylist()
    pairs = store.query(sql.REVIEWER_PAIRS, params, fresh=True, only=_READS).to_pylist()
    found = [*_by_checks(checks), *_by_pairs(pairs)]
    corrected = holm([one.p_value for one in found])
    tested = tuple(
        replace(
            one,
            p_value=None if np.isnan(p) else float(p),
            turned=bool(p <= _ALPHA and _drop(one) >= _LEAST_DROP),
        )
        for one, p in zip(found, corrected, strict=True)
    )
    return Yardstick(checks=tested, n_checks=sum(one.n_after for one in tested), since=since)


def rests_on(rows: Sequence[JudgedRow], facts: Facts, turned: frozenset[str]) -> Bools:
    """Return which later rows have a truth that only the ``turned`` reviewers said: nobody else confirms it."""
    found = np.zeros(len(rows), dtype=np.bool_)
    if not turned:
        return found
    for i, row in enumerate(rows):
        if not row.later or row.task_id is None:
            continue
        votes = facts.of_task(row).votes
        if row.state == "check":
            found[i] = row.reason in turned
            continue
        role = "adjudicator" if row.state == "adjudicated" else "reviewer"
        said = [
            who
            for who, as_, answer, label in votes
            if as_ == role and answer == "label" and label == row.truth
        ]
        found[i] = bool(said) and all(who in turned for who in said)
    return found


def took_part(rows: Sequence[JudgedRow], facts: Facts, turned: frozenset[str]) -> Bools:
    """Return which later tasks one of the ``turned`` reviewers voted on."""
    return np.array(
        [row.later and any(who in turned for who, *_ in facts.of_task(row).votes) for row in rows],
        dtype=np.bool_,
    )


def _by_checks(rows: Sequence[Mapping[str, Any]]) -> list[ReviewerCheck]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in rows:
        mine = counts[row["annotator"]]
        side = 2 * bool(row["is_later"])
        mine[side] += row["n"]
        mine[side + 1] += row["n"] if row["is_right"] else 0
    return [_check(who, "hidden gold", *mine) for who, mine in sorted(counts.items()) if mine[2]]


def _by_pairs(rows: Sequence[Mapping[str, Any]]) -> list[ReviewerCheck]:
    """Votes beside others' on the same task; who fell most is taken out, since everybody disagrees with that one."""
    left = list(rows)
    found: list[ReviewerCheck] = []
    while left:
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for row in left:
            for who in (row["one"], row["other"]):
                side = 2 * bool(row["is_later"])
                counts[who][side] += row["n"]
                counts[who][side + 1] += row["n_same"]
        tested = [
            _check(who, "agreement with others", *mine) for who, mine in sorted(counts.items()) if mine[2]
        ]
        if not tested:
            break
        worst = min(tested, key=lambda one: (1.0 if one.p_value is None else one.p_value, one.annotator))
        found.append(worst)
        if worst.p_value is None or worst.p_value > _ALPHA:
            found += [one for one in tested if one is not worst]
            break
        left = [row for row in left if worst.annotator not in (row["one"], row["other"])]
    return found


def _check(
    who: str, by: str, n_before: int, right_before: int, n_after: int, right_after: int
) -> ReviewerCheck:
    p = None
    if n_before and n_after:
        wrong_after, wrong_before = n_after - right_after, n_before - right_before
        p = fisher_greater(wrong_after, right_after, wrong_before, right_before)
    return ReviewerCheck(
        annotator=who,
        by=by,
        n_before=n_before,
        right_before=right_before,
        n_after=n_after,
        right_after=right_after,
        p_value=p,
        turned=False,
    )


def _against_others(one: ReviewerCheck, n_now: int, same_now: int) -> ReviewerCheck:
    """Return the check with the larger of two p-values: fallen, and lower than the pairs without this reviewer.

    Where everybody agrees less, the items became harder or the guideline less clear, and nobody turned.
    """
    others, others_same = n_now - one.n_after, same_now - one.right_after
    if one.p_value is None or not others:
        return replace(one, p_value=None)
    wrong = one.n_after - one.right_after
    p = fisher_greater(wrong, one.right_after, others - others_same, others_same)
    return replace(one, p_value=max(p, one.p_value))


def _drop(one: ReviewerCheck) -> float:
    if not one.n_before or not one.n_after:
        return 0.0
    return one.right_before / one.n_before - one.right_after / one.n_after
