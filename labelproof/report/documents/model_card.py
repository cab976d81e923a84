"""The card of a strategy version: what it is, what it learned from, how right it is, where it fails, what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from labelproof.report.compare.versions import find_version, known_versions
from labelproof.report.documents import _card_results as results
from labelproof.report.documents import _card_sql as sql
from labelproof.report.documents._card_results import Card
from labelproof.report.documents.book import Book
from labelproof.report.documents.lines import day, given, sentence, text
from labelproof.report.documents.model import (
    Block,
    Bullets,
    Content,
    Given,
    Line,
    Paragraph,
    Ref,
    Section,
    Table,
    Tile,
)
from labelproof.spec.hashing import digest_text, short
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore


def model_card(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    now: datetime,
    ref: str | None = None,
    with_text: bool = False,
) -> Content:
    """Return the card of a stored strategy version; ``with_text``: excerpts of items that it got wrong on gold.

    ``ref``: NAME or NAME@FINGERPRINT (a bare name: its latest version with answers); default: the project's strategy.
    """
    known = known_versions(store, folder.name)
    wanted = ref or folder.spec.default_strategy
    if ref is None or wanted in {one.name for one in known}:
        answered = [one for one in known if one.name == wanted and one.answered_at is not None]
        wanted = f"{wanted}@{answered[0].fp}" if answered else wanted
    version = find_version(store, folder, wanted, known=known, learned={})
    params = {"project": folder.name, "fp": version.fp}
    card = Card(folder=folder, version=version, book=Book(store, params), now=now)
    scores = {(row["metric"], row["slice"]): row for row in card.book.panel("scores", sql.SCORES)}
    sections = [
        _what(card),
        _use(card),
        _learned(card),
        results.gold(card, scores),
        results.slices(card, scores),
        results.suites(card),
        results.certificates(card),
        results.production(card),
        results.failures(card, with_text=with_text),
        results.limits(card, scores),
    ]
    return Content(
        kind="model-card",
        project=folder.name,
        title=f"{folder.name}: model card of {version.name}",
        subtitle=text("version ", Given(card.ref, code=True), ", as of ", *day(now)),
        headline=_headline(card),
        tone="plain",
        tiles=_tiles(card),
        sections=sections,
        numbers=card.book.numbers,
        queries=card.book.queries,
        command=f"labelproof report model-card {folder.name} --strategy {card.ref}",
        now=now,
        period_to=now,
        ref=version.fp,
        stem=f"model-card-{_file_name(version.name)}-{short(version.fp)}",
    )


def _headline(card: Card) -> Line:
    number = card.book.numbers.get("gold.right")
    if number is None or number.value is None:
        return text(Given(card.ref), " is not scored on gold yet.")
    return text(Given(card.ref), " is right on ", Ref("gold.right"), " of gold (", Ref("gold.right", "interval"), "; ",
                Ref("gold.right", "n"), " items).")  # fmt: skip


def _tiles(card: Card) -> list[Tile]:
    wanted = (("gold.right", "Right on gold"), ("gold.macro_f1", "Macro-F1"), ("gold.confidence_auroc", "AUROC of confidence"),
              ("production.coverage", "Decided alone in production"))  # fmt: skip
    found = []
    for name, label in wanted:
        number = card.book.numbers.get(name)
        if number is not None and number.value is not None:
            detail: Line = (
                text(Ref(name, "interval"))
                if number.low is not None
                else text("of ", Ref(name, "n"), " decisions")
            )
            found.append(Tile(label=label, line=text(Ref(name)), detail=detail))
    return found


def _steps(card: Card) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = card.version.snapshot.get("steps", ())
    return found


def _what(card: Card) -> Section:
    description = card.version.snapshot.get("description") or "no description"
    rows: list[tuple[Line, ...]] = []
    for step in _steps(card):
        parts = step.get("components", {})
        models = ", ".join(str(one.get("model")) for one in parts.get("models", ()))
        prompt = (parts.get("prompt") or {}).get("reference")
        method = (parts.get("params") or {}).get("method")
        rows.append(
            (given(step.get("name")), given(step.get("kind")), given(method), given(models), given(prompt))
        )
    labels = [
        (given(name), text(Given(one.description or "")), text(one.severity))
        for name, one in card.folder.spec.labels.leaf_classes.items()
    ]
    blocks: list[Block] = [
        Paragraph(line=text(Given(str(description)))),
        Table(head=("step", "kind", "method", "model", "prompt"), rows=rows),
        Paragraph(line=text("Labels of kind ", card.folder.spec.labels.kind, ":"), strong=True),
        Table(head=("label", "meaning", "severity"), rows=labels),
        Bullets(lines=[*_guidelines(card), text("Fingerprint: ", Given(card.version.fp, code=True), ".")]),
    ]
    return Section(key="what", title="What it is", blocks=blocks)


def _guidelines(card: Card) -> Iterator[Line]:
    """The guideline's version in each step that reads one."""
    seen: dict[str, str] = {}
    for step in _steps(card):
        found = (
            (step.get("components", {}).get("guideline") or {})
            if isinstance(step.get("components"), dict)
            else {}
        )
        if found.get("text"):
            seen.setdefault(digest_text(str(found["text"])), str(found.get("use", "full")))
    for fp, use in seen.items():
        yield text("Guideline in the prompt: ", Given(use), ", version ", Given(short(fp), code=True), ".")
    if not seen:
        yield text("No guideline stands in its prompts.")


def _use(card: Card) -> Section:
    spec = card.folder.spec
    harm = ", ".join(spec.routing.always_review)
    lines: list[Line] = [
        text("Meant for: ", sentence(spec.description or "the project's items"), "."),
        text("Not meant for other sources, languages or policies than those of its gold; nor to judge people."),
        text("It decides alone ", "only above a certified confidence" if spec.routing.mode == "certified"
             else "above a threshold that the project set without proof", "; all else goes to people."),
    ]  # fmt: skip
    if harm:
        lines.append(text("Always shown to people: ", Given(harm), "."))
    return Section(key="use", title="What it is for", blocks=[Bullets(lines=lines)])


def _learned(card: Card) -> Section:
    lines: list[Line] = []
    for place, step in enumerate(_steps(card)):
        parts = step.get("components", {})
        name = str(step.get("name"))
        calibration = parts.get("calibration")
        if isinstance(calibration, dict) and calibration.get("n") is not None:
            path = f"$.steps[{place}].components.calibration.n"
            card.book.computed(f"learned.calibration.{place}", f"Gold items that {name} was fitted on",
                               sql.snapshot_value(path), unit="count")  # fmt: skip
            lines.append(text("Step ", Given(name, code=True), " was fitted on ", Ref(f"learned.calibration.{place}"),
                              " gold items of the split calibration."))  # fmt: skip
        if parts.get("examples"):
            path = f"$.steps[{place}].components.examples"
            card.book.computed(
                f"learned.examples.{place}",
                f"Gold examples that {name} may use",
                sql.snapshot_length(path),
                unit="count",
            )
            lines.append(text("Step ", Given(name, code=True), " may use ", Ref(f"learned.examples.{place}"),
                              " gold items of the split examples."))  # fmt: skip
    if not lines:
        lines.append(text("It learned from no item of this project."))
    lines.append(text("What its models were trained on before is their makers' to say."))
    return Section(key="learned", title="What it learned from", blocks=[Bullets(lines=lines)])


def _file_name(name: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "-_" else "-" for mark in name)
