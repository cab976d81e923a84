"""How worn the gold of a comparison is: looks so far, and whether either side may be tuned on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.certificates import answers_fingerprint
from labelproof.report.compare.gold import GoldItems
from labelproof.report.compare.versions import Version
from labelproof.report.gold_looks import Look, all_looks, first_stored, record_version_look
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

_SHARING = """
SELECT DISTINCT gold_fp, split FROM gold WHERE project = $project AND (gold_fp <> $gold_fp OR split <> $split)
    AND item_id IN (SELECT item_id FROM gold WHERE project = $project AND gold_fp = $gold_fp AND split = $split)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldWear:
    """``n_looks``: strategy versions judged on these items so far, both sides included. ``notes``: for readers."""

    n_looks: int
    split_fp: str
    notes: tuple[str, ...]


def look_at(
    store: TraceStore, project: str, gold: GoldItems, versions: Sequence[Version], *, now: datetime
) -> GoldWear:
    """Store that both versions were judged on this gold (results are shown), and return how worn it is."""
    before = _looks(store, project, gold)
    known = [look for look in before if (look.gold_fp, look.split) == (gold.gold_fp, gold.split)]
    split_fp = known[0].split_fp if known else gold.split_fingerprint()
    notes = _tuned(store, project, before, versions)
    for version in versions:
        record_version_look(
            store,
            project=project,
            gold_fp=gold.gold_fp,
            split=gold.split,
            split_fp=split_fp,
            strategy=version.name,
            strategy_fp=version.fp,
            purpose="score",
            now=now,
        )
    judged = {look.answers_fp for look in before} | {answers_fingerprint(one.snapshot) for one in versions}
    if gold.split == "certify":
        notes.append(
            "these items are there to certify strategies: who has seen results on them may tune to them, so strategy "
            "versions made from now on are not certified on them; compare on --gold test"
        )
    return GoldWear(n_looks=len(judged), split_fp=split_fp, notes=tuple(notes))


def _looks(store: TraceStore, project: str, gold: GoldItems) -> list[Look]:
    """Looks at these items: at this split, and at other gold that shares items with it."""
    looks = all_looks(store, project)
    mine = (gold.gold_fp, gold.split)
    if any((look.gold_fp, look.split) != mine for look in looks):
        rows = store.query(
            _SHARING,
            {"project": project, "gold_fp": gold.gold_fp, "split": gold.split},
            fresh=True,
            only=["gold"],
        ).to_pylist()
        sharing = {(row["gold_fp"], row["split"]) for row in rows} | {mine}
        looks = [look for look in looks if (look.gold_fp, look.split) in sharing]
    return looks


def _tuned(store: TraceStore, project: str, looks: Sequence[Look], versions: Sequence[Version]) -> list[str]:
    """Say so when results on these items were shown before the candidate existed: it may be tuned on them."""
    candidate = versions[-1]
    born = first_stored(store, project).get(answers_fingerprint(candidate.snapshot))
    if born is None:
        return []
    told = [look for look in looks if look.purpose != "certify" and look.ts < born]
    declared = [look for look in told if look.purpose == "tuning"]
    ref = f"{candidate.name}@{short(candidate.fp)}"
    if declared:
        reason = f" ({declared[-1].reason})" if declared[-1].reason else ""
        return [
            (
                f"this gold was declared as used for tuning on {declared[-1].ts:%Y-%m-%d}{reason}, before {ref} existed: "
                "confirm on gold that nobody has seen"
            )
        ]
    n = len({look.answers_fp for look in told})
    if not n:
        return []
    return [
        (
            f"results of {n} strategy version{'s' if n > 1 else ''} on this gold had been shown before {ref} existed: it "
            "may be tuned on it; confirm a small gain on untouched gold"
        )
    ]
