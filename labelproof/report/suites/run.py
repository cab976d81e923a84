"""Run suites against one strategy version: say what it costs, label, judge, store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from agents.run.drive import Listen
from agents.run.plan import Plan
from agents.run.probe import Probed, Probes, plan_probe, probe
from agents.run.workload import Workload
from evaluation.suites import Answer, Outcome, SuiteScore, judge_case, modal_labels, score_suite
from labelproof.report.suites.cases import Suite, harmless_of
from labelproof.spec.hashing import digest_text
from labelproof.spec.items import Item, item_id
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """One strategy version on one suite; ``outcomes`` in the order of the cases."""

    suite_run_id: str
    project: str
    strategy: str
    strategy_fp: str
    suite: str
    suite_fp: str
    harmless: str
    outcomes: Sequence[Outcome]
    score: SuiteScore
    edit_shares: Mapping[str, float]
    """Functionality → mean share of the text that its cases change, 0 to 1."""
    notes: Sequence[str]
    run_id: str
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, without texts."""
        return {
            "suite_run_id": self.suite_run_id,
            "project": self.project,
            "strategy": self.strategy,
            "strategy_fp": self.strategy_fp,
            "suite": self.suite,
            "suite_fp": self.suite_fp,
            "harmless": self.harmless,
            "n_cases": len(self.outcomes),
            **asdict(self.score),
            "edit_shares": dict(self.edit_shares),
            "notes": list(self.notes),
            "run_id": self.run_id,
            "at": self.at.isoformat(),
        }


def texts_of(suites: Sequence[Suite]) -> list[Item]:
    """Return every text that has to be labelled once: cases and the bases they are held against."""
    found: dict[str, Item] = {}
    for suite in suites:
        for case in suite.cases:
            for text in (case.base_text, case.text):
                if text is not None:
                    found.setdefault(item_id(text), Item.of(text, meta=case.meta))
    return list(found.values())


def plan_suites(store: TraceStore, work: Workload, suites: Sequence[Suite]) -> Plan:
    """Return what running the suites would cost; what is stored already is left out."""
    return plan_probe(work, store, texts_of(suites))


def run_suites(
    store: TraceStore,
    work: Workload,
    suites: Sequence[Suite],
    *,
    now: datetime,
    seed: int = 0,
    target: str | None = None,
    max_cost_usd: float | None = None,
    listen: Listen | None = None,
) -> list[SuiteResult]:
    """Return the results of the suites, stored in `suite_runs`, `suite_results` and `texts`.

    All texts are labelled in one run, which is resumed when it was stopped; what an unchanged strategy has answered is
    free. Raises ``ProviderError`` when the run had to stop.
    """
    probes = probe(work, store, texts_of(suites), max_cost_usd=max_cost_usd, listen=listen)
    harmless = harmless_of(work.folder.spec.labels, target)
    results = [_judged(work, suite, probes, harmless=harmless, seed=seed, now=now) for suite in suites]
    _record(store, results)
    return results


def _judged(
    work: Workload, suite: Suite, probes: Probes, *, harmless: str, seed: int, now: datetime
) -> SuiteResult:
    said = {key: _answer(probed) for key, probed in probes.by_item.items()}
    answers = [said[item_id(case.text)] for case in suite.cases]
    modal = modal_labels(suite.cases, answers)
    outcomes = [
        judge_case(case, answer, None if case.base_text is None else said[item_id(case.base_text)], modal)
        for case, answer in zip(suite.cases, answers, strict=True)
    ]
    return SuiteResult(
        suite_run_id=f"s{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        project=work.folder.name,
        strategy=work.strategy.name,
        strategy_fp=work.resolved.fingerprint,
        suite=suite.name,
        suite_fp=suite.fp,
        harmless=harmless,
        outcomes=outcomes,
        score=score_suite(outcomes, harmless=harmless, seed=seed),
        edit_shares=suite.edit_shares(),
        notes=suite.notes,
        run_id=probes.run_id,
        at=now,
    )


def _answer(probed: Probed) -> Answer:
    return Answer(
        label=probed.label,
        confidence=probed.confidence,
        problem=probed.failure,
        signals=probed.manipulation,
        accepted=probed.decision == "auto_accept",
    )


def _record(store: TraceStore, results: Sequence[SuiteResult]) -> None:
    texts: dict[str, str] = {}
    runs: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for result in results:
        runs.append(
            {
                "suite_run_id": result.suite_run_id,
                "project": result.project,
                "suite": result.suite,
                "suite_fp": result.suite_fp,
                "strategy": result.strategy,
                "strategy_fp": result.strategy_fp,
                "n_cases": len(result.outcomes),
                "summary_json": orjson.dumps(result.to_json()).decode(),
                "ts": result.at,
            }
        )
        for outcome in result.outcomes:
            text_hash = digest_text(outcome.case.text)
            texts[text_hash] = outcome.case.text
            rows.append(_row(result, outcome, text_hash))
    store.append_many(
        {
            "suite_runs": _columns(runs),
            "suite_results": _columns(rows),
            "texts": {"text_hash": list(texts), "text": list(texts.values())},
        }
    )
    store.drain_all(timeout_s=30)


def _row(result: SuiteResult, outcome: Outcome, text_hash: str) -> dict[str, Any]:
    case, answer, base = outcome.case, outcome.answer, outcome.base
    return {
        "suite_run_id": result.suite_run_id,
        "case_id": case.case_id,
        "base_id": case.base_id,
        "functionality": case.functionality,
        "term_group": case.group,
        "text_hash": text_hash,
        "expected": case.expected,
        "base_label": base.label if base else None,
        "label": answer.label,
        "confidence": answer.confidence,
        "base_confidence": base.confidence if base else None,
        "passed": outcome.passed,
        "reason": _reason(outcome),
        "run_id": result.run_id,
        "ts": result.at,
    }


def _reason(outcome: Outcome) -> str | None:
    """Return why a case failed, and what noticed it: a label that goes to a person did no harm; or why it says nothing."""
    if outcome.passed is not False or outcome.reason is None:
        return outcome.reason
    noticed = (
        f"; noticed: {', '.join(dict.fromkeys(outcome.answer.signals))}" if outcome.answer.signals else ""
    )
    used = "; would be used without a person" if outcome.answer.accepted else ""
    return outcome.reason + noticed + used


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
