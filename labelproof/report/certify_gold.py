"""Which gold may certify a strategy: not opened before it existed, and drawn in a way that speaks of it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from agents.certificates import answers_fingerprint
from agents.run.judge import Answers
from agents.run.workload import Workload
from labelproof.report.gold_looks import Wear
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore
from labelproof.store.interchange import GoldRow


def certify_rows(work: Workload) -> list[GoldRow]:
    """Return the gold rows of the certify split; ``ConfigError`` when there is none."""
    rows = list(work.gold.split("certify")) if work.gold is not None else []
    known = {item.id for item in work.gold_items("certify")}
    rows = [row for row in rows if row.item_id in known]
    if not rows:
        raise ConfigError(
            f"project {work.folder.name!r} has no gold in the split 'certify'",
            path=work.folder.folder / "project.yaml",
            key="gold",
            hint=f"draw some: labelproof gold sample {work.folder.name} --budget 200",
        )
    return rows


def usable_rows(
    store: TraceStore, work: Workload, rows: Sequence[GoldRow], answers: Answers, worn: Wear
) -> tuple[list[GoldRow], float | None, list[str]]:
    """Return the rows that may certify this strategy, the region they are uniform in, and what was left out."""
    notes = []
    usable = [row for row in rows if row.item_id not in worn.opened]
    if len(usable) < len(rows):
        why = next(iter(worn.opened.values()))
        notes.append(
            f"{len(rows) - len(usable)} of {len(rows)} gold items are left out: {why}, before this version of the "
            "strategy existed; it may be tuned on them"
        )
    region_rows = [row for row in usable if row.design == "region"]
    if not region_rows:
        return usable, None, notes
    lows, foreign = _regions(store, work, region_rows, answers)
    mine = [row for row in region_rows if row.sample_id in lows]
    rest = [row for row in usable if row.design != "region"]
    if foreign:
        notes.append(
            f"{len(region_rows) - len(mine)} gold items drawn for another version of the strategy are left out: "
            "they are uniform in its region, not in this one's"
        )
    if not mine:
        return rest, None, notes
    low = max(lows.values())
    notes.append(
        f"{len(mine)} gold items were drawn among confidences >= {low:.3f}: only thresholds from there on are tested"
    )
    return [*rest, *mine], low, notes


def _regions(
    store: TraceStore, work: Workload, rows: Sequence[GoldRow], answers: Answers
) -> tuple[dict[str, float], bool]:
    """Return draw id → lower end, for draws made with this very confidence; and whether there were others."""
    found: dict[str, float] = {}
    foreign = False
    mine = answers_fingerprint(work.resolved.snapshot)
    for sample_id in sorted({row.sample_id or "" for row in rows}):
        stored = store.query(
            "SELECT spec_json FROM gold_samples WHERE sample_id = ?", [sample_id], fresh=True
        ).to_pylist()
        spec = orjson.loads(stored[0]["spec_json"]) if stored else {}
        if spec.get("answers_fp") == mine and tuple(spec["calibrator_ids"]) == answers.calibrator_ids:
            found[sample_id] = float(spec["region_low"])
        else:
            foreign = True
    return found, foreign
