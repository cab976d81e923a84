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
    raw_p: float | None = None
    """Before Holm's correction over reviewers."""
    beside: str = ""
    """What speaks for it as well."""

    @property
    def words(self) -> str:
        before = f"{self.right_before} of {self.n_before} before, " if self.n_before else "none before, "
        return f"{self.annotator}: {self.by} {before}{self.right_after} of {self.n_after} now{self.beside}"


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
            raw_p=one.p_value,
            turned=bool(p <= _ALPHA and _drop(one) >= _LEAST_DROP),
        )
        for one, p in zip(found, corrected, strict=True)
    )
    return Yardstick(checks=tested, n_checks=sum(one.n_after for one in tested), since=since)


def corroborated(yardstick: Yardstick, rows: Sequence[JudgedRow], facts: Facts, wrong: Bools) -> Yardstick:
    """Return the yardstick with reviewers who turned by two signs, each too weak alone.

    One sign: hidden gold or agreement fell, uncorrected. The other: they contradict the machine more than the other
    reviewers do now, and more than they did before (Holm over those with the first sign). The second alone says
    nothing, since somebody may be given the harder items.
    """
    hinted = [
        one for one in yardstick.checks if not one.turned and one.raw_p is not None and one.raw_p <= _ALPHA
        and _drop(one) >= _LEAST_DROP
    ]  # fmt: skip
    said = [frozenset(_said(row, facts)) for row in rows] if hinted else []
    later = np.array([row.later for row in rows], dtype=np.bool_)
    decided = np.array([bool(who) for who in said], dtype=np.bool_)
    p_values, words = [], []
    for one in hinted:
        mine = np.array([one.annotator in who for who in said], dtype=np.bool_)
        now, before, others = mine & later, mine & ~later, decided & ~mine & later
        counts = [(int((wrong & part).sum()), int(part.sum())) for part in (now, before, others)]
        (x, n), (x_before, n_before), (x_others, n_others) = counts
        p_values.append(
            max(
                fisher_greater(x, n - x, x_before, n_before - x_before),
                fisher_greater(x, n - x, x_others, n_others - x_others),
            )
            if n and n_before and n_others
            else None
        )
        words.append(
            f"; contradicts the machine on {x} of {n} (others {x_others} of {n_others}, before {x_before} of {n_before})"
        )
    turned = {
        (one.annotator, one.by): text
        for one, p, text in zip(hinted, holm(p_values), words, strict=True)
        if p <= _ALPHA
    }
    checks = tuple(
        replace(one, turned=True, beside=turned[one.annotator, one.by])
        if (one.annotator, one.by) in turned
        else one
        for one in yardstick.checks
    )
    return replace(yardstick, checks=checks)


def _said(row: JudgedRow, facts: Facts) -> list[str]:
    """Return who said what counts as the truth of a row."""
    role = "adjudicator" if row.state == "adjudicated" else "reviewer"
    return [
        who
        for who, as_, answer, label in facts.of_task(row).votes
        if as_ == role and answer == "label" and label == row.truth
    ]


def rests_on(rows: Sequence[JudgedRow], facts: Facts, turned: frozenset[str]) -> Bools:
    """Return which later rows have a truth that only the ``turned`` reviewers said: nobody else confirms it."""
    found = np.zeros(len(rows), dtype=np.bool_)
    if not turned:
        return found
    for i, row in enumerate(rows):
        if not row.later or row.task_id is None:
            continue
        if row.state == "check":
            found[i] = row.reason in turned
            continue
        said = _said(row, facts)
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
