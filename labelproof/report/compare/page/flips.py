"""The items that both strategies label differently: as rows, under filters, and no more of them than a page can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from labelproof.report.compare.model import CompareReport, Flip
from labelproof.report.numbers import count
from labelproof.report.visible_text import Segment, excerpt

Show = Literal["all", "broke", "fixed", "both_wrong", "no_gold", "unstable", "disputed"]
FILTERS: tuple[Show, ...] = get_args(Show)
WORDS: Mapping[str, str] = {
    "all": "All",
    "broke": "Broke",
    "fixed": "Fixed",
    "both_wrong": "Both wrong",
    "no_gold": "No gold",
    "unstable": "Unstable",
    "disputed": "Gold disputed",
}
KIND_WORDS: Mapping[str, str] = {
    "broke": "▼ broke",
    "fixed": "▲ fixed",
    "both_wrong": "both wrong",
    "no_gold": "no gold",
}
STABILITY_WORDS: Mapping[str, str] = {
    "stable": "same answer",
    "unstable": "changed again",
    "unknown": "not asked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipView:
    """A row of the table; ``under``: the filters it belongs to, ``href``: where both traces are."""

    item_id: str
    name: str
    text: tuple[Segment, ...]
    gold: str
    label_a: str
    label_b: str
    confidence_a: str
    confidence_b: str
    decision_a: str
    decision_b: str
    kind: str
    kind_words: str
    step: str
    stability: str
    stability_words: str
    doubt: str | None
    under: tuple[Show, ...]
    href: str | None


def filters_of(flip: Flip) -> tuple[Show, ...]:
    """Return the filters under which a flip is found."""
    found: list[Show] = ["all", flip.kind]
    if flip.stability == "unstable":
        found.append("unstable")
    if flip.gold_doubt is not None:
        found.append("disputed")
    return tuple(found)


def counted(flips: Sequence[Flip]) -> list[tuple[Show, str, str]]:
    """Return (filter, words, number of flips under it) for "all" and every filter that finds any."""
    counts = dict.fromkeys(FILTERS, 0)
    for flip in flips:
        for name in filters_of(flip):
            counts[name] += 1
    return [(name, WORDS[name], count(counts[name])) for name in FILTERS if counts[name] or name == "all"]


def under(flips: Sequence[Flip], show: Show) -> list[Flip]:
    """Return the flips under a filter, in their order."""
    return list(flips) if show == "all" else [flip for flip in flips if show in filters_of(flip)]


def spread(flips: Sequence[Flip], most: int) -> list[Flip]:
    """Return at most ``most`` flips in their order, the same number of each kind as far as there are so many."""
    if len(flips) <= most:
        return list(flips)
    kinds = sorted({flip.kind for flip in flips})
    left = {kind: sum(flip.kind == kind for flip in flips) for kind in kinds}
    room = dict.fromkeys(kinds, 0)
    rest = most
    for i, kind in enumerate(sorted(kinds, key=lambda one: (left[one], one))):
        room[kind] = min(left[kind], rest // (len(kinds) - i))
        rest -= room[kind]
    kept = []
    for flip in flips:
        if room[flip.kind]:
            room[flip.kind] -= 1
            kept.append(flip)
    return kept


def flip_views(flips: Sequence[Flip], href: Callable[[Flip], str | None]) -> list[FlipView]:
    """Return rows of the table."""
    return [
        FlipView(
            item_id=flip.item_id,
            name=flip.external_id[:120] or flip.item_id,
            text=excerpt(flip.excerpt),
            gold=flip.gold or "-",
            label_a=flip.label_a or "no answer",
            label_b=flip.label_b or "no answer",
            confidence_a=_confidence(flip.confidence_a),
            confidence_b=_confidence(flip.confidence_b),
            decision_a=(flip.decision_a or "").replace("_", "-"),
            decision_b=(flip.decision_b or "").replace("_", "-"),
            kind=flip.kind,
            kind_words=KIND_WORDS[flip.kind],
            step=flip.step or "-",
            stability=flip.stability,
            stability_words=STABILITY_WORDS[flip.stability],
            doubt=flip.gold_doubt,
            under=filters_of(flip),
            href=href(flip),
        )
        for flip in flips
    ]


def n_flips(report: CompareReport) -> int:
    """Return how many items are labelled differently, listed or not."""
    return len(report.flips) + report.flips_left_out


def _confidence(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
