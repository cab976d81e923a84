"""The weekly report's work, hours, cost and people."""

from __future__ import annotations

from datetime import timedelta

from labelproof.report.documents import _weekly_sql as sql
from labelproof.report.documents._week import STEPS, Week
from labelproof.report.documents._weekly_quality import RIGHT
from labelproof.report.documents.lines import both, text
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
)
from labelproof.report.documents.words import value_text
from labelproof.report.plots import DayVolume, money_plot, volume_plot

LEAST_TIMED = 20
"""Timed answers below which the period says nothing of how long people take; then four weeks are asked."""
LONG_DAYS = 28


def measure(week: Week) -> None:
    """Count the work of the period and of those before it, people's time, and money."""
    book = week.book
    (row,) = book.panel("work", sql.WORK)
    for column, label in (
        ("decisions", "Decisions"),
        ("items", "Items decided"),
        ("auto", "Decided by the machine alone"),
        ("review", "Handed to people"),
        ("failed", "Failed"),
        ("unpriced", "Decisions without a known price"),
    ):
        book.cell(f"work.{column}", label, "work", row, column)
    book.share(
        "work.coverage",
        "Share decided by the machine alone",
        "work",
        row,
        "auto",
        "decisions",
        interval=False,
    )
    book.share("work.failed_rate", "Share that failed", "work", row, "failed", "decisions", interval=False)
    unpriced = "a model of unknown price was used" if row["unpriced"] else "nothing was decided"
    book.cell(
        "cost.total",
        "Cost of model answers",
        "work",
        row,
        "cost_usd",
        unit="usd",
        n="priced",
        reason=unpriced,
    )
    book.cell(
        "cost.per_1000", "Cost per thousand decisions", "work", row, "cost_per_1000", unit="usd", n="decisions", reason=unpriced
    )  # fmt: skip
    since, until = week.step(1)
    (before,) = book.panel("work.before", sql.WORK, since=since, until=until)
    book.cell("work.decisions@1", "Decisions of the period before", "work.before", before, "decisions")
    book.share(
        "work.coverage@1",
        "Coverage of the period before",
        "work.before",
        before,
        "auto",
        "decisions",
        interval=False,
    )
    (tasks,) = book.panel("tasks", sql.TASKS)
    for column, label in (
        ("asked", "Questions put to people"),
        ("settled", "Questions settled"),
        ("waiting", "Questions that wait"),
        ("audits_waiting", "Audits that wait"),
    ):
        book.cell(f"tasks.{column}", label, "tasks", tasks, column)
    (votes,) = book.panel("votes", sql.VOTES)
    book.cell("votes.n", "Answers of people", "votes", votes, "votes")
    book.cell("votes.people", "People who answered", "votes", votes, "people")
    book.cell("votes.hours", "Hours that people spent", "votes", votes, "hours", unit="hours", n="timed",
              reason="no answer has a time")  # fmt: skip
    _hours(week, row["auto"])
    _cost(week)


def _hours(week: Week, n_auto: int) -> None:
    """Seconds a person takes for one answer (median), and the hours that the machine's decisions would have taken."""
    book = week.book
    windows = (week.period.start, week.until - timedelta(days=LONG_DAYS))
    since, seconds = windows[0], list[float]()
    for since in windows:
        found = book.read(sql.SECONDS, **{"from": since}).to_pylist()[0]["sorted"] or []
        seconds = [float(one) for one in found]
        if len(seconds) >= LEAST_TIMED:
            break
    median_sql = book.filled(sql.MEDIAN_SECONDS, **{"from": since}, least=LEAST_TIMED)
    reason = "fewer than twenty answers of people have a time"
    book.computed("seconds.median", "Median seconds of one answer", median_sql, unit="seconds", reason=reason)
    book.computed(
        "hours.saved",
        "Hours that people would have spent on the machine's decisions",
        f"SELECT w.auto * m.value / 3600 AS value, m.n AS n FROM (\n{book.queries['work']}\n) AS w, (\n{median_sql}\n) AS m",
        unit="hours",
        reason=reason,
    )
    if len(seconds) >= LEAST_TIMED:
        low, high = median_ranks(len(seconds))
        ends = seconds[low - 1], seconds[high - 1]
        method = "order statistics of the median"
        book.widen("seconds.median", *ends, method)
        book.widen("hours.saved", n_auto * ends[0] / 3600, n_auto * ends[1] / 3600, method)


def median_ranks(n: int) -> tuple[int, int]:
    """Return the ranks (from 1) of the sorted values between which the median lies with 95 % confidence.

    Conover (1999), Practical Nonparametric Statistics, section 3.2: binomial(n, 1/2) quantiles.
    """
    from scipy.stats import binom

    low = max(1, int(binom.ppf(0.025, n, 0.5)))
    return low, n - low + 1


def _cost(week: Week) -> None:
    book, right = week.book, week.book[RIGHT]
    number = book.computed(
        "cost.per_correct",
        "Cost per correct automatic decision",
        "SELECT CASE WHEN w.unpriced = 0 THEN w.cost_usd / nullif(w.auto * q.value, 0) END AS value, w.auto AS n FROM (\n"
        f"{book.queries['work']}\n) AS w, (\n{right.sql}\n) AS q",
        unit="usd",
        reason="it takes settled audits and models with a known price",
    )
    if number.value is not None and right.value and right.low and right.high:
        scale = number.value * right.value
        book.widen(number.name, scale / right.high, scale / right.low, "from the interval of right decisions")


def work_section(week: Week) -> Section:
    """Return what was done, by whom, and how much of people's time it saved."""
    book = week.book
    lines: list[Line] = [
        text(Ref("work.items"), " items: ", Ref("work.auto"), " decided by the machine alone (", Ref("work.coverage"), " of ",
             Ref("work.decisions"), " decisions), ", Ref("work.review"), " handed to people, ", Ref("work.failed"), " failed."),
        text(f"The {week.noun} before: ", Ref("work.decisions@1"), " decisions, ", Ref("work.coverage@1"), " by the machine alone."),
        text("People: ", Ref("votes.people"), " gave ", Ref("votes.n"), " answers in ", Ref("votes.hours"), "; ",
             Ref("tasks.settled"), " questions settled, ", Ref("tasks.waiting"), " wait."),
    ]  # fmt: skip
    if book["hours.saved"].value is not None:
        lines.append(
            text(
                "Human hours saved: about ",
                both("hours.saved"),
                ", if each automatic decision would have taken one person the median time of an answer, ",
                both("seconds.median"),
                ", measured on ",
                Ref("seconds.median", "n"),
                " answers. A second opinion on each item would double it.",
            )
        )
    else:
        lines.append(text("Human hours saved: not known, because ", Given(book["hours.saved"].reason), "."))
    blocks: list[Block] = [Bullets(lines=lines)]
    picture = _volume(week)
    if picture is not None:
        blocks.append(picture)
    return Section(key="work", title="Work done", blocks=blocks)


def _volume(week: Week) -> Picture | None:
    book = week.book
    rows = book.panel("work.by_day", sql.BY_DAY)
    if not rows:
        return None
    days, table = [], []
    for row in rows:
        days.append(
            DayVolume(day=row["day"][5:], auto=row["auto"], review=row["review"], failed=row["failed"])
        )
        cells: list[Line] = [text(Given(row["day"]))]
        for column, label in (("auto", "by the machine"), ("review", "to people"), ("failed", "failed")):
            name = f"work.{column}:{row['day']}"
            book.cell(name, f"Decisions {label} on {row['day']}", "work.by_day", row, column, key=("day",))
            cells.append(text(Ref(name)))
        table.append(tuple(cells))
    return Picture(
        name="volume",
        plot=volume_plot(days, title="What became of the items, by day"),
        caption=text("Decisions by day; above each bar the share that the machine decided alone."),
        table=Table(
            head=("day", "by the machine", "to people", "failed"), rows=table, right=frozenset({1, 2, 3})
        ),
        slide_title="Coverage and volume by day",
        slide_number=text(Ref("work.coverage")),
        slide_note=text(
            "of ",
            Ref("work.decisions"),
            " decisions were made by the machine alone; ",
            Ref("work.review"),
            " went to people, ",
            Ref("work.failed"),
            " failed",
        ),
    )


def cost_section(week: Week) -> Section:
    """Return what it cost, and per correct decision."""
    book = week.book
    blocks: list[Block] = []
    if book["cost.per_correct"].value is not None:
        blocks.append(
            Paragraph(
                line=text(
                    "Each correct automatic decision cost ",
                    both("cost.per_correct"),
                    ": ",
                    Ref("cost.total"),
                    " for the model's answers on all ",
                    Ref("work.decisions"),
                    " decisions, those handed to people included. People's time is not priced here.",
                )
            )
        )
    elif book["cost.total"].value is not None and not book["work.unpriced"].value:
        blocks.append(Paragraph(line=text("The model's answers cost ", Ref("cost.total"), ", ", Ref("cost.per_1000"),
                                          " per thousand decisions. Per correct decision it cannot be told: ",
                                          Given(book["cost.per_correct"].reason), ".")))  # fmt: skip
    else:
        blocks.append(
            Paragraph(
                line=text("What it cost is not known: ", Ref("work.unpriced"), " decisions have no price.")
            )
        )
    picture = _money(week)
    if picture is not None:
        blocks.append(picture)
    return Section(key="cost", title="Cost", blocks=blocks)


def _money(week: Week) -> Picture | None:
    book = week.book
    rows = {row["back"]: row for row in book.panel("work.by_step", sql.BY_STEP)}
    if not any(row["cost_per_1000"] for row in rows.values()):
        return None  # free, or of unknown price: no picture says more than the sentence
    names, usd, words, table = list[str](), list[float | None](), list[str](), []
    for back in reversed(range(STEPS)):
        if back not in rows:
            continue
        start = week.step(back)[0]
        number = book.cell(
            f"cost.per_1000@{back}" if back else "cost.per_1000@0",
            f"Cost per thousand decisions, {week.noun} from {start:%Y-%m-%d}",
            "work.by_step", rows[back], "cost_per_1000", unit="usd", n="decisions", key=("back",), reason="no price",
        )  # fmt: skip
        names.append(f"{start:%d %b}")
        usd.append(number.value)
        words.append(value_text(number) if number.value is not None else "no price")
        table.append((text(Given(f"{start:%Y-%m-%d}")), text(Ref(number.name)), text(Ref(number.name, "n"))))
    target = next((one for one in week.folder.spec.targets if one.name == "cost_per_1000"), None)
    return Picture(
        name="cost",
        plot=money_plot(
            names, usd, title="Cost per thousand decisions", axis="US dollars", bound=None if target is None else target.bound, words=words
        ),
        caption=text(f"US dollars per thousand decisions, by {week.noun}; dashed: the promise."),
        table=Table(head=("from", "per thousand", "decisions"), rows=table, right=frozenset({1, 2})),
        slide_title="Cost of the model's answers",
        slide_number=text(Ref("cost.per_1000")),
        slide_note=text("per thousand decisions; ", Ref("cost.per_correct"), " per correct automatic decision"),
    )  # fmt: skip


def reviewers_section(week: Week) -> Section:
    """Return load, agreement and hidden gold of each reviewer; names only when asked for."""
    book = week.book
    rows = book.panel("reviewers", sql.REVIEWERS)
    if not week.names:
        book.queries["reviewers"] = f"SELECT * EXCLUDE (annotator) FROM (\n{book.queries['reviewers']}\n)"
    table: list[tuple[Line, ...]] = []
    for row in rows:
        who, key = f"reviewer {row['reviewer']}", ("reviewer",)
        numbers = (
            book.cell(f"{who}.votes", f"Answers of {who}", "reviewers", row, "votes", key=key),
            book.cell(f"{who}.hours", f"Hours of {who}", "reviewers", row, "hours", unit="hours", key=key,
                      reason="no answer has a time"),
            book.share(f"{who}.same", f"Agreement of {who} with the other reviewer", "reviewers", row, "same", "shared", key=key,
                       reason="no shared task"),
            book.share(f"{who}.checks", f"Right answers of {who} on hidden gold", "reviewers", row, "checks_right", "checks",
                       key=key, reason="no hidden gold"),
        )  # fmt: skip
        table.append(_reviewer_cells(row["annotator"] if week.names else who, numbers))
    head = ("reviewer", "answers", "time", "same label as another", "of", "right on hidden gold", "of")
    blocks: list[Block] = [
        Table(
            head=head, rows=table, right=frozenset(range(1, 7)), empty=f"Nobody answered in this {week.noun}."
        )
    ]
    if rows and not week.names:
        said = "Reviewers are numbered, not named; their leads see names in the review app."
        blocks.append(Paragraph(line=text(said), small=True))
    return Section(key="reviewers", title="Reviewers", blocks=blocks)


def _reviewer_cells(who: str, numbers: tuple[Number, Number, Number, Number]) -> tuple[Line, ...]:
    votes, hours, same, checks = numbers
    return (
        text(Given(who)),
        text(Ref(votes.name)),
        text(Ref(hours.name)),
        text(both(same.name)) if same.value is not None else ("–",),
        text(Ref(same.name, "n")),
        text(both(checks.name)) if checks.value is not None else ("–",),
        text(Ref(checks.name, "n")),
    )
