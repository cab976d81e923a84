"""The results on a model card: gold, slices, suites, certificates, production, failures, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from labelproof.report.compare.versions import Version
from labelproof.report.documents import _card_sql as sql
from labelproof.report.documents.book import Book, Row, literal
from labelproof.report.documents.lines import command, day, given, severity, state, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Given,
    Line,
    Paragraph,
    Picture,
    Ref,
    Section,
    State,
    Table,
    Unit,
)
from labelproof.report.documents.words import ref_text, safe_text
from labelproof.report.plots import EstimateLine, bars_plot, estimates_plot
from labelproof.spec.hashing import short
from labelproof.spec.project import ProjectFolder

_HEADS = {"single": "accuracy", "multi": "exact_match", "taxonomy": "leaf_accuracy"}
_OVERALL = (
    ("macro_f1", "Macro-F1", "share"),
    ("failed_rate", "Failed", "share"),
    ("confidence_auroc", "How well confidence ranks right before wrong (AUROC)", "number"),
    ("confidence_ece", "Calibration error (ECE)", "share"),
    ("cost_usd_per_item", "Cost per item", "usd"),
    ("cost_usd_per_correct", "Cost per right answer", "usd"),
)
SMALL_N = 30
MOST_ROWS = 12
EXCERPT = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One look at a version."""

    folder: ProjectFolder
    version: Version
    book: Book
    now: datetime

    @property
    def ref(self) -> str:
        return f"{self.version.name}@{short(self.version.fp)}"

    @property
    def head(self) -> str:
        return _HEADS[self.folder.spec.labels.kind]


def gold(card: Card, scores: Mapping[tuple[str, str], Row]) -> Section:
    title = "How right it is on gold"
    if (card.head, "all") not in scores:
        line = text(
            "It is not scored: ",
            command(f"labelproof score {card.folder.name} --strategy {card.version.name}"),
            ".",
        )
        return Section(key="gold", title=title, blocks=[Paragraph(line=line)])
    first = scores[(card.head, "all")]
    _score(card, "gold.right", "Right", first)
    rows = [_score_cells("Right", "gold.right")]
    for metric, label, unit in _OVERALL:
        row = scores.get((metric, "all"))
        if row is not None:
            _score(card, f"gold.{metric}", label, row, unit=unit)  # type: ignore[arg-type]
            rows.append(_score_cells(label, f"gold.{metric}"))
    blocks: list[Block] = [
        Paragraph(line=text("Gold split ", Given(str(first["split"])), " of version ", Given(short(str(first["gold_fp"])), code=True),
                            ", scored on ", *day(first["ts"]), ".")),
        Table(head=("", "value", "95 % interval", "n"), rows=rows, right=frozenset({1, 3})),
    ]  # fmt: skip
    picture = _classes(card, scores)
    if picture is not None:
        blocks.append(picture)
    return Section(key="gold", title=title, blocks=blocks, new_page=True)


def _score(card: Card, name: str, label: str, row: Row, *, unit: Unit = "share") -> None:
    number = card.book.cell(name, label, "scores", row, "value", unit=unit, n="n", key=("split", "metric", "slice"),
                            reason=row["reason"] or "not measurable")  # fmt: skip
    card.book.numbers[name] = replace(number, low=row["low"], high=row["high"], method=row["method"] or "")


def _score_cells(label: str, name: str) -> tuple[Line, ...]:
    return text(Given(label)), text(Ref(name)), text(Ref(name, "ends")), text(Ref(name, "n"))


def _classes(card: Card, scores: Mapping[tuple[str, str], Row]) -> Picture | None:
    lines, rows = [], []
    for metric, word in (("recall", "found"), ("precision", "right when said")):
        for leaf in card.folder.spec.labels.leaves:
            row = scores.get((metric, f"class={leaf}"))
            if row is None:
                continue
            name = f"gold.{metric}.{leaf}"
            _score(card, name, f"{leaf}: {word}", row)
            number = card.book[name]
            lines.append(
                EstimateLine(label=safe_text(f"{leaf}: {word}"), value=number.value, low=number.low, high=number.high, n=number.n,
                             group=metric, reason=number.reason, words=ref_text(Ref(name, "both"), card.book.numbers))
            )  # fmt: skip
            rows.append(_score_cells(f"{leaf}: {word}", name))
    if not lines:
        return None
    return Picture(
        name="classes",
        plot=estimates_plot(lines, title="Each label on gold", axis="Share (%)", domain=(0.0, 1.0)),
        caption=text("Circles: of the items of a label, the share that was found. Triangles: of the items given a label, the "
                     "share that was right. Bars: intervals."),
        table=Table(head=("label", "value", "95 % interval", "n"), rows=rows, right=frozenset({1, 3})),
        slide_title=f"{card.version.name}: each label on gold",
        slide_number=text(Ref("gold.right")),
        slide_note=text("right on gold (", Ref("gold.right", "interval"), "; ", Ref("gold.right", "n"), " items)"),
    )  # fmt: skip


def slices(card: Card, scores: Mapping[tuple[str, str], Row]) -> Section:
    found = [
        row
        for (metric, where), row in scores.items()
        if metric == "accuracy" and where != "all" and not where.startswith("class=")
    ]
    found.sort(key=lambda row: (row["value"] is None, row["value"]))
    rows = []
    for row in found[:MOST_ROWS]:
        name = f"slice:{row['slice']}"
        _score(card, name, f"Right where {row['slice']}", row)
        rows.append(_score_cells(str(row["slice"]), name))
    table = Table(head=("slice", "right", "95 % interval", "n"), rows=rows, right=frozenset({1, 3}),
                  empty="No metadata to slice by, or not scored.")  # fmt: skip
    blocks: list[Block] = [table]
    if rows:
        blocks.append(
            Paragraph(line=text("Worst first; with many slices, some look bad by luck alone."), small=True)
        )
    return Section(key="slices", title="Where it is weak", blocks=blocks)


def suites(card: Card) -> Section:
    rows, gaps = [], []
    for row in card.book.panel("suites", sql.SUITES):
        summary = orjson.loads(row["summary_json"] or "{}")
        name = f"suite:{row['suite']}"
        number = card.book.share(name, f"Failed cases of suite {row['suite']}", "suites", row, "failed", "judged",
                                 key=("suite",), interval=False)  # fmt: skip
        stored = (summary.get("total") or {}).get("failure") or {}
        card.book.widen(name, stored.get("low"), stored.get("high"), stored.get("method") or "")
        rows.append(
            (
                text(Given(str(row["suite"]))),
                text(Ref(name)),
                text(Ref(name, "ends")),
                text(Ref(name, "n")),
                day(row["ts"]),
            )
        )
        for place, gap in enumerate(summary.get("gaps") or ()):
            key = f"gap:{row['suite']}:{gap['axis']}"
            card.book.computed(
                key, f"Gap between groups: {gap['axis']}", sql.gap_value(literal(row["suite_run_id"]), place), unit="points",
                reason=gap["gap"].get("reason") or "not measurable",
            )  # fmt: skip
            card.book.widen(
                key, gap["gap"].get("low"), gap["gap"].get("high"), gap["gap"].get("method") or ""
            )
            proven = gap.get("p_value") is not None and gap["p_value"] < 0.05
            words: State = State("unequal", "bad") if proven and number.n else State("within chance", "plain")
            gaps.append(
                (
                    text(Given(str(gap["axis"]))),
                    text(Ref(key)),
                    text(Ref(key, "ends")),
                    text(Ref(key, "n")),
                    text(words),
                )
            )
    blocks: list[Block] = [
        Table(head=("suite", "failed", "95 % interval", "cases", "run"), rows=rows, right=frozenset({1, 3}),
              empty="No suite was run with this version."),
    ]  # fmt: skip
    if gaps:
        blocks += [
            Paragraph(
                line=text("Identity terms in the same sentences: how far apart the groups are flagged."),
                strong=True,
            ),
            Table(
                head=("axis", "gap", "95 % interval", "templates", "verdict"),
                rows=gaps,
                right=frozenset({1, 3}),
            ),
        ]
    return Section(key="suites", title="Behaviour and bias", blocks=blocks)


def certificates(card: Card) -> Section:
    rows = []
    for row in card.book.panel("certificates", sql.CERTIFICATES):
        spec = orjson.loads(row["spec_json"] or "{}")
        name, ends = f"certificate:{row['certificate_id']}", spec.get("expires_at")
        card.book.cell(f"{name}.coverage", "Share accepted under the certificate", "certificates", row, "coverage", unit="share",
                       n="pool_n", key=("certificate_id",))  # fmt: skip
        over = ends is not None and datetime.fromisoformat(ends) < card.now
        stands = "voided" if row["state"] == "voided" else "expired" if over else "valid"
        promise = Given(f"≤ {100 * float(spec['alpha']):g} % wrong") if spec.get("alpha") is not None else "–"
        rows.append(
            (
                text(Given(row["certificate_id"], code=True)),
                text(promise),
                text(Ref(f"{name}.coverage")),
                day(row["issued_at"]),
                text(Given(str(ends)[:10])) if ends else ("–",),
                text(State(stands, "good" if stands == "valid" else "open")),
                given(row["reason"] if stands == "voided" else ""),
            )
        )
    table = Table(head=("certificate", "promise", "decides alone", "issued", "ends", "state", "why"), rows=rows,
                  right=frozenset({2}), empty="None: nothing is proven of its automatic decisions.")  # fmt: skip
    return Section(key="certificates", title="What is proven", blocks=[table])


def production(card: Card) -> Section:
    (row,) = card.book.panel("production", sql.PRODUCTION)
    card.book.cell("production.decisions", "Items decided in production", "production", row, "decisions")
    card.book.share(
        "production.coverage",
        "Decided alone in production",
        "production",
        row,
        "auto",
        "decisions",
        interval=False,
    )
    if not row["decisions"]:
        line = text("It has decided nothing in production.")
    else:
        line = text("It decided ", Ref("production.decisions"), " items from ", *day(row["first"]), " to ", *day(row["last"]), ", ",
                    Ref("production.coverage"), " of them alone. How right those were: ",
                    command(f"labelproof quality {card.folder.name} --strategy {card.version.name}"), ".")  # fmt: skip
    return Section(key="production", title="In production", blocks=[Paragraph(line=line)])


def failures(card: Card, *, with_text: bool) -> Section:
    blocks: list[Block] = []
    causes = card.book.panel("causes", sql.CAUSES)
    if causes:
        shown = causes[:8]
        for row in shown:
            card.book.cell(
                f"cause:{row['cause']}",
                f"Errors by cause: {row['cause']}",
                "causes",
                row,
                "errors",
                n="total",
                key=("cause",),
            )
        words = [safe_text(str(row["cause"])).replace("_", " ") for row in shown]
        blocks.append(
            Picture(
                name="causes",
                plot=bars_plot({w: float(row["errors"]) for w, row in zip(words, shown, strict=True)}, title="Errors by cause", axis="Errors"),
                caption=text("Its errors by the cause that the evidence speaks for most."),
                table=Table(head=("cause", "errors"), right=frozenset({1}),
                            rows=[(text(Given(w)), text(Ref(f"cause:{row['cause']}"))) for w, row in zip(words, shown, strict=True)]),
                slide_title=f"{card.version.name}: what its errors come from",
                slide_number=text(Ref(f"cause:{shown[0]['cause']}")),
                slide_note=text("of ", Ref(f"cause:{shown[0]['cause']}", "n"), " errors: ", Given(words[0])),
            )
        )  # fmt: skip
    blocks.append(_confusions(card))
    findings = [
        (
            text(severity(row["severity"])),
            text(Given(row["title"] or row["finding_id"])),
            given(row["cause"]),
            given(_who(card.folder, row["owner"] or "")),
        )
        for row in card.book.panel("findings", sql.FINDINGS)
    ][:MOST_ROWS]
    blocks += [
        Paragraph(line=text("Open findings of the project:"), strong=True),
        Table(head=("severity", "finding", "cause", "owner"), rows=findings, empty="No finding is open."),
    ]
    if with_text:
        blocks += _wrong_items(card)
    return Section(key="failures", title="Known failure modes", blocks=blocks)


def _who(folder: ProjectFolder, owner: str) -> str:
    """Return who owns a finding as a published card may say it: a role, never a person's name, address or number."""
    if not owner:
        return "nobody"
    for contact in folder.spec.contacts:
        if owner == contact.role or (contact.name and owner.startswith(contact.name)):
            return contact.role
    return "assigned"


def _confusions(card: Card) -> Table:
    rows = []
    for row in card.book.panel("confusions", sql.CONFUSIONS)[:MOST_ROWS]:
        name = f"confusion:{row['gold']}>{row['said']}"
        card.book.cell(
            name,
            f"{row['gold']} given as {row['said']}",
            "confusions",
            row,
            "errors",
            n="of_gold",
            key=("gold", "said"),
        )
        rows.append(
            (text(Given(row["gold"])), text(Given(row["said"])), text(Ref(name)), text(Ref(name, "n")))
        )
    return Table(head=("gold label", "given as", "items", "of"), rows=rows, right=frozenset({2, 3}),
                 empty="No error on the test split is stored.")  # fmt: skip


def _wrong_items(card: Card) -> list[Block]:
    rows = [
        (
            text(Given(row["gold"])),
            text(Given(row["label"] or "failed")),
            text(Given((row["text"] or "")[:EXCERPT])),
        )
        for row in card.book.panel("wrong_items", sql.WRONG_ITEMS)
    ]
    return [
        Paragraph(
            line=text("Errors on the test split, the most confident first (beginning of the text):"),
            strong=True,
        ),
        Table(head=("gold label", "given as", "text"), rows=rows, empty="None."),
    ]


def limits(card: Card, scores: Mapping[tuple[str, str], Row]) -> Section:
    lines: list[Line] = []
    few = [
        leaf
        for leaf in card.folder.spec.labels.leaves
        if (row := scores.get(("recall", f"class={leaf}"))) is not None and (row["n"] or 0) < SMALL_N
    ]
    if few:
        lines.append(
            text(
                "Little gold (below ",
                Given(str(SMALL_N)),
                " items), so that little is known: ",
                Given(", ".join(few)),
                ".",
            )
        )
    if not scores:
        lines.append(text("No gold result is stored for this version."))
    if not card.book.queries.get("suites") or not any(
        name.startswith("suite:") for name in card.book.numbers
    ):
        lines.append(
            text(
                "Robustness, bias and injection are not tested: ",
                command(f"labelproof suite run {card.folder.name}"),
                ".",
            )
        )
    if not any(name.startswith("certificate:") for name in card.book.numbers):
        lines.append(text("No certificate: its confidence is calibrated at best, not proven."))
    lines.append(text("Results hold for items drawn as the gold was; traffic that changes needs new gold. ",
                      state("not yet provable"), " is not the same as wrong."))  # fmt: skip
    return Section(key="limits", title="Limits", blocks=[Bullets(lines=lines)])
