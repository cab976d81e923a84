"""`agreement` and `alt-test` answer in words, in JSON and by their exit codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import typer
from typer.testing import CliRunner

from labelproof.cli.agreement import agreement, alt_test
from labelproof.store import open_store

T0 = datetime(2026, 1, 1, tzinfo=UTC)
Call = Callable[..., tuple[int, str]]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(work: Path) -> Call:
    app = typer.Typer()
    app.command("agreement")(agreement)
    app.command("alt-test")(alt_test)

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return invoke


def write_votes(path: Path, *, n: int = 80, model_accuracy: float = 0.97, seed: int = 0) -> None:
    """Four people who are right on 85 %, five copies of a model, and the model's labels beside (model.csv)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    names = np.array(["fine", "spam"])

    def voter(accuracy: float) -> Sequence[str]:
        return [str(x) for x in names[np.where(rng.random(n) < accuracy, truth, 1 - truth)]]

    people = {name: voter(0.85) for name in ("ann", "bob", "cyd", "dan")}
    model = voter(model_accuracy)
    with (path / "votes.csv").open("w") as file:
        file.write("item,annotator,label\n")
        for i in range(n):
            for name, votes in people.items():
                file.write(f"i{i},{name},{votes[i]}\n")
            for copy in "pq":
                file.write(f"i{i},{copy},{model[i]}\n")
    (path / "model.csv").write_text("item,label\n" + "".join(f"i{i},{x}\n" for i, x in enumerate(model)))


def test_agreement_of_a_file_without_a_project(work: Path, call: Call) -> None:
    write_votes(work)
    code, out = call("agreement", "--votes", "votes.csv", "--family", "gpt=p,q", "--json")
    assert code == 0, out
    found = orjson.loads(out)
    assert (found["n_items"], found["n_votes"], found["n_annotators"]) == (80, 480, 6)
    rows = {(row["metric"], row["slice"]): row for row in found["rows"]}
    assert rows[("cohen_kappa", "p / q")]["value"] == 1.0
    assert rows[("krippendorff_alpha", "all")]["low"] < rows[("krippendorff_alpha", "all")]["value"]
    annotators = {row["annotator"]: row for row in found["dawid_skene"]["annotators"]}
    assert annotators["gpt"]["collapsed"] == 2
    assert found["dawid_skene"]["converged"]


def test_agreement_is_readable(work: Path, call: Call) -> None:
    write_votes(work)
    with (work / "votes.csv").open("a") as file:
        file.write("i0,,fine\n")
    code, out = call("agreement", "--votes", "votes.csv", "--family", "gpt=p,q")
    assert code == 0
    assert "480 votes on 80 items by 6 annotators" in out
    assert "krippendorff alpha" in out
    assert "2 samples of one model count as one" in out
    assert "votes.csv:482: no annotator in 'annotator'" in out


def test_a_better_model_passes_and_a_worse_one_does_not(work: Path, call: Call) -> None:
    write_votes(work)
    base = ("alt-test", "--votes", "votes.csv", "--family", "gpt=p,q", "--model", "model.csv")
    code, out = call(*base)
    assert code == 0, out
    assert (
        "The model may replace the annotators: it wins against 4 of 4 (winning rate 1.00; 0.5 needed)" in out
    )
    assert "advantage probability of the model" in out
    assert "Assumed:" in out
    write_votes(work, model_accuracy=0.4)
    code, out = call(*base, "--json")
    assert code == 1
    found = orjson.loads(out)
    assert found["passed"] is False
    assert [row["annotator"] for row in found["rows"]] == ["ann", "bob", "cyd", "dan"]
    assert found["epsilon"] == 0.1


def test_too_few_items_are_no_verdict(work: Path, call: Call) -> None:
    write_votes(work, n=20)
    code, out = call("alt-test", "--votes", "votes.csv", "--model", "model.csv")
    assert code == 2
    assert "Cannot say" in out
    assert "30 items" in out


def test_a_constant_answer_that_would_pass_is_said(work: Path, call: Call) -> None:
    names = ("ann", "bob", "cyd")
    rows = [
        f"i{i},{name},{'spam' if (i + 7 * j) % 25 == 0 else 'fine'}"
        for i in range(200)
        for j, name in enumerate(names)
    ]
    (work / "votes.csv").write_text("item,annotator,label\n" + "\n".join(rows) + "\n")
    (work / "model.csv").write_text("item,label\n" + "".join(f"i{i},fine\n" for i in range(200)))
    code, out = call("alt-test", "--votes", "votes.csv", "--model", "model.csv", "--epsilon", "0.2")
    assert code == 1, "a test that a constant passes proves nothing"
    assert out.startswith("No evidence that the model may replace the annotators")
    assert "But so would answering 'fine' to everything" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("agreement",), "expected a project or a file of votes"),
        (("agreement", "--votes", "none.csv"), "no such file"),
        (("agreement", "--votes", "votes.csv", "--ordinal"), "known order"),
        (("agreement", "--votes", "votes.csv", "--family", "gpt"), "expected NAME=a,b,c"),
        (("agreement", "--votes", "votes.csv", "--family", "gpt=z"), "no votes of 'z'"),
        (("agreement", "--votes", "votes.csv", "--labels", "a,b"), "none of the 480 rows"),
        (("agreement", "--votes", "votes.csv", "--kind", "audit"), "chooses among stored review tasks"),
        (("alt-test", "--votes", "votes.csv"), "expected a model"),
        (("alt-test", "--votes", "votes.csv", "--model", "model.csv", "--epsilon", "1"), "epsilon"),
        (("alt-test", "--votes", "votes.csv", "--model", "m", "--strategy", "s"), "expected one model"),
    ],
    ids=lambda value: "-".join(value).replace("/", "") if isinstance(value, tuple) else None,
)
def test_what_the_user_must_fix(work: Path, call: Call, arguments: tuple[str, ...], said: str) -> None:
    write_votes(work)
    code, out = call(*arguments, "--json")
    assert code == 2
    assert said in orjson.loads(out)["error"]


@pytest.fixture
def reviewed(run: Run) -> None:
    """Project `mine`: 40 audited items with three votes each, and one decision of its strategy on each."""
    from agents.run.workload import load_workload

    assert run("init", "mine")[0] == 0
    work = load_workload("mine", None)
    leaves = work.folder.spec.labels.leaves
    fingerprint = work.resolved.fingerprint
    items = [f"i{i}" for i in range(40)]
    votes: dict[str, list[Any]] = {
        name: [] for name in ("vote_id", "task_id", "item_id", "annotator", "label")
    }
    for i, item in enumerate(items):
        for j, name in enumerate(("ann", "bob", "cyd")):
            votes["vote_id"].append(f"v{i}{name}")
            votes["task_id"].append(f"t{i}")
            votes["item_id"].append(item)
            votes["annotator"].append(name)
            votes["label"].append(leaves[(i + ((i + j) % 9 == 0)) % 2])
    n = len(votes["vote_id"])
    with open_store(Path("store")) as store:
        store.append_many(
            {
                "review_tasks": {
                    "task_id": [f"t{i}" for i in range(40)],
                    "project": ["mine"] * 40,
                    "kind": ["audit"] * 40,
                    "item_id": items,
                    "votes_wanted": [3] * 40,
                    "ts": [T0] * 40,
                },
                "votes": {
                    **votes,
                    "project": ["mine"] * n,
                    "role": ["reviewer"] * n,
                    "answer": ["label"] * n,
                    "ts": [T0 + timedelta(seconds=k) for k in range(n)],
                },
                "decisions": {
                    "run_id": ["r1"] * 40,
                    "item_id": items,
                    "strategy_fp": [fingerprint] * 40,
                    "label": [leaves[i % 2] for i in range(39)] + [None],
                    "decision": ["auto_accept"] * 39 + ["failed"],
                    "ts": [T0] * 40,
                },
            }
        )


@pytest.mark.usefixtures("reviewed")
def test_stored_reviews_and_decisions(call: Call) -> None:
    code, out = call("agreement", "mine", "--kind", "audit", "--json")
    assert code == 0, out
    found = orjson.loads(out)
    assert (found["votes_from"], found["n_items"], found["n_votes"]) == ("store", 40, 120)
    fleiss = next(row for row in found["rows"] if row["metric"] == "fleiss_kappa")
    assert fleiss["value"] > 0.5
    code, out = call("alt-test", "mine", "--json")
    assert code == 0, out
    tested = orjson.loads(out)
    assert tested["n_failed"] == 1
    assert tested["n_tested"] == 3
    assert tested["model"].startswith("champion@")
    code, out = call("agreement", "mine", "--kind", "gold", "--json")
    assert code == 2
    assert "nobody has voted on gold tasks" in orjson.loads(out)["error"]


def test_a_file_is_joined_to_a_project(work: Path, run: Run, call: Call) -> None:
    assert run("init", "mine")[0] == 0
    from agents.run.workload import load_workload

    loaded = load_workload("mine", None)
    known = [item.external_id for item in loaded.items[:2]]
    label = loaded.folder.spec.labels.leaves[0]
    rows = [f"{item},{name},{label.upper()}" for item in known for name in ("ann", "bob")]
    rows += ["nowhere,ann," + label, f"{known[0]},cyd,no such label"]
    (work / "votes.csv").write_text("item,annotator,label\n" + "\n".join(rows) + "\n")
    code, out = call("agreement", "mine", "--votes", "votes.csv", "--json")
    assert code == 0, out
    found = orjson.loads(out)
    assert (found["n_items"], found["n_votes"], found["n_errors"]) == (2, 4, 2)
    assert "not among the project's items" in found["errors"][0]
    assert "is not in the schema" in found["errors"][1]
