"""The main job on human-labelled sets with the embedded model: accuracy, confidence, coverage, speed.

    python -m benchmarks.shared_sets [davidson surge_toxicity ...] [--test 250] [--calibration 160]

Reads ``$LABELPROOF_SHARED_DATA`` (default ../shared/data); draws a seeded sample, stratified by nothing; the first part is
gold to calibrate on, the rest is the test split that nothing is fitted on. Rows stay in a temporary project.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

from agents.run.drive import run_plain
from agents.run.session import LabelRequest, LabelSession
from labelproof.report.run_report import estimate_text
from labelproof.report.scoring import ScoreReport, score_workload

DATA = Path(os.environ.get("LABELPROOF_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    file: str
    description: str
    labels: dict[str, str]
    guideline: str


SETS = {
    "davidson": Dataset(
        file="davidson.jsonl",
        description="You label tweets for a content-safety team.",
        labels={
            "hate": "Attacks or demeans people because of race, religion, sex, orientation, disability or origin.",
            "offensive": "Crude, profane or insulting, but not an attack on a protected group.",
            "neither": "Neither hateful nor offensive.",
        },
        guideline="Slurs and contempt aimed at a protected group are hate. Vulgar words, sexist slang in song lyrics and "
        "insults of single persons are offensive. Everything else is neither.",
    ),
    "surge_toxicity": Dataset(
        file="surge_toxicity.jsonl",
        description="You label social-media comments for a content-safety team.",
        labels={
            "Toxic": "Insults, hate, threats, harassment or abusive language.",
            "Not Toxic": "Civil, neutral or critical without abuse.",
        },
        guideline="Toxic: a reader would feel attacked or leave the discussion. Strong criticism without abuse is not toxic.",
    ),
    "convabuse": Dataset(
        file="convabuse.jsonl",
        description="You label conversations between a user and a chatbot.",
        labels={
            "abusive": "The user insults, threatens or sexually harasses the bot or others.",
            "not_abusive": "The user is not abusive; odd or rude-sounding small talk included.",
        },
        guideline="Judge the user's last words in their context. Sexual advances and slurs are abusive.",
    ),
    "edos": Dataset(
        file="edos.jsonl",
        description="You label forum posts for a content-safety team.",
        labels={
            "sexist": "Abuse or negative sentiment directed towards women because of their gender, threats included.",
            "not sexist": "Everything else, rude language that is not about gender included.",
        },
        guideline="Sexist: threats, derogation, hostility or prejudice against women, or slurs for them. Rude or sad posts "
        "that do not demean women are not sexist.",
    ),
}


def write_project(
    folder: Path, name: str, dataset: Dataset, *, calibration: int, test: int, seed: int
) -> None:
    """Write a project on a random sample: ``calibration`` + ``test`` items."""
    rows = [orjson.loads(line) for line in (DATA / dataset.file).read_bytes().splitlines()]
    rows = [row for row in rows if row["label"] in dataset.labels]
    by_text = list({row["text"]: row for row in rows}.values())
    chosen = random.Random(seed).sample(by_text, calibration + test)
    for index, row in enumerate(chosen):
        row["split"] = "calibration" if index < calibration else "test"
    keep = ("id", "text", "label", "split")
    lines = [json.dumps({key: row[key] for key in keep}) for row in chosen]
    (folder / "gold.jsonl").write_text("\n".join(lines) + "\n")
    items = [json.dumps({key: row[key] for key in ("id", "text")}) for row in chosen]
    (folder / "items.jsonl").write_text("\n".join(items) + "\n")
    (folder / "guideline.md").write_text(dataset.guideline + "\n")
    classes = [{"name": label, "description": text} for label, text in dataset.labels.items()]
    project = {
        "name": name,
        "description": dataset.description,
        "labels": {"classes": classes},
        "guideline_short": "guideline.md",
        "items": {"path": "items.jsonl"},
        "gold": {"path": "gold.jsonl", "split_column": "split"},
        "routing": {"mode": "threshold", "threshold_prob": 0.9},
    }
    (folder / "project.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    strategy = {
        "name": "champion",
        "models": {"main": {"provider": "embedded"}},
        "steps": [
            {"kind": "normalize"},
            {"kind": "label", "method": "logprob", "guideline": "short"},
            {"kind": "calibrate", "encoder": "minilm"},
            {"kind": "route"},
        ],
    }
    (folder / "strategies").mkdir()
    (folder / "strategies" / "champion.yaml").write_text(yaml.safe_dump(strategy, sort_keys=False))


def measure(name: str, *, calibration: int, test: int, seed: int) -> dict[str, Any]:
    """Run one set and return what the tables show."""
    with tempfile.TemporaryDirectory(prefix="labelproof-set-") as place:
        folder = Path(place)
        write_project(folder, name, SETS[name], calibration=calibration, test=test, seed=seed)
        begun = time.monotonic()
        session = LabelSession.open(LabelRequest(project=place, store=str(folder / "store"), batch_size=50))
        summary = run_plain(session)
        seconds = time.monotonic() - begun
        assert summary is not None
        report = score_workload(session.store, session.work)
        return {
            "summary": summary,
            "seconds": seconds,
            "report": report,
            "raw": _raw_accuracy(session),
            "items": calibration + test,
        }


def _raw_accuracy(session: LabelSession) -> float:
    """Return the accuracy of the model's own most probable label on the test split."""
    gold = session.work.gold_labels["test"]
    leaves = session.work.folder.spec.labels.leaves
    rows = session.store.query(
        "SELECT item_id, output_json FROM steps WHERE kind = 'label' AND status = 'ok'", fresh=True
    ).to_pylist()
    right = [
        leaves[int(np.argmax(orjson.loads(row["output_json"])["log_probs"]))] == gold[row["item_id"]]
        for row in rows
        if row["item_id"] in gold
    ]
    return float(np.mean(right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["davidson", "surge_toxicity"])
    parser.add_argument("--calibration", type=int, default=160)
    parser.add_argument("--test", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {
        name: measure(name, calibration=options.calibration, test=options.test, seed=options.seed)
        for name in options.sets
    }
    print(
        f"{options.calibration} gold items to calibrate on, {options.test} test items, seed {options.seed}\n"
    )
    print("| set | raw argmax | calibrated accuracy | AUROC | ECE | method | items/s | s |")
    print("|---|---:|---|---|---|---|---:|---:|")
    for name, row in found.items():
        report: ScoreReport = row["report"]
        confidence = report.confidence
        method = row["summary"]["calibrators"][0]["method"]
        print(
            f"| {name} | {row['raw']:.3f} | {estimate_text(report.card.get('accuracy'))} "
            f"| {estimate_text(confidence['confidence_auroc'])} | {estimate_text(confidence['confidence_ece'])} "
            f"| {method} | {row['items'] / row['seconds']:.2f} | {row['seconds']:.0f} |"
        )
    print("\n| set | confidence at least | coverage | accuracy there |\n|---|---:|---:|---|")
    for name, row in found.items():
        for at in row["report"].thresholds:
            coverage = "-" if at.coverage.value is None else f"{at.coverage.value:.2f}"
            print(f"| {name} | {at.threshold_prob:.2f} | {coverage} | {estimate_text(at.accuracy)} |")


if __name__ == "__main__":
    main()
