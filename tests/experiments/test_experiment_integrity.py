"""What was planned is what is judged: no other plan, no other versions, no look before the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from labelproof.cli.compare import compare as compare_command
from labelproof.report.compare.build import compare
from labelproof.report.experiments.opening import Opened
from labelproof.report.experiments.plan import Plan, load_plan
from labelproof.report.experiments.run import begin, note_arm, open_session, run_experiment, todos
from labelproof.report.experiments.state import outcomes, record
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import NOW, answering, make_arms, opened
from tests.run.run_helpers import rows
from tests.scripted_server import scripted_server


def test_a_plan_that_is_written_again_after_the_first_call_is_not_judged(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url)
        one = opened(store, folder)
        begin(store, one, NOW)
        easier = replace(one.plan, rule="ship whatever comes")
        record(store, easier, "planned", NOW + timedelta(hours=1))
        with pytest.raises(ConfigError, match="its record holds another plan"):
            load_plan(store, one.plan.experiment_id)
        with pytest.raises(ConfigError, match="its record holds another plan"):
            opened(store, folder)


def test_a_plan_under_the_id_of_another_is_not_judged(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        plan = opened(store, make_arms(make_project, "http://127.0.0.1:9")).plan
        whole = orjson.dumps(plan.to_json()).decode()
        row = {"experiment_id": "F-1", "event": "planned", "plan_fp": plan.fp, "plan_json": whole, "ts": NOW}
        store.append("experiments", {name: [value] for name, value in row.items()})
        with pytest.raises(ConfigError, match=f"holds another plan .id {plan.experiment_id}"):
            load_plan(store, "F-1")


def half(store: TraceStore, one: Opened) -> None:
    """Run only the first arm."""
    from agents.run.arms import run_arm

    begin(store, one, NOW)
    first = todos(store, one)[0]
    note_arm(store, one, first, run_arm(open_session(store, one, first)))


def test_nobody_looks_by_the_plan_before_every_arm_has_answered(
    make_project: MakeProject, tmp_path: Path
) -> None:
    import typer

    app = typer.Typer()
    app.command()(compare_command)
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url)
        one = opened(store, folder)
        half(store, one)
        names = ["champion", "candidate", "--project", str(folder), "--store", str(tmp_path / "store")]
        asked = [*names, "--experiment", one.plan.experiment_id]
        found = CliRunner().invoke(app, asked)
        assert found.exit_code == 2
        assert "is looked at once" in found.output
        assert "candidate 0 of 40" in found.output
        assert rows(store, "FROM comparisons") == []
        assert rows(store, "FROM gold_looks") == []


def test_a_plan_says_nothing_of_other_versions(make_project: MakeProject, tmp_path: Path) -> None:
    arms = ("champion", "candidate", "third")
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, arms=arms)
        one = opened(store, folder)
        run_experiment(store, one)
        run_experiment(store, opened(store, folder, ("third", "candidate")))
        told = outcomes(store, one.plan)

        def judged(a: str, b: str, plan: Plan) -> Callable[[], object]:
            return lambda: compare(store, one.folder, a, b, plan=plan, now=NOW)

        for asked in (judged("third", "candidate", one.plan), judged("candidate", "champion", one.plan)):
            with pytest.raises(ConfigError, match=r"judges candidate@.* against champion@"):
                asked()
        assert outcomes(store, one.plan) == told
