"""A project's days of traffic as rows of a store: texts, languages, labels, confidence, calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from labelproof.spec.hashing import digest_text
from labelproof.spec.items import item_id
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
ENGLISH = [
    "the",
    "and",
    "you",
    "this",
    "that",
    "with",
    "for",
    "what",
    "they",
    "about",
    "people",
    "game",
    "music",
    "food",
    "today",
    "great",
    "really",
    "bad",
]
SPANISH = [
    "que",
    "los",
    "las",
    "para",
    "como",
    "pero",
    "muy",
    "porque",
    "todo",
    "cuando",
    "juego",
    "comida",
    "gracias",
    "bueno",
    "nunca",
    "siempre",
]


def drift_project(folder: Path, *, monitoring: str = "", name: str = "mini") -> ProjectFolder:
    """Write and return a project with the classes safe, hate, spam."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (
        f"name: {name}\nlabels: {{kind: single, classes: [{{name: safe}}, {{name: hate}}, {{name: spam}}]}}\n"
    )
    lines += "items: {path: items.jsonl}\n"
    (folder / "project.yaml").write_text(lines + (f"monitoring: {{{monitoring}}}\n" if monitoring else ""))
    return find_project(str(folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one day's traffic is like."""

    n: int = 120
    labels: Mapping[str, float] = field(default_factory=lambda: {"safe": 0.7, "hate": 0.2, "spam": 0.1})
    spanish: float = 0.0
    words: int = 12
    sure: float = 8.0
    mark: str = "fp_1"
    version: str = "b2:v1"
    attacks: float = 0.0
    says_confidence: bool = True


def write_days(
    store: TraceStore,
    days: Sequence[Day],
    *,
    first: int = 0,
    seed: int = 0,
    project: str = "mini",
    language_column: bool = False,
) -> None:
    """Append a finished run a day, from day ``first`` after ``START`` on, at noon."""
    for i, day in enumerate(days):
        number = first + i
        rng = np.random.default_rng([seed, number])
        when = START + timedelta(days=number, hours=12)
        run = f"{project}-{number:03d}"
        spanish = rng.random(day.n) < day.spanish
        texts = [
            f"{number:03d} {k:03d} " + " ".join(rng.choice(SPANISH if es else ENGLISH, day.words))
            for k, es in enumerate(spanish)
        ]
        ids = [item_id(text) for text in texts]
        hashes = [digest_text(text) for text in texts]
        label = rng.choice(list(day.labels), day.n, p=list(day.labels.values()))
        confidence = rng.beta(day.sure, 1.0, day.n)
        reasons = np.where(
            rng.random(day.n) < day.attacks, "manipulation: instructions", "confidence 0.9 >= 0.8"
        )
        meta = [{"language": "es" if es else "en"} if language_column else {} for es in spanish]
        same: dict[str, Any] = {"run_id": [run] * day.n, "item_id": ids, "ts": [when] * day.n}
        runs: dict[str, list[Any]] = {
            "run_id": [run] * 2,
            "event": ["started", "finished"],
            "project": [project] * 2,
            "strategy": ["champion"] * 2,
            "strategy_fp": [day.version] * 2,
            "n_items": [day.n] * 2,
            "repeat_idx": [0] * 2,
            "ts": [when - timedelta(minutes=9), when],
        }
        store.append_many(
            {
                "runs": runs,
                "texts": {"text_hash": hashes, "text": texts},
                "items": {
                    "item_id": ids,
                    "external_id": [f"{number}-{k}" for k in range(day.n)],
                    "project": [project] * day.n,
                    "text_hash": hashes,
                    "meta_json": [json.dumps(one) for one in meta],
                    "ts": [when] * day.n,
                },
                "decisions": {
                    **same,
                    "strategy_fp": [day.version] * day.n,
                    "label": [str(one) for one in label],
                    "confidence": confidence.tolist() if day.says_confidence else [None] * day.n,
                    "decision": ["auto_accept"] * day.n,
                    "reason": [str(one) for one in reasons],
                },
                "calls": {
                    **same,
                    "call_key": [f"{run}-{one}" for one in ids],
                    "step_key": ids,
                    "call_idx": [0] * day.n,
                    "model": ["m"] * day.n,
                    "provider": ["p"] * day.n,
                    "provider_fingerprint": [day.mark] * day.n,
                },
            }
        )
    store.drain_all()


def end_of(day: int) -> datetime:
    """The end of a day after ``START``."""
    return START + timedelta(days=day + 1)
