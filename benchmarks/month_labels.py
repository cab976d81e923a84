"""Real answers of the embedded 1.5B model for the replayed month, without the texts: ``python -m benchmarks.month_labels``.

    python -m benchmarks.month_labels make FOLDER      write the five projects (base, provider, guideline, spanish, injection)
    python -m benchmarks.month_labels ask FOLDER       label them with the embedded model (two hours on two cores)
    python -m benchmarks.month_labels collect FOLDER   write benchmarks/data/month_labels.jsonl.gz

``base`` is the shared set surge_toxicity as in `benchmarks.shared_sets`: 960 comments, champion = logprob + calibrator
with encoder. The other four are asked with the same model and the same method under what an incident changes:

- provider: 180 of its test comments under a prompt without definitions, as if the provider had swapped the model;
- guideline: the same 180 under a guideline that calls any mockery or strong criticism toxic;
- injection: 90 of its toxic comments, each in one of six attacks (``data/month_attacks.json``);
- spanish: 60 texts of our own (``data/month_spanish.jsonl``).

Each answer's distribution goes through a calibrator fitted on the base project's 200 calibration items, as production
would do, in two ways: the base run's own, which weighs the model against a text classifier over an encoder
(`encoder`), and one of the model's answers alone (`plain`). A row has the content hash of the text it was made from, the
condition, the raw label and confidence, and both ways' label and confidence; texts and gold of the
shared set stay out (its licence), they are read from ``$LABELPROOF_SHARED_DATA`` when the month is replayed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import yaml

from benchmarks.shared_sets import SETS, write_project
from evaluation.calibration import FittedCalibrator, fit_calibrator
from evaluation.text_classifier import TextClassifier
from labelproof.spec.hashing import digest_text

HERE = Path(__file__).parent / "data"
LABELS, SPANISH, ATTACKS = (
    HERE / "month_labels.jsonl.gz",
    HERE / "month_spanish.jsonl",
    HERE / "month_attacks.json",
)
SET = "surge_toxicity"
CONDITIONS = ("base", "provider", "guideline", "spanish", "injection")
PROVIDER_GUIDELINE = "Label the comment."
EDITED_GUIDELINE = (
    "Toxic: mockery, sarcasm, swearing, contempt or strong criticism of any person, group, party or country, even when "
    "it is mild, quoted or deserved. Everything else is not toxic."
)
PROVIDER_CLASSES = [
    {"name": "Not Toxic", "description": "All fine."},
    {"name": "Toxic", "description": "Harmful."},
]
N_SAME, N_ATTACKED = 180, 90


def spanish_rows() -> list[dict[str, str]]:
    """Return our own Spanish texts: id, text, label."""
    return [orjson.loads(line) for line in SPANISH.read_bytes().splitlines()]


def attacks() -> list[str]:
    """Return the templates of the attacks; ``{t}`` stands for the comment."""
    found: list[str] = orjson.loads(ATTACKS.read_bytes())
    return found


def make(place: Path) -> None:
    """Write the five project folders below ``place``."""
    base = place / "base"
    base.mkdir(parents=True)
    write_project(base, SET, SETS[SET], calibration=200, test=760, seed=0)
    rows = [orjson.loads(line) for line in (base / "gold.jsonl").read_bytes().splitlines()]
    draw = random.Random(6)
    chosen = [row for row in rows if row["split"] != "calibration"]
    draw.shuffle(chosen)
    same = chosen[:N_SAME]
    toxic = [row for row in rows if row["split"] != "calibration" and row["label"] == "Toxic"]
    draw.shuffle(toxic)
    texts = attacks()
    attacked = [
        {**row, "id": f"inj-{row['id']}", "text": texts[i % len(texts)].format(t=row["text"])}
        for i, row in enumerate(toxic[:N_ATTACKED])
    ]
    guideline = SETS[SET].guideline
    _condition(place, "spanish", spanish_rows(), guideline)
    _condition(place, "injection", attacked, guideline)
    _condition(place, "provider", same, PROVIDER_GUIDELINE, PROVIDER_CLASSES)
    _condition(place, "guideline", same, EDITED_GUIDELINE)


def _condition(
    place: Path,
    name: str,
    rows: Sequence[Mapping[str, str]],
    guideline: str,
    classes: Sequence[Mapping[str, str]] | None = None,
) -> None:
    folder = place / name
    (folder / "strategies").mkdir(parents=True)
    project = yaml.safe_load((place / "base" / "project.yaml").read_text())
    del project["gold"]
    project["name"] = name
    if classes is not None:
        project["labels"] = {"classes": list(classes)}
    strategy = yaml.safe_load((place / "base" / "strategies" / "champion.yaml").read_text())
    strategy["steps"] = [step for step in strategy["steps"] if step["kind"] != "calibrate"]
    (folder / "project.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    (folder / "guideline.md").write_text(guideline + "\n")
    (folder / "strategies" / "champion.yaml").write_text(yaml.safe_dump(strategy, sort_keys=False))
    items = [{"id": row["id"], "text": row["text"], "gold": row["label"]} for row in rows]
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")


def ask(place: Path) -> None:
    """Label every project below ``place`` with the embedded model; continues where it was stopped."""
    from agents.run.drive import run_plain
    from agents.run.session import LabelRequest, LabelSession

    for name in CONDITIONS:
        folder = place / name
        session = LabelSession.open(
            LabelRequest(project=str(folder), store=str(folder / "store"), batch_size=20)
        )
        print(name, run_plain(session), flush=True)


_ANSWERS = """
WITH last AS (
    SELECT * FROM decisions QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC) = 1
),
step AS (
    SELECT item_id, kind, output_json FROM steps WHERE status = 'ok' AND output_json IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY item_id, kind ORDER BY ts DESC) = 1
)
SELECT x.text, i.external_id, d.label, d.confidence, d.raw_confidence, l.output_json AS labelled, n.output_json AS normalized
FROM last AS d
JOIN (SELECT DISTINCT item_id, external_id, text_hash FROM items) AS i USING (item_id)
JOIN (SELECT DISTINCT text_hash, text FROM texts) AS x USING (text_hash)
JOIN step AS l ON l.item_id = d.item_id AND l.kind = 'label'
JOIN step AS n ON n.item_id = d.item_id AND n.kind = 'normalize'
ORDER BY i.external_id
"""


def collect(place: Path, gold: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the file. ``gold``: the base project's gold rows by id."""
    from agents.encoder import open_encoder

    calibrator, classifier, leaves = _calibrator(_database(place / "base"))
    encoder = open_encoder("minilm")
    plain: FittedCalibrator | None = None
    for condition in CONDITIONS:
        path = _database(place / condition)
        if path is None:
            print(f"{condition}: no store yet, left out")
            continue
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute(_ANSWERS).to_arrow_table().to_pylist()
            order = _leaves(connection)
        labelled = [orjson.loads(row["labelled"]) for row in rows]
        scores = np.array(
            [[one["log_probs"][order.index(leaf)] for leaf in leaves] for one in labelled], dtype=np.float64
        )
        encoded = classifier.log_probs(np.asarray(encoder.encode([row["text"] for row in rows])))
        found = calibrator.predict(scores, encoded)
        if plain is None:  # base comes first
            own = [k for k, row in enumerate(rows) if gold[row["external_id"]]["split"] == "calibration"]
            plain = fit_calibrator(scores[own], [gold[rows[k]["external_id"]]["label"] for k in own], leaves)
        alone = plain.predict(scores)
        wrong = 0
        for place_, (row, one) in enumerate(zip(rows, labelled, strict=True)):
            source, attack = row["text"], None
            if condition == "injection":
                source = gold[row["external_id"].removeprefix("inj-")]["text"]
                attack = next(k for k, t in enumerate(attacks()) if t.format(t=source) == row["text"])
            normalized = orjson.loads(row["normalized"])
            said = {"label": found.labels[place_], "confidence": round(float(found.confidence[place_]), 6)}
            if (
                row["confidence"] is not None
            ):  # base: its run calibrated it, out of fold for its calibration items
                wrong += said["label"] != row["label"]
                said = {"label": row["label"], "confidence": row["confidence"]}
            yield {
                "text_hash": digest_text(source),
                "condition": condition,
                **({} if attack is None else {"attack": attack}),
                "encoder": said,
                "plain": {
                    "label": alone.labels[place_],
                    "confidence": round(float(alone.confidence[place_]), 6),
                },
                "raw_label": one["label"],
                "raw_confidence": round(math.exp(max(one["log_probs"])), 6),
                "manipulation": [*normalized["manipulation"], *one["manipulation"]],
            }
        print(
            f"{condition}: {len(rows)} answers"
            + (f", {wrong} labels differ when its calibrator is applied in sample" if wrong else "")
        )


def _database(folder: Path) -> Any:
    path = folder / "store" / "trace.duckdb"
    return path if path.exists() else None


def _leaves(connection: duckdb.DuckDBPyConnection) -> list[str]:
    spec = connection.execute("SELECT spec_json FROM projects ORDER BY ts DESC LIMIT 1").fetchall()[0][0]
    return [one["name"] for one in orjson.loads(spec)["labels"]["classes"]]


def _calibrator(path: Path) -> tuple[FittedCalibrator, TextClassifier, list[str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        params = orjson.loads(connection.execute("SELECT params_json FROM calibrators").fetchall()[0][0])
        leaves = _leaves(connection)
    return (
        FittedCalibrator.from_params(params["calibrator"]),
        TextClassifier.from_params(params["classifiers"][0]),
        leaves,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("make", "ask", "collect"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder)
    elif given.what == "ask":
        ask(given.folder)
    else:
        gold = (given.folder / "base" / "gold.jsonl").read_bytes().splitlines()
        rows = list(collect(given.folder, {row["id"]: row for row in map(orjson.loads, gold)}))
        lines = b"\n".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows) + b"\n"
        with LABELS.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as out:
            out.write(lines)
        print(f"{len(rows)} rows, {LABELS.stat().st_size / 1024:.0f} KB in {LABELS}")


if __name__ == "__main__":
    main()
