"""How often automatic decisions were right in production, from blind audits; what was promised; what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from evaluation.decision_quality import QualityEstimate
from evaluation.intervals import Estimate
from labelproof.report.numbers import plain_count as count
from labelproof.report.quality_data import (
    ANSWER,
    CLASSES,
    COUNTS,
    MONITORS,
    OUTSIDE,
    AutoDecisions,
    Period,
    filled_in,
    read_certificates,
    read_decisions,
    read_streams,
)
from labelproof.report.quality_estimates import (
    Audits,
    ClassQuality,
    DayQuality,
    audits_of,
    check_promises,
    class_quality,
    daily_quality,
    if_disputed_wrong,
    quality_of,
)
from labelproof.report.quality_monitors import MonitorReading, monitor_readings, void_alarmed
from labelproof.report.quality_promises import PromiseCheck, Promises, Verdict, judge
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

_EVERYTHING = "items routed to people are not audited here, so recall over all items cannot be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The answer first (``sentence``), then everything it rests on.

    ``quality`` is None when the question cannot be answered; ``why_not`` and ``next_step`` say what to do.
    ``if_disputed_wrong``: the rate with every disputed audit counted as wrong (None without disputes).
    ``promised`` is the rate promised over all these decisions, None when some carry no promise.
    """

    project: str
    period: Period
    n_decisions: int
    outside: Mapping[str, int]
    audits: Audits
    quality: QualityEstimate | None
    why_not: str | None
    next_step: str | None
    if_disputed_wrong: Estimate | None
    promised: float | None
    verdict: Verdict | None
    checks: tuple[PromiseCheck, ...]
    classes: tuple[ClassQuality, ...]
    days: tuple[DayQuality, ...]
    monitors: tuple[MonitorReading, ...]
    voided: Mapping[str, str]
    """Certificate id -> why, of those that this report voided."""
    assumptions: tuple[str, ...]
    at: datetime

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.quality is None:
            return f"Cannot be answered: {self.why_not}."
        right = self.quality.correct
        return (
            f"Auto-decisions were right {percent(right.value)} % ({interval_text(right)}; "
            f"{count(self.audits.n_settled)} audited of {count(self.n_decisions)})."
        )

    @property
    def promise_sentence(self) -> str:
        """What was promised, and whether it holds, in one sentence."""
        if self.promised is None and not self.n_decisions:
            return "Nothing was decided, so no promise could be kept or broken."
        if self.promised is None:
            some = "Not all of these decisions carry a promise" if self.checks else "Nothing was promised"
            why = (
                "see each promise below"
                if self.checks
                else "no certificate, and no routing.alpha in project.yaml"
            )
            return f"{some}: {why}."
        text = f"We promise >= {promise_text(self.promised)} %: {self.verdict or 'cannot be told'}"
        if self.verdict != "not yet provable" or self.quality is None:
            return f"{text}."
        return f"{text}; {self._what_would_prove()}."

    @property
    def exit_code(self) -> int:
        """0: kept, or nothing promised; 1: a promise is broken; 2: no answer."""
        broken = self.verdict == "not met" or any(check.verdict == "not met" for check in self.checks)
        if broken or any(monitor.sla_alarm for monitor in self.monitors):
            return 1
        return 2 if self.quality is None else 0

    def panels(self) -> dict[str, str]:
        """Return the SQL behind each panel, ready for `labelproof sql`."""
        queries = {
            "decisions": ANSWER,
            "answer": COUNTS,
            "classes": CLASSES,
            "outside": OUTSIDE,
            "monitors": MONITORS,
        }
        return {name: filled_in(sql, self.period.params()) for name, sql in queries.items()}

    def to_json(self) -> dict[str, Any]:
        quality = self.quality
        return {
            "project": self.project,
            "strategy": self.period.strategy,
            "since": None if self.period.since is None else self.period.since.isoformat(),
            "until": None if self.period.until is None else self.period.until.isoformat(),
            "sentence": self.sentence,
            "promise_sentence": self.promise_sentence,
            "exit_code": self.exit_code,
            "auto_decisions": self.n_decisions,
            "not_covered": dict(self.outside),
            "audits": {**asdict(self.audits), "response": self.audits.response},
            "right": None if quality is None else asdict(quality.correct),
            "wrong": None if quality is None else asdict(quality.error),
            "strata": [] if quality is None else [asdict(stratum) for stratum in quality.strata],
            "method": None if quality is None else quality.method,
            "why_not": self.why_not,
            "next": self.next_step,
            "right_if_disputed_wrong": _as_json(self.if_disputed_wrong),
            "promised_right_at_least": self.promised,
            "verdict": self.verdict,
            "promises": [check.to_json() for check in self.checks],
            "classes": [asdict(row) for row in self.classes],
            "days": [{**asdict(row), "day": row.day.isoformat()} for row in self.days],
            "recall_over_all_items": _EVERYTHING,
            "monitors": [reading.to_json() for reading in self.monitors],
            "voided_certificates": dict(self.voided),
            "assumptions": list(self.assumptions),
            "sql": self.panels(),
            "at": self.at.isoformat(),
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return (heading, text) pairs below the two sentences; a heading "" continues the one above."""
        a = self.audits
        found: list[tuple[str, str]] = []
        if a.n_drawn:
            share = "" if a.response is None else f" ({100 * a.response:.0f} %)"
            waiting = f"{count(a.n_open)} open, {count(a.n_disputed)} disputed"
            found.append(
                ("Audits", f"{count(a.n_settled)} of {count(a.n_drawn)} drawn are settled{share}; {waiting}")
            )
            if a.n_undecided:
                found.append(
                    ("", f"{count(a.n_undecided)} of the open ones were answered skip, flag or unclear")
                )
        if self.if_disputed_wrong is not None and self.if_disputed_wrong.value is not None:
            worst = self.if_disputed_wrong
            found.append(
                ("", f"if every disputed one were wrong: {percent(worst.value)} % ({interval_text(worst)})")
            )
        for reason, n in self.outside.items():
            found.append(("Not covered", f"{count(n)} auto-decisions: {reason}"))
        if len(self.checks) > 1 or (self.checks and self.promised is None):
            found += [
                (
                    "Promise",
                    (
                        f"{check.promise.source}: >= {promise_text(1 - check.promise.alpha)} % of "
                        f"{count(check.n_decisions)}: {check.verdict} ({_rate_text(check.right)})"
                    ),
                )
                for check in self.checks
            ]
        for reading in self.monitors:
            found += reading.lines()
        found += [
            ("VOIDED", f"certificate {key}: {reason}; routing no longer relies on it")
            for key, reason in self.voided.items()
        ]
        return found

    def markdown(self) -> str:
        """Return the report as Markdown, for the Prefect UI and for files."""
        parts = [
            f"# Quality of auto-decisions: {self.project}",
            f"**{self.sentence}** {self.promise_sentence}",
        ]
        if self.next_step:
            parts.append(f"Next: `{self.next_step}`")
        parts.append("\n".join(f"- **{h}** {text}" if h else f"  - {text}" for h, text in self.lines()))
        if self.classes:
            rows = [
                f"| {_cell(c.label)} | {c.n_decisions} | {c.n_audited} | {_rate_text(c.precision)} | "
                f"{_rate_text(c.recall)} |"
                for c in self.classes
            ]
            head = "| label | auto-decisions | audited | precision | recall among auto-decisions |\n"
            parts.append(head + "| --- | ---: | ---: | --- | --- |\n" + "\n".join(rows))
        if self.assumptions:
            parts.append("Assumed:\n\n" + "\n".join(f"- {line}" for line in self.assumptions))
        parts.append(f"```sql\n{self.panels()['answer']}\n```")
        return "\n\n".join(part for part in parts if part) + "\n"

    def _what_would_prove(self) -> str:
        assert self.quality is not None
        right, promised = self.quality.correct, self.promised
        if self.audits.n_disputed and judge(right, promised or 0.0) == "met":
            return f"{count(self.audits.n_disputed)} disputed audits need an adjudicator first"
        if right.value is None or right.low is None or promised is None or right.value <= promised:
            return "the audits so far neither reach it nor rule it out"
        more = math.ceil(right.n * ((right.value - right.low) / (right.value - promised)) ** 2) - right.n
        if right.n + more > self.n_decisions:
            return "even auditing all of these decisions would not prove it at this rate; more decisions are needed"
        return f"at this rate about {count(max(1, more))} more audits would prove it"


def quality_report(
    store: TraceStore,
    project: str | ProjectFolder,
    *,
    strategy: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
    void_certificates: bool = True,
) -> QualityReport:
    """Return how often automatic decisions of a project were right, from its settled audits.

    Asked about: the latest decision per item and strategy version with ``since`` <= time < ``until``, of one
    ``strategy`` (name or version) or all. The monitors read the whole history of every promise met there,
    whatever the dates. ``void_certificates``: a certificate under which a monitor alarms is voided, as of
    ``now``. What cannot be told has no number but a reason.
    """
    folder = find_project(project) if isinstance(project, str) else project
    period = Period(project=folder.name, strategy=strategy, since=since, until=until)
    found = read_decisions(store, period)
    settled = found.settled
    audits = audits_of(found)
    certificates = read_certificates(store, [c for c in set(found.certificate_id) if c is not None])
    promises = Promises(folder.spec, certificates)
    why_not, next_step = _unanswerable(folder.name, found, audits)
    quality = None if why_not else quality_of(found, settled, np.ones(found.n, dtype=bool))
    checks, promised = check_promises(found, settled, promises)
    at = now or datetime.now(UTC)
    asked = set(zip(found.certificate_id, found.strategy_fp, strict=True))
    readings = monitor_readings(read_streams(store, folder.name), promises, asked, certificates)
    worst = if_disputed_wrong(found, settled) if quality is not None and audits.n_disputed else None
    return QualityReport(
        project=folder.name,
        period=period,
        n_decisions=found.n,
        outside=found.outside,
        audits=audits,
        quality=quality,
        why_not=why_not,
        next_step=next_step,
        if_disputed_wrong=worst,
        promised=promised,
        verdict=None
        if quality is None or promised is None
        else judge(quality.correct, promised, even_if=worst),
        checks=checks,
        classes=() if quality is None else class_quality(found, settled, folder.spec.labels),
        days=() if quality is None else daily_quality(found, settled),
        monitors=readings,
        voided=void_alarmed(store, readings, certificates, at) if void_certificates else {},
        assumptions=() if quality is None else _assumptions(found, audits, quality),
        at=at,
    )


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"


def promise_text(value: float) -> str:
    """Return a promised share as a percentage, as it was written: 95, 99.5."""
    return f"{100 * value:.4g}"


def interval_text(estimate: Estimate) -> str:
    """Return "95 % interval 95.1-97.1"; the ends are rounded outward, so that no digit says too much."""
    if estimate.low is None or estimate.high is None:
        return f"no interval: {estimate.reason}"
    low, high = math.floor(1000 * estimate.low + 1e-9) / 10, math.ceil(1000 * estimate.high - 1e-9) / 10
    return f"95 % interval {low:.1f}-{high:.1f}"


def _rate_text(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"cannot be told: {estimate.reason}"
    return f"{percent(estimate.value)} % ({interval_text(estimate)}, n = {estimate.n})"


def _unanswerable(project: str, found: AutoDecisions, audits: Audits) -> tuple[str | None, str | None]:
    """Return why there is no answer and the command to run next; (None, None) when there is one."""
    if found.n == 0 and not found.outside:
        why = "no automatic decision was made in this period"
        return (
            why,
            f"labelproof certificates {project}, then labelproof certify {project} or labelproof run {project}",
        )
    if found.n == 0:
        reasons = "; ".join(
            f"{count(n)} auto-decisions are not covered: {why}" for why, n in found.outside.items()
        )
        return reasons, f"labelproof run {project}"
    if audits.n_drawn == 0:
        why = f"none of {count(found.n)} auto-decisions was drawn for audit"
        return why, f"raise routing.audit_rate_prob in project.yaml, then labelproof run {project}"
    if audits.n_settled == 0:
        why = (
            f"none of the {count(audits.n_drawn)} drawn audits of {count(found.n)} auto-decisions is settled"
        )
        if audits.n_disputed and not audits.n_open:
            return why, f"labelproof review export {project} --kind disputed --to disputed.csv"
        return why, f"labelproof review export {project} --kind audit --to audits.csv"
    if audits.n_disputed:
        return None, f"labelproof review export {project} --kind disputed --to disputed.csv"
    if audits.n_open:
        return None, f"labelproof review export {project} --kind audit --to audits.csv"
    return None, None


def _assumptions(found: AutoDecisions, audits: Audits, quality: QualityEstimate) -> tuple[str, ...]:
    prob = found.inclusion_prob[found.drawn]
    probs = f"{prob.min():.3g}" if np.ptp(prob) == 0 else f"{prob.min():.3g} to {prob.max():.3g}"
    share = f"{count(audits.n_settled)} of {count(audits.n_drawn)}"
    repeated = found.n - len(set(found.item_id))
    listed = [
        f"each auto-decision was drawn for audit by chance alone, with the probability stored at routing ({probs})",
        "two reviewers who saw no model's label and agree, or else an adjudicator, say what is true",
    ]
    if audits.n_settled < audits.n_drawn:
        listed.append(f"the settled audits ({share} drawn) are a random part of the drawn ones")
    if repeated:
        listed.append(
            f"{count(repeated)} decisions are of items that another strategy version decided too: each version's "
            "counts, and --strategy asks about one"
        )
    if len(quality.strata) > 1:
        listed.append("confidence only groups items: it may be wrong without making the interval wrong")
    listed.append(
        "one look: who looks every day should rely on the SLA monitor, which may be looked at daily"
    )
    if quality.correct.reason:
        listed.append(quality.correct.reason)
    return (*listed, _EVERYTHING)


def _as_json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else asdict(estimate)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
