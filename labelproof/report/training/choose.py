"""Which decided rows are in a set: filters, duplicates, leaks from gold, and the held-out share. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from evaluation._arrays import BoolArray, IntArray
from evaluation.disguised import bare_form, holds_any
from evaluation.near_duplicates import near_any, near_pairs, normal_form
from labelproof.report.training.model import Chosen, LabelRow, Part, Rules
from labelproof.spec.hashing import PREFIX, digest_parts


def choose(
    rows: Sequence[LabelRow],
    rules: Rules,
    *,
    labels: Collection[str] | None,
    gold_ids: Collection[str],
    gold: Sequence[str],
) -> Chosen:
    """Return the rows that ``rules`` let in, by part, in the order of their item ids; every row left out is counted once.

    ``labels``: canonical labels that the schema still has; None: any. ``gold_ids``, ``gold``: items and texts of gold
    that a set must not teach. Like texts, and items of one cluster, are always in the same part: which part is decided over
    *all* decided rows, so that sets of other kinds made from the same store hold the same rows out.
    """
    out: Counter[str] = Counter()
    usable = [row for row in rows if _count(out, _unusable(row, labels))]
    forms = [normal_form(row.text) for row in usable]
    exact = {normal_form(text) for text in gold}
    pairs = near_pairs([*sorted(exact), *forms], threshold=rules.near)
    near = pairs.after(len(exact)).groups()
    leaked = pairs.near_first(len(exact)) | _disguised(usable, forms, gold, near=rules.near)
    places = _places(usable, near, rules)
    kept: list[int] = []
    for i, row in enumerate(usable):
        why = _filtered(row, rules)
        if why is None and (row.item_id in gold_ids or forms[i] in exact):
            why = "gold"
        if why is None and leaked[i]:
            why = "near gold"
        if why is None:
            why = _elsewhere(rules, places[i])
        if _count(out, why):
            kept.append(i)
    kept = _distinct(kept, usable, forms, near, out)
    parts: dict[Part, list[LabelRow]] = (
        {"evaluation": []} if rules.kind == "evaluation" else {"train": [], "val": []}
    )
    for i in kept:
        parts[places[i]].append(usable[i])
    return Chosen(parts=parts, left_out=out, n_decided=len(rows), n_gold=len(gold))


def _disguised(
    rows: Sequence[LabelRow], forms: Sequence[str], gold: Sequence[str], *, near: float
) -> BoolArray:
    """Return which rows (n,) hold a text of gold in disguise: something before or behind it, other signs between its letters,
    letters that look alike.
    """
    judged = sorted({bare_form(text) for text in gold})
    bare = [bare_form(row.text) for row in rows]
    found = holds_any(bare, judged)
    # Near in disguise is looked for only where the bare form is another text than the one that was compared already.
    odd = [i for i in range(len(rows)) if not forms[i].isascii() or len(bare[i]) < 0.7 * len(forms[i])]
    found[odd] |= near_any([bare[i] for i in odd], judged, threshold=near)
    return found


def _count(out: Counter[str], why: str | None) -> bool:
    if why is not None:
        out[why] += 1
    return why is None


def _unusable(row: LabelRow, labels: Collection[str] | None) -> str | None:
    if not row.text.strip():
        return "text"
    return "schema" if labels is not None and row.label not in labels else None


def _filtered(row: LabelRow, rules: Rules) -> str | None:
    """Return why the rules leave a row out by itself; None: they do not."""
    if row.task_kind == "gold":
        return "gold candidate"
    if row.source not in rules.include:
        return "source"
    if rules.kind != "sft" and row.source == "auto":
        return "machine"
    if rules.kind == "preference" and not row.rejected:
        return "no contrast"
    if row.source != "auto":
        return None
    if row.certificate_id is None and not rules.uncertified:
        return "uncertified"
    if row.certificate_state == "voided":
        return "voided"
    if (row.confidence or 0.0) < rules.min_confidence:
        return "confidence"
    return None


def _elsewhere(rules: Rules, place: Part) -> str | None:
    if rules.kind == "evaluation":
        return None if place == "evaluation" else "not held out"
    return "evaluation" if place == "evaluation" else None


def _places(rows: Sequence[LabelRow], near: IntArray, rules: Rules) -> list[Part]:
    """Return each row's part, by a hash of its group: the first item id among all that it is tied to.

    A share of ``val_share`` each goes to validation and to evaluation: what a model is judged by has steered nothing.
    """
    parent = list(range(len(rows)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(a: int, b: int) -> None:
        first, second = sorted((root(a), root(b)))
        parent[second] = first

    first_of: dict[str, int] = {}
    for i, row in enumerate(rows):
        join(i, int(near[i]))
        if row.cluster:
            join(i, first_of.setdefault(row.cluster, i))
    names = [
        rows[root(i)].item_id for i in range(len(rows))
    ]  # rows come by item id: a root is the first of its group
    parts: dict[str, Part] = {}
    for name in set(names):
        chance = _chance(rules.seed, name)
        held: Part = "val" if chance < rules.val_share else "evaluation"
        parts[name] = held if chance < 2 * rules.val_share else "train"
    return [parts[name] for name in names]


def _chance(seed: int, name: str) -> float:
    """Return a number uniform on [0, 1) for a group, the same every time."""
    hashed = digest_parts("training-split", str(seed), name)
    return int(hashed.removeprefix(PREFIX)[:13], 16) / 16**13


def _distinct(
    kept: Sequence[int], rows: Sequence[LabelRow], forms: Sequence[str], near: IntArray, out: Counter[str]
) -> list[int]:
    """Return positions without repeated texts, and without near repeats of one label, in order; the rest is counted.

    Of the same text the most trusted label stays; where two labels are trusted alike, none is taken for right. Near
    repeats with another label stay: what little differs may be what decides.
    """
    by_form: dict[str, list[int]] = {}
    for i in kept:
        by_form.setdefault(forms[i], []).append(i)
    single: list[int] = []
    for same in by_form.values():
        trust = max(rows[i].trust for i in same)
        best = [i for i in same if rows[i].trust == trust]
        if len({rows[i].label for i in best}) > 1:
            out["conflict"] += len(same)
            continue
        single.append(min(best))
        out["same"] += len(same) - 1
    by_group: dict[tuple[int, str], list[int]] = {}
    for i in single:
        by_group.setdefault((int(near[i]), rows[i].label), []).append(i)
    chosen: list[int] = []
    for group in by_group.values():
        chosen.append(max(group, key=lambda i: (rows[i].trust, -i)))
        out["near"] += len(group) - 1
    for why in ("same", "near"):
        if not out[why]:
            del out[why]
    return sorted(chosen)
