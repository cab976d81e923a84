"""The winner's curse is paid for: a fresh experiment on gold that the search did not see."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from agents.run.drive import Drive, Listen
from labelproof.report.experiments.opening import ExperimentRequest, open_experiment
from labelproof.report.experiments.run import run_experiment
from labelproof.report.experiments.state import Outcome
from labelproof.report.optimize.model import Confirmed, SearchReport
from labelproof.report.optimize.plan import Prepared
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore

SPLIT = "test"


def confirm(
    store: TraceStore,
    prepared: Prepared,
    report: SearchReport,
    *,
    now: datetime,
    listen: Listen | None = None,
    drive: Drive | None = None,
    seed: int = 0,
) -> SearchReport:
    """Return the report with what a pre-registered experiment of base and winners on gold `test` says.

    The experiment spends what the search left of the budget, and is resumed like any other. Where it cannot be run or is
    not complete, ``unconfirmed`` says why; the tuning score alone proves nothing.
    """
    if not report.winners:
        return report
    folder, request = prepared.folder, prepared.request
    files = [report.by_id(name).file for name in report.winners]
    stems = [file.removeprefix("strategies/").removesuffix(".yaml") for file in files if file]
    left = None if request.budget_usd is None else max(0.0, request.budget_usd - report.spent_usd)
    wanted = ExperimentRequest(
        project=str(folder.folder),
        arms=(request.base or folder.spec.default_strategy, *stems),
        split=SPLIT,
        budget_usd=left,
        name=f"confirm {report.plan.search_id}",
        primary=report.plan.metric,
    )
    try:
        opened = open_experiment(store, wanted, now=now)
        result = run_experiment(store, opened, listen=listen, drive=drive, seed=seed)
    except ConfigError as error:
        return replace(report, unconfirmed=error.message)
    if result.stopped:
        return replace(
            report, unconfirmed=f"experiment {opened.plan.experiment_id} stopped: {result.stopped}"
        )
    found = tuple(
        _confirmed(opened.plan.experiment_id, name, outcome)
        for name, stem in zip(report.winners, stems, strict=True)
        for outcome in result.outcomes
        if outcome.arm == stem
    )
    return replace(report, confirmed=found)


def _confirmed(experiment_id: str, candidate: str, outcome: Outcome) -> Confirmed:
    return Confirmed(
        experiment_id=experiment_id,
        candidate=candidate,
        split=SPLIT,
        n_items=outcome.n_items,
        verdict=outcome.verdict,
        headline=outcome.headline,
        value_base=outcome.value_a,
        value=outcome.value_b,
        delta=outcome.delta,
        low=outcome.low,
        high=outcome.high,
    )
