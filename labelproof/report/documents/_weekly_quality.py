"""The weekly report's first line, quality over time, and harm: all from blind audits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluation.intervals import Estimate
from labelproof.report.documents._week import STEPS, Week
from labelproof.report.documents.audited import Audited, ask_audits
from labelproof.report.documents.lines import both, sentence, state, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Given,
    Line,
    Number,
    Paragraph,
    Picture,
    Ref,
    Section,
    Table,
    Tone,
)
from labelproof.report.documents.words import ref_text
from labelproof.report.plots import EstimateLine, estimates_plot, quality_over_time_plot
from labelproof.report.quality import QualityReport, promise_text, quality_report
from labelproof.report.quality_data import COUNTS
from labelproof.report.quality_promises import Verdict, judge
from labelproof.spec.labels import Severity

RIGHT = "quality.right"
_SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
TONES: dict[str, Tone] = {"met": "good", "not met": "bad", "not yet provable": "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Where the promise about automatic decisions stands; ``promised`` None: nothing is promised."""

    right: Number
    promised: float | None
    verdict: Verdict | None
    report: QualityReport
    more_audits: Number | None
    """How many more audits would prove the promise at this rate; None when none would, or none are needed."""


def measure(week: Week) -> Quality:
    """Ask the audits of this period and of those before it."""
    rows = week.book.panel("audits", COUNTS)
    for column, label in (
        ("auto_accepted", "Auto-decisions that could be audited"),
        ("drawn", "Audits drawn"),
        ("audited", "Audits settled"),
        ("wrong", "Audits that found another label"),
        ("disputed", "Audits on which reviewers differ"),
        ("open", "Audits that still wait"),
    ):
        week.book.cell(f"audits.{column}", label, "audits", rows[0], column)
    for back in range(STEPS):
        since, until = week.step(back)
        asked = _questions(week, back)
        ask_audits(week.book, asked, since=since, until=until, strategy=week.strategy)
    report = quality_report(
        week.store,
        week.folder,
        strategy=week.strategy,
        since=week.period.start,
        until=week.until,
        now=week.now,
        void_certificates=False,
    )
    right = week.book[RIGHT]
    target = next((one for one in week.folder.spec.targets if one.name == "auto_accuracy"), None)
    promised = report.promised if target is None else target.bound
    verdict = (
        None
        if promised is None or right.value is None
        else judge(_estimate(right), promised, even_if=report.if_disputed_wrong)
    )
    return Quality(
        right=right,
        promised=promised,
        verdict=verdict,
        report=report,
        more_audits=_more_audits(week, right, promised, verdict),
    )  # fmt: skip


def _questions(week: Week, back: int) -> list[Audited]:
    known, tail = week.harmless, "" if back == 0 else f"@{back}"
    when = "" if back == 0 else f", {_step_name(week, back)}"
    found = [
        Audited(name=f"{RIGHT}{tail}", label=f"Right auto-decisions{when}", right=True),
        Audited(
            name=f"harm.missed{tail}",
            label=f"Harm missed among items given as harmless{when}",
            inside=known.is_harmless("label"),
            wrong=known.is_harmful("final_label"),
        ),
        Audited(
            name=f"harm.removed{tail}",
            label=f"Harmless items among those given as harmful{when}",
            inside=known.is_harmful("label"),
            wrong=known.is_harmless("final_label"),
        ),
    ]
    if back == 0 and known.graded:
        multi = week.folder.spec.labels.kind == "multi"
        found += [
            Audited(
                name=f"harm.missed.{one}",
                label=f"Harm of severity {one} missed among items given as harmless",
                inside=known.is_harmless("label"),
                wrong=known.is_harmful("final_label", one, multi=multi),
            )
            for one in _SEVERITIES
            if one in known.severity.values()
        ]
    return found


def headline(quality: Quality) -> tuple[Line, Tone]:
    """Return the report's first line and its tone."""
    right = quality.right
    if right.value is None:
        return text(
            "How often auto-decisions were right cannot be told: ", sentence(right.reason), "."
        ), "open"
    said = text("Auto-decisions were right ", Ref(RIGHT), " (", Ref(RIGHT, "interval"), "; ", Ref("audits.audited"),
                " audited of ", Ref("audits.auto_accepted"), "). ")  # fmt: skip
    if right.low is None:
        said = text("Auto-decisions were right ", Ref(RIGHT), " (", Ref("audits.audited"), " audited of ",
                    Ref("audits.auto_accepted"), "; no interval: ", sentence(right.reason), "). ")  # fmt: skip
    if quality.promised is None or quality.verdict is None:
        return (*said, "Nothing is promised about all of them."), "plain"
    promise = Given(f"≥ {promise_text(quality.promised)} %")
    return (*said, "We promise ", promise, ": ", quality.verdict, "."), TONES[quality.verdict]


def quality_section(week: Week, quality: Quality) -> Section:
    """Return quality against the promise, against the period before, and over time."""
    blocks: list[Block] = []
    change = _change(week)
    if change is not None:
        certain = change.low is not None and change.high is not None and (change.low > 0 or change.high < 0)
        words = "more than chance explains" if certain else "chance alone could explain it"
        line = text(
            f"Against the {week.noun} before (", Ref(f"{RIGHT}@1"), "): ", both(change.name), ", ", words, "."
        )
        blocks.append(Paragraph(line=line))
    elif quality.right.value is not None:
        blocks.append(
            Paragraph(
                line=text(f"There is nothing to compare with: no audit of the {week.noun} before is settled.")
            )
        )
    if quality.more_audits is not None:
        blocks.append(
            Paragraph(
                line=text("At this rate about ", Ref("audits.more"), " more audits would prove the promise.")
            )
        )
    picture = _trend(week, quality)
    if picture is not None:
        blocks.append(picture)
    elif not blocks:
        blocks.append(Paragraph(line=text("No audit is settled: ", sentence(quality.right.reason), ".")))
    return Section(
        key="quality", title="How right the automatic decisions were", blocks=blocks, new_page=True
    )


def harm_section(week: Week) -> Section:
    """Return harm missed and wrong removals, each for itself."""
    missed, removed = week.book["harm.missed"], week.book["harm.removed"]
    blocks: list[Block] = [
        Bullets(
            lines=[
                _harm_line("Harm missed", "of the items that the machine let pass were harmful", missed),
                _harm_line(
                    "Wrong removals", "of the items that the machine gave as harmful were harmless", removed
                ),
            ]
        ),
        Paragraph(
            line=text(
                "Harmless is ", Given(week.harmless.name, code=True), ": ", Given(week.harmless.why), "."
            ),
            small=True,
        ),
    ]
    names = [
        "harm.missed",
        *(f"harm.missed.{one}" for one in _SEVERITIES if f"harm.missed.{one}" in week.book.numbers),
    ]
    numbers = [*(week.book[name] for name in names), removed]
    if any(number.value is not None for number in numbers):
        blocks.append(_harm_picture(week, numbers))
    return Section(key="harm", title="Harm missed and wrong removals", blocks=blocks)


def _harm_line(head: str, what: str, number: Number) -> Line:
    if number.value is None:
        return text(f"{head}: not known, because ", sentence(number.reason), ".")
    return text(f"{head}: ", Ref(number.name), f" {what} (", Ref(number.name, "interval"), "; ",
                Ref(number.name, "n"), " audited).")  # fmt: skip


def _harm_picture(week: Week, numbers: list[Number]) -> Picture:
    lines = [
        EstimateLine(
            label=_harm_name(number.name),
            value=number.value,
            low=number.low,
            high=number.high,
            n=number.n,
            group="removed" if number.name == "harm.removed" else "missed",
            reason=number.reason,
            words=ref_text(Ref(number.name, "both"), week.book.numbers),
        )
        for number in numbers
    ]
    plot = estimates_plot(lines, title="Harm missed and wrong removals", axis="Share of decisions (%)")
    rows = [
        (
            text(_harm_name(one.name)),
            text(Ref(one.name)),
            text(Ref(one.name, "ends")),
            text(Ref(one.name, "n")),
        )
        for one in numbers
    ]
    return Picture(
        name="harm",
        plot=plot,
        caption=text(
            "Circles: harmful items let pass, as a share of the items let pass. Triangle: harmless items given as "
            "harmful, as a share of those. Bars: intervals."
        ),
        table=Table(head=("", "share", "95 % interval", "audited"), rows=rows, right=frozenset({1, 3})),
        slide_title="Harm missed and wrong removals, from blind audits",
        slide_number=text(Ref("harm.missed"))
        if week.book["harm.missed"].value is not None
        else text(Ref("harm.removed")),
        slide_note=text(
            "of the items let pass were harmful (",
            Ref("harm.missed", "interval"),
            "); ",
            Ref("harm.removed"),
            " of the removals were wrong (",
            Ref("harm.removed", "interval"),
            ")",
        ),
    )


def _harm_name(name: str) -> str:
    if name == "harm.removed":
        return "Wrong removals"
    grade = name.removeprefix("harm.missed").removeprefix(".")
    return f"Harm missed: {grade}" if grade else "Harm missed: all"


def _trend(week: Week, quality: Quality) -> Picture | None:
    numbers = [week.book[f"{RIGHT}@{back}" if back else RIGHT] for back in reversed(range(STEPS))]
    starts = [week.step(back)[0].date() for back in reversed(range(STEPS))]
    first = next((i for i, number in enumerate(numbers) if number.value is not None), None)
    if first is None:
        return None
    shown, days = numbers[first:], starts[first:]
    plot = quality_over_time_plot(
        days,
        [one.value for one in shown],
        [one.low for one in shown],
        [one.high for one in shown],
        target=quality.promised,
        subject=week.project,
        step="week" if week.period.days >= 2 else "day",
    )
    rows = [
        (
            text(Given(f"{start:%Y-%m-%d}")),
            text(Ref(one.name)),
            text(Ref(one.name, "ends")),
            text(Ref(one.name, "n")),
        )
        for start, one in zip(days, shown, strict=True)
    ]
    return Picture(
        name="quality",
        plot=plot,
        caption=text(f"Right auto-decisions by {week.noun}, with intervals; dashed: the promise."),
        table=Table(head=("from", "right", "95 % interval", "audited"), rows=rows, right=frozenset({1, 3})),
        slide_title="How often automatic decisions were right",
        slide_number=text(Ref(RIGHT)),
        slide_note=text(Ref(RIGHT, "interval"), "; ", Ref("audits.audited"), " audited of ", Ref("audits.auto_accepted"),
                        *(() if quality.promised is None or quality.verdict is None else
                          ("; promised ", Given(f"≥ {promise_text(quality.promised)} %"), ": ", state(quality.verdict)))),
    )  # fmt: skip


def _change(week: Week) -> Number | None:
    now, then = week.book[RIGHT], week.book[f"{RIGHT}@1"]
    if now.value is None or then.value is None:
        return None
    number = week.book.computed(
        "quality.change",
        f"Change of right auto-decisions against the {week.noun} before",
        f"SELECT (SELECT value FROM (\n{now.sql}\n)) - (SELECT value FROM (\n{then.sql}\n)) AS value, NULL AS n",
        unit="points",
    )
    ends = difference_interval(_estimate(now), _estimate(then))
    return number if ends is None else week.book.widen(number.name, *ends, "square-and-add of both intervals")


def difference_interval(a: Estimate, b: Estimate) -> tuple[float, float] | None:
    """Return the interval of a - b for two independent estimates, from the distances to their own interval ends.

    Zou & Donner (2008), Statistics in Medicine 27, eq. 3 (MOVER); Newcombe's method 10 where both are Wilson's.
    """
    if None in (a.value, a.low, a.high, b.value, b.low, b.high):
        return None
    assert a.value is not None and a.low is not None and a.high is not None  # noqa: PT018 - for the types
    assert b.value is not None and b.low is not None and b.high is not None  # noqa: PT018 - for the types
    d = a.value - b.value
    down = math.hypot(a.value - a.low, b.high - b.value)
    up = math.hypot(a.high - a.value, b.value - b.low)
    return max(-1.0, d - down), min(1.0, d + up)


def _more_audits(week: Week, right: Number, promised: float | None, verdict: Verdict | None) -> Number | None:
    """How many more audits would prove the promise if the rate stays, or None."""
    if (
        verdict != "not yet provable"
        or promised is None
        or right.value is None
        or right.low is None
        or not right.n
    ):
        return None
    if right.value <= promised:
        return None
    more = math.ceil(right.n * ((right.value - right.low) / (right.value - promised)) ** 2) - right.n
    if right.n + more > (week.book["audits.auto_accepted"].value or 0):
        return None
    return week.book.computed(
        "audits.more",
        "Audits that would prove the promise at this rate",
        f"SELECT greatest(1, ceil(n * pow((value - {right.low!r}) / (value - {promised!r}), 2)) - n) AS value, n\n"
        f"FROM (\n{right.sql}\n)",
        unit="count",
    )


def _estimate(number: Number) -> Estimate:
    return Estimate(
        value=number.value,
        low=number.low,
        high=number.high,
        n=number.n or 0,
        method=number.method,
        reason=number.reason or "no interval",
    )


def _step_name(week: Week, back: int) -> str:
    return f"{week.noun} from {week.step(back)[0]:%Y-%m-%d}"
