"""The same items answered in both periods: the sentinel set, or two strategy versions on the same gold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb
from typing import Any

from evaluation.decomposition import Flips, SameItems
from evaluation.enrichment import fisher_greater
from evaluation.mcnemar import tango_interval
from evaluation.sentinel_flips import PRIOR_ANSWERS, PRIOR_FLIPS, rules_out_change
from labelproof.report.rca import queries as sql
from labelproof.report.rca.facts import Facts, VersionFacts
from labelproof.report.rca.periods import Period
from labelproof.report.rca.words import interval, points
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

LEAST_PAIRS = 20
ALPHA = 0.05
"""The sentinel set speaks of another model where chance would move its answers as much less often."""
_READS = ("sentinels", "sentinel_answers", "gold", "decisions", "arm_answers", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the same items say of the model. ``evidence`` None: nothing was asked in both periods, and ``line`` says so.

    ``unchanged``: a material change of the answers is ruled out (``evaluation.sentinel_flips``). ``same_version_p``: p of
    "the same strategy version answers as before", None where no version was asked in both periods.
    """

    evidence: SameItems | Flips | None
    source: str
    unchanged: bool
    changed: int
    n: int
    line: str
    same_version_p: float | None = None


def read_behaviour(
    store: TraceStore, project: str, earlier: Period, later: Period, facts: Facts
) -> Behaviour:
    """Return the sentinel set's verdict; without one, that of gold which both versions answered."""
    rows = store.query(
        sql.SENTINEL, {"project": project, "end": later.end}, fresh=True, only=_READS
    ).to_pylist()
    found = _sentinel(rows, earlier, later)
    if found is not None:
        return found
    old, new = dominant(facts.versions, before=True), dominant(facts.versions, before=False)
    if old is not None and new is not None and old.fp != new.fp:
        found = _versions(store, project, old, new)
        if found is not None:
            return found
    why = "sentinel: none was asked in both periods" if rows else "sentinel: the project has no sentinel set"
    return Behaviour(
        evidence=None,
        source="nothing",
        unchanged=False,
        changed=0,
        n=0,
        line=f"{why}, so a change of the model cannot be told from other changes "
        "(monitoring.sentinel.items in project.yaml)",
    )


def dominant(versions: Sequence[VersionFacts], *, before: bool) -> VersionFacts | None:
    """Return the version that decided most before, or in, the later period."""
    counted = [(one.n_before if before else one.n_after, one) for one in versions]
    best = max(counted, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] else None


def _sentinel(rows: Sequence[Mapping[str, Any]], earlier: Period, later: Period) -> Behaviour | None:
    """Compare the last answers before the later period with each ask in it; the mean ask counts, the worst rules out."""
    asks: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    base: dict[str, Mapping[str, Any]] = {}
    earlier_asks: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["ts"] < later.start:
            base[row["item_id"]] = row
            if row["ts"] >= earlier.start:
                earlier_asks[row["item_id"]].append(row)
        else:
            asks[row["run_id"]][row["item_id"]] = row
    paired = {run: [item for item in said if item in base] for run, said in asks.items()}
    paired = {run: items for run, items in paired.items() if items}
    if not paired:
        return None
    again = [pair for said in earlier_asks.values() for pair in _again(said)]
    flips_before = sum(a["label"] != b["label"] for a, b in again)
    floor = flips_before / len(again) if again else 0.0
    flips = {
        run: sum(asks[run][item]["label"] != base[item]["label"] for item in items)
        for run, items in paired.items()
    }
    n = max(len(items) for items in paired.values())
    changed = round(sum(flips.values()) / len(flips))
    by_version, further = _same_version_p(asks, base, earlier_asks)
    told = by_version is not None and by_version <= ALPHA
    unchanged = not told and all(
        rules_out_change(flips_before, len(again), flips[run], len(items)) for run, items in paired.items()
    )
    gold = [
        (
            base[item]["label"] == base[item]["gold_label"],
            asks[run][item]["label"] == base[item]["gold_label"],
        )
        for run, items in paired.items()
        for item in items
        if base[item]["gold_label"]
    ]
    asked = f" (asked {len(paired)} times)" if len(paired) > 1 else ""
    words = f"sentinel: {changed} of {n} frozen items changed{asked}"
    if again:
        words += f"; {100 * floor:.1f} % did before"
    if told and further:
        words += f"; confidence moved further than from ask to ask on {further}"
    if len(gold) >= LEAST_PAIRS * len(paired):
        size = round(len(gold) / len(paired))
        lost = min(size, round(sum(was and not now for was, now in gold) / len(paired)))
        gained = min(size - lost, round(sum(now and not was for was, now in gold) / len(paired)))
        same = SameItems(n=size, lost=lost, gained=gained)
        return Behaviour(
            evidence=same,
            source="sentinel",
            unchanged=unchanged,
            changed=changed,
            n=n,
            line=f"{words}; {_paired(same)}",
            same_version_p=by_version,
        )
    return Behaviour(
        evidence=Flips(n=n, changed=min(n, changed), floor_prob=min(1.0, floor)),
        source="sentinel",
        unchanged=unchanged,
        changed=changed,
        n=n,
        line=words,
        same_version_p=by_version,
    )


def _same_version_p(
    asks: Mapping[str, Mapping[str, Mapping[str, Any]]],
    base: Mapping[str, Mapping[str, Any]],
    earlier: Mapping[str, Sequence[Mapping[str, Any]]],
) -> tuple[float | None, int]:
    """Return the p of "a version that was asked before answers as it did", and on how many items confidence moved more.

    The smaller of two, doubled (Bonferroni): labels flip no more than they did (Fisher, with the prior counts of
    ``evaluation.sentinel_flips``); confidence moves as much as from ask to ask before (sign test over items). Several
    asks count as one, by their mean.
    """
    pairs = [pair for said in earlier.values() for pair in _again(said)]
    flips_before = sum(a["label"] != b["label"] for a, b in pairs)
    flips: list[float] = []
    further = nearer = 0
    for item, first in base.items():
        now = [said[item] for said in asks.values() if item in said]
        now = [row for row in now if row["strategy_fp"] == first["strategy_fp"]]
        if not now:
            continue
        flips.append(sum(row["label"] != first["label"] for row in now) / len(now))
        usual = _moved(_again(earlier.get(item, ())))
        moved = _moved((first, row) for row in now)
        if usual is not None and moved is not None:
            further += moved > usual
            nearer += moved < usual
    if not flips:
        return None, 0
    n, n_flips = len(flips), round(sum(flips))
    known, seen = len(pairs) + PRIOR_ANSWERS, flips_before + PRIOR_FLIPS
    p = fisher_greater(n_flips, n - n_flips, seen, known - seen)
    return min(1.0, 2 * min(p, _sign_p(further, nearer))), further


def _again(said: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each answer with the next one, where both are of one strategy version."""
    return [(a, b) for a, b in pairwise(said) if a["strategy_fp"] == b["strategy_fp"]]


def _moved(pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> float | None:
    """Return by how much confidence differs on average; None where no pair has it."""
    found = [
        abs(a["confidence"] - b["confidence"])
        for a, b in pairs
        if a["confidence"] is not None and b["confidence"] is not None
    ]
    return round(sum(found) / len(found), 9) if found else None


def _sign_p(more: int, less: int) -> float:
    """Return the exact one-sided p of at least ``more`` of ``more + less`` fair coins."""
    n = more + less
    return float(sum(comb(n, k) for k in range(more, n + 1)) / 2**n)


def _versions(store: TraceStore, project: str, old: VersionFacts, new: VersionFacts) -> Behaviour | None:
    golds = store.query(sql.GOLD_VERSIONS, {"project": project}, fresh=True, only=["gold"]).to_pylist()
    if not golds:
        return None
    params = {"project": project, "gold_fp": golds[-1]["gold_fp"], "old": old.fp, "new": new.fp}
    rows = store.query(sql.BOTH_VERSIONS, params, fresh=True, only=_READS).to_pylist()
    if len(rows) < LEAST_PAIRS:
        return None
    lost = sum(row["old"] == row["gold"] != row["new"] for row in rows)
    gained = sum(row["new"] == row["gold"] != row["old"] for row in rows)
    changed = sum(row["old"] != row["new"] for row in rows)
    same = SameItems(n=len(rows), lost=lost, gained=gained)
    return Behaviour(
        evidence=same,
        source="both versions on the same gold",
        unchanged=changed == 0,
        changed=changed,
        n=len(rows),
        line=f"versions: {short(new.fp)} answers {changed} of {len(rows)} gold items other than {short(old.fp)}; "
        f"{_paired(same)}",
    )


def _paired(same: SameItems) -> str:
    low, high = (float(end) for end in tango_interval(same.gained, same.lost, same.n))
    return (
        f"on {same.n} with gold {same.gained} became right and {same.lost} wrong: {points(same.difference, unit=False)} "
        f"points {interval(low, high)}"
    )
