"""A reviewer's numbers as text: what is not measurable says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.intervals import Estimate
from labelproof.report.numbers import count, percent
from labelproof.review.people import FallTest, ReviewerStats
from labelproof.review.web._view_words import at_time, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value with its interval and number below it; ``value`` "-" and ``detail`` the reason when there is none."""

    value: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """One reviewer on the reviewers page; nothing here is a score, and nothing orders people."""

    name: str
    answered: str
    answers: tuple[tuple[str, str], ...]
    accuracy: Number
    per_label: tuple[tuple[str, str], ...]
    agreement: Number
    same_answer: str
    pace: Number
    upheld: str
    labels: tuple[tuple[str, str, str], ...]
    machine: tuple[tuple[str, str], ...]
    falls: tuple[tuple[str, str], ...]
    alarm: bool
    exposure: tuple[tuple[str, str], ...]


def person_row(stats: ReviewerStats) -> PersonRow:
    """Return one reviewer's numbers as text."""
    answers = stats.answers
    machine = stats.machine
    others = "-" if machine.others_share is None else percent(machine.others_share)
    return PersonRow(
        name=stats.name,
        answered=count(sum(n for answer, n in answers.items() if answer != "withdrawn")),
        answers=(
            *((_ANSWERS[answer], count(n)) for answer, n in answers.items()),
            ("decided as a lead", count(stats.n_adjudicated)),
        ),
        accuracy=share(stats.checks.overall),
        per_label=tuple((one.label, rate(one.accuracy)) for one in stats.checks.per_label),
        agreement=coefficient(stats.agreement),
        same_answer=rate(stats.same_answer),
        pace=_pace(stats),
        upheld=rate(stats.upheld),
        labels=tuple(
            (
                one.label,
                percent(one.share.value),
                "-" if one.others_share is None else percent(one.others_share),
            )
            for one in stats.labels
        ),
        machine=(
            ("repeats the machine's label", rate(machine.share)),
            ("the others do, on the same kinds", others),
            ("repeats it where it was wrong", rate(machine.when_wrong)),
        ),
        falls=tuple((_AGAINST[test.against], fall_text(test)) for test in stats.falls),
        alarm=stats.drift,
        exposure=_exposure(stats.exposure, stats.limits),
    )


_ANSWERS: Mapping[str, str] = {
    "label": "labels",
    "skip": "skips",
    "flag": "flags",
    "unclear": "guideline unclear",
    "withdrawn": "taken back",
}
_AGAINST: Mapping[str, str] = {
    "bar": "against the project's bar",
    "own level": "against their own earlier level",
}


def share(estimate: Estimate) -> Number:
    """Return a share with its interval."""
    if estimate.value is None:
        return Number(value="-", detail=str(estimate.reason))
    if estimate.low is None or estimate.high is None:
        return Number(value=percent(estimate.value), detail=f"{estimate.reason}; n = {count(estimate.n)}")
    ends = f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"
    return Number(value=percent(estimate.value), detail=f"{ends}, n = {count(estimate.n)}")


def coefficient(estimate: Estimate) -> Number:
    """Return a coefficient such as kappa with its interval."""
    if estimate.value is None:
        return Number(value="-", detail=str(estimate.reason))
    if estimate.low is None or estimate.high is None:
        return Number(value=f"{estimate.value:.2f}", detail=f"{estimate.reason}; n = {count(estimate.n)}")
    ends = f"{estimate.low:.2f} to {estimate.high:.2f}"
    return Number(value=f"{estimate.value:.2f}", detail=f"{ends}, n = {count(estimate.n)}")


def fall_text(test: FallTest) -> str:
    """Return what a test on falling accuracy says."""
    if test.e_value is None:
        return f"not tested: {test.reason}"
    level = "-" if test.level is None else percent(test.level)
    bound = f"a false alarm is ever raised with probability {100 * test.false_alarm_prob:g} % at most"
    if test.alarm:
        since = f", most likely since {at_time(test.change_time)}" if test.change_time else ""
        return f"fell below {level}: alarm at check {test.alarm_at}{since} ({bound})"
    return f"no sign of a fall below {level} in {count(test.n)} checks ({bound})"


def _pace(stats: ReviewerStats) -> Number:
    pace = stats.pace
    if pace.median_s is None:
        return Number(value="-", detail=str(pace.reason))
    if pace.p90_s is None:
        return Number(value=f"{pace.median_s:.0f} s", detail=str(pace.reason))
    return Number(value=f"{pace.median_s:.0f} s", detail=f"one in ten takes {pace.p90_s:.0f} s or more")


def _exposure(seen: Mapping[str, int], limits: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (severity, f"{count(n)} of at most {count(limits[severity])}" if severity in limits else count(n))
        for severity, n in reversed(list(seen.items()))
        if n or severity in limits
    )
