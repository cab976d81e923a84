"""What the replayed month is made of: texts with gold, and the model's stored answers under each condition."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from benchmarks.month_labels import LABELS, SET, attacks, spanish_rows
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest_text

Condition = Literal["base", "provider", "guideline"]
Method = Literal["plain", "encoder"]
"""How confidences are made: from the model's answer alone, or weighed against a text classifier over an encoder."""
CLASSES = {
    "Toxic": "Insults, hate, threats, harassment or abusive language.",
    "Not Toxic": "Civil, neutral or critical without abuse.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model and its calibrator said; ``confidence`` is calibrated."""

    label: str
    confidence: float
    raw_confidence: float
    manipulation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A text, what is right of it, and the answers to it: always one for ``base``."""

    text: str
    gold: str
    answers: Mapping[Condition, Answer]

    def answer(self, condition: Condition) -> Answer:
        return self.answers.get(condition, self.answers["base"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """``traffic``: what comes on an ordinary day, answered under every condition. ``checks``: hidden gold for reviewers.

    ``spanish`` and ``attacked`` come only with their incident; their answer is filed under ``base``.
    """

    traffic: Sequence[Entry]
    spanish: Sequence[Entry]
    attacked: Sequence[Entry]
    checks: Sequence[Entry]
    method: Method = "plain"

    def ordinary(self, threshold_prob: float) -> dict[str, float]:
        """Return what an ordinary day brings: accuracy of automatic decisions, recall of Toxic among them, coverage."""
        auto = [one for one in self.traffic if one.answers["base"].confidence >= threshold_prob]
        right = [one.answers["base"].label == one.gold for one in auto]
        toxic = [ok for ok, one in zip(right, auto, strict=True) if one.gold == "Toxic"]
        return {
            "auto_accuracy": sum(right) / len(auto),
            "recall:Toxic": sum(toxic) / len(toxic),
            "coverage": len(auto) / len(self.traffic),
        }


def data_folder() -> Path:
    """Return where the shared sets are."""
    return Path(os.environ.get("LABELPROOF_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def load_pool(method: Method = "plain") -> Pool:
    """Return the pool of the real month; ``ConfigError`` when the shared set or the stored labels are missing."""
    path = data_folder() / f"{SET}.jsonl"
    if not path.is_file():
        raise ConfigError(
            f"no shared set {SET}: looked for {path}",
            hint="set LABELPROOF_SHARED_DATA to the folder with surge_toxicity.jsonl (benchmarks/month_labels.py says what it is)",
        )
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    texts = {digest_text(row["text"]): row for row in rows if row["label"] in CLASSES}
    own = {digest_text(row["text"]): row for row in spanish_rows()}
    stored: dict[str, dict[str, dict[str, Any]]] = {}
    for line in gzip.decompress(LABELS.read_bytes()).splitlines():
        row = orjson.loads(line)
        stored.setdefault(row["condition"], {})[row["text_hash"]] = row
    base = stored["base"]
    conditions: list[Condition] = [name for name in ("base", "provider", "guideline") if name in stored]
    # Only texts that were asked under every condition: an incident must not change which texts come.
    everywhere = sorted(set.intersection(*(set(stored[name]) for name in conditions)))
    if len(everywhere) < len(base) // 10 or not set(everywhere) <= set(texts):
        raise ConfigError(
            f"{LABELS.name} and {path} do not fit: {len(everywhere)} texts are answered under every condition"
        )
    templates = attacks()
    injected = stored.get("injection", {})
    return Pool(
        traffic=[
            Entry(
                text=texts[key]["text"],
                gold=texts[key]["label"],
                answers={name: _answer(stored[name][key], method) for name in conditions},
            )
            for key in everywhere
        ],
        spanish=[
            Entry(text=own[key]["text"], gold=own[key]["label"], answers={"base": _answer(row, method)})
            for key, row in sorted(stored.get("spanish", {}).items())
        ],
        attacked=[
            Entry(
                text=templates[row["attack"]].format(t=texts[key]["text"]),
                gold=texts[key]["label"],
                answers={"base": _answer(row, method)},
            )
            for key, row in sorted(injected.items())
        ],
        checks=[
            Entry(text=texts[key]["text"], gold=texts[key]["label"], answers={"base": _answer(row, method)})
            for key, row in sorted(base.items())
            if key not in set(everywhere) and key not in injected
        ][:300],
        method=method,
    )


def _answer(row: Mapping[str, Any], method: Method) -> Answer:
    return Answer(
        label=row[method]["label"],
        confidence=row[method]["confidence"],
        raw_confidence=row["raw_confidence"],
        manipulation=tuple(row["manipulation"]),
    )
