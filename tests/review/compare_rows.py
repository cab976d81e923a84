"""A comparison in a store with both arms' runs of an item: for the pages that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from labelproof.report.compare.model import CompareReport
from labelproof.spec.hashing import digest_text
from labelproof.store import TraceStore
from tests.report.compare_factory import AT, FP_A, FP_B, report

SAME = {"text": "as it came"}
PROMPTS = {
    "champion": "Choose exactly one label.\nIf you are unsure, answer safe.\nAnswer as JSON.",
    "candidate": "Choose exactly one label.\nIf you are unsure, weigh two labels.\nAnswer as JSON.",
}


def add_comparison(store: TraceStore, found: CompareReport) -> str:
    """Store a comparison as `labelproof compare` does, without texts; return its id."""
    values = found.to_json()
    values["flips"] = [{**flip, "excerpt": "", "external_id": ""} for flip in values["flips"]]
    store.append(
        "comparisons",
        {
            "comparison_id": [found.comparison_id],
            "project": [found.project],
            "experiment_id": [found.experiment_id],
            "strategy_a": [found.a.name],
            "fp_a": [found.a.fp],
            "strategy_b": [found.b.name],
            "fp_b": [found.b.fp],
            "gold_fp": [found.gold_fp],
            "split": [found.split],
            "verdict": [found.verdict],
            "reason": [found.headline],
            "n_items": [found.n_items],
            "report_json": [orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()],
            "ts": [found.at],
        },
    )
    return found.comparison_id


def add_arms(store: TraceStore, item_id: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Store what two arms did with an item: the same first step, another prompt and answer in the second."""
    said = labels or {"champion": "safe", "candidate": "hate"}
    for arm, fp in (("champion", FP_A), ("candidate", FP_B)):
        run_id, label = f"run-{arm}", said[arm]
        outputs = [SAME, {"label": label, "confidence": 0.8}]
        written = [orjson.dumps(output).decode() for output in outputs]
        keys = [f"{arm}-normalize-{item_id}", f"{arm}-label-{item_id}"]
        texts = [PROMPTS[arm], "the item", written[1]]
        store.append_many(
            {
                "texts": {"text_hash": [digest_text(text) for text in texts], "text": texts},
                "runs": {
                    "run_id": [run_id],
                    "ts": [AT],
                    "event": ["finished"],
                    "project": ["mini"],
                    "strategy": [arm],
                    "strategy_fp": [fp],
                    "repeat_idx": [0],
                },
                "steps": {
                    "run_id": [run_id] * 2,
                    "item_id": [item_id] * 2,
                    "seq": [0, 1],
                    "kind": ["normalize", "label"],
                    "name": ["normalize", "label"],
                    "step_key": keys,
                    "output_hash": [digest_text(text) for text in written],
                    "output_json": written,
                    "status": ["ok", "ok"],
                    "cache_hit": [False, False],
                    "ts": [AT, AT],
                },
                "calls": {
                    "call_key": [f"{arm}-call-{item_id}"],
                    "run_id": [run_id],
                    "item_id": [item_id],
                    "step_key": [keys[1]],
                    "call_idx": [0],
                    "model": ["a-model"],
                    "system_hash": [digest_text(texts[0])],
                    "user_hash": [digest_text(texts[1])],
                    "response_hash": [digest_text(texts[2])],
                    "ts": [AT],
                },
                "arm_answers": {
                    "experiment_id": ["exp-1"],
                    "arm": [arm],
                    "run_id": [run_id],
                    "strategy_fp": [fp],
                    "item_id": [item_id],
                    "label": [label],
                    "confidence": [0.8],
                    "decision": ["review"],
                    "reason": ["below the threshold"],
                    "ts": [AT],
                },
            }
        )


def report_on(item_ids: list[str], **changed: Any) -> CompareReport:
    """Return a comparison whose first flips are on these items."""
    made = report(**changed)
    named = [
        replace(flip, item_id=item_id, external_id="", excerpt="")
        for flip, item_id in zip(made.flips, item_ids, strict=False)
    ]
    return replace(made, flips=(*named, *made.flips[len(named) :]))
