"""What the alarms of simulated months are worth: found, how late, which cause was named, false alarms, closure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import chi2

from benchmarks._month_plan import RIGHT_CAUSES, TITLES, Incident, IncidentKind
from benchmarks._month_replay import Alarm, Month
from evaluation.intervals import wilson
from labelproof.report.findings.hooks import CAUSE_OF_ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One incident in one month. ``delay`` in days (0: the same evening), None: not found.

    ``cause``: what the analysis on the day of the first alarm led with, else what the alarm's own finding names (a new
    provider mark, another language: None where neither names one); ``verdict``: right, wrong, which of the two said so, no
    cause although something got worse, or nothing got worse. ``closed``: days from the repair until all its findings
    were closed; None: never within the month, or nobody repaired it.
    """

    incident: Incident
    first: tuple[str, ...]
    delay: int | None
    cause: str | None
    verdict: str
    n_findings: int
    closed: int | None


def blamed(incidents: Sequence[Incident], alarm: Alarm) -> Incident | None:
    """Return the incident whose alarm this is: the latest one that can have raised it; None: a false alarm."""
    fits = [one for one in incidents if one.explains(alarm.day) and one.fits(alarm.kind, alarm.subject)]
    return max(fits, key=lambda one: one.first, default=None)


def false_alarms(month: Month) -> list[Alarm]:
    """Return the alarms that no planted incident explains."""
    return [alarm for alarm in month.alarms if blamed(month.incidents, alarm) is None]


def outcomes(month: Month) -> list[Outcome]:
    """Return what became of each incident of a month."""
    found = []
    for incident in month.incidents:
        own = [alarm for alarm in month.alarms if blamed(month.incidents, alarm) is incident]
        day = min((alarm.day for alarm in own), default=None)
        first = tuple(sorted({alarm.subject for alarm in own if alarm.day == day}))
        cause, verdict = _cause(month, [alarm for alarm in own if alarm.day == day], incident.kind)
        sources = {f"{alarm.kind}:{alarm.subject}" for alarm in own}
        findings = [one for one in month.findings if one.source_id in sources]
        closed = None
        if incident.last is not None and findings and all(one.closed is not None for one in findings):
            closed = max(one.closed or 0 for one in findings) - incident.last
        found.append(
            Outcome(
                incident=incident,
                first=first,
                delay=None if day is None else day - incident.first,
                cause=cause,
                verdict=verdict,
                n_findings=len(findings),
                closed=closed,
            )
        )
    return found


def _cause(month: Month, alarms: Sequence[Alarm], kind: IncidentKind) -> tuple[str | None, str]:
    """Return the cause named first on the day of an incident's first alarms, and what that is worth."""
    said = [one for one in month.diagnoses if alarms and one.day == alarms[0].day]
    named = [(one.first, "") for one in said if one.first]
    told = (CAUSE_OF_ALARM.get(f"{alarm.kind}:{alarm.subject}") for alarm in alarms)
    named += [(cause, " by the alarm itself") for cause in told if cause]
    if named:
        cause, by = named[0]
        right = cause in RIGHT_CAUSES[kind]
        return cause, f"right{by}" if right else f"wrong{by} ({cause.replace('_', ' ')})"
    return None, "no cause" if any(one.worse for one in said) else "nothing got worse"


def incident_table(found: Sequence[Outcome]) -> list[str]:
    """Return Markdown lines: one row per kind of incident."""
    lines = [
        "| incident | found | delay in days: median (range) | first alarm | cause named first | repaired: findings closed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    kinds: list[IncidentKind] = list(dict.fromkeys(one.incident.kind for one in found))
    for kind in kinds:
        own = [one for one in found if one.incident.kind == kind]
        delays = [one.delay for one in own if one.delay is not None]
        repaired = [one for one in own if one.incident.last is not None and one.n_findings]
        closed = [one.closed for one in repaired if one.closed is not None]
        told = [one.verdict for one in own if one.delay is not None]
        cells = [
            TITLES[kind],
            share(len(delays), len(own)),
            f"{median(delays):g} ({min(delays)}-{max(delays)})" if delays else "-",
            _counts(word for one in own for word in one.first),
            _counts(told) or "-",
            f"{len(closed)} of {len(repaired)}"
            + (f", after {median(closed):g} days (median)" if closed else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def false_alarm_lines(name: str, months: Sequence[Month]) -> list[str]:
    """Return Markdown lines on the false alarms of months of a kind: how many, a rate with interval, of what."""
    alarms = [alarm for month in months for alarm in false_alarms(month)]
    days = sum(month.days for month in months)
    low, high = poisson(len(alarms))
    per_month = 30 / days if days else 0.0
    with_any = sum(bool(false_alarms(month)) for month in months)
    what = _counts(alarm.subject for alarm in alarms) or "none"
    line = (
        f"- {name}: {len(alarms)} in {len(months)} months ({days} monitored days): {len(alarms) * per_month:.2f} a month "
        f"(95 % {low * per_month:.2f}-{high * per_month:.2f}); months with any: {with_any}; {what}"
    )
    return [line]


def share(k: int, n: int) -> str:
    """Return `18 of 20 (70-97 %)` with the Wilson interval."""
    if not n:
        return "-"
    found = wilson(k, n)
    return f"{k} of {n} ({100 * (found.low or 0):.0f}-{100 * (found.high or 0):.0f} %)"


def poisson(n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a count's mean (Garwood 1936)."""
    low = 0.0 if n == 0 else float(chi2.ppf(0.025, 2 * n)) / 2
    return low, float(chi2.ppf(0.975, 2 * n + 2)) / 2


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{word} {n}" for word, n in Counter(words).most_common())
