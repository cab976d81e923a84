"""Roll back a promotion: the very bytes that it replaced, once per promotion, as far back as the chain goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from agents.certificates import change_words, stored_snapshot
from agents.run.workload import Workload, load_workload
from labelproof.report.rollouts.champion_file import champion_path, read_text, resolved_text
from labelproof.report.rollouts.events import one_writer, read_rollouts
from labelproof.report.rollouts.evidence import find_certificate
from labelproof.report.rollouts.intents import Outcome, carry_out, end_event, named, repair, say_why, shown
from labelproof.report.rollouts.model import in_use
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore


def rollback(
    store: TraceStore,
    project: str,
    *,
    why: str,
    by: str,
    now: datetime,
    force: bool = False,
    root: Path | None = None,
) -> Outcome:
    """Restore the very bytes that the last promotion replaced; again, those of the one before.

    Refused when the file was edited since the promotion; ``force`` overwrites it and keeps the edited text in the
    event. ``note`` says when prompts or guideline have changed since, so that the old file is another version today.
    """
    say_why(why)
    work = load_workload(project, None, root=root)
    with one_writer(store, work.folder.name):
        repair(store, work.folder, now)
        state = in_use(read_rollouts(store, work.folder.name))
        if state is None or state.promoted is None:
            raise ConfigError(
                f"no promotion of project {work.folder.name!r} is left to roll back",
                hint="labelproof rollout list shows what was promoted; older versions are in version control",
            )
        path = champion_path(work.folder)
        texts = state.promoted.evidence
        current = read_text(path)
        if current != texts["after"] and not force:
            raise ConfigError(
                f"was edited after {state.ref} was promoted on {state.since:%Y-%m-%d %H:%M}",
                path=path,
                hint="commit or undo the edit; or --force, which restores the old file and keeps this text in the event",
            )
        restored = resolved_text(work, str(texts["before"]))
        evidence = {
            "intent": "rollback",
            "path": shown(path, work.folder),
            "before": current,
            "after": texts["before"],
            "edited": current != texts["after"],
            "fp_recorded": state.fp_from,
            "fp_restored": restored.fingerprint,
        }
        intent = end_event(state, "approved", by=by, why=why, now=now)
        carry_out(store, work.folder, replace(intent, evidence=evidence), "rolled_back")
        ended = named(store, work.folder.name, state.rollout_id)
        assert ended is not None  # its events were just written
    after = load_workload(project, None, root=root)
    return Outcome(
        state=ended,
        path=path,
        fp_before=work.resolved.fingerprint,
        fp_after=after.resolved.fingerprint,
        evidence=evidence,
        certificate=find_certificate(store, after, now),
        note=_changed_since(store, state.fp_from, after),
    )


def _changed_since(store: TraceStore, fp_recorded: str, now_work: Workload) -> str | None:
    """Return what makes the restored file another version than the one recorded, None when it is that one."""
    fp = now_work.resolved.fingerprint
    if fp == fp_recorded:
        return None
    before = stored_snapshot(store, fp_recorded)
    changed = "" if before is None else f": {change_words(before, now_work.resolved.snapshot)}"
    return (
        f"the file is as it was, but what it refers to has changed since{changed}; it was version"
        f" {short(fp_recorded)} and is {short(fp)} now"
    )
