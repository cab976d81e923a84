"""The card of a project's data: items, gold, how both came about, who labelled, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from evaluation.agreement import krippendorff_alpha
from evaluation.votes import VoteTable
from labelproof.report.documents import _card_sql as sql
from labelproof.report.documents.book import Book, Row
from labelproof.report.documents.lines import command, day, given, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Given,
    Line,
    Paragraph,
    Picture,
    Ref,
    Section,
    Table,
    Tile,
)
from labelproof.report.documents.words import safe_text
from labelproof.report.plots import bars_plot
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.project import SPLITS, ProjectFolder
from labelproof.store import TraceStore

SMALL_N = 30
MOST_ROWS = 12
_LICENCES = ("license", "licence", "rights")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    folder: ProjectFolder
    book: Book
    gold: Sequence[Row]
    keys: Sequence[str]


def data_card(store: TraceStore, folder: ProjectFolder, *, now: datetime) -> Content:
    """Return the card of what is stored of a project: no item's text stands in it. ``ConfigError`` when nothing is."""
    book = Book(store, {"project": folder.name})
    (items,) = book.panel("items", sql.ITEMS)
    if not items["items"]:
        raise ConfigError(
            f"project {folder.name!r} has no stored items", hint=f"labelproof run {folder.name}"
        )
    book.cell("items.n", "Items", "items", items, "items")
    keys = [str(row["key"]) for row in book.panel("meta_keys", sql.META_KEYS)]
    card = _Card(folder=folder, book=book, gold=book.panel("gold", sql.GOLD), keys=keys)
    sections = [
        _items(card, items),
        _languages(card),
        _labels(card),
        _gold(card),
        _people(card),
        _provenance(card),
    ]
    sections.append(_gaps(card))
    n_gold = sum(int(row["items"]) for row in card.gold)
    headline: Line = text(
        Ref("items.n"),
        " items, ",
        *((Ref("gold.n"), " of them with gold labels.") if n_gold else ("none with gold labels.",)),
    )
    return Content(
        kind="data-card",
        project=folder.name,
        title=f"{folder.name}: data card",
        subtitle=text("as of ", *day(now)),
        headline=headline,
        tone="plain",
        tiles=_tiles(card),
        sections=sections,
        numbers=book.numbers,
        queries=book.queries,
        command=f"labelproof report data-card {folder.name}",
        now=now,
        period_to=now,
        stem="data-card",
    )  # fmt: skip


def _tiles(card: _Card) -> list[Tile]:
    wanted = (
        ("items.n", "Items"),
        ("gold.n", "Gold items"),
        ("people.n", "Annotators"),
        ("people.alpha", "Agreement (alpha)"),
    )
    found = []
    for name, label in wanted:
        number = card.book.numbers.get(name)
        if number is not None and number.value is not None:
            detail: Line = text(Ref(name, "interval")) if number.low is not None else ()
            found.append(Tile(label=label, line=text(Ref(name)), detail=detail))
    return found


def _items(card: _Card, items: Row) -> Section:
    book = card.book
    (lengths,) = book.panel("lengths", sql.LENGTHS)
    for column, label in (("p5", "Length: shortest twentieth"), ("median", "Length: median"), ("p95", "Length: longest twentieth"),
                          ("longest", "Length: longest")):  # fmt: skip
        book.cell(f"length.{column}", label, "lengths", lengths, column, n="items")
    book.cell("items.ids", "Ids of items", "items", items, "ids")
    (rejected,) = book.panel("rejected", sql.REJECTED)
    book.cell("items.rejected", "Input rows that could not be used", "rejected", rejected, "rejected")
    rows = []
    for row in book.panel("sources", sql.SOURCES)[:MOST_ROWS]:
        name = f"source:{row['source']}"
        book.cell(name, f"Items from {row['source']}", "sources", row, "items", key=("source",))
        rows.append((text(Given(row["source"])), text(Ref(name)), day(row["first"]), day(row["last"])))
    lines: list[Line] = [
        text(Given(card.folder.spec.description or "No description is given in project.yaml.")),
        text("The same text twice is one item: ", Ref("items.ids"), " ids name ", Ref("items.n"), " items; ", Ref("items.rejected"),
             " input rows could not be used."),
        text("Characters of a text: median ", Ref("length.median"), ", nine of ten between ", Ref("length.p5"), " and ",
             Ref("length.p95"), ", the longest ", Ref("length.longest"), "."),
    ]  # fmt: skip
    blocks: list[Block] = [
        Bullets(lines=lines),
        Table(head=("source", "items", "first read", "last read"), rows=rows, right=frozenset({1})),
    ]
    if card.keys:
        blocks.append(Paragraph(line=text("Metadata: ", Given(", ".join(card.keys[:20])), "."), small=True))
    return Section(key="items", title="Items", blocks=blocks)


def _meta_table(card: _Card, key: str, column: str, head: str) -> Table:
    rows = []
    for row in card.book.panel(key, sql.META, column=column)[:MOST_ROWS]:
        name = f"{key}:{row['value']}"
        card.book.cell(
            name, f"Items with {column} {row['value']}", key, row, "items", n="total", key=("value",)
        )
        rows.append((text(Given(row["value"])), text(Ref(name)), text(Ref(name, "n"))))
    return Table(head=(head, "items", "of"), rows=rows, right=frozenset({1, 2}))


def _language_column(card: _Card) -> str | None:
    wanted = (card.folder.spec.monitoring.language_column, "language", "lang")
    return next((name for name in wanted if name in card.keys), None)


def _languages(card: _Card) -> Section:
    column = _language_column(card)
    if column is None:
        line = text("No metadata column says the language of an item.")
        return Section(key="languages", title="Languages", blocks=[Paragraph(line=line)])
    table = _meta_table(card, "language", column, "language")
    note = Paragraph(line=text("From the metadata column ", Given(column, code=True), "."), small=True)
    return Section(key="languages", title="Languages", blocks=[table, note])


def _labels(card: _Card) -> Section:
    rows, counts = [], {}
    found = card.book.panel("final", sql.FINAL)
    for row in found[:MOST_ROWS]:
        name = f"label:{row['label']}"
        card.book.cell(
            name, f"Items labelled {row['label']}", "final", row, "items", n="total", key=("label",)
        )
        card.book.cell(
            f"{name}.people",
            f"Items that people labelled {row['label']}",
            "final",
            row,
            "by_people",
            key=("label",),
        )
        counts[safe_text(str(row["label"]))] = float(row["items"])
        rows.append((text(Given(row["label"])), text(Ref(name)), text(Ref(f"{name}.people"))))
    title = "Labels in use"
    if not rows:
        return Section(key="labels", title=title, blocks=[Paragraph(line=text("No item has a final label."))])
    top = f"label:{found[0]['label']}"
    picture = Picture(
        name="labels",
        plot=bars_plot(counts, title="Final labels", axis="Items"),
        caption=text(
            "Final label of each item: what people decided last, else what the machine decided alone."
        ),
        table=Table(head=("label", "items", "by people"), rows=rows, right=frozenset({1, 2})),
        slide_title=f"{card.folder.name}: label mix",
        slide_number=text(Ref(top)),
        slide_note=text("of ", Ref(top, "n"), " labelled items: ", Given(found[0]["label"])),
    )
    return Section(key="labels", title=title, blocks=[picture])


def _gold(card: _Card) -> Section:
    title = "Gold: how it was drawn and used"
    book = card.book
    if not card.gold:
        return Section(
            key="gold", title=title, blocks=[Paragraph(line=text("There is no gold."))], new_page=True
        )
    total = f"SELECT sum(items) AS value, NULL AS n FROM (\n{book.queries['gold']}\n)"
    book.computed("gold.n", "Gold items", total, unit="count")
    splits = book.panel("splits", sql.SPLITS.format(gold=book.queries["gold"]))
    rows = []
    for row in splits:
        name = f"split:{row['split']}"
        book.cell(name, f"Gold items of the split {row['split']}", "splits", row, "items", key=("split",))
        rows.append(
            (
                text(Given(row["split"])),
                text(Ref(name)),
                text(Given(row["designs"] or "not said")),
                _probs(row),
            )
        )
    blocks: list[Block] = [
        Paragraph(line=text("Version ", Given(short(splits[0]["gold_fp"]), code=True), " of ", Given(splits[0]["gold_set"] or "gold"), ".")),
        Table(head=("split", "items", "design", "inclusion probability"), rows=rows, right=frozenset({1})),
        _mix(card),
        *_draws(card),
        *_looks(card),
    ]  # fmt: skip
    return Section(key="gold", title=title, blocks=blocks, new_page=True)


def _probs(row: Row) -> Line:
    least, most = row["least_prob"], row["most_prob"]
    if least is None:
        return ("not said",)
    return text(Given(f"{least:g}" if least == most else f"{least:.3g} to {most:.3g}"))


def _mix(card: _Card) -> Table:
    splits = [split for split in SPLITS if any(row["split"] == split for row in card.gold)]
    cells: dict[str, dict[str, str]] = {}
    for row in card.gold:
        name = f"gold:{row['split']}:{row['label']}"
        card.book.cell(
            name, f"Gold items {row['label']} in {row['split']}", "gold", row, "items", key=("split", "label")
        )
        cells.setdefault(str(row["label"]), {})[str(row["split"])] = name
    rows = [
        (text(Given(label)), *(text(Ref(found[split])) if split in found else ("–",) for split in splits))
        for label, found in sorted(cells.items())
    ]
    return Table(head=("label", *splits), rows=rows, right=frozenset(range(1, len(splits) + 1)))


def _draws(card: _Card) -> list[Block]:
    rows = []
    for row in card.book.panel("samples", sql.SAMPLES)[:MOST_ROWS]:
        name = f"draw:{row['sample_id']}"
        card.book.cell(f"{name}.n", "Items of a draw", "samples", row, "n", key=("sample_id",))
        card.book.cell(
            f"{name}.pool", "Items it was drawn from", "samples", row, "pool_n", key=("sample_id",)
        )
        rows.append(
            (day(row["ts"]), text(Given(row["design"])), text(Ref(f"{name}.n")), text(Ref(f"{name}.pool")))
        )
    table = Table(head=("drawn", "design", "items", "from a pool of"), rows=rows, right=frozenset({2, 3}))
    return [Paragraph(line=text("Draws:"), strong=True), table] if rows else []


def _looks(card: _Card) -> list[Block]:
    rows = []
    for row in card.book.panel("looks", sql.LOOKS):
        name = f"looks:{row['split']}:{row['purpose']}"
        card.book.cell(
            name,
            f"Looks at {row['split']} to {row['purpose']}",
            "looks",
            row,
            "looks",
            key=("split", "purpose"),
        )
        card.book.cell(
            f"{name}.versions",
            "Versions that were judged",
            "looks",
            row,
            "versions",
            key=("split", "purpose"),
        )
        rows.append(
            (
                text(Given(row["split"])),
                text(Given(row["purpose"])),
                text(Ref(name)),
                text(Ref(f"{name}.versions")),
            )
        )
    table = Table(head=("split", "purpose", "looks", "versions"), rows=rows, right=frozenset({2, 3}), empty="Nobody has looked at it yet.")  # fmt: skip
    return [Paragraph(line=text("How worn it is:"), strong=True), table]


def _people(card: _Card) -> Section:
    book = card.book
    (row,) = book.panel("people", sql.PEOPLE)
    for column, name, label in (("people", "people.n", "Annotators"), ("votes", "people.votes", "Answers of annotators"),
                                ("items", "people.items", "Items they answered")):  # fmt: skip
        book.cell(name, label, "people", row, column)
    number = book.computed("people.alpha", "Krippendorff's alpha of annotators", sql.ALPHA, unit="number",
                           reason="no task has two blind votes, or all votes are one label")  # fmt: skip
    if number.value is not None:
        votes = book.read(sql.PAIRED_VOTES)
        pairs = list(zip(votes["task_id"].to_pylist(), votes["label"].to_pylist(), strict=True))
        labels = sorted({label for _, label in pairs})
        estimate = krippendorff_alpha(_table(pairs, labels))
        book.widen(number.name, estimate.low, estimate.high, estimate.method)
    lines: list[Line] = [
        text(Ref("people.n"), " annotators gave ", Ref("people.votes"), " labels on ", Ref("people.items"), " items."),
        text("Agreement where two or more answered blind (Krippendorff's alpha): ", Ref("people.alpha"), " (",
             Ref("people.alpha", "interval"), "; ", Ref("people.alpha", "n"), " tasks).")
        if number.value is not None
        else text("How far they agree is not known: ", Given(number.reason), "."),
    ]  # fmt: skip
    return Section(key="people", title="Annotators", blocks=[Bullets(lines=lines)])


def _table(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> VoteTable:
    """The votes of a task under made-up names: agreement of labels does not ask who gave them."""
    seen: dict[str, int] = {}
    rows: list[tuple[str, str, str]] = []
    for task, label in pairs:
        seen[task] = seen.get(task, 0) + 1
        rows.append((task, f"a{seen[task]}", label))
    return VoteTable.from_votes(rows, labels=labels)


def _provenance(card: _Card) -> Section:
    column = next((key for key in card.keys if key.casefold() in _LICENCES), None)
    gold = card.folder.spec.gold
    lines: list[Line] = [
        text("Items are read from ", *given(card.folder.spec.items.path or "a query"), "."),
        text("Gold is read from ", *given(gold.path if gold else None), "."),
    ]
    blocks: list[Block] = [Bullets(lines=lines)]
    if column is None:
        blocks.append(
            Paragraph(line=text("No metadata column says under which licence an item may be used."))
        )
    else:
        blocks.append(_meta_table(card, "licence", column, "licence"))
    return Section(key="provenance", title="Where it comes from, and under which licence", blocks=blocks)


def _gaps(card: _Card) -> Section:
    lines: list[Line] = []
    n: dict[str, int] = {}
    for row in card.gold:
        if row["split"] == "test":
            for name in card.folder.spec.labels.members(str(row["label"])):
                n[name] = n.get(name, 0) + int(row["items"])
    few = [leaf for leaf in card.folder.spec.labels.leaves if n.get(leaf, 0) < SMALL_N]
    if few and card.gold:
        lines.append(
            text(
                "Too little test gold to say much of (below ",
                Given(str(SMALL_N)),
                " items): ",
                Given(", ".join(few)),
                ".",
            )
        )
    if not card.gold:
        lines.append(
            text(
                "Without gold nothing can be measured: ",
                command(f"labelproof gold sample {card.folder.name}"),
                ".",
            )
        )
    if _language_column(card) is None:
        lines.append(text("Languages are not known."))
    designs: Mapping[str, None] = {str(row["designs"]): None for row in card.gold}
    if card.gold and any("simple_random" not in one for one in designs):
        lines.append(text("Some gold was not drawn with equal chances: results must weigh it."))
    if card.book["people.alpha"].value is None:
        lines.append(text("Nobody knows how far people agree on these labels."))
    if not any(key.casefold() in _LICENCES for key in card.keys):
        lines.append(text("Licences of single items are not recorded."))
    if card.book["items.rejected"].value:
        lines.append(
            text(
                Ref("items.rejected"),
                " input rows could not be used: see the table ",
                Given("import_errors", code=True),
                ".",
            )
        )
    return Section(
        key="gaps", title="Known gaps", blocks=[Bullets(lines=lines or [text("None that a rule found.")])]
    )
