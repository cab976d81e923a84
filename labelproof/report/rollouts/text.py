"""Roll-outs in words: lines for a run's summary, the terminal and Markdown. Values of files are escaped by the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelproof.report.rollouts.intents import Outcome
from labelproof.report.rollouts.model import RolloutState
from labelproof.report.rollouts.monitor import CanaryReading, SplitCheck
from labelproof.report.rollouts.pair import Pair
from labelproof.report.rollouts.watch import Watch
from labelproof.spec.hashing import short

Lines = list[tuple[str, str]]
"""(heading, text) pairs; a heading "" continues the one above."""
_PAST = {"rolled_back": "rolled back", "proposed": "proposed", "shadow": "in the shadow"}


def phase_text(state: RolloutState) -> str:
    """Return where a roll-out stands in a few words."""
    if state.phase == "canary":
        return f"canary, {100 * (state.share_prob or 0):g} % of {_units(state)}"
    return _PAST.get(state.phase, state.phase)


def run_lines(told: Mapping[str, Any] | None) -> Lines:
    """Return what a run's summary says of the roll-out it followed (its key `rollout`); nothing without one."""
    if told is None:
        return []
    share = f", {100 * told['share_prob']:g} %" if told.get("share_prob") else ""
    found = [("Roll-out", f"{told['ref']} ({told['phase']}{share}), {told['rollout_id']}")]
    if told.get("resting"):
        found.append(("", f"rests: {told['resting']}"))
    side = told.get("candidate")
    if side is not None:
        verb = "decided" if told["phase"] == "canary" else "answered, deciding nothing:"
        found.append(("", f"candidate {verb} {side_text(side)}"))
    if told.get("instead"):
        found.append(("", f"champion in its place: {side_text(told['instead'])}"))
    found += [("", note) for note in told.get("notes") or ()]
    monitor = told.get("monitor")
    if monitor is not None:
        found += [("", guard) for guard in monitor["guards"]]
        found += [("ALARM", alarm) for alarm in monitor["alarms"]]
        if monitor["rolled_back"]:
            found.append(("", "ROLLED BACK by the monitor: the champion decides everything from now on"))
        if monitor["proposal"]:
            found.append(("", f"proposed: {monitor['proposal']}"))
    return found


def side_text(side: Mapping[str, Any]) -> str:
    """Return the counts of one side's run."""
    cost = side.get("cost_usd")
    money = "" if not cost else f", ${cost:.4f}"
    text = (
        f"{side['done']} of {side['n_items']} items ({side['auto_accept']} auto-accepted, {side['review']} to review,"
        f" {side['failed']} failed) in run {side['run_id']}{money}"
    )
    return f"{text}; stopped: {side['stopped']}" if side.get("stopped") else text


def watch_lines(seen: Watch) -> Lines:
    """Return what the monitor saw, for `rollout status`."""
    state = seen.state
    found: Lines = [
        (
            "State",
            f"{phase_text(state)} since {state.since:%Y-%m-%d %H:%M}, by {state.actor}: {state.reason}",
        ),
        ("Versions", f"{state.ref} against champion@{short(state.fp_from)}"),
    ]
    if seen.canary is not None:
        found += _canary_lines(seen.canary)
    if seen.shadow is not None:
        found += _shadow_lines(seen.shadow)
    found += [
        ("ALARM" if alarm.reason in seen.alarms else "Alarm", f"{alarm.ts:%Y-%m-%d %H:%M}: {alarm.reason}")
        for alarm in state.alarms
    ]
    if seen.rolled_back:
        found.append(("", "rolled back by the monitor: the champion decides everything"))
    if seen.proposal:
        found.append(("Proposed", seen.proposal))
    if seen.open_intent:
        found.append(("Unfinished", seen.open_intent))
    return found


def trail_lines(state: RolloutState) -> Lines:
    """Return the audit trail of one roll-out: when, what, who, why, on what."""
    found = []
    for event in state.events:
        share = "" if event.share_prob is None else f" {100 * event.share_prob:g} %"
        rests = evidence_text(event.evidence)
        what = f"{event.event.replace('_', ' ')}{share} by {event.actor}: {event.reason}"
        found.append((f"{event.ts:%Y-%m-%d %H:%M}", what + (f" [{rests}]" if rests else "")))
    return found


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Return what an event rested on, in a few words; empty when it says nothing."""
    words = []
    comparison = evidence.get("comparison")
    if comparison:
        words.append(f"comparison {comparison['comparison_id']}: {comparison['verdict']}")
    if evidence.get("forced"):
        words.append(f"FORCED: {evidence['forced']}")
    if evidence.get("edited"):
        words.append("over a later edit of the file")
    return "; ".join(words)


def outcome_lines(outcome: Outcome) -> Lines:
    """Return what a promotion or rollback did."""
    forced = outcome.evidence.get("forced")
    found: Lines = [
        ("File", f"{outcome.path}: version {short(outcome.fp_before)} -> {short(outcome.fp_after)}"),
        ("Who", f"{outcome.state.actor}: {outcome.state.reason}"),
    ]
    rests = evidence_text({**outcome.evidence, "forced": None})
    if rests:
        found.append(("Evidence", rests))
    if forced:
        found.append(("FORCED", str(forced)))
    found.append(("Certificate", outcome.certificate.sentence))
    if outcome.note:
        found.append(("Note", outcome.note))
    return found


def pair_lines(pair: Pair) -> Lines:
    """Return what a promotion would do and rest on, for whoever approves it."""
    found: Lines = [
        (
            "Candidate",
            f"{pair.path.stem}@{short(pair.fp_to)} for {pair.champion.strategy.name}@{short(pair.fp_from)}",
        ),
        ("Changed", pair.changes),
        ("Evidence", pair.evidence.text),
    ]
    if pair.evidence.missing:
        found.append(("Missing", pair.evidence.missing))
    return [*found, ("Certificate", pair.certificate.sentence)]


def markdown(title: str, lines: Sequence[tuple[str, str]], *, sql: str | None = None) -> str:
    """Return lines as a Markdown document; what they hold is shown as text, never as markup."""
    body = "\n".join(f"- **{_plain(h)}** {_plain(text)}" if h else f"  - {_plain(text)}" for h, text in lines)
    return f"# {_plain(title)}\n\n{body}\n" + (f"\n```sql\n{sql.strip()}\n```\n" if sql else "")


def _canary_lines(reading: CanaryReading) -> Lines:
    found: Lines = [("Split", _split_text(split)) for split in reading.splits]
    found += [("Guardrail", guard.sentence) for guard in reading.guards]
    if reading.mix_distance is not None:
        most = max(reading.mix, key=lambda row: abs((row[2] or 0) - (row[1] or 0)))
        found.append(
            (
                "Labels",
                (
                    f"{100 * reading.mix_distance:.1f} % of labels would have to change for the two mixes to agree;"
                    f" most: {most[0]} {100 * (most[1] or 0):.1f} % -> {100 * (most[2] or 0):.1f} % (information only)"
                ),
            )
        )
    return found


def _split_text(split: SplitCheck) -> str:
    counts = f"{split.of}: {split.n_champion} champion, {split.n_candidate} candidate units"
    if split.e_value is None:
        return f"{counts}; not checked: {split.reason}"
    state = "BROKEN" if split.alarm else "ok"
    return f"{counts}; {state} (e-value {split.e_value:.3g} of 100 against {100 * split.share_prob:g} %)"


def _shadow_lines(counts: Mapping[str, Any]) -> Lines:
    n = counts["n"]
    if not n:
        return [("Shadow", "no answer yet: it answers with the next run of the project")]
    both = counts["both_labelled"]
    same = (
        "unknown"
        if not both
        else f"{counts['same_label']} of {both} ({100 * counts['same_label'] / both:.1f} %)"
    )
    cost = "unknown" if counts["cost_usd"] is None else f"${counts['cost_usd']:.4f}"
    return [
        ("Shadow", f"{n} items answered; label as the champion's: {same}"),
        (
            "",
            (
                f"would auto-accept {counts['auto_accept']}, champion {counts['champion_auto_accept']};"
                f" failed {counts['failed']}, champion {counts['champion_failed']}; cost {cost}"
            ),
        ),
    ]


def _units(state: RolloutState) -> str:
    return "items" if state.terms.unit is None else f"values of {state.terms.unit}"


def _plain(text: str) -> str:
    """Return a text in which Markdown and HTML mean nothing."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|~":
        text = text.replace(mark, f"&#{ord(mark)};")
    return text
