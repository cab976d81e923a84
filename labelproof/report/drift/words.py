"""What a drift measurement says, in one or two sentences."""

from __future__ import annotations

from datetime import datetime

from evaluation.drift import DriftAlarm, DriftDetector
from evaluation.intervals import Estimate
from labelproof.report.drift.batches import MIN_ITEMS
from labelproof.report.drift.read import day_start
from labelproof.report.drift.sentinel import SentinelVerdict
from labelproof.report.drift.streams import Moved, Shift, Stream
from labelproof.spec.monitoring import DriftKind

NOUNS: dict[DriftKind, str] = {
    "label_mix": "labels",
    "confidence": "confidence",
    "text": "texts",
    "language": "languages",
    "length": "text length",
    "provider": "provider",
    "manipulation": "tries to steer the model",
    "strategy": "strategy",
}
_LONGEST_NAME = 60


def learning_reason(state: DriftDetector, stream: Stream) -> str:
    """Say how much is missing before anything can be said."""
    known = len(stream.batches)
    need = state.min_batches + 1
    version = " of this strategy version" if stream.version else ""
    waiting = f", {stream.batches.waiting} items wait for more" if stream.batches.waiting else ""
    return f"too little to compare: {known} of {need} days{version} with at least {MIN_ITEMS} new items each{waiting}"


def quiet_reason(kind: DriftKind, stream: Stream, state: DriftDetector, shift: Shift) -> str:
    """Say that nothing moved beyond the usual spread of days, and how an earlier alarm ended."""
    text = f"no change of {NOUNS[kind]} beyond the usual spread of days ({_effect(kind, shift.effect)})"
    last = state.alarms[-1] if state.alarms else None
    if last is not None and last.ended_at is not None:
        ended = _day(day_start(int(stream.batches.last[last.ended_at])))
        how = (
            "what came before is back"
            if last.how == "returned"
            else "what came after it is the new reference"
        )
        text += f"; the alarm of {_day(day_start(int(stream.batches.last[last.at])))} ended on {ended}: {how}"
    return text


def alarm_reason(
    kind: DriftKind, stream: Stream, alarm: DriftAlarm, shift: Shift, verdict: SentinelVerdict | None
) -> str:
    """Say what moved, since when, and whether the model or the traffic changed."""
    first, last = stream.batches.first, stream.batches.last
    since = day_start(int(first[alarm.change.at]))
    text = f"{NOUNS[kind]} changed from {_day(since)} on"
    if alarm.change.high > alarm.change.low:
        between = _day(day_start(int(first[alarm.change.low])))
        text += f" (between {between} and {_day(day_start(int(last[alarm.change.high])))})"
    if shift.moved:
        text += f": {_moved(shift.moved[0])}"
    text += f"; {_effect(kind, shift.effect)}"
    return text if verdict is None else f"{text}. {verdict.beside_drift(since)}"


def _moved(one: Moved) -> str:
    name = one.name if len(one.name) <= _LONGEST_NAME else one.name[: _LONGEST_NAME - 1] + "…"
    word = "rose" if one.after > one.before else "fell"
    return f"{name} {word} from {100 * one.before:.1f} % to {100 * one.after:.1f} %"


def _effect(kind: DriftKind, effect: Estimate) -> str:
    if effect.value is None:
        return effect.reason or "no estimate"
    low, high = effect.low or 0.0, effect.high or 0.0
    if kind == "text":
        return f"AUC {effect.value:.2f}, 95 % interval {low:.2f} to {high:.2f}; .5: cannot be told apart"
    return f"{100 * effect.value:.1f} % moved, 95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d}"
