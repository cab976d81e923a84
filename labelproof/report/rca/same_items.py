"""The same items answered in both periods: the sentinel set, or two strategy versions on the same gold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evaluation.decomposition import Flips, SameItems
from evaluation.enrichment import fisher_greater
from evaluation.mcnemar import tango_interval
from evaluation.sentinel_flips import PRIOR_ANSWERS, PRIOR_FLIPS, rules_out_change
from labelproof.report.rca import queries as sql
from labelproof.report.rca.facts import Facts, VersionFacts
from labelproof.report.rca.periods import Period
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

LEAST_PAIRS = 20
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
    earlier_asks: dict[str, list[str | None]] = defaultdict(list)
    for row in rows:
        if row["ts"] < later.start:
            base[row["item_id"]] = row
            if row["ts"] >= earlier.start:
                earlier_asks[row["item_id"]].append(row["label"])
        else:
            asks[row["run_id"]][row["item_id"]] = row
    paired = {run: [item for item in said if item in base] for run, said in asks.items()}
    paired = {run: items for run, items in paired.items() if items}
    if not paired:
        return None
    again = [(a, b) for said in earlier_asks.values() for a, b in pairwise(said)]
    flips_before = sum(a != b for a, b in again)
    floor = flips_before / len(again) if again else 0.0
    flips = {
        run: sum(asks[run][item]["label"] != base[item]["label"] for item in items)
        for run, items in paired.items()
    }
    n = max(len(items) for items in paired.values())
    changed = round(sum(flips.values()) / len(flips))
    unchanged = all(
        rules_out_change(flips_before, len(again), flips[run], len(items)) for run, items in paired.items()
    )
    by_version = _same_version_p(asks, base, (flips_before, len(again)))
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
    before: tuple[int, int],
) -> float | None:
    """Return Fisher's p of "a version that was asked before flips no more than it did"; asks of one set count as one."""
    told = [
        [
            row["label"] != base[item]["label"]
            for item, row in said.items()
            if item in base and row["strategy_fp"] == base[item]["strategy_fp"]
        ]
        for said in asks.values()
    ]
    told = [one for one in told if one]
    if not told:
        return None
    n = max(map(len, told))
    flips = round(n * sum(map(sum, told)) / sum(map(len, told)))
    flips_before, n_before = before[0] + PRIOR_FLIPS, before[1] + PRIOR_ANSWERS
    return fisher_greater(flips, n - flips, flips_before, n_before - flips_before)


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
        f"on {same.n} with gold {same.gained} became right and {same.lost} wrong: {100 * same.difference:+.1f} points "
        f"[{100 * low:+.1f}, {100 * high:+.1f}]"
    )
