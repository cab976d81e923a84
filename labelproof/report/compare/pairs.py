"""Both sides on the items that both answered: the arrays of the tests, with where each item came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from evaluation._arrays import FloatArray, IntArray
from evaluation.paired import BoolArray, PairedAnswers
from labelproof.report.compare.data import SideAnswers, all_labels, gold_codes, recode
from labelproof.report.compare.gold import GoldItems
from labelproof.report.compare.keys import ItemKeys
from labelproof.spec.labels import EMPTY_SET, LabelSchema
from labelproof.spec.metrics import PER_CLASS, MetricRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The compared items. ``index`` (n,): their places among the items asked for; the arrays of ``answers`` follow it.

    ``unknown``: labels that occur and that the schema does not have (a stored version of other days).
    """

    answers: PairedAnswers
    parents: PairedAnswers | None
    """The same with the parents of a taxonomy as classes, for metrics that name one."""
    index: IntArray
    item_ids: pa.Array
    """Of all items asked for, as are ``keys``."""
    keys: ItemKeys
    confidence_a: FloatArray
    confidence_b: FloatArray
    run_a: IntArray
    run_b: IntArray
    unknown: tuple[str, ...]
    n_wanted: int
    n_only_a: int
    n_only_b: int

    def of(self, metric: MetricRef) -> PairedAnswers:
        """Return the arrays whose classes hold the metric's class."""
        if metric.name in PER_CLASS and metric.of not in self.answers.classes and self.parents is not None:
            return self.parents
        return self.answers


def make_pairs(
    schema: LabelSchema,
    item_ids: pa.Array,
    keys: ItemKeys,
    gold: GoldItems | None,
    a: SideAnswers,
    b: SideAnswers,
    cluster: IntArray | None,
) -> Pairs:
    """Return the items that both sides answered; everything else is only counted."""
    labels = all_labels(gold, (a, b)) or schema.leaves[:1]
    lookup = {label: code for code, label in enumerate(labels)}
    both = a.answered & b.answered
    whole = bool(both.all())
    index = np.flatnonzero(both)

    def kept(
        values: np.ndarray[tuple[int], np.dtype[np.generic]],
    ) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        return values if whole else values[index]

    answers = PairedAnswers(
        labels=labels,
        classes=schema.leaves,
        members=_members(schema, labels, schema.leaves),
        gold=None if gold is None else _ints(kept(gold_codes(gold, lookup))),
        a=_ints(kept(recode(a.label, a.labels, lookup))),
        b=_ints(kept(recode(b.label, b.labels, lookup))),
        accepted_a=_bools(kept(a.accepted)),
        accepted_b=_bools(kept(b.accepted)),
        weight=None if gold is None or gold.weight is None else _floats(kept(gold.weight)),
        cluster=None if cluster is None else _ints(kept(cluster)),
        cost_a=_known(_floats(kept(a.cost_usd))),
        cost_b=_known(_floats(kept(b.cost_usd))),
        latency_a=_known(_floats(kept(a.latency_ms))),
        latency_b=_known(_floats(kept(b.latency_ms))),
    )
    parents = None
    if schema.kind == "taxonomy":
        names = tuple(parent.name for parent in schema.classes)
        parents = replace(answers, classes=names, members=_members(schema, labels, names))
    known = set(schema.leaves)
    return Pairs(
        answers=answers,
        parents=parents,
        index=index,
        item_ids=item_ids,
        keys=keys,
        confidence_a=_floats(kept(a.confidence)),
        confidence_b=_floats(kept(b.confidence)),
        run_a=_ints(kept(a.run)),
        run_b=_ints(kept(b.run)),
        unknown=tuple(label for label in labels if not _named(schema, label) <= known),
        n_wanted=len(item_ids),
        n_only_a=int((a.answered & ~b.answered).sum()),
        n_only_b=int((b.answered & ~a.answered).sum()),
    )


def _named(schema: LabelSchema, label: str) -> frozenset[str]:
    return frozenset() if schema.kind == "multi" and label == EMPTY_SET else schema.members(label)


def _members(schema: LabelSchema, labels: tuple[str, ...], classes: tuple[str, ...]) -> BoolArray:
    """Return (L, K): which classes a label names; of a taxonomy's parents, the one it lies below."""
    found = np.zeros((len(labels), len(classes)), dtype=np.bool_)
    for row, label in enumerate(labels):
        named = _named(schema, label)
        named |= {name.partition("/")[0] for name in named} if schema.kind == "taxonomy" else frozenset()
        found[row] = [name in named for name in classes]
    return found


def _known(values: FloatArray) -> FloatArray | None:
    return None if np.isnan(values).all() else values


def _ints(values: object) -> IntArray:
    return np.asarray(values, dtype=np.int64)


def _floats(values: object) -> FloatArray:
    return np.asarray(values, dtype=np.float64)


def _bools(values: object) -> BoolArray:
    return np.asarray(values, dtype=np.bool_)
