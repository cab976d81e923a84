"""What is watched, kind by kind: batches, how they are scored, what moved in words, and items to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation._arrays import BoolArray, FloatArray, IntArray
from evaluation.drift import CategoryScorer, OrderedScorer, Scorer, total_variation
from evaluation.intervals import Estimate
from evaluation.text_drift import (
    TextScorer,
    day_means,
    guess_language,
    moved_words,
    text_features,
    text_shift,
)
from labelproof.report.drift.batches import Batches, batches_of
from labelproof.report.drift.read import DayTexts, Traffic
from labelproof.store import TraceStore

EXAMPLES = 10
_MOST_MOVED = 5
_EIGHTHS = 4
"""Bins of length an octave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A share before and after. ``name``: of what."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shift:
    """How far after is from before: ``effect`` with interval, the shares that moved most first, items to look at."""

    effect: Estimate
    moved: tuple[Moved, ...]
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """One kind's batches. ``shift`` compares batches ``before`` and ``after`` (B,) masks. ``n`` (B,) items."""

    batches: Batches
    scorer: Scorer
    n: FloatArray
    sql: str
    shift: Callable[[BoolArray, BoolArray], Shift]
    about: str
    """What is counted, in words."""
    version: str | None = None


def label_stream(traffic: Traffic, version: str, today: int, seed: int) -> Stream:
    """Shares of labels that a strategy version gives."""
    days = traffic.labels(version)
    batches = batches_of(days.day, days.n, today=today)
    counts = batches.sums(days.counts)

    def items(name: str, first: int) -> tuple[str, ...]:
        return _decided(traffic, version, first, "label = $value", "item_id", name)

    return _of_categories(batches, counts, days.names, days.sql, items, seed, "labels", version)


def manipulation_stream(traffic: Traffic, today: int, seed: int) -> Stream:
    """Share of items that were sent to people because they try to steer the model."""
    days = traffic.manipulations()
    batches = batches_of(days.day, days.n, today=today)

    def items(_: str, first: int) -> tuple[str, ...]:
        return _decided(traffic, None, first, "starts_with(reason, 'manipulation')", "item_id")

    counts = batches.sums(days.counts)
    return _of_categories(batches, counts, days.names, days.sql, items, seed, "tries to steer the model")


def language_stream(
    traffic: Traffic, texts: Callable[[], DayTexts], column: str, today: int, seed: int
) -> Stream:
    """Shares of languages: the metadata column, else guessed from the texts drawn."""
    days = traffic.languages(column)
    if days is not None:
        batches = batches_of(days.day, days.n, today=today)

        def named(_: str, __: int) -> tuple[str, ...]:
            return ()

        return _of_categories(
            batches, batches.sums(days.counts), days.names, days.sql, named, seed, f"`{column}`"
        )
    drawn = texts()
    of_text = {text: guess_language(text) for text in set(drawn.text)}  # the same text may come many times
    guessed = [of_text[text] for text in drawn.text]
    names = sorted(set(guessed)) or ["unknown"]
    place = {name: i for i, name in enumerate(names)}
    day, at = np.unique(drawn.day, return_inverse=True)
    table = np.zeros((len(day), len(names)))
    np.add.at(table, (at, np.array([place[name] for name in guessed], dtype=np.int64)), 1.0)
    batches = batches_of(day, table.sum(axis=1), today=today)

    def items(name: str, first: int) -> tuple[str, ...]:
        fits = (
            item
            for item, language, when in zip(drawn.item_id, guessed, drawn.day, strict=True)
            if language == name and when >= first
        )
        return tuple(item for _, item in zip(range(EXAMPLES), fits, strict=False))

    about = f"languages (guessed: no item has `{column}`)"
    return _of_categories(batches, batches.sums(table), tuple(names), drawn.sql, items, seed, about)


def confidence_stream(traffic: Traffic, version: str, today: int, seed: int) -> Stream:
    """Confidence of a strategy version's answers."""
    days, missing = traffic.confidences(version)
    batches = batches_of(days.day, days.n + missing, today=today)
    counts, without = batches.sums(days.counts), batches.sums(missing)
    scorer = OrderedScorer(counts=counts, edges=tuple(float(name) for name in days.names), missing=without)

    def items(lower: bool, first: int) -> tuple[str, ...]:
        order = "confidence, item_id" if lower else "confidence DESC, item_id"
        return _decided(traffic, version, first, "confidence IS NOT NULL", order)

    return _of_order(batches, scorer, counts, days.sql, items, seed, "confidence", version)


def length_stream(drawn: DayTexts, today: int, seed: int) -> Stream:
    """Characters of the texts drawn."""
    length = np.array([max(1, len(text)) for text in drawn.text], dtype=np.float64)
    bins = np.floor(_EIGHTHS * np.log2(length)).astype(np.int64) if len(length) else np.zeros(0, np.int64)
    edges = tuple(float(round(2 ** ((i + 1) / _EIGHTHS))) for i in range(int(bins.max(initial=0)) + 1))
    day, at = np.unique(drawn.day, return_inverse=True)
    table = np.zeros((len(day), len(edges)))
    np.add.at(table, (at, bins), 1.0)
    batches = batches_of(day, table.sum(axis=1), today=today)
    counts = batches.sums(table)

    def items(lower: bool, first: int) -> tuple[str, ...]:
        late = np.flatnonzero(drawn.day >= first)
        order = late[np.argsort(length[late] if lower else -length[late], kind="stable")]
        return tuple(drawn.item_id[i] for i in order[:EXAMPLES])

    return _of_order(
        batches, OrderedScorer(counts=counts, edges=edges), counts, drawn.sql, items, seed, "characters"
    )


def text_stream(drawn: DayTexts, today: int, seed: int) -> Stream:
    """The texts themselves, as hashed runs of characters."""
    day, at = np.unique(drawn.day, return_inverse=True)
    batches = batches_of(day, np.bincount(at, minlength=len(day)).astype(np.float64), today=today)
    of_text: IntArray = batches.of[at] if len(day) else np.zeros(0, dtype=np.int64)
    kept = np.flatnonzero(of_text >= 0)
    features = text_features([drawn.text[i] for i in kept])
    batch = of_text[kept]
    means, n = day_means(features, batch, len(batches))

    def shift(before: BoolArray, after: BoolArray) -> Shift:
        chosen = np.flatnonzero(before[batch] | after[batch])
        late = after[batch[chosen]]
        found = text_shift(features[chosen], late, batch[chosen], seed=seed)
        sides = [[drawn.text[kept[i]] for i in chosen[late == side]] for side in (False, True)]
        words = tuple(
            Moved(name=f"texts with '{one.word}'", before=one.before, after=one.after)
            for one in moved_words(sides[0], sides[1], most=_MOST_MOVED)
        )
        leaning = np.flatnonzero(late)[np.argsort(-found.lean[late], kind="stable")][:EXAMPLES]
        items = tuple(drawn.item_id[kept[chosen[i]]] for i in leaning)
        return Shift(effect=found.auc, moved=words, items=items)

    return Stream(
        batches=batches, scorer=TextScorer(means=means, n=n), n=n, sql=drawn.sql, shift=shift, about="texts"
    )


def _of_categories(
    batches: Batches,
    counts: FloatArray,
    names: tuple[str, ...],
    sql: str,
    items: Callable[[str, int], tuple[str, ...]],
    seed: int,
    about: str,
    version: str | None = None,
) -> Stream:
    def shift(before: BoolArray, after: BoolArray) -> Shift:
        effect = total_variation(counts[before], counts[after], seed=seed)
        moved = _most_moved(counts[before].sum(axis=0), counts[after].sum(axis=0), names)
        risen = next((one.name for one in moved if one.after > one.before), None)
        first = int(batches.first[after][0])
        return Shift(effect=effect, moved=moved, items=items(risen, first) if risen else ())

    return Stream(
        batches=batches,
        scorer=CategoryScorer(counts=counts, names=names),
        n=counts.sum(axis=1),
        sql=sql,
        shift=shift,
        about=about,
        version=version,
    )


def _of_order(
    batches: Batches,
    scorer: OrderedScorer,
    counts: FloatArray,
    sql: str,
    items: Callable[[bool, int], tuple[str, ...]],
    seed: int,
    about: str,
    version: str | None = None,
) -> Stream:
    def shift(before: BoolArray, after: BoolArray) -> Shift:
        known = counts[before].sum(axis=0)
        # Deciles of before: a distance over fine bins would be mostly chance.
        share = known.cumsum() / max(known.sum(), 1.0)
        group = np.minimum(np.floor(share * 10 - 1e-9), 9).astype(np.int64)
        coarse = np.zeros((len(counts), 10))
        np.add.at(coarse.T, group, counts.T)
        effect = replace(
            total_variation(coarse[before], coarse[after], seed=seed),
            method="total variation over deciles, basic bootstrap over days",
        )
        scores = scorer(np.flatnonzero(before))
        shares = np.sin(np.clip(scores.x, 0, np.pi / 2)) ** 2
        weight = counts.sum(axis=1)
        moved = tuple(
            Moved(
                name=f"{about} {name}",
                before=float(np.average(shares[before, k], weights=weight[before])),
                after=float(np.average(shares[after, k], weights=weight[after])),
            )
            for k, name in enumerate(scores.names)
        )
        moved = tuple(sorted(moved, key=lambda one: -abs(one.after - one.before)))
        lower = bool(moved) and moved[0].after > moved[0].before
        return Shift(effect=effect, moved=moved, items=items(lower, int(batches.first[after][0])))

    return Stream(
        batches=batches,
        scorer=scorer,
        n=counts.sum(axis=1),
        sql=sql,
        shift=shift,
        about=about,
        version=version,
    )


def _most_moved(before: FloatArray, after: FloatArray, names: tuple[str, ...]) -> tuple[Moved, ...]:
    a, b = before / max(before.sum(), 1.0), after / max(after.sum(), 1.0)
    size = np.round(np.abs(b - a), 12)
    order = np.lexsort((a - b, -size))[:_MOST_MOVED]  # of two that moved alike, what rose comes first
    return tuple(Moved(name=names[i], before=float(a[i]), after=float(b[i])) for i in order if a[i] != b[i])


_DECIDED = """WITH mine AS (SELECT run_id FROM runs WHERE project = $project GROUP BY run_id)
SELECT item_id, coalesce(confidence, raw_confidence) AS confidence FROM decisions JOIN mine USING (run_id)
WHERE {version} AND ts <= $until AND epoch_us(ts) // 86400000000 >= $first AND {where}
ORDER BY {order} LIMIT {most}
"""


def _decided(
    traffic: Traffic, version: str | None, first: int, where: str, order: str, value: str | None = None
) -> tuple[str, ...]:
    """Ids of items decided since day ``first`` by a strategy version; None: by any."""
    params: dict[str, Any] = {"project": traffic.project, "until": traffic.until, "first": first}
    if version is not None:
        params["version"] = version
    if value is not None:
        params["value"] = value
    store: TraceStore = traffic.store
    mine = "true" if version is None else "strategy_fp = $version"
    sql = _DECIDED.format(version=mine, where=where, order=order, most=EXAMPLES)
    return tuple(store.query(sql, params, fresh=True)["item_id"].to_pylist())
