"""The report of a stored comparison for people who decide: verdict, rule, what it means, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelproof.report.compare.model import CompareReport, MetricRow
from labelproof.report.compare.page.stored import comparisons_of, stored_report
from labelproof.report.compare.words import changes
from labelproof.report.documents.book import Book
from labelproof.report.documents.lines import command, day, sentence, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Given,
    Line,
    Number,
    Paragraph,
    Picture,
    Ref,
    Section,
    State,
    Table,
    Tile,
    Tone,
    Unit,
)
from labelproof.report.plots import forest_plot, waterfall_plot
from labelproof.report.plots._units import metric_words, unit_of
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

_VERDICTS: Mapping[str, tuple[str, Tone]] = {
    "ship": ("Ship", "good"),
    "regression": ("Do not ship", "bad"),
    "inconclusive": ("Not yet", "open"),
}
_PART = """SELECT CAST(json_extract_string(report_json, {value}) AS DOUBLE) AS value,
       CAST(json_extract_string(report_json, {n}) AS BIGINT) AS n
FROM comparisons WHERE project = $project AND comparison_id = $comparison ORDER BY ts DESC LIMIT 1
"""
_UNITS: Mapping[str, tuple[Unit, Unit]] = {
    "share": ("share", "points"),
    "usd": ("usd", "usd_change"),
    "ms": ("ms", "ms_change"),
}


def experiment(store: TraceStore, folder: ProjectFolder, *, now: datetime, ref: str | None = None) -> Content:
    """Return the report of one comparison.

    ``ref``: its id, or an experiment's (then the comparison that may ship, else the newest); default: the project's
    newest. ``ConfigError`` when there is none.
    """
    row = _chosen(store, folder.name, ref)
    stored = stored_report(store, folder.name, row["comparison_id"])
    if stored is None:
        raise ConfigError(f"comparison {row['comparison_id']} is not stored in project {folder.name!r}")
    report = stored.report
    given = {"project": folder.name, "comparison": report.comparison_id}
    shown = _Shown(report=report, book=Book(store, given, only=("comparisons",)))
    shown.measure()
    word, tone = _VERDICTS[report.verdict]
    sections = [
        _meaning(shown),
        _numbers(shown),
        _changed(shown),
        _others(store, folder.name, report),
        _limits(shown),
    ]
    return Content(
        kind="experiment",
        project=folder.name,
        title=f"{folder.name}: {report.b.name} against {report.a.name}",
        subtitle=text(Given(report.b.ref, code=True), " against ", Given(report.a.ref, code=True), ", gold ",
                      Given(report.gold_name), ", ", *day(report.at)),
        headline=_headline(shown, word),
        tone=tone,
        tiles=_tiles(shown),
        sections=[one for one in sections if one is not None],
        numbers=shown.book.numbers,
        queries=shown.book.queries,
        command=f"labelproof report experiment {folder.name} --experiment {report.comparison_id}",
        now=now,
        period_to=report.at,
        ref=report.comparison_id,
        stem=f"experiment-{report.comparison_id}",
    )  # fmt: skip


def _chosen(store: TraceStore, project: str, ref: str | None) -> Mapping[str, Any]:
    rows = comparisons_of(store, project)
    fitting = (
        rows if ref is None else [row for row in rows if ref in (row["comparison_id"], row["experiment_id"])]
    )
    if not fitting:
        known = ", ".join(row["comparison_id"] for row in rows[:6]) or "none"
        what = "no comparison is stored" if ref is None else f"no comparison or experiment {ref!r} is stored"
        raise ConfigError(
            f"project {project!r}: {what}; stored: {known}",
            hint="labelproof compare CHAMPION CANDIDATE stores one, labelproof experiment run plans one",
        )
    if ref is not None:
        return next((row for row in fitting if row["verdict"] == "ship"), fitting[0])
    return fitting[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A comparison and the numbers that are shown of it."""

    report: CompareReport
    book: Book

    @property
    def primary(self) -> MetricRow | None:
        return next((row for row in self.report.rows if row.role == "primary"), None)

    def name(self, row: MetricRow, what: str) -> str:
        return f"{row.difference.metric}.{what}"

    def measure(self) -> None:
        for place, row in enumerate(self.report.rows):
            found = row.difference
            plain, change = _UNITS[unit_of(found.metric)]
            label = metric_words(found.metric)
            for what, unit in (("value_a", plain), ("value_b", plain), ("delta", change)):
                who = {"value_a": f" of {self.report.a.ref}", "value_b": f" of {self.report.b.ref}"}.get(
                    what, ": difference"
                )
                path = f"$.rows[{place}].difference"
                self._keep(
                    self.name(row, what), label + who, f"{path}.{what}", f"{path}.n", unit, found.reason or ""
                )
            self.book.widen(self.name(row, "delta"), found.low, found.high, found.method)
        for what, label in (("n_items", "Items that both answered"), ("n_fixed", "Items that B gets right and A wrong"),
                            ("n_broke", "Items that A gets right and B wrong"), ("n_looks", "Versions judged on this gold"),
                            ("rerun.n_changed", "Labels that change when A is asked again"), ("rerun.n", "Items asked again")):  # fmt: skip
            self._keep(what, label, f"$.{what}", "$.n_items", "count", "not measured")

    def _keep(self, name: str, label: str, value: str, n: str, unit: Unit, reason: str) -> Number:
        sql = _PART.format(value=f"'{value}'", n=f"'{n}'")
        return self.book.computed(name, label, sql, unit=unit, reason=reason)


def _headline(shown: _Shown, word: str) -> Line:
    row, report = shown.primary, shown.report
    if row is None or row.difference.delta is None:
        return text(f"{word}: ", sentence(report.headline), ".")
    return text(
        f"{word}: ", Given(metric_words(row.difference.metric)), " of ", Given(report.b.name), " is ", Ref(shown.name(row, "value_b")),
        ", of ", Given(report.a.name), " ", Ref(shown.name(row, "value_a")), "; difference ", Ref(shown.name(row, "delta")), " (",
        Ref(shown.name(row, "delta"), "interval"), "; ", Ref("n_items"), " items).",
    )  # fmt: skip


def _tiles(shown: _Shown) -> list[Tile]:
    found = []
    for row in [one for one in shown.report.rows if one.role in ("primary", "guardrail")][:4]:
        number = shown.book[shown.name(row, "delta")]
        tone: Tone = "plain"
        if row.role == "guardrail":
            tone = {True: "good", False: "bad", None: "open"}[row.holds]  # type: ignore[assignment]
        found.append(
            Tile(
                label=metric_words(row.difference.metric),
                line=text(Ref(number.name)),
                detail=text(Ref(number.name, "interval"))
                if number.low is not None
                else text(Given(number.reason or "")),
                tone=tone,
            )
        )
    return found


def _meaning(shown: _Shown) -> Section:
    report = shown.report
    lines: list[Line] = [
        text("Verdict: ", State(_VERDICTS[report.verdict][0], _VERDICTS[report.verdict][1]), ", because ", sentence(report.headline), "."),
        text("The rule ", "was fixed before the first answer: " if report.planned else "was read off when the numbers were looked at: ",
             sentence(report.rule), "."),
        text("Of the items with another label, ", Ref("n_fixed"), " were fixed and ", Ref("n_broke"), " were broken."),
    ]  # fmt: skip
    if shown.book["rerun.n"].value:
        lines.append(text("Asked again, the strategy in use changes ", Ref("rerun.n_changed"), " of ", Ref("rerun.n"),
                          " labels by itself: smaller differences mean nothing."))  # fmt: skip
    blocks: list[Block] = [
        Bullets(lines=lines),
        Paragraph(line=text("The decision needed: ", sentence(report.next_step), "."), strong=True),
    ]
    return Section(key="meaning", title="What it means", blocks=blocks)


def _numbers(shown: _Shown) -> Section:
    report, rows = shown.report, []
    for row in report.rows:
        names = [shown.name(row, what) for what in ("value_a", "value_b", "delta")]
        rows.append(
            (
                text(Given(metric_words(row.difference.metric))),
                text(row.role),
                text(Ref(names[0])),
                text(Ref(names[1])),
                text(Ref(names[2])),
                text(Ref(names[2], "ends")),
                text(Ref(names[2], "n")),
                text(_holds(row)) if row.role == "guardrail" else ("–",),
            )
        )
    table = Table(
        head=("metric", "role", "before", "after", "difference", "95 % interval", "n", "guardrail"),
        rows=rows, right=frozenset({2, 3, 4, 6}), folded=None,
    )  # fmt: skip
    primary = shown.primary
    lead: Line = text(Ref(shown.name(primary, "delta"))) if primary else text(Ref("n_items"))
    picture = Picture(
        name="metrics",
        plot=forest_plot(report.rows, a=report.a.name, b=report.b.name),
        caption=text(
            "After minus before on the same items, with intervals. Circle: better, triangle: worse, diamond: could be either."
        ),
        table=table,
        slide_title=f"{report.b.name} against {report.a.name}: {_VERDICTS[report.verdict][0]}",
        slide_number=lead,
        slide_note=text(Given(metric_words(primary.difference.metric) if primary else "items"), " ",
                        *(text(Ref(shown.name(primary, "delta"), "interval")) if primary else ()), "; ", Ref("n_items"), " items"),
    )  # fmt: skip
    return Section(key="numbers", title="Is it better?", blocks=[picture, table])


def _holds(row: MetricRow) -> State:
    if row.holds is None:
        return State("unproven", "open")
    return State("holds", "good") if row.holds else State("broken", "bad")


def _changed(shown: _Shown) -> Section:
    report = shown.report
    words, same = changes(report)
    lines: list[Line] = [text("Changed: ", Given("; ".join(words) or "nothing that decides labels"), ".")]
    if same and words:
        lines.append(text("Unchanged: ", Given(", ".join(same)), "."))
    blocks: list[Block] = [Bullets(lines=lines)]
    picture = _why(shown)
    if picture is not None:
        blocks.append(picture)
    return Section(key="changed", title="What was changed, and what it brought", blocks=blocks)


def _why(shown: _Shown) -> Picture | None:
    report = shown.report
    row = next((row for row in report.rows if row.difference.metric == report.why.metric), None)
    if (
        not report.why.shares
        or row is None
        or row.difference.value_a is None
        or row.difference.value_b is None
    ):
        return None
    unit = _UNITS[unit_of(report.why.metric)][1]
    cells = []
    for place, share in enumerate(report.why.shares):
        name = f"why.{place}"
        shown._keep(
            name, f"Share of {share.component}", f"$.why.shares[{place}].delta", "$.n_items", unit, ""
        )
        shown.book.widen(name, share.low, share.high, "bootstrap over items")
        cells.append((text(Given(share.component)), text(Ref(name)), text(Ref(name, "ends"))))
    return Picture(
        name="why",
        plot=waterfall_plot(
            report.why.shares, metric=report.why.metric, value_a=row.difference.value_a, value_b=row.difference.value_b,
            a=report.a.name, b=report.b.name,
        ),
        caption=text("What each change brought; the shares sum to the difference."),
        table=Table(head=("change", "share", "95 % interval"), rows=cells, right=frozenset({1})),
        slide_title="Which change brought it",
        slide_number=text(Ref(shown.name(row, "delta"))),
        slide_note=text("in all; the shares sum to it"),
    )  # fmt: skip


def _others(store: TraceStore, project: str, report: CompareReport) -> Section | None:
    """The other candidates of the same experiment."""
    if not report.experiment_id:
        return None
    rows = [
        row
        for row in comparisons_of(store, project)
        if row["experiment_id"] == report.experiment_id and row["comparison_id"] != report.comparison_id
    ]
    if not rows:
        return None
    cells = [
        (
            text(Given(row["strategy_b"] or "?")),
            text(State(_VERDICTS[row["verdict"]][0], _VERDICTS[row["verdict"]][1])),
            text(Given(row["reason"] or "")),
            text(Given(row["comparison_id"], code=True)),
        )
        for row in rows
    ]
    table = Table(head=("candidate", "verdict", "because", "comparison"), rows=cells)
    return Section(key="others", title="The other candidates of this experiment", blocks=[table])


def _limits(shown: _Shown) -> Section:
    report = shown.report
    lines: list[Line] = [text(Given(note)) for note in report.notes]
    lines.append(
        text(
            Ref("n_looks"),
            " strategy versions were judged on this gold so far: the more, the luckier the best looks.",
        )
    )
    lines.append(text("Items alike to this gold are meant; new traffic can differ. ",
                      "Everything down to single items: ", command(f"labelproof compare {report.a.ref} {report.b.ref} --html compare.html"), "."))  # fmt: skip
    return Section(key="limits", title="What to keep in mind", blocks=[Bullets(lines=lines)])
