"""A store in which production works day by day: runs, decisions, blind audits and their votes, checks, measurements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore

START = datetime(2026, 3, 2, tzinfo=UTC)
CONTACTS = """contacts:
  - {role: QA lead, name: Ann, channel: "#qa"}
  - {role: policy, name: Bob}
  - {role: vendor, name: Cy}
"""


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


def watched_project(
    folder: Path,
    targets: Sequence[str],
    *,
    monitoring: str = "",
    contacts: str = CONTACTS,
    labels: str = "safe, hate, spam",
) -> ProjectFolder:
    """Write and return project mini with ``targets`` (YAML flow mappings)."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = "".join(f"  - {{{target}}}\n" for target in targets)
    classes = ", ".join(f"{{name: {name.strip()}}}" for name in labels.split(","))
    (folder / "project.yaml").write_text(
        f"name: mini\nlabels: {{classes: [{classes}]}}\nitems: {{path: items.jsonl}}\nrouting: {{mode: threshold}}\n"
        f"{contacts}"
        + (f"targets:\n{listed}" if listed else "")
        + (f"monitoring: {{{monitoring}}}\n" if monitoring else "")
    )
    return find_project(str(folder))


def work(
    store: TraceStore,
    when: float,
    *,
    n: int = 400,
    error: float = 0.02,
    audit: float = 0.1,
    auto: float = 0.8,
    failed: float = 0.0,
    cost: float | None = 0.002,
    hours_of_run: float = 1.0,
    settle_after: float | None = 0.0,
    seed: int = 0,
    fp: str = "b2:s1",
    labels: Sequence[str] = ("safe", "hate", "spam"),
    project: str = "mini",
) -> list[str]:
    """Store a run at day ``when`` that decides ``n`` items, evenly over its time; audits are settled (two votes) at once.

    Exactly ``n * auto`` are accepted, ``n * failed`` fail, the rest waits for people. Every 1/audit-th accepted one is
    audited, and of these exactly a share ``error`` (rounded) is wrong. Returns the ids of the accepted ones.
    """
    rng = np.random.default_rng([seed, int(1000 * (when + 10_000))])
    run_id = f"run-{when:g}-{seed}"
    ids = [f"b2:{when:g}-{seed}-{i:06d}" for i in range(n)]
    began, step = day(when), hours(hours_of_run) / max(1, n)
    n_auto, n_failed = round(n * auto), round(n * failed)
    kind = ["auto_accept"] * n_auto + ["failed"] * n_failed + ["review"] * (n - n_auto - n_failed)
    label = [labels[i % len(labels)] for i in range(n)]
    drawn = [k == "auto_accept" and audit > 0 and i % round(1 / audit) == 0 for i, k in enumerate(kind)]
    audited = [i for i in range(n) if drawn[i]]
    wrong = (
        set(rng.choice(audited, size=round(len(audited) * error), replace=False).tolist())
        if audited
        else set()
    )
    truth = {i: label[(i + 1) % len(labels)] if i in wrong else label[i] for i in audited}
    ts = [began + step * i for i in range(n)]
    tables: dict[str, dict[str, Sequence[Any]]] = {
        "runs": {
            "run_id": [run_id] * 2,
            "event": ["started", "finished"],
            "project": [project] * 2,
            "strategy": ["champion"] * 2,
            "strategy_fp": [fp] * 2,
            "n_items": [n] * 2,
            "repeat_idx": [0] * 2,
            "ts": [began, began + hours(hours_of_run)],
        },
        "decisions": {
            "run_id": [run_id] * n,
            "item_id": ids,
            "strategy_fp": [fp] * n,
            "label": label,
            "confidence": [0.9 + 0.0999 * rng.random() for _ in range(n)],
            "decision": kind,
            "inclusion_prob": [audit if k == "auto_accept" else None for k in kind],
            "audited": drawn,
            "cost_usd": [cost] * n,
            "ts": ts,
        },
        "review_tasks": {
            "task_id": [f"audit-{ids[i]}" for i in audited],
            "project": [project] * len(audited),
            "kind": ["audit"] * len(audited),
            "item_id": [ids[i] for i in audited],
            "run_id": [run_id] * len(audited),
            "strategy_fp": [fp] * len(audited),
            "label": [label[i] for i in audited],
            "blind": [True] * len(audited),
            "votes_wanted": [2] * len(audited),
            "ts": [ts[i] for i in audited],
        },
    }
    if settle_after is not None and audited:
        pairs = [(i, who) for i in audited for who in ("ann", "bob")]
        tables["votes"] = {
            "vote_id": [f"{who} {ids[i]}" for i, who in pairs],
            "project": [project] * len(pairs),
            "task_id": [f"audit-{ids[i]}" for i, _ in pairs],
            "item_id": [ids[i] for i, _ in pairs],
            "annotator": [who for _, who in pairs],
            "role": ["reviewer"] * len(pairs),
            "answer": ["label"] * len(pairs),
            "label": [truth[i] for i, _ in pairs],
            "ts": [ts[i] + hours(settle_after) for i, _ in pairs],
        }
    store.append_many(tables)
    return [ids[i] for i in range(n) if kind[i] == "auto_accept"]


def checks(
    store: TraceStore, when: float, right: dict[str, tuple[int, int]], *, project: str = "mini"
) -> None:
    """Store answered hidden gold of day ``when``: annotator -> (right ones first, n)."""
    rows = [(who, i, i < good) for who, (good, n) in right.items() for i in range(n)]
    task_ids = [f"check-{when:g}-{who}-{i}" for who, i, _ in rows]
    at = [day(when) + hours(0.01) * i for i in range(len(rows))]
    n = len(rows)
    common = {"project": [project] * n, "task_id": task_ids, "item_id": [f"b2:c{i}" for i in range(n)]}
    store.append_many(
        {
            "review_tasks": {
                **common,
                "kind": ["check"] * n,
                "label": ["safe"] * n,
                "votes_wanted": [1] * n,
                "ts": at,
            },
            "votes": {
                **common,
                "vote_id": task_ids,
                "annotator": [who for who, _, _ in rows],
                "role": ["reviewer"] * n,
                "answer": ["label"] * n,
                "label": ["safe" if good else "hate" for _, _, good in rows],
                "ts": at,
            },
        }
    )
