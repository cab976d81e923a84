"""How right a strategy's decisions are on gold: every metric with its interval, stored and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from agents.run.workload import Workload, load_workload
from evaluation.confidence import CalibrationError, brier, calibration_error
from evaluation.cost import score_cost
from evaluation.curves import ReliabilityBin, ThresholdRow, reliability_curve, threshold_table
from evaluation.intervals import Estimate
from evaluation.ranking import aurc, auroc
from evaluation.scorecard import ScoreCard
from evaluation.scoring import score
from evaluation.slices import SliceTable, slice_table
from labelproof.report.calibrator_used import CalibratorUsed, calibrators_used
from labelproof.report.gold_looks import record_look
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore, default_store, open_store

ACCURACY_OF = {"single": "accuracy", "multi": "exact_match", "taxonomy": "leaf_accuracy"}
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_DECISIONS = """
SELECT g.item_id, g.label AS gold, d.label, d.decision, d.confidence, d.calibrator_id, d.run_id, i.meta_json,
       i.external_id, c.cost_usd, c.latency_ms, c.n_unpriced
FROM gold g
JOIN (
    SELECT * FROM decisions WHERE strategy_fp = $strategy_fp AND ($run_id IS NULL OR run_id = $run_id)
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC, run_id DESC) = 1
) d ON d.item_id = g.item_id
LEFT JOIN current_items i ON i.item_id = g.item_id AND i.project = $project
LEFT JOIN (
    SELECT item_id, sum(cost_usd) AS cost_usd, sum(latency_ms) AS latency_ms,
           count(*) FILTER (cost_usd IS NULL) AS n_unpriced
    FROM calls
    WHERE step_key IN (SELECT step_key FROM steps WHERE run_id IN (
        SELECT run_id FROM runs WHERE strategy_fp = $strategy_fp))
    GROUP BY item_id
) c ON c.item_id = g.item_id
WHERE g.project = $project AND g.gold_fp = $gold_fp AND g.split = $split
ORDER BY g.item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """One strategy on one gold split. ``confidence`` metrics speak of items with a calibrated confidence."""

    project: str
    strategy: str
    strategy_fp: str
    split: str
    gold_fp: str
    n_gold: int
    n_missing: int
    """Gold items of the split without a decision yet."""
    card: ScoreCard
    accuracy_metric: str
    """What "accuracy" is for this kind of labels: accuracy, exact_match or leaf_accuracy."""
    confidence: Mapping[str, Estimate]
    ece_floor: float | None
    """ECE that a perfectly calibrated confidence would show on as many items."""
    calibration: CalibrationError
    confidences: Sequence[float]
    right: Sequence[bool]
    """Beside ``confidences``: whether those answers are the gold label; items without confidence left out."""
    calibrators: Sequence[CalibratorUsed]
    """What made the confidences, most used first; empty when they are the model's own."""
    reliability: Sequence[ReliabilityBin]
    thresholds: Sequence[ThresholdRow]
    cost: Mapping[str, Estimate]
    slices: SliceTable
    at: datetime

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row per metric: what is stored and what ``--json`` prints."""
        rows: list[dict[str, Any]] = [dict(row) for row in self.card.rows()]
        rows += [_row(name, "all", estimate) for name, estimate in self.confidence.items()]
        rows += [_row(name, "all", estimate) for name, estimate in self.cost.items()]
        rows += [_row("accuracy", f"{s.key}={s.value}", s.accuracy) for s in self.slices.rows]
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "project": self.project,
            "strategy": self.strategy,
            "strategy_fp": self.strategy_fp,
            "strategy_short": short(self.strategy_fp),
            "split": self.split,
            "gold_fp": self.gold_fp,
            "n_gold": self.n_gold,
            "n_scored": self.card.n,
            "n_missing": self.n_missing,
            "n_failed": self.card.n_failed,
            "rows": self.rows(),
            "confusion": [
                {"slice": m.slice, "rows": m.rows, "columns": m.columns, "counts": m.counts.tolist()}
                for m in self.card.confusion
            ],
            "ece_floor": self.ece_floor,
            "ece_note": self.calibration.note,
            "calibrators": [asdict(used) for used in self.calibrators],
            "thresholds": [asdict(row) for row in self.thresholds],
            "reliability": [asdict(row) for row in self.reliability],
        }


def score_project(
    project: str, strategy: str | None, *, split: str = "test", store_url: str | None = None
) -> ScoreReport:
    """Return (and store) the scores of a project's strategy on a gold split."""
    work = load_workload(project, strategy)
    return score_workload(open_store(store_url or default_store()), work, split=split)


def score_workload(
    store: TraceStore, work: Workload, *, split: str = "test", seed: int = 0, run_id: str | None = None
) -> ScoreReport:
    """Score the latest stored decision of each gold item by a strategy version; the scores are stored too.

    ``run_id``: decisions of that run only.

    Raises ``ConfigError`` when there is no gold in the split or no decision to score.
    """
    gold = work.gold
    wanted = work.gold_labels.get(split, {})
    if gold is None or not wanted:
        raise ConfigError(
            f"project {work.folder.name!r} has no gold in the split {split!r}",
            path=work.folder.folder / "project.yaml",
            key="gold",
            hint=f"splits with gold: {', '.join(sorted(work.gold_labels)) or 'none'}",
        )
    rows = store.query(
        _DECISIONS,
        {
            "strategy_fp": work.resolved.fingerprint,
            "project": work.folder.name,
            "gold_fp": gold.fingerprint,
            "split": split,
            "run_id": run_id,
        },
        fresh=True,
    ).to_pylist()
    if not rows:
        raise ConfigError(
            f"strategy {work.strategy.name!r} at version {short(work.resolved.fingerprint)} has decided no "
            f"gold item of the split {split!r}",
            hint=f"labelproof run {work.folder.name} --strategy {work.strategy.name}",
        )
    report = _report(work, rows, split, len(wanted), seed, calibrators_used(store, rows))
    _store_scores(store, report, max({row["run_id"] for row in rows}))
    record_look(store, work, split, "score", report.at)
    return report


def _report(
    work: Workload,
    rows: Sequence[Mapping[str, Any]],
    split: str,
    n_gold: int,
    seed: int,
    calibrators: Sequence[CalibratorUsed],
) -> ScoreReport:
    assert work.gold is not None
    schema = work.folder.spec.labels
    answers = [None if row["decision"] == "failed" else row["label"] for row in rows]
    gold = [row["gold"] for row in rows]
    correct = np.array([a == g for a, g in zip(answers, gold, strict=True)], dtype=bool)
    sure = np.array([row["confidence"] is not None for row in rows], dtype=bool)
    confidence = np.array([row["confidence"] for row in rows if row["confidence"] is not None], dtype=float)
    ece = calibration_error(confidence, correct[sure], seed=seed)
    metas = [orjson.loads(row["meta_json"]) if row["meta_json"] else {} for row in rows]
    priced = all(not row["n_unpriced"] for row in rows)
    return ScoreReport(
        project=work.folder.name,
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        split=split,
        gold_fp=work.gold.fingerprint,
        n_gold=n_gold,
        n_missing=n_gold - len(rows),
        accuracy_metric=ACCURACY_OF[schema.kind],
        card=score(gold, answers, classes=schema.leaves, kind=schema.kind, seed=seed),
        confidence={
            "confidence_auroc": auroc(confidence, correct[sure]),
            "confidence_ece": ece.estimate,
            "confidence_brier": brier(confidence, correct[sure], seed=seed),
            "confidence_aurc": aurc(confidence, correct[sure], seed=seed),
        },
        ece_floor=ece.floor,
        calibration=ece,
        confidences=confidence.tolist(),
        right=correct[sure].tolist(),
        calibrators=calibrators,
        reliability=reliability_curve(confidence, correct[sure]),
        thresholds=threshold_table(confidence, correct[sure], THRESHOLDS),
        cost=score_cost(
            cost_usd=np.array([row["cost_usd"] or 0.0 for row in rows]) if priced else None,
            latency_ms=np.array([row["latency_ms"] or 0.0 for row in rows]),
            correct=correct,
            seed=seed,
        ),
        slices=slice_table(_worth_slicing(metas), correct),
        at=datetime.now(UTC),
    )


def _worth_slicing(metas: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the metadata without keys that are nearly an id: fewer than two items per value on average."""
    keys = sorted({key for meta in metas for key in meta})
    kept = []
    for key in keys:
        values = [meta.get(key) for meta in metas]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numeric or len({str(value) for value in values}) * 2 <= len(values):
            kept.append(key)
    return [{key: meta.get(key) for key in kept} for meta in metas]


def _row(metric: str, slice_name: str, estimate: Estimate) -> dict[str, Any]:
    return {"metric": metric, "slice": slice_name, **asdict(estimate)}


def _store_scores(store: TraceStore, report: ScoreReport, run_id: str) -> None:
    rows = report.rows()
    n = len(rows)
    columns = {name: [row[name] for row in rows] for name in _STORED}
    store.append(
        "scores",
        {
            "run_id": [run_id] * n,
            "strategy_fp": [report.strategy_fp] * n,
            "gold_fp": [report.gold_fp] * n,
            "split": [report.split] * n,
            "ts": [report.at] * n,
            **columns,
        },
    )


_STORED = ("metric", "slice", "value", "low", "high", "n", "method", "reason")
