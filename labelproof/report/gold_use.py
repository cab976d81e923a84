"""Saying that gold was used for tuning, and what follows for certificates."""

from __future__ import annotations

from datetime import datetime

from agents.certificates import standings, void
from agents.run.register import gold_rows
from agents.run.workload import Workload
from labelproof.report.gold_looks import first_stored, record_look
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore


def declare_used(
    store: TraceStore, work: Workload, split: str, why: str, *, since: datetime, now: datetime
) -> list[str]:
    """Store the declaration and void the certificates it hits; returns their ids.

    Hit are certificates on this gold whose strategy version was first stored after ``since``: it may be tuned on the
    very items that certified it.
    """
    if work.gold is None or not work.gold_labels.get(split):
        raise ConfigError(f"project {work.folder.name!r} has no gold in the split {split!r}")
    rows = gold_rows(store, work.folder.name, work, now)
    if rows:
        store.append_many(rows)
    record_look(store, work, split, "tuning", since, reason=why)
    if split != "certify":
        return []
    born = first_stored(store, work.folder.name)
    voided = []
    for standing in standings(store, work.folder.name, now):
        one = standing.certificate
        later = born.get(one.answers_fp) is None or born[one.answers_fp] >= since
        if standing.state == "valid" and one.split_fp == work.gold.split_fingerprint("certify") and later:
            void(
                store, one.certificate_id, f"the gold was used for tuning since {since:%Y-%m-%d}: {why}", now
            )
            voided.append(one.certificate_id)
    return voided
