"""prefect.yaml and the flows agree, and nobody pays for a schedule they did not switch on."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flows.params import (
    CertifyParams,
    ExperimentParams,
    LabelParams,
    MonitorParams,
    PromoteParams,
    ReportParams,
    ScoreParams,
    SuiteParams,
)
from labelproof.stack.api import POOL
from labelproof.stack.automations import TAG
from labelproof.stack.caretaker import RESUMES
from labelproof.stack.env import ROOT_VARIABLE
from labelproof.stack.setup import read_deployments

CHECKOUT = Path(__file__).parents[2]
MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (
        LabelParams,
        MonitorParams,
        ScoreParams,
        CertifyParams,
        SuiteParams,
        ReportParams,
        PromoteParams,
        ExperimentParams,
    )
}
DEPLOYMENTS = read_deployments(CHECKOUT)


def name_of(deployment: dict[str, Any]) -> str:
    return f"{deployment['entrypoint'].partition(':')[2]}/{deployment['name']}"


def entry_function(deployment: dict[str, Any]) -> ast.AsyncFunctionDef:
    """Return the flow function, from its source: importing it would import Prefect."""
    path, _, name = deployment["entrypoint"].partition(":")
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    found = [one for one in tree.body if isinstance(one, ast.AsyncFunctionDef) and one.name == name]
    assert len(found) == 1, f"{path} has no async function {name}"
    return found[0]


def test_the_deployments_have_the_names_that_the_docs_and_scripts_use() -> None:
    assert [name_of(one) for one in DEPLOYMENTS] == [
        "label/production",
        "monitor/watch",
        "score/nightly",
        "certify/fortnightly",
        "suite/behaviour",
        "report/weekly",
        "promote/approval",
        "experiment/trial",
    ]
    manual = (CHECKOUT / "docs" / "production.md").read_text(encoding="utf-8")
    assert [name for one in DEPLOYMENTS if (name := f"`{name_of(one)}`") not in manual] == []


def test_every_flow_file_has_a_deployment() -> None:
    """A flow that nobody can schedule or start from the UI is not in operation."""
    files = {f"flows/{path.name}" for path in (CHECKOUT / "flows").glob("*_flow.py")}
    assert files == {one["entrypoint"].partition(":")[0] for one in DEPLOYMENTS}


def flow_options(deployment: dict[str, Any]) -> dict[str, ast.expr]:
    """Return the keywords of the flow's decorator."""
    (decorator,) = entry_function(deployment).decorator_list
    assert isinstance(decorator, ast.Call)
    return {str(one.arg): one.value for one in decorator.keywords}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_each_is_tagged_described_and_ends_by_itself(deployment: dict[str, Any]) -> None:
    flow = deployment["entrypoint"].partition(":")[2]
    tags = set(deployment["tags"])
    assert {TAG, flow, "content_safety"} <= tags
    assert tags <= {TAG, flow, "content_safety", RESUMES, "pays", "by-hand"}
    assert len(deployment["description"]) > 60
    assert ("by-hand" in tags) == ("schedules" not in deployment), (
        "a schedule, or the word that says there is none"
    )
    assert ("timeout_seconds" in flow_options(deployment)) == (flow != "promote"), (
        "people may take their time"
    )
    assert (flow != "monitor") == (RESUMES in tags), "what comes every quarter of an hour needs no resuming"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_retries_wait_and_end(deployment: dict[str, Any]) -> None:
    """By settings of the worker's process: a run in a terminal answers at once."""
    flow = deployment["entrypoint"].partition(":")[2]
    assert "retries" not in flow_options(deployment)
    if flow in ("promote", "experiment"):
        assert "job_variables" not in deployment  # a person started it, and may start it again
        return
    env = deployment["job_variables"]["env"]
    assert set(env) == {"PREFECT_FLOWS_DEFAULT_RETRIES", "PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS"}
    assert 1 <= int(env["PREFECT_FLOWS_DEFAULT_RETRIES"]) <= 3
    assert float(env["PREFECT_FLOWS_DEFAULT_RETRY_DELAY_SECONDS"]) >= 60
    assert all(isinstance(value, str) for value in env.values())


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_stored_parameters_are_accepted_by_the_flow_that_gets_them(deployment: dict[str, Any]) -> None:
    argument = entry_function(deployment).args.args[0]
    assert isinstance(argument.annotation, ast.Name)
    model = MODELS[argument.annotation.id]
    params = model.model_validate(deployment["parameters"][argument.arg])
    assert (CHECKOUT / params.model_dump()["project"] / "project.yaml").is_file()


SCHEDULED = [one for one in DEPLOYMENTS if "by-hand" not in one["tags"]]


@pytest.mark.parametrize("deployment", SCHEDULED, ids=name_of)
def test_schedules_start_switched_off_and_say_their_time_zone(deployment: dict[str, Any]) -> None:
    assert deployment["schedules"]
    for schedule in deployment["schedules"]:
        assert schedule["active"] is False
        assert schedule["slug"]
        assert schedule["timezone"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_runs_of_one_deployment_wait_for_each_other(deployment: dict[str, Any]) -> None:
    if name_of(deployment) == "promote/approval":
        assert "concurrency_limit" not in deployment  # a run that waits for a person would hold the place
    else:
        strategy = "CANCEL_NEW" if name_of(deployment) == "monitor/watch" else "ENQUEUE"
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["work_pool"]["name"] == POOL


def test_each_worker_reads_code_from_its_own_checkout() -> None:
    assert f"{{{{ ${ROOT_VARIABLE} }}}}" in (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", MODELS.values())
def test_every_parameter_is_explained_in_the_form(model: type[BaseModel]) -> None:
    properties = model.model_json_schema()["properties"]
    assert all(len(field.get("description", "")) > 20 for field in properties.values())
    with pytest.raises(ValidationError, match="no_such"):
        model.model_validate({"project": "projects/content_safety", "no_such": 1})
