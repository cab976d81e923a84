"""What a finished run tells its reader, in the order they ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.run.workload import Workload
from evaluation.intervals import Estimate
from labelproof.report.certify_report import group_name
from labelproof.report.drift.told import sentinel_lines
from labelproof.report.numbers import plain_count as count
from labelproof.report.rollouts.text import run_lines
from labelproof.report.scoring import ScoreReport, score_workload
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

REVIEW_URL = "LABELPROOF_REVIEW_URL"
"""Names where people reach the review app, for links; `labelproof up` sets it for the runs it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run's summary, and its score when gold of the test split was decided."""

    summary: Mapping[str, Any]
    score: ScoreReport | None
    no_score: str | None
    """Why there is no score."""
    store: str
    example_item: str | None
    """An item worth looking at: the least confident auto-accepted one, else any."""
    n_waiting: int = 0
    """Review tasks of the project that wait for people or a lead."""

    def to_json(self) -> dict[str, Any]:
        return {
            **self.summary,
            "score": None if self.score is None else self.score.to_json(),
            "no_score": self.no_score,
            "store": self.store,
            "tasks_waiting": self.n_waiting,
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return (heading, text) pairs in plain words."""
        s = self.summary
        done = max(1, int(s["done"]))

        def share(name: str) -> str:
            return f"{s[name]} ({100 * s[name] / done:.0f} %)"

        found = [
            (
                "Items",
                f"{s['done']} of {s['n_items']} labeled"
                + (f", {s['n_rows_skipped']} malformed rows skipped" if s["n_rows_skipped"] else ""),
            ),
            (
                "Decisions",
                f"{share('auto_accept')} auto-accepted, {share('review')} to review, {share('failed')} failed"
                + (f"; {s['audited']} auto-accepted ones drawn for audit" if s["audited"] else ""),
            ),
        ]
        if s.get("line_stopped"):
            found.append(("Line", f"stopped, so everything goes to people: {s['line_stopped']}"))
        if s["routing_mode"] == "threshold" and s["auto_accept"]:
            found.append(("", "auto-accept is UNCERTIFIED: a plain threshold, no error rate is promised"))
        elif s["routing_mode"] == "certified":
            found.append(("Certificate", _certificate_text(s)))
        if self.n_waiting:
            tasks = "task waits" if self.n_waiting == 1 else "tasks wait"
            found.append(("People", f"{self.n_waiting} {tasks} in the review queue"))
        for fitted in s["calibrators"]:
            gold = f"fitted on {fitted['n']} gold items" if fitted["n"] else "no gold: bias removal only"
            found.append(("Confidence", f"{fitted['method']} calibration, {gold}. {fitted['why']}".strip()))
        found += run_lines(s.get("rollout"))
        found += sentinel_lines(s.get("sentinel"))
        found += self._score_lines()
        reused = s["steps_reused"]
        cost = "cost unknown (no price)" if s["unpriced_calls"] else f"${s['cost_usd']:.4f}"
        found += [
            (
                "Models",
                f"{s['model_calls']} calls"
                + (f", {reused} answers reused from the store" if reused else "")
                + f", {count(s['tokens_in'])} + {count(s['tokens_out'])} tokens, {cost}",
            ),
            ("Time", f"{s['elapsed_s']:.1f} s" + _rate(s)),
        ]
        return found

    def markdown(self) -> str:
        """Return the summary as Markdown, for the Prefect UI."""
        s = self.summary
        head = f"# {s['project']} · {s['strategy']}@{short(s['strategy_fp'])}\n\nRun `{s['run_id']}`"
        if s.get("stopped"):
            head += f"\n\n**Stopped:** {s['stopped']}. Run it again to go on."
        body = "\n".join(f"- **{h}** {text}" if h else f"  - {text}" for h, text in self.lines())
        sql = f"SELECT decision, count(*) FROM decisions WHERE run_id = '{s['run_id']}' GROUP BY ALL"
        url = os.environ.get(REVIEW_URL, "").rstrip("/")
        link = f"\n\n[Review queue]({url}/p/{s['project']})" if url else ""
        return f"{head}\n\n{body}{link}\n\n```sql\n{sql}\n```\n"

    def _score_lines(self) -> list[tuple[str, str]]:
        if self.score is None:
            return [("Gold", self.no_score or "not scored")]
        score = self.score
        accuracy = score.accuracy_metric
        confidence = score.confidence
        text = [
            (
                f"Gold ({score.split})",
                (
                    f"{accuracy.replace('_', ' ')} {estimate_text(score.card.get(accuracy))}; "
                    f"macro-F1 {estimate_text(score.card.get('macro_f1'))}"
                ),
            ),
            (
                "",
                f"confidence: AUROC {estimate_text(confidence['confidence_auroc'])}, "
                f"ECE {estimate_text(confidence['confidence_ece'])}"
                + (f" (a perfect one would show {score.ece_floor:.3f} here)" if score.ece_floor else ""),
            ),
        ]
        if score.n_missing:
            text.append(("", f"{score.n_missing} gold items of the split have no decision yet"))
        return text


def run_report(store: TraceStore, work: Workload, summary: Mapping[str, Any]) -> RunReport:
    """Return the report of a run that has ended, scored on the gold set's test split."""
    score, why = None, None
    try:
        if summary.get("stopped"):
            why = "not scored: the run has not ended"
        elif not work.gold_labels.get("test"):
            why = "none in the split test: nothing to score on"
        else:
            score = score_workload(store, work, run_id=summary["run_id"])
    except ConfigError as error:
        why = error.message
    rows = store.query(
        "SELECT i.external_id FROM decisions d JOIN items i USING (item_id) WHERE d.run_id = ?"
        " ORDER BY d.decision = 'auto_accept' DESC, d.confidence NULLS LAST, i.external_id LIMIT 1",
        [summary["run_id"]],
        fresh=True,
    ).to_pylist()
    return RunReport(
        summary=summary,
        score=score,
        no_score=why,
        store=store.location.shown,
        example_item=str(rows[0]["external_id"]) if rows else None,
        n_waiting=_waiting(store, summary["project"]),
    )


def _waiting(store: TraceStore, project: str) -> int:
    rows = store.query(
        "SELECT count(*) AS n FROM task_outcomes WHERE project = ? AND kind <> 'check'"
        " AND state IN ('open', 'disputed', 'escalated')",
        [project],
        fresh=True,
    )
    return int(rows["n"][0].as_py())


def estimate_text(estimate: Estimate) -> str:
    """Return "0.83 (95 % interval 0.75-0.89, n = 115)", or why there is no number."""
    if estimate.value is None:
        return f"not measurable ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} (n = {estimate.n})"
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f}-{estimate.high:.3f}, n = {estimate.n})"


def _certificate_text(summary: Mapping[str, Any]) -> str:
    """Return which certificate the run relied on and what it promises, or why there was none."""
    one = summary.get("certificate")
    if one is None:
        return f"none, so nothing is auto-accepted: {summary.get('no_certificate')}"
    promises = [
        f"{group_name(group['group'], alone=len(one['groups']) == 1)}: error at most {group['alpha']:.1%} "
        f"at confidence >= {group['threshold']:.3f}"
        for group in one["groups"]
        if group["certified"]
    ]
    sure = f"{1 - one['delta']:.0%} sure"
    return f"{one['certificate_id']} ({sure}; {'; '.join(promises)}), valid until {one['expires_at'][:10]}"


def _rate(summary: Mapping[str, Any]) -> str:
    seconds = summary["elapsed_s"]
    return f", {summary['done'] / seconds:.1f} items/s" if seconds > 0 and summary["done"] else ""
