"""What happens in a simulated month: which incident begins on which day, and which causes and alarms fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

IncidentKind = Literal["provider", "silent_provider", "spanish", "reviewer", "guideline", "injection"]
PLANTED: Mapping[IncidentKind, int] = {
    "provider": 9,
    "spanish": 14,
    "reviewer": 18,
    "guideline": 22,
    "injection": 26,
}
"""The five incidents with their first day."""
TITLES: Mapping[IncidentKind, str] = {
    "provider": "provider swaps the model (its fingerprint changes)",
    "silent_provider": "provider swaps the model (same fingerprint)",
    "spanish": "30 % Spanish traffic",
    "reviewer": "a reviewer goes bad",
    "guideline": "guideline edited",
    "injection": "injection wave, 15 % of traffic",
}
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
"""Day 1, a Monday."""
WARMUP_DAYS = 28
"""Days of ordinary work before day 1: what drift is compared with."""
LASTS_DAYS = 4
"""How long an incident lasts in the months in which somebody repairs it."""
AFTERMATH_DAYS = 7
"""An alarm within so many days after the repair is still the incident's: windows of 7 days hold its days."""
FOLLOWED_DAYS = 14
"""Months with one incident are followed for so many days from its first one, or to the month's end."""
SPANISH_SHARE, ATTACK_SHARE = 0.30, 0.15
BAD_REVIEWER, BAD_ACCURACY = "bob", 0.6

_ANSWERS = ("label_mix", "confidence", "sentinel", "auto_accuracy", "recall", "coverage", "failed_rate")
FITTING_ALARMS: Mapping[IncidentKind, tuple[str, ...]] = {
    "provider": ("provider", *_ANSWERS),
    "silent_provider": _ANSWERS,
    "spanish": ("language", "text", "length", *_ANSWERS),
    "reviewer": ("reviewer_accuracy", "agreement", "auto_accuracy", "recall", "review_age_hours"),
    "guideline": ("strategy", *_ANSWERS),
    "injection": ("manipulation", "text", "length", *_ANSWERS),
}
"""Alarms by subject that an incident can raise; decides whose an alarm is when several incidents have begun."""
RIGHT_CAUSES: Mapping[IncidentKind, tuple[str, ...]] = {
    "provider": ("provider_change",),
    "silent_provider": ("provider_change",),
    "spanish": ("language",),
    "reviewer": ("reviewer",),
    "guideline": ("guideline_change", "strategy_change"),
    "injection": ("manipulation",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that goes wrong from day ``first`` on; ``last`` is None when nobody repairs it in the month."""

    kind: IncidentKind
    first: int
    last: int | None = None

    def is_on(self, day: int) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)

    def explains(self, day: int) -> bool:
        """Whether an alarm on this day may be its doing."""
        return self.first <= day and (self.last is None or day <= self.last + AFTERMATH_DAYS)

    def fits(self, kind: str, subject: str) -> bool:
        """Whether it can raise an alarm of this kind about this subject, such as `recall:Toxic` or `language`."""
        name = kind if kind == "sentinel" else subject.partition(":")[0]
        return name in FITTING_ALARMS[self.kind]


def planted(kind: IncidentKind, *, repaired: bool, days: int = 30) -> Incident:
    """Return the incident as the month plants it; in a shorter month it comes proportionally earlier."""
    first = PLANTED["provider" if kind == "silent_provider" else kind]
    first = first if days >= 30 else max(1, first * days // 30)
    return Incident(kind=kind, first=first, last=first + LASTS_DAYS - 1 if repaired else None)


def morning(day: int) -> datetime:
    """Return midnight at which a day begins; day 1 is ``FIRST``, warm-up days are 0 and below."""
    return FIRST + timedelta(days=day - 1)


def active(incidents: Sequence[Incident], day: int) -> set[IncidentKind]:
    """Return what is wrong on a day."""
    return {one.kind for one in incidents if one.is_on(day)}
