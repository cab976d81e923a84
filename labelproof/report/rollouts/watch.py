"""The monitor at work: read what a roll-out's traffic says, raise alarms once, roll back what was agreed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from labelproof.report.rollouts.events import one_writer, read_rollouts, record
from labelproof.report.rollouts.intents import TICK, end_event, named, repair
from labelproof.report.rollouts.model import MONITOR, RolloutState, in_use, running
from labelproof.report.rollouts.monitor import CanaryReading, read_canary
from labelproof.report.rollouts.rollback import rollback
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

SHADOW = """WITH shadow AS (
    SELECT * FROM arm_answers WHERE experiment_id = $rollout AND strategy_fp = $fp_to AND ts >= $since
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC, run_id DESC) = 1
),
champion AS (
    SELECT * FROM decisions WHERE strategy_fp = $fp_from AND run_id IN (
        SELECT DISTINCT run_id FROM runs WHERE project = $project
    )
    QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY ts DESC, run_id DESC) = 1
)
SELECT count(*) AS n, count(*) FILTER (s.decision = 'failed') AS failed,
       count(*) FILTER (c.decision = 'failed') AS champion_failed,
       count(*) FILTER (s.label = c.label) AS same_label,
       count(*) FILTER (s.label IS NOT NULL AND c.label IS NOT NULL) AS both_labelled,
       count(*) FILTER (s.decision = 'auto_accept') AS auto_accept,
       count(*) FILTER (c.decision = 'auto_accept') AS champion_auto_accept,
       CASE WHEN count(s.cost_usd) = count(*) THEN sum(s.cost_usd) END AS cost_usd
FROM shadow AS s LEFT JOIN champion AS c USING (item_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the monitor saw and did. ``state`` is the roll-out afterwards; ``alarms``: raised just now.

    ``canary`` and ``shadow`` (counts) are set in those phases. ``proposal``: what a person should do now. ``open_intent``:
    an approved change of the champion's file that an interruption left undone.
    """

    state: RolloutState
    canary: CanaryReading | None = None
    shadow: Mapping[str, Any] | None = None
    alarms: tuple[str, ...] = ()
    rolled_back: bool = False
    proposal: str | None = None
    open_intent: str | None = None

    @property
    def exit_code(self) -> int:
        """1 when something is wrong that somebody should see, else 0."""
        return 1 if self.alarms or self.rolled_back or self.proposal or self.open_intent else 0

    def to_json(self) -> dict[str, Any]:
        state = self.state
        return {
            "rollout_id": state.rollout_id,
            "project": state.project,
            "strategy": state.strategy,
            "fp_from": state.fp_from,
            "fp_to": state.fp_to,
            "phase": state.phase,
            "share_prob": state.share_prob,
            "since": state.since.isoformat(),
            "by": state.actor,
            "why": state.reason,
            "terms": asdict(state.terms),
            "canary": None if self.canary is None else self.canary.to_json(),
            "shadow": self.shadow,
            "alarms": [
                {"ts": alarm.ts.isoformat(), "by": alarm.actor, "why": alarm.reason} for alarm in state.alarms
            ],
            "new_alarms": list(self.alarms),
            "rolled_back": self.rolled_back,
            "proposal": self.proposal,
            "open_intent": self.open_intent,
            "exit_code": self.exit_code,
        }


def watch(store: TraceStore, folder: ProjectFolder, *, now: datetime, act: bool = True) -> Watch | None:
    """Look at the roll-out under way, else at the last promotion; None when a project never had either.

    ``act``: a canary in breach is ended (`alarm`, then `rolled_back` by `monitor`): from the next run on the champion
    decides everything. A promoted version in breach within its days of watch raises one alarm and proposes a rollback;
    the file is restored only if that was agreed at the start (`--auto-rollback`).
    """
    if act:
        with one_writer(store, folder.name):
            repair(store, folder, now)
    states = read_rollouts(store, folder.name)
    state = running(states) or in_use(states) or (states[0] if states else None)
    if state is None:
        return None
    seen = Watch(state=state, open_intent=_open_intent(state))
    if state.phase == "canary":
        return _watch_canary(store, folder, seen, now, act=act)
    if state.phase == "shadow":
        return replace(seen, shadow=read_shadow(store, state))
    if state.phase == "promoted":
        return _watch_promoted(store, folder, seen, now, act=act)
    return seen


def read_shadow(store: TraceStore, state: RolloutState) -> dict[str, Any]:
    """Return counts of what the shadow answered and how often it agrees with what the champion decided."""
    params = {
        "rollout": state.rollout_id,
        "project": state.project,
        "fp_from": state.fp_from,
        "fp_to": state.fp_to,
        "since": state.since,
    }
    (row,) = store.query(SHADOW, params, fresh=True).to_pylist()
    return dict(row)


def end_canary(
    store: TraceStore, state: RolloutState, why: tuple[str, ...], now: datetime, **numbers: Any
) -> bool:
    """Write the alarms and the end of a canary as one batch; False when it had ended already."""
    with one_writer(store, state.project):
        known = named(store, state.project, state.rollout_id) or state
        if known.phase != state.phase or known.since != state.since:
            return False
        alarms = [end_event(known, "alarm", by=MONITOR, why=reason, now=now) for reason in why]
        alarms = [replace(alarm, evidence=numbers, ts=alarm.ts + n * TICK) for n, alarm in enumerate(alarms)]
        ended = end_event(known, "rolled_back", by=MONITOR, why="; ".join(why), now=now)
        record(store, [*alarms, replace(ended, evidence=numbers, ts=alarms[-1].ts + TICK)])
        return True


def _watch_canary(
    store: TraceStore, folder: ProjectFolder, seen: Watch, now: datetime, *, act: bool
) -> Watch:
    reading = read_canary(store, seen.state, folder.spec.experiments, now)
    seen = replace(seen, canary=reading)
    if not reading.breaches:
        return seen
    if not act or not end_canary(store, seen.state, reading.breaches, now, reading=reading.to_json()):
        return replace(seen, alarms=reading.breaches)
    after = named(store, folder.name, seen.state.rollout_id) or seen.state
    return replace(seen, state=after, alarms=reading.breaches, rolled_back=True)


def _watch_promoted(
    store: TraceStore, folder: ProjectFolder, seen: Watch, now: datetime, *, act: bool
) -> Watch:
    state = seen.state
    if not is_watched(state, now):
        return seen
    found = _breaches_since(store, folder, state, now)
    known = {alarm.evidence.get("about") for alarm in state.alarms}
    fresh = {about: why for about, why in found.items() if about not in known}
    if act and fresh:
        with one_writer(store, folder.name):
            event = end_event(state, "alarm", by=MONITOR, why="", now=now)
            record(
                store,
                [
                    replace(event, reason=why, evidence={"about": about}, ts=event.ts + n * TICK)
                    for n, (about, why) in enumerate(fresh.items())
                ],
            )
        state = named(store, folder.name, state.rollout_id) or state
    if not found:
        return replace(seen, state=state)
    why, refused = "; ".join(found.values()), ""
    if act and state.terms.auto_rollback:
        try:
            done = rollback(store, str(folder.folder), why=why, by=MONITOR, now=now)
        except ConfigError as error:  # edited by hand since: a person must look
            refused = f"; not done by itself: {error.message}"
        else:
            return replace(seen, state=done.state, alarms=tuple(fresh.values()), rolled_back=True)
    proposal = f"roll it back: labelproof rollback {folder.name} --why ...  ({why}{refused})"
    return replace(seen, state=state, alarms=tuple(fresh.values()), proposal=proposal)


def is_watched(state: RolloutState, now: datetime) -> bool:
    """Whether a promotion is so young that an alarm concerns it."""
    return state.phase == "promoted" and now - state.since <= timedelta(days=state.terms.watch_days)


def _breaches_since(
    store: TraceStore, folder: ProjectFolder, state: RolloutState, now: datetime
) -> dict[str, str]:
    """Return what an alarm is about -> why, for the promises behind decisions of this version since its promotion."""
    from labelproof.report.quality import quality_report

    report = quality_report(
        store, folder, strategy=state.fp_to, since=state.since, now=now, void_certificates=False
    )
    return {reading.about: why for reading in report.monitors if (why := reading.why_void()) is not None}


def _open_intent(state: RolloutState) -> str | None:
    if state.pending is None:
        return None
    verb = "rollback" if state.pending.evidence.get("intent") == "rollback" else "promote"
    return (
        f"{state.pending.actor} approved a {verb} on {state.pending.ts:%Y-%m-%d %H:%M} that was interrupted before the"
        f" champion's file was written: run labelproof {verb} again"
    )
