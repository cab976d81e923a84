"""The weekly report's judgement, by rule: the one risk, the decision needed, what is not known."""

from __future__ import annotations

from datetime import datetime

from labelproof.report.documents._week import Week
from labelproof.report.documents._weekly_quality import Quality
from labelproof.report.documents._weekly_state import States, TargetRow, expiring, promise
from labelproof.report.documents.book import Row
from labelproof.report.documents.lines import both, command, day, given, listed, sentence, text, version
from labelproof.report.documents.model import Given, Line, Ref
from labelproof.report.quality_data import OUTSIDE


def risk(quality: Quality, states: States) -> Line:
    """Return the one risk: the worst open finding (critical or major), else a promise not met, else the nearest one."""
    serious = [row for row in states.findings if row["severity"] in ("critical", "major")]
    if serious:
        row = serious[0]
        cause: Line = (", because of ", Given(row["cause"])) if row["cause"] else ()
        return text(Given(row["title"] or row["finding_id"]), *cause, " (", Given(row["severity"]), "; owner ",
                    *given(row["owner"] or "nobody"), ").")  # fmt: skip
    broken = [one for one in states.targets if one.state == "not met"]
    if broken:
        return text(*_target(broken[0]), ".")
    if quality.verdict == "not met":
        return text("fewer automatic decisions are right than we promise.")
    near = [(found, one) for one in states.targets if (found := one.closeness) is not None]
    if near:
        return text(
            "the promise with the least room is ", *_target(min(near, key=lambda pair: pair[0])[1]), "."
        )
    if quality.right.value is None:
        return text("nobody knows how right the automatic decisions are.")
    return text("none stands out: no finding is open, and no promise is measured to be near its bound.")


def _target(one: TargetRow) -> Line:
    assert one.number is not None
    return text(Given(one.words), " at ", both(one.number.name), ", promised ", Given(promise(one.target)))


def decisions(week: Week, quality: Quality, states: States) -> list[Line]:
    """Return what somebody has to decide, the most urgent first; one line saying so when nothing is to be decided."""
    project, found = week.project, list[Line]()
    for row in _unanswered(states):
        found.append(
            text("approve or reject ", version(row["strategy"], row["fp_to"]), ", which ", *given(row["actor"]), " proposed on ",
                 *day(row["ts"]), ": ", command(f"labelproof rollout status {project}"), ".")
        )  # fmt: skip
    if quality.verdict == "not met":
        found.append(
            text("whether the machine goes on deciding alone: fewer decisions are right than promised. Certify anew (",
                 command(f"labelproof certify {project}"), "), or find out why first (", command(f"labelproof rca {project}"), ").")
        )  # fmt: skip
    found += _findings_to_decide(week, states)
    if quality.more_audits is not None:
        found.append(
            text("audit ", Ref("audits.more"), " more automatic decisions to prove the promise, or leave it unproven for now: ",
                 command(f"labelproof review export {project} --kind audit --to audits.csv"), ".")
        )  # fmt: skip
    elif quality.verdict == "not yet provable" and week.book["tasks.audits_waiting"].value:
        found.append(
            text(
                "have the ",
                Ref("tasks.audits_waiting"),
                " waiting audits answered, so that the promise can be proven or ruled out: ",
                command(f"labelproof review export {project} --kind audit --to audits.csv"),
                ".",
            )
        )
    elif quality.verdict == "not yet provable":
        found.append(
            text(
                "whether more automatic decisions are audited (",
                command("routing.audit_rate_prob"),
                "): too few are, to prove the promise or to rule it out.",
            )
        )
    found += _certificates_to_decide(week, states)
    if quality.right.value is None and quality.report.next_step:
        found.append(
            text(
                "have audits answered, so that quality can be told: ", command(quality.report.next_step), "."
            )
        )
    return found or [text("none.")]


def _unanswered(states: States) -> list[Row]:
    """Proposals that nobody has answered by the period's end."""
    last: dict[str, Row] = {}
    for row in states.rollouts:
        last[row["rollout_id"]] = row
    return [row for row in last.values() if row["event"] == "proposed"]


def _findings_to_decide(week: Week, states: States) -> list[Line]:
    found: list[Line] = []
    for row in states.findings:
        what = text(Given(row["title"] or row["finding_id"]), " (", Given(row["severity"] or "minor"), "): ",
                    command(f"labelproof findings show {row['finding_id']}"), ".")  # fmt: skip
        if not row["owner"]:
            found.append(text("who drives this finding to closure: ", *what))
        elif row["due"] is not None and row["due"] < week.until:
            found.append(
                text("a new date or more help for an overdue finding of ", Given(row["owner"]), ": ", *what)
            )
    return found[:3]


def _certificates_to_decide(week: Week, states: States) -> list[Line]:
    command_line = command(f"labelproof certify {week.project}")
    voided = [
        row for row in states.certificates if _is_between(row["voided_at"], week.period.start, week.until)
    ]
    later = {row["strategy_fp"] for row in states.certificates if row["voided_at"] is None}
    found = [
        text("certify ", version(None, row["strategy_fp"]), " anew, or let people decide what it decided: its certificate was voided (",
             command_line, ").")
        for row in voided
        if row["strategy_fp"] not in later
    ]  # fmt: skip
    found += [
        text("renew the certificate ", Given(row["certificate_id"], code=True), ", which ends on ", *day(ends), ": ", command_line, ".")
        for row, ends in expiring(states, week.until)
    ]  # fmt: skip
    return found


def _is_between(moment: datetime | None, start: datetime, end: datetime) -> bool:
    return moment is not None and start <= moment < end


def unknowns(week: Week, quality: Quality, states: States) -> list[Line]:
    """Return what the numbers of this report do not say."""
    book, found = week.book, list[Line]()
    if quality.right.value is None:
        found.append(text("How right the automatic decisions are: ", sentence(quality.right.reason), "."))
    if book["audits.disputed"].value or book["audits.open"].value:
        found.append(
            text("What ", Ref("audits.open"), " waiting and ", Ref("audits.disputed"), " disputed audits will find; the estimate "
                 "takes the settled ones as a random part of those drawn.")
        )  # fmt: skip
    (outside,) = book.panel("outside", OUTSIDE)
    if outside["decisions"]:
        book.cell("outside.decisions", "Auto-decisions that no audit covers", "outside", outside, "decisions")
        reasons = "; ".join(quality.report.outside)
        found.append(
            text(
                Ref("outside.decisions"),
                " automatic decisions are not covered by audits: ",
                Given(reasons),
                ".",
            )
        )
    for name in ("harm.missed", "harm.removed"):
        if book[name].value is None and quality.right.value is not None:
            found.append(text(Given(book[name].label), ": ", Given(book[name].reason), "."))
    missing = [one for one in states.targets if one.state == "not measured"]
    if missing:
        named = listed([text(Given(one.target.metric, code=True)) for one in missing])
        found.append(
            text("Whether these targets are kept, which were not measured in this period: ", *named, ".")
        )
    if book["work.unpriced"].value:
        found.append(text("What ", Ref("work.unpriced"), " decisions cost: no price of the model is known."))
    if book["hours.saved"].value is None:
        found.append(text("How much of people's time was saved: ", sentence(book["hours.saved"].reason), "."))
    if not week.folder.spec.monitoring.sentinel.items:
        found.append(
            text(
                "Whether the model itself changed: no sentinel set is frozen (",
                command("monitoring.sentinel.items"),
                ").",
            )
        )
    if not week.harmless.graded and len(week.harmless.severity) > 1:
        found.append(text("Which missed harm is worst: all harmful labels have the same severity."))
    found.append(
        text("How much of all harm was found: items that people decided are not audited here, so recall over all items "
             "cannot be told.")
    )  # fmt: skip
    return found
