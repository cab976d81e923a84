"""What of an item and of the machine's answer a reviewer may see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from labelproof.report.review_io import telling_rule
from labelproof.review.model import Task
from labelproof.spec.project import ProjectFolder
from labelproof.spec.review import ReviewPolicy
from labelproof.store import TraceStore

_RATIONALE = """
SELECT output_json FROM steps
WHERE run_id = ? AND item_id = ? AND status = 'ok' AND kind IN ('label', 'consensus', 'critique', 'investigate')
ORDER BY seq DESC, ts DESC
"""


def shown_meta(meta: Mapping[str, Any], folder: ProjectFolder) -> dict[str, Any]:
    """Return the metadata without what is empty or could give an answer away."""
    tells = telling_rule(folder)
    return {key: value for key, value in meta.items() if value is not None and not tells(key, value)}


def plants_gold(policy: ReviewPolicy) -> bool:
    """Return whether a project mixes hidden gold into reviewers' tasks.

    There, pages must not tell an answered task of the queue from hidden gold, afterwards either: by what became of it, by
    its kind, or by a number that fell or did not.
    """
    return policy.checks.first > 0 or policy.checks.rate_prob > 0


def rounded_up(n: int) -> int:
    """Return a count so coarse that one task more or less is not seen: to ten, from a thousand on to two digits."""
    step = 10
    while n > 100 * step:
        step *= 10
    return -(-n // step) * step


def rationale_of(store: TraceStore, task: Task) -> str | None:
    """Return what the model gave as its reason, for tasks that show it; None when there is none."""
    if task.run_id is None:
        return None
    rows = store.query(_RATIONALE, [task.run_id, task.item_id], fresh=True, only=("steps",)).to_pylist()
    for row in rows:
        found = orjson.loads(row["output_json"]) if row["output_json"] else {}
        if isinstance(found, dict) and found.get("rationale"):
            return str(found["rationale"])
    return None
