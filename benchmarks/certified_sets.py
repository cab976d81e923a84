"""Certified auto-accept on human-labelled sets: are the promises kept, and how much is accepted?

    python -m benchmarks.certified_sets [surge_toxicity davidson edos] [--draws 500] [--keep FOLDER] [--out FOLDER]

Each set is labelled by the project that benchmarks/shared_sets.py measures (embedded model, calibrated on the
split ``calibration`` only), and by the text encoder alone. The split ``test`` is the pool: all its labels are known,
so the true error rate of every threshold is. ``--keep`` keeps projects and stores, and a later call goes on with
them. Writes real_sets.md and real_sets.json, which hold numbers only. Exit 1 when a certificate rule breaks its bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.encoder import open_encoder
from agents.run.drive import run_plain
from agents.run.session import LabelRequest, LabelSession
from agents.run.workload import Workload, load_workload
from benchmarks._certified_draws import DrawnGold, KnownPool, Outcome, draw_gold, gold_sizes
from benchmarks.shared_sets import SETS, write_project
from evaluation.calibration import fit_calibrator
from evaluation.ranking import auroc
from evaluation.text_classifier import cross_fit_text_classifier
from labelproof.store import TraceStore, open_store

SIZES = {"surge_toxicity": (200, 760), "davidson": (120, 330), "edos": (100, 200)}
"""Calibration and pool items of each set, when nothing else is asked for."""
SMALL = (100, 200)
"""The same for a set that is not listed there."""
ALPHAS = (0.05, 0.10)
DELTA = 0.05
OUT = Path(__file__).parent / "validity" / "results"
_DECISIONS = """
SELECT d.item_id, d.label, d.confidence, c.method FROM decisions d
LEFT JOIN calibrators c ON c.calibrator_id = d.calibrator_id AND c.run_id = d.run_id
WHERE d.strategy_fp = ? AND d.label IS NOT NULL AND d.confidence IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC, d.run_id DESC) = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A pool as one labeller left it: who, how calibrated, on how many items, and the numbers per pool item."""

    name: str
    labelled_by: str
    method: str
    n_calibration: int
    pool: KnownPool

    def headline(self) -> dict[str, str | int | float | None]:
        """What the first table says of the pool."""
        return {
            "set": self.name,
            "labelled_by": self.labelled_by,
            "method": self.method,
            "n_calibration": self.n_calibration,
            "n_pool": len(self.pool.correct),
            "accuracy": float(self.pool.correct.mean()),
            "auroc": auroc(self.pool.confidence, self.pool.correct).value,
        }


def open_set(name: str, folder: Path, calibration: int, pool: int) -> tuple[Workload, TraceStore]:
    """The set's project, written when the folder is new, and its store with a decision for every item."""
    if not folder.exists():
        folder.mkdir(parents=True)
        write_project(folder, name, SETS[name], calibration=calibration, test=pool, seed=0)
    place = str(folder / "store")
    work, store = load_workload(str(folder), None), open_store(place)
    decided = store.query(_DECISIONS, [work.resolved.fingerprint], fresh=True).num_rows
    if decided < len(work.items):
        _say(f"{name}: labelling, {decided} of {len(work.items)} items are decided")
        run_plain(LabelSession.open(LabelRequest(project=str(folder), store=place, batch_size=50)))
    return work, store


def by_model(name: str, work: Workload, store: TraceStore) -> Labelled:
    """The pool as the stored run decided it: calibrated label and confidence."""
    gold = work.gold_labels["test"]
    rows = [
        row
        for row in store.query(_DECISIONS, [work.resolved.fingerprint], fresh=True).to_pylist()
        if row["item_id"] in gold
    ]
    if len(rows) < len(gold):
        raise SystemExit(f"{name}: expected decisions for {len(gold)} pool items, found {len(rows)}")
    return Labelled(
        name=name,
        labelled_by="embedded model",
        method="+".join(sorted({row["method"] for row in rows})),
        n_calibration=len(work.gold_labels["calibration"]),
        pool=KnownPool.of(
            [row["confidence"] for row in rows], [row["label"] == gold[row["item_id"]] for row in rows]
        ),
    )


def by_encoder(name: str, work: Workload) -> Labelled:
    """The pool as a classifier on sentence embeddings labels it; no language model.

    Trained on the calibration split; the calibrator on top is fitted on out-of-fold scores of the same items.
    """
    encoder = open_encoder("minilm", threads=1)
    classes = work.folder.spec.labels.leaves

    def split(which: str) -> tuple[npt.NDArray[np.float64], list[str]]:
        items, gold = work.gold_items(which), work.gold_labels[which]
        vectors = encoder.encode([item.text for item in items])
        return np.asarray(vectors, dtype=np.float64), [gold[item.id] for item in items]

    vectors, labels = split("calibration")
    trained = cross_fit_text_classifier(vectors, labels, classes=classes)
    calibrator = fit_calibrator(trained.log_probs_oof, labels, classes)
    vectors, truth = split("test")
    found = calibrator.predict(trained.classifier.log_probs(vectors))
    return Labelled(
        name=name,
        labelled_by="encoder alone",
        method=calibrator.method,
        n_calibration=len(labels),
        pool=KnownPool.of(found.confidence, [a == b for a, b in zip(found.labels, truth, strict=True)]),
    )


def measure(labelled: Labelled, draws: int) -> list[DrawnGold]:
    """All cases of one pool by alpha, then gold size. The draws depend on the set and the gold size alone."""
    cases = [
        case
        for n_gold in gold_sizes(len(labelled.pool.correct))
        for case in draw_gold(
            labelled.pool,
            n_gold=n_gold,
            alphas=ALPHAS,
            delta=DELTA,
            draws=draws,
            seed=[0, list(SETS).index(labelled.name), n_gold],
        )
    ]
    return sorted(cases, key=lambda case: (case.alpha, case.n_gold))


def markdown(pools: Sequence[Labelled], cases: Sequence[tuple[Labelled, DrawnGold]]) -> str:
    """Return the tables for people: the pools, then one line a case with broken bounds in bold."""
    lines = [
        "| set | labelled by | calibrator | calibration items | pool | accuracy | AUROC of confidence |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for each in pools:
        head = each.headline()
        ranks = "-" if head["auroc"] is None else f"{head['auroc']:.3f}"
        lines.append(
            f"| {each.name} | {each.labelled_by} | {each.method} | {each.n_calibration} | {head['n_pool']}"
            f" | {head['accuracy']:.3f} | {ranks} |"
        )
    heads = (
        "set",
        "labelled by",
        "α",
        "gold",
        "binomial: violated",
        "certified",
        "coverage",
        "hypergeometric: violated",
        "certified",
        "coverage",
        "oracle coverage",
        "naive: violated",
        "coverage",
    )
    lines += ["", f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for each, case in cases:
        lines.append(
            f"| {each.name} | {each.labelled_by} | {case.alpha:.2f} | {case.n_gold}"
            f" | {_proven(case.binomial, case.bound)} | {_proven(case.hypergeometric, case.bound)}"
            f" | {case.oracle_coverage:.2f} | {case.naive.violation_rate:.3f} | {case.naive.coverage:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _proven(found: Outcome, bound: float) -> str:
    violated = f"{found.violation_rate:.3f}"
    if found.violation_rate > bound:
        violated = f"**{violated}**"
    return f"{violated} | {found.given_rate:.2f} | {found.coverage:.2f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.certified_sets", description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SIZES), metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--calibration", type=int, help="gold items to calibrate on (default: 200, 120, 100)")
    parser.add_argument("--pool", type=int, help="pool items (default: 760, 330, 200)")
    parser.add_argument("--draws", type=int, default=500, help="gold draws per case")
    parser.add_argument("--keep", type=Path, help="folder of one project per set, kept between calls")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for real_sets.json and real_sets.md")
    options = parser.parse_args()
    unknown = sorted(set(options.sets) - set(SETS))
    if unknown:
        parser.error(f"expected sets of {', '.join(SETS)}, found {', '.join(unknown)}")
    pools: list[Labelled] = []
    cases: list[tuple[Labelled, DrawnGold]] = []
    with tempfile.TemporaryDirectory(prefix="labelproof-sets-") as place:
        for name in options.sets:
            calibration, pool = SIZES.get(name, SMALL)
            work, store = open_set(
                name,
                (options.keep or Path(place)) / name,
                options.calibration or calibration,
                options.pool or pool,
            )
            for labelled in (by_model(name, work, store), by_encoder(name, work)):
                pools.append(labelled)
                _say(f"{name}, {labelled.labelled_by}: {options.draws} draws a case")
                cases += [(labelled, case) for case in measure(labelled, options.draws)]
    table = markdown(pools, cases)
    options.out.mkdir(parents=True, exist_ok=True)
    found = {
        "pools": [each.headline() for each in pools],
        "cases": [
            {"set": each.name, "labelled_by": each.labelled_by, **asdict(case), "holds": case.holds}
            for each, case in cases
        ],
    }
    (options.out / "real_sets.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "real_sets.md").write_text(table)
    print(table)
    return int(not all(case.holds for _, case in cases))


if __name__ == "__main__":
    sys.exit(main())
