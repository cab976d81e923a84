"""Gold wears out: every look by a strategy is stored, counted, and what was opened is not certified on again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from agents.certificates import answers_fingerprint
from agents.run.workload import Workload
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

Purpose = Literal["certify", "score", "tuning"]
"""certify: only a verdict was shown. score: results were shown. tuning: a person says that it was used to tune."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One strategy version judged on one gold split, once per purpose."""

    strategy: str
    answers_fp: str
    split: str
    gold_fp: str
    split_fp: str
    purpose: Purpose
    reason: str | None
    ts: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """How worn the certify split is for one strategy. ``opened``: item id → why it no longer counts for it."""

    n_looks: int
    """Judgements on these items, this one included: strategy versions, and versions of the split that grew. The
    certificate's delta is divided by it: testing again after more gold came in is one more chance to be lucky."""
    opened: Mapping[str, str]
    looks: Sequence[Look]


def record_look(
    store: TraceStore,
    work: Workload,
    split: str,
    purpose: Purpose,
    now: datetime,
    *,
    reason: str | None = None,
) -> None:
    """Store that the strategy was judged on a split; the same look is stored once."""
    gold = work.gold
    assert gold is not None
    record_version_look(
        store,
        project=work.folder.name,
        gold_fp=gold.fingerprint,
        split=split,
        split_fp=gold.split_fingerprint(split),
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        purpose=purpose,
        now=now,
        reason=reason,
    )


def record_version_look(
    store: TraceStore,
    *,
    project: str,
    gold_fp: str,
    split: str,
    split_fp: str,
    strategy: str,
    strategy_fp: str,
    purpose: Purpose,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Store that a strategy version, which no file may hold any more, was judged; the same look is stored once."""
    row: dict[str, Any] = {
        "project": project,
        "gold_fp": gold_fp,
        "split": split,
        "split_fp": split_fp,
        "strategy": strategy,
        "strategy_fp": strategy_fp,
        "purpose": purpose,
    }
    keys = " AND ".join(f"{name} = ?" for name in row)
    known = store.query(
        f"SELECT 1 FROM gold_looks WHERE {keys}", list(row.values()), fresh=True, only=["gold_looks"]
    )
    if known.num_rows and purpose != "tuning":
        return
    store.append("gold_looks", {**{k: [v] for k, v in row.items()}, "reason": [reason], "ts": [now]})


def all_looks(store: TraceStore, project: str) -> list[Look]:
    """Return every look at a project's gold, oldest first."""
    answers, _ = _versions(store, project)
    rows = store.query(
        "SELECT * FROM gold_looks WHERE project = ? ORDER BY ts, strategy_fp",
        [project],
        fresh=True,
        only=["gold_looks"],
    ).to_pylist()
    return [
        Look(
            strategy=row["strategy"],
            answers_fp=answers.get(row["strategy_fp"], row["strategy_fp"]),
            split=row["split"],
            gold_fp=row["gold_fp"],
            split_fp=row["split_fp"],
            purpose=row["purpose"],
            reason=row["reason"],
            ts=row["ts"],
        )
        for row in rows
    ]


def wear(store: TraceStore, work: Workload, item_ids: Sequence[str]) -> Wear:
    """Return how worn ``item_ids`` (the certify split) are for the workload's strategy.

    Items whose results had been shown, or used for tuning, before this strategy version was first stored may have
    shaped it: they are ``opened``. A look at the verdict only counts as one more candidate strategy.
    """
    project = work.folder.name
    mine = answers_fingerprint(work.resolved.snapshot)
    _, first_seen = _versions(store, project)
    born = first_seen.get(mine)
    looked = {
        (row["gold_fp"], row["split"]): set(row["ids"])
        for row in store.query(
            "SELECT gold_fp, split, list(DISTINCT item_id) AS ids FROM gold WHERE project = ?"
            " AND (gold_fp, split) IN (SELECT (gold_fp, split) FROM gold_looks WHERE project = ?) GROUP BY ALL",
            [project, project],
            fresh=True,
        ).to_pylist()
    }
    wanted = set(item_ids)
    assert work.gold is not None
    current = (mine, work.gold.split_fingerprint("certify"))
    opened: dict[str, str] = {}
    others: set[tuple[str, str]] = set()
    looks = []
    for look in all_looks(store, project):
        shared = looked.get((look.gold_fp, look.split), set()) & wanted
        if not shared:
            continue
        looks.append(look)
        if (look.answers_fp, look.split_fp) != current:
            others.add((look.answers_fp, look.split_fp))
        if look.purpose != "certify" and (born is None or look.ts < born):
            what = "declared as used for tuning" if look.purpose == "tuning" else "scored openly"
            told = f" ({look.reason})" if look.reason else ""
            for item_id in shared:
                opened.setdefault(
                    item_id,
                    f"{what} on {look.ts:%Y-%m-%d} with {look.strategy}@{short(look.answers_fp)}{told}",
                )
    return Wear(n_looks=len(others) + 1, opened=opened, looks=looks)


def first_stored(store: TraceStore, project: str) -> dict[str, datetime]:
    """Return answers fingerprint → when a strategy version that answers so was first stored."""
    return _versions(store, project)[1]


def _versions(store: TraceStore, project: str) -> tuple[dict[str, str], dict[str, datetime]]:
    """Return strategy fingerprint → answers fingerprint, and answers fingerprint → when it was first stored."""
    answers: dict[str, str] = {}
    first_seen: dict[str, datetime] = {}
    for row in store.query(
        "SELECT strategy_fp, any_value(spec_json) AS spec_json, min(ts) AS ts FROM strategies"
        " WHERE project = ? GROUP BY strategy_fp",
        [project],
        fresh=True,
        only=["strategies"],
    ).to_pylist():
        fp = answers_fingerprint(orjson.loads(row["spec_json"]))
        answers[row["strategy_fp"]] = fp
        first_seen[fp] = min(row["ts"], first_seen.get(fp, row["ts"]))
    return answers, first_seen
