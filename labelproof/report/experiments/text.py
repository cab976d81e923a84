"""Plans, progress, results and label counts as people read them: plain lines for the terminal, Markdown for Prefect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from labelproof.report.experiments.labels import LabelStatus
from labelproof.report.experiments.plan import Plan
from labelproof.report.experiments.run import ArmCost, ExperimentResult
from labelproof.report.experiments.state import ArmState, Outcome
from labelproof.report.numbers import count
from labelproof.report.run_report import REVIEW_URL
from labelproof.spec.hashing import short
from labelproof.spec.metrics import parse_metric

Lines = list[tuple[str, str]]
COST_COLUMNS = ("arm", "items", "calls", "reused", "tokens in", "tokens out", "cost")
OUTCOME_COLUMNS = ("candidate", "verdict", "metric", "A", "B", "difference", "p", "why")


def plan_lines(plan: Plan, *, budget_usd: float | None = None) -> Lines:
    """Return (heading, text) pairs: everything that is fixed before the first call.

    ``budget_usd``: the budget now, which a person may have changed since the plan was made.
    """
    budget = plan.budget_usd if budget_usd is None else budget_usd
    policy = plan.policy
    arms = [
        f"{arm.name} = {arm.shown}" + (" (control)" if arm.name == plan.control else "") for arm in plan.arms
    ]
    gold = f", gold {short(plan.gold_fp)}" if plan.gold_fp else ""
    rails = ", ".join(
        f"{rail.metric} at most {rail.margin:g} {'higher' if parse_metric(rail.metric).lower_is_better else 'lower'}"
        for rail in policy.guardrails
    )
    again = (
        f"{plan.control} is asked again on {plan.rerun_items} items: how many labels change by themselves"
        if plan.rerun_items
        else "none (experiments.rerun_items is 0): how many labels change by themselves stays unknown"
    )
    return [
        ("Arms", "; ".join(arms)),
        ("Items", f"{plan.n_items} ({_source(plan)}{gold})"),
        (
            "Primary",
            f"{policy.primary}, {'better' if policy.goal == 'better' else 'not worse'}; alpha {policy.alpha:g}",
        ),
        ("Guardrails", rails or "none"),
        ("Rule", plan.rule),
        ("Size", plan.size_note),
        ("A/A rerun", again),
        ("Budget", "no limit" if budget is None else f"${budget:g} for all arms together"),
        ("Plan", f"{plan.fp}, made {plan.made_at:%Y-%m-%d %H:%M} UTC, before the first call"),
    ]


def cost_rows(costs: Sequence[ArmCost]) -> Sequence[Sequence[str]]:
    """Return the rows of ``COST_COLUMNS``: one per run that is still to do."""
    rows = []
    for one in costs:
        steps = one.plan.steps
        most = "<= " if any(step.upper_bound and step.n_calls for step in steps) else ""
        cost = one.plan.cost_usd
        rows.append(
            (
                one.todo.title,
                count(one.plan.n_items),
                f"{most}{count(one.plan.n_calls)}",
                count(sum(step.n_reused for step in steps)),
                count(sum(step.tokens_in for step in steps)),
                count(sum(step.tokens_out for step in steps)),
                "unknown" if cost is None else f"${cost:.4f}",
            )
        )
    return rows


def total_cost(costs: Sequence[ArmCost]) -> float | None:
    """Return US dollars of all runs together at most; None when a price is unknown."""
    each = [one.plan.cost_usd for one in costs]
    return None if any(cost is None for cost in each) else sum(cost or 0.0 for cost in each)


def cost_sentence(costs: Sequence[ArmCost], budget_usd: float | None) -> str:
    """Return what is left to do in one sentence."""
    if not costs:
        return "Every arm has answered everything: only the comparison is left."
    calls, cost = sum(one.plan.n_calls for one in costs), total_cost(costs)
    money = "cost unknown (no price for a model)" if cost is None else f"${cost:.4f}"
    text = f"In all at most {count(calls)} calls, {money}; steps that arms share are paid once."
    if budget_usd is not None and cost is not None and cost > budget_usd:
        text += f" That is more than the budget of ${budget_usd:g}: it may stop before the end, and go on with a larger one."
    return text


def arm_lines(states: Sequence[ArmState]) -> Lines:
    """Return the progress of each arm."""
    found = []
    for state in states:
        told = "done" if state.finished else "under way" if state.run_id else "not begun"
        failed = f", {state.n_failed} failed" if state.n_failed else ""
        run = f" (run {state.run_id})" if state.run_id else ""
        name = f"{state.arm} again" if state.repeat else state.arm
        found.append((name, f"{state.n_answers} of {state.n_wanted} answers{failed}, {told}{run}"))
    return found


def outcome_rows(outcomes: Sequence[Outcome]) -> Sequence[Sequence[str]]:
    """Return the rows of ``OUTCOME_COLUMNS``."""
    return [
        (
            one.version,
            one.verdict.upper(),
            one.metric,
            _number(one.value_a),
            _number(one.value_b),
            "not measurable"
            if one.delta is None
            else f"{one.delta:+.3f}"
            + (f" [{one.low:+.3f}, {one.high:+.3f}]" if one.low is not None and one.high is not None else ""),
            "-" if one.p_holm is None else f"{one.p_holm:.3f}" if one.p_holm >= 0.001 else "<.001",
            one.headline,
        )
        for one in outcomes
    ]


def next_commands(result: ExperimentResult, states: Sequence[ArmState], name: str) -> list[tuple[str, str]]:
    """Return (command, what it is for) pairs: what to do now."""
    plan = result.plan
    if result.standing.state != "finished":
        todo = any(not state.finished for state in states)
        return [
            (
                f"{name} experiment resume {plan.experiment_id}",
                "go on; what is done is stored" if todo else "compare",
            ),
            (f"{name} experiment stop {plan.experiment_id} --why '...'", "end it without a result"),
        ]
    found = [
        (
            f"{name} compare {plan.control} {one.arm} -p {plan.project} --experiment {plan.experiment_id}",
            "flips, slices, why",
        )
        for one in result.outcomes
    ]
    if plan.gold_fp is None and len(plan.arms) == 2:
        found.append((f"{name} experiment label {plan.experiment_id}", "people decide where the arms differ"))
    found += [
        (f"{name} promote {plan.project} {plan.arm(one.arm).strategy} --why '...'", "make it the champion")
        for one in result.outcomes
        if one.verdict == "ship"
    ]
    return found


def label_lines(status: LabelStatus) -> Lines:
    """Return what people's labels show so far."""
    evidence, difference = status.evidence, status.difference
    share = f" ({status.n_disagree / status.n_items:.1%})" if status.n_items else ""
    counted = ", ".join(f"{n} {state}" for state, n in sorted(status.tasks.items())) or "none"
    return [
        (
            "Disagree",
            f"{status.n_disagree} of {status.n_items} items{share}: {status.arm_a} (A), {status.arm_b} (B)",
        ),
        ("Asked", f"{status.n_asked} of {status.n_disagree}: {counted}; {status.n_votes} answers"),
        (
            "Decided",
            f"{evidence.n_decided}: only B right {evidence.wins}, only A right {evidence.losses}, both wrong "
            f"{evidence.neither}"
            + (f"; {evidence.skipped} asked earlier still wait" if evidence.skipped else ""),
        ),
        ("Evidence", _evidence_text(status)),
        ("Accuracy", _difference_text(status)),
        ("Saved", _saved_text(status)),
        *([] if difference.value is None else [("Careful", _CAREFUL)]),
    ]


_CAREFUL = (
    "a difference only: where the arms agree they may both be wrong, so these labels say nothing about either's accuracy. "
    "After an early stop the difference tends to look a little large"
)


def _evidence_text(status: LabelStatus) -> str:
    evidence = status.evidence
    bar = f"e-value {evidence.e_sure:.2f} of {1 / evidence.alpha:g} (p {_at_most(evidence.p_value)} at any look)"
    if evidence.better is not None:
        better = status.arm_b if evidence.better == "b" else status.arm_a
        return f"{better} is more accurate: {bar}; known after the first {evidence.stopped_at} disagreements"
    if status.n_asked == status.n_disagree and status.n_open == 0:
        return f"not shown which arm is more accurate, and every disagreement was asked about: {bar}"
    return f"not shown yet which arm is more accurate: {bar}"


def _at_most(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"<= {p:.3f}"


def _difference_text(status: LabelStatus) -> str:
    d = status.difference
    if d.value is None:
        return f"not measurable: {d.reason}"
    if d.low is None or d.high is None:
        return f"B - A {d.value:+.4f}: {d.reason}"
    return f"B - A {d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}] ({d.confidence:.0%} interval, from {d.n_labels} labels)"


def _saved_text(status: LabelStatus) -> str:
    d = status.difference
    if d.labels_at_random is None:
        return "nothing can be said yet"
    capped = " (that is every item)" if d.labels_at_random == d.n_items else ""
    left = status.n_disagree - d.n_labels
    text = f"{d.n_labels} labels tell as much as {d.labels_at_random} on items drawn from all{capped}"
    return text + (f"; {left} disagreements needed no label" if status.stopped and left else "")


def plan_markdown(plan: Plan, costs: Sequence[ArmCost]) -> str:
    """Return the plan with its cost as Markdown, for the Prefect UI."""
    body = "\n".join(f"- **{heading}** {plain(text)}" for heading, text in plan_lines(plan))
    table = _table(COST_COLUMNS, cost_rows(costs)) if costs else ""
    sql = (
        f"SELECT event, reason, ts FROM experiments WHERE experiment_id = '{plan.experiment_id}' ORDER BY ts"
    )
    return (
        f"# {plain(plan.name)}\n\nExperiment `{plan.experiment_id}` of {plan.project}\n\n{body}\n\n{table}\n\n"
        f"{cost_sentence(costs, plan.budget_usd)}\n\n```sql\n{sql}\n```\n"
    )


def result_markdown(result: ExperimentResult) -> str:
    """Return where an experiment stands as Markdown, with a link to the compare page where the review app is known."""
    plan = result.plan
    head = f"# {plain(plan.name)}\n\nExperiment `{plan.experiment_id}`, ${result.spent_usd:.4f} spent"
    if result.stopped:
        return f"{head}\n\n**Stopped:** {plain(result.stopped)}. The same request goes on with it; nothing was compared yet.\n"
    links = "\n".join(
        f"- [{one.version}]({url})" for one in result.outcomes if (url := compare_url(plan, one))
    )
    table = _table(OUTCOME_COLUMNS, outcome_rows(result.outcomes))
    return f"{head}\n\n{plan.rule}\n\n{table}\n\n{links}\n"


def compare_url(plan: Plan, outcome: Outcome) -> str | None:
    """Return where the review app shows a comparison, None where no app is known."""
    url = os.environ.get(REVIEW_URL, "").rstrip("/")
    return f"{url}/p/{plan.project}/compare/{outcome.comparison_id}" if url else None


def result_json(result: ExperimentResult, states: Sequence[ArmState]) -> dict[str, Any]:
    """Return where an experiment stands as JSON values."""
    from dataclasses import asdict

    return {
        **result.standing.headline(),
        "plan": result.plan.to_json(),
        "progress": [asdict(state) for state in states],
        "outcomes": [asdict(one) for one in result.outcomes],
        "comparisons": [report.to_json() for report in result.reports],
        "spent_usd": result.spent_usd,
        "stopped": result.stopped,
        "hint": result.hint,
        "exit_code": result.exit_code,
    }


def plain(text: str) -> str:
    """Return a text that is nothing but text in Markdown: names of files and errors may hold anything."""
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~" else c for c in text)
    return " ".join(escaped.split())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _source(plan: Plan) -> str:
    kind, _, what = plan.source.partition(":")
    if kind == "gold":
        return f"gold split {what}"
    if kind == "all" or int(what) > plan.n_items:
        return "every item that is no gold"
    return f"{what} drawn from the items that are no gold"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
