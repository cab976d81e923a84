"""How each reviewer's answers stand: hidden gold, agreement, what became of their votes, drift, exposure.

Numbers to talk about with a person, not to rank people by: reviewers come in alphabetical order, nothing is summed
into a score, and speed says nothing of quality here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from evaluation.agreement import cohen_kappa
from evaluation.intervals import Estimate, undefined, wilson
from evaluation.votes import VoteTable
from labelproof.review.model import Vote
from labelproof.review.people._reviewer_rows import (
    CheckRow,
    LabelCell,
    ReviewerRows,
    SeenCell,
    read_reviewer_rows,
)
from labelproof.review.people.drift import FallTest, below_bar, below_own_level
from labelproof.review.queue.priority import BY_MACHINE
from labelproof.spec.labels import LabelSchema, Severity
from labelproof.spec.project import ProjectFolder
from labelproof.spec.review import SEVERITIES
from labelproof.store import TraceStore

BAR_METRIC = "reviewer_accuracy"
"""The entry of a project's `targets` whose `at_least` is the bar for accuracy on hidden gold."""
_MIN_FOR_P90 = 10
_NOT_SHARED = "no blind task that somebody else answered too"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAccuracy:
    """Accuracy on the checks whose gold label is ``label``."""

    label: str
    accuracy: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAccuracy:
    """Accuracy on hidden gold. Checks are drawn with rare labels as often as common ones, so ``overall`` is not the
    accuracy on the traffic: ``per_label`` says more. ``n_unanswered``: answered skip, flag or unclear, which is not wrong.
    """

    overall: Estimate
    per_label: tuple[LabelAccuracy, ...]
    n_unanswered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds an answer took, of ``n`` answers with a time; no measure of quality. None with a ``reason``."""

    median_s: float | None
    p90_s: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShare:
    """How often this reviewer gives a label, and how often the other reviewers do on the same mix of kinds of task."""

    label: str
    share: Estimate
    others_share: float | None
    n_others: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineAgreement:
    """How often a vote repeats the machine's label, hidden gold left out.

    ``others_share``: the same of the other reviewers, on the same mix of kinds. ``when_wrong``: how often it repeats a label
    that an adjudicator then found wrong. High is no merit: who copies the machine repeats its mistakes.
    """

    share: Estimate
    others_share: float | None
    n_others: int
    when_wrong: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerStats:
    """One reviewer's numbers from ``since`` to ``until``; an Estimate without value says why.

    ``answers``: current answers by kind (label, skip, flag, unclear), and ``withdrawn``: how often one was taken back.
    ``agreement``: Cohen's kappa with the other reviewers on blind tasks that both answered (one other a task);
    ``same_answer``: the plain share of equal labels there. ``upheld``: of their votes on tasks that an adjudicator decided,
    how many had the final label; such tasks are the disputed ones, so that half is no bad number. ``falls``: tests
    over the whole history that the accuracy on checks fell below the project's bar, and below their own earlier level.
    ``exposure``: tasks answered today (UTC) by the higher severity of the machine's label and their own, as the daily ``limits`` count.
    """

    name: str
    since: datetime
    until: datetime
    answers: Mapping[str, int]
    n_adjudicated: int
    checks: CheckAccuracy
    pace: Pace
    agreement: Estimate
    same_answer: Estimate
    upheld: Estimate
    labels: tuple[LabelShare, ...]
    machine: MachineAgreement
    falls: tuple[FallTest, ...]
    exposure: Mapping[str, int]
    limits: Mapping[str, int]

    @property
    def drift(self) -> bool:
        """Whether one of the tests has raised its alarm."""
        return any(test.alarm for test in self.falls)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        found: dict[str, Any] = _plain(asdict(self))
        for test, shown in zip(self.falls, found["falls"], strict=True):
            shown["alarm"] = test.alarm
        return {**found, "drift": self.drift}


def reviewer_stats(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    days: int = 30,
    bar: float | None = None,
) -> tuple[ReviewerStats, ...]:
    """Return everybody who answered in the last ``days`` days with their numbers, in alphabetical order.

    ``bar``: accuracy on hidden gold that is asked for; default the target ``reviewer_accuracy`` of the project,
    None when it has none. The drift tests read all checks ever answered: starting anew at a date chosen later would
    void what they promise.
    """
    since = now - timedelta(days=days)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = read_reviewer_rows(store, folder.name, since=since, until=now, today=today)
    asked = bar if bar is not None else bar_of(folder)
    found = [
        ReviewerStats(
            name=(name := str(row["annotator"])),
            since=since,
            until=now,
            answers={
                answer: int(row[f"n_{answer}"] or 0)
                for answer in ("label", "skip", "flag", "unclear", "withdrawn")
            },
            n_adjudicated=int(row["n_adjudicated"] or 0),
            checks=check_accuracy([one for one in rows.checks.get(name, ()) if one.at >= since]),
            pace=_pace(row),
            agreement=_agreement(rows.pairs.get(name, ())),
            same_answer=_same_answer(rows.pairs.get(name, ())),
            upheld=_upheld(rows, name),
            labels=_label_shares(rows.labels, name),
            machine=_machine(rows, name),
            falls=fall_tests(rows.checks.get(name, ()), asked),
            exposure=_exposure(rows.seen.get(name, ()), folder.spec.labels),
            limits={str(key): limit for key, limit in folder.spec.review.care.daily_limit.items()},
        )
        for row in rows.answers
    ]
    return tuple(sorted(found, key=lambda stats: (stats.name.casefold(), stats.name)))


def bar_of(folder: ProjectFolder) -> float | None:
    """Return the accuracy on hidden gold that the project asks of reviewers, None when it says nothing."""
    bars = [t.at_least for t in folder.spec.targets if t.metric == BAR_METRIC and t.at_least is not None]
    return max(bars, default=None)


def anonymous(votes: Iterable[Vote]) -> dict[str, str]:
    """Return name -> "Reviewer 1", "Reviewer 2", ... in the order of their first vote as reviewers (time, then vote id)."""
    ordered = sorted((v for v in votes if v.role == "reviewer"), key=lambda v: (v.at, v.vote_id))
    names = dict.fromkeys(vote.annotator for vote in ordered)
    return {name: f"Reviewer {place}" for place, name in enumerate(names, start=1)}


def check_accuracy(checks: Sequence[CheckRow]) -> CheckAccuracy:
    """Return the accuracy on these answered checks, overall and per gold label (alphabetical)."""
    answered = [check for check in checks if check.right is not None]
    by_label: dict[str, list[bool]] = {}
    for check in answered:
        by_label.setdefault(check.gold, []).append(bool(check.right))
    right = [bool(check.right) for check in answered]
    return CheckAccuracy(
        overall=_share(sum(right), len(right), "no hidden gold answered in this period"),
        per_label=tuple(
            LabelAccuracy(label=label, accuracy=wilson(sum(marks), len(marks)))
            for label, marks in sorted(by_label.items())
        ),
        n_unanswered=len(checks) - len(answered),
    )


def fall_tests(checks: Sequence[CheckRow], bar: float | None) -> tuple[FallTest, ...]:
    """Return the tests against the bar and against the reviewer's own level; ``checks``: all, oldest first."""
    answered = [check for check in checks if check.right is not None]
    right = [bool(check.right) for check in answered]
    times = [check.at for check in answered]
    return below_bar(right, bar).timed(times), below_own_level(right).timed(times)


def _pace(row: Mapping[str, Any]) -> Pace:
    n = int(row["n_timed"] or 0)
    if n == 0:
        return Pace(median_s=None, p90_s=None, n=0, reason="no answer has a time")
    median = float(row["median_s"])
    if n < _MIN_FOR_P90:
        why = f"{n} answers with a time: a 90th percentile needs {_MIN_FOR_P90}"
        return Pace(median_s=median, p90_s=None, n=n, reason=why)
    return Pace(median_s=median, p90_s=float(row["p90_s"]), n=n)


def _agreement(pairs: Sequence[tuple[str, str, int]]) -> Estimate:
    if not pairs:
        return undefined("cohen-kappa", 0, _NOT_SHARED)
    labels = tuple(sorted({label for own, other, _ in pairs for label in (own, other)}))
    kinds = np.array([[labels.index(own), labels.index(other)] for own, other, _ in pairs], dtype=np.int64)
    codes = np.repeat(kinds, [n for _, _, n in pairs], axis=0)
    table = VoteTable(
        items=tuple(str(i) for i in range(len(codes))),
        annotators=("reviewer", "others"),
        labels=labels,
        codes=codes,
    )
    return cohen_kappa(table, "reviewer", "others")


def _same_answer(pairs: Sequence[tuple[str, str, int]]) -> Estimate:
    same = sum(n for own, other, n in pairs if own == other)
    return _share(same, sum(n for _, _, n in pairs), _NOT_SHARED)


def _upheld(rows: ReviewerRows, name: str) -> Estimate:
    row = rows.adjudicated.get(name, {})
    return _share(row.get("n_upheld", 0), row.get("n", 0), "no task of theirs was decided by an adjudicator")


def _label_shares(cells: Sequence[LabelCell], name: str) -> tuple[LabelShare, ...]:
    """Return the label mix beside that of the others, over the kinds of task on which somebody else voted too."""
    others: dict[tuple[str, bool], Counter[str]] = {}
    own: dict[tuple[str, bool], Counter[str]] = {}
    for cell in cells:
        side = own if cell.annotator == name else others
        side.setdefault((cell.kind, cell.blind), Counter())[cell.label] += cell.n
    shared = [key for key in own if key in others]
    used = shared or list(own)
    mine = sum((own[key] for key in used), Counter[str]())
    n = mine.total()
    n_others = sum(others[key].total() for key in shared)
    labels = sorted({*mine, *(label for key in shared for label in others[key])})
    found = []
    for label in labels:
        expected = sum(own[key].total() * others[key][label] / others[key].total() for key in shared)
        found.append(
            LabelShare(
                label=label,
                share=wilson(mine[label], n),
                others_share=expected / n if shared else None,
                n_others=n_others,
                reason=None if shared else "nobody else voted on tasks of the same kinds",
            )
        )
    return tuple(found)


def _machine(rows: ReviewerRows, name: str) -> MachineAgreement:
    """Return the agreement with the machine; the others' is weighted by this reviewer's kinds of task."""
    own: dict[tuple[str, bool], tuple[int, int]] = {}
    others: dict[tuple[str, bool], tuple[int, int]] = {}
    for cell in rows.labels:
        if cell.n_machine:
            side = own if cell.annotator == name else others
            n, same = side.get((cell.kind, cell.blind), (0, 0))
            side[cell.kind, cell.blind] = (n + cell.n_machine, same + cell.n_same)
    shared = [key for key in own if key in others]
    weight = sum(own[key][0] for key in shared)
    settled = rows.adjudicated.get(name, {})
    return MachineAgreement(
        share=_share(
            sum(same for _, same in own.values()),
            sum(n for n, _ in own.values()),
            "no vote on a task with a machine's label",
        ),
        others_share=sum(own[key][0] * others[key][1] / others[key][0] for key in shared) / weight
        if weight
        else None,
        n_others=sum(others[key][0] for key in shared),
        when_wrong=_share(
            settled.get("n_repeated", 0),
            settled.get("n_machine_wrong", 0),
            "no adjudicator found the machine wrong on a task of theirs",
        ),
    )


def _exposure(seen: Sequence[SeenCell], schema: LabelSchema) -> dict[str, int]:
    """Return tasks answered today by severity, by the rule of the desk that keeps the daily limits."""
    found: Counter[str] = Counter()
    for cell in seen:
        machine = _severity(cell.machine, schema) if cell.kind in BY_MACHINE else None
        own = (_severity(cell.label, schema) or "medium") if cell.label else None
        known = [severity for severity in (machine, own) if severity is not None]
        found[max(known, key=SEVERITIES.index, default="medium")] += cell.n
    return {name: found[name] for name in SEVERITIES}


def _severity(label: str | None, schema: LabelSchema) -> Severity | None:
    """Return the severity of a label, None without one or when the schema does not have it (any more)."""
    if not label or not schema.members(label) <= schema.leaf_classes.keys():
        return None
    return schema.severity(label)


def _share(successes: int, n: int, reason: str) -> Estimate:
    return wilson(successes, n) if n else undefined("wilson", 0, reason)


def _plain(value: Any) -> Any:
    """Return nested dicts and sequences with times as ISO text."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
