"""prefect.yaml and the flows agree, and nobody pays for a schedule they did not switch on."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flows.params import CertifyParams, ExperimentParams, LabelParams, PromoteParams, ScoreParams
from labelproof.stack.api import POOL
from labelproof.stack.env import ROOT_VARIABLE
from labelproof.stack.setup import read_deployments

CHECKOUT = Path(__file__).parents[2]
MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for model in (LabelParams, ScoreParams, CertifyParams, PromoteParams, ExperimentParams)
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
        "score/nightly",
        "certify/fortnightly",
        "promote/approval",
        "experiment/trial",
    ]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_stored_parameters_are_accepted_by_the_flow_that_gets_them(deployment: dict[str, Any]) -> None:
    argument = entry_function(deployment).args.args[0]
    assert isinstance(argument.annotation, ast.Name)
    model = MODELS[argument.annotation.id]
    params = model.model_validate(deployment["parameters"][argument.arg])
    assert (CHECKOUT / params.model_dump()["project"] / "project.yaml").is_file()


SCHEDULED = [one for one in DEPLOYMENTS if name_of(one) not in ("promote/approval", "experiment/trial")]
"""All but what only a person starts."""


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
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
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
