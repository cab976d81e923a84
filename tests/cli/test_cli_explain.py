"""`labelproof explain`: the plan comes first, calls are agreed to, and the waterfall sums to the difference."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.run.workload import load_workload
from labelproof.cli import main
from labelproof.cli._projects import project_of
from labelproof.spec.errors import ConfigError
from tests.conftest import MakeProject
from tests.report.explain_helpers import N_ITEMS, N_TEST, answer, two_strategies
from tests.run.run_helpers import rows
from tests.run.run_helpers import run as run_project
from tests.scripted_server import ScriptedServer, scripted_server

Run = Callable[..., tuple[int, str, str]]
RunJson = Callable[..., Any]


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    row = main.Row(
        "explain", "labelproof.cli.explain", "explain", "Say which change made the difference", "Prove"
    )
    if row.name not in {known.name for known in main.COMMANDS}:
        monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, row))


@pytest.fixture
def project(make_project: MakeProject, work: Path) -> Iterator[tuple[Path, ScriptedServer]]:
    """Make the two strategies below projects/, with a server that answers them."""
    with scripted_server(answer) as server:
        folder = two_strategies(make_project, server.base_url)
        (work / "projects").mkdir()
        yield folder.rename(work / "projects" / folder.name), server


def test_new_calls_are_said_first_and_agreed_to(
    run: Run, run_json: RunJson, project: tuple[Path, ScriptedServer]
) -> None:
    _, server = project
    code, out, _ = run("explain", "champion", "candidate", "--plan")
    assert code == 0
    assert re.search(r"explain champion@\w{6} → candidate@\w{6} · 48 items of test", out)
    assert "label.prompt +2/-1" in out
    assert "route alpha 0.05→0.03" in out
    assert f"8 mixtures, {4 * N_ITEMS} new model calls, $" in out
    planned = run_json("explain", "champion", "candidate", "--plan")
    assert planned["n_new_calls"] == 4 * N_ITEMS
    assert [one["name"] for one in planned["components"]] == ["label.prompt", "label.model", "route"]
    code, _, err = run("explain", "champion", "candidate")
    assert code == 2
    assert f"explaining this needs {4 * N_ITEMS} new model calls" in err
    assert "add --yes to make them" in err
    assert not server.requests
    found = run_json("explain", "champion", "candidate", "--yes")
    assert found["n_calls"] == len(server.requests) == 4 * N_ITEMS
    assert abs(sum(share["delta"] for share in found["shares"]) - found["delta"]) < 1e-9
    code, out, _ = run("explain", "champion", "candidate", "--metric", "macro_f1")
    assert code == 0  # everything is stored now: nothing to agree to
    assert "no new model calls" in out
    assert len(server.requests) == 4 * N_ITEMS


def test_the_waterfall_leads_from_a_to_b(
    run: Run, run_json: RunJson, project: tuple[Path, ScriptedServer]
) -> None:
    found = run_json("explain", "champion", "candidate", "--yes", "--metric", "accuracy")
    code, out, _ = run("explain", "champion", "candidate", "--metric", "accuracy", "--hybrids")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    start = next(n for n, line in enumerate(lines) if line.startswith("A champion@"))
    values = [
        float(re.findall(r"\d\.\d{4}(?!\d)", line.partition("]")[2] or line)[0])
        for line in lines[start : start + 5]
    ]
    assert values[0] == pytest.approx(found["value_a"], abs=1e-4)
    assert values[-1] == values[-2] == pytest.approx(found["value_b"], abs=1e-4)
    for share, before, after in zip(found["shares"], values, values[1:], strict=False):
        assert after - before == pytest.approx(share["delta"], abs=2e-4)
    assert f"Difference accuracy +{found['delta']:.4f} [" in out
    mixtures = out[out.index("from B") :]
    assert "nothing (A)" in mixtures
    assert "label.model + label.prompt + route" in mixtures
    assert mixtures.count("r2") == 8


def test_stored_versions_are_named_by_their_fingerprint(
    run_json: RunJson, project: tuple[Path, ScriptedServer], work: Path
) -> None:
    folder, server = project
    run_project(folder, work / "store")
    old = load_workload(str(folder), None).resolved.fingerprint
    champion = folder / "strategies" / "champion.yaml"
    champion.write_text(champion.read_text().replace("{kind: label}", "{kind: label, prompt: strict}"))
    asked = len(server.requests)
    found = run_json("explain", f"champion@{old[3:9]}", "champion", "--yes")
    assert [share["component"] for share in found["shares"]] == ["label.prompt"]
    assert len(server.requests) - asked == N_ITEMS  # the new prompt's; the old one's answers are stored
    assert found["n_items"] == N_TEST
    # Results on gold were shown: both versions have looked at it, once.
    run_json("explain", f"champion@{old[3:9]}", "champion")
    looks = rows(work / "store", "SELECT strategy_fp, split, purpose FROM gold_looks")
    assert len(looks) == 2
    assert {(look["split"], look["purpose"]) for look in looks} == {("test", "score")}
    assert old in {look["strategy_fp"] for look in looks}


def test_what_is_wrong_is_said(run: Run, project: tuple[Path, ScriptedServer]) -> None:
    for arguments, says in (
        (("champion", "nobody"), "no strategy 'nobody' in project 'mini'"),
        (("champion", "candidate", "--metric", "speed"), "no metric 'speed'"),
        (("champion", "candidate", "--gold", "calibration"), "strategies learn from the gold split"),
        (("champion", "candidate", "--yes", "--metric", "latency_ms"), "latency_ms is not divided"),
    ):
        code, _, err = run("explain", *arguments)
        assert code == 2
        assert says in err.replace("\n", " ")


def test_the_project_is_found_by_its_strategies(
    make_project: MakeProject, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no project here knows the strategies 'a'"):
        project_of(None, ("a",))
    (work / "projects").mkdir()
    one = make_project("http://127.0.0.1:1/v1", name="one").rename(work / "projects" / "one")
    assert project_of(None, ("whatever",)).name == "one"  # there is only one
    two = make_project("http://127.0.0.1:1/v1", name="two").rename(work / "projects" / "two")
    (two / "strategies" / "champion.yaml").rename(two / "strategies" / "other.yaml")
    assert project_of(None, ("other",)).name == "two"
    assert project_of(None, ("champion",)).name == "one"
    assert project_of("two", ("champion",)).name == "two"
    with pytest.raises(
        ConfigError, match="no project here knows the strategies 'champion' and 'other'"
    ) as caught:
        project_of(None, ("champion", "other"))
    assert "projects: one, two" in caught.value.message
    assert project_of(None, ("champion",), root=one).name == "one"  # the folder is a project itself
