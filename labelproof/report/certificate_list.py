"""All certificates of a project as they stand against the strategy files of today."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from agents.certificates import Standing, answers_fingerprint, change_words, standings, stored_snapshot
from agents.run.workload import load_workload
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.project import find_project
from labelproof.store import TraceStore


def certificate_list(store: TraceStore, project: str, now: datetime) -> list[Standing]:
    """Return every certificate, newest first; valid ones of a strategy that has changed are not applicable."""
    folder = find_project(project)
    found = standings(store, folder.name, now)
    current = {}
    for name in {s.certificate.strategy for s in found if s.state == "valid"}:
        try:
            current[name] = load_workload(str(folder.folder), name).resolved
        except ConfigError:
            continue  # said below: the strategy is gone
    judged = []
    for standing in found:
        one = standing.certificate
        resolved = current.get(one.strategy)
        if standing.state != "valid":
            judged.append(standing)
        elif resolved is None:
            judged.append(
                replace(standing, state="not applicable", reason="the strategy's file is gone or broken")
            )
        elif answers_fingerprint(resolved.snapshot) != one.answers_fp:
            before = stored_snapshot(store, one.strategy_fp)
            words = "" if before is None else f" ({change_words(before, resolved.snapshot)})"
            reason = f"strategy changed: {one.strategy} is now {short(resolved.fingerprint)}{words}"
            judged.append(replace(standing, state="not applicable", reason=reason))
        else:
            judged.append(standing)
    return judged
