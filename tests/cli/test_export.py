"""Export writes the latest decision of each item, once for each name the item came under."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from labelproof.cli.export import model_names
from labelproof.store import open_store

Run = Callable[..., tuple[int, str, str]]
T0 = datetime(2026, 1, 1, tzinfo=UTC)
SNAPSHOT = {
    "steps": [
        {"components": {}},
        {"components": {"models": [{"provider": "embedded", "model": "small"}]}},
        {"components": {"models": [{"provider": "langchain", "model": "x:big"}]}},
    ]
}


@pytest.fixture
def stored(run: Run) -> Path:
    """Two runs of project `mine`: the second, later one re-decided one of the three items."""
    assert run("init", "mine")[0] == 0
    with open_store(Path("store")) as store:
        store.append_many(
            {
                "texts": {"text_hash": ["h1", "h2", "h3"], "text": ["=one", "two", "three"]},
                "items": {
                    "item_id": ["i1", "i1", "i2", "i3"],
                    "external_id": ["a", "a-again", "b", "c"],
                    "project": ["mine"] * 4,
                    "text_hash": ["h1", "h1", "h2", "h3"],
                    "ts": [T0] * 4,
                },
                "strategies": {
                    "strategy_fp": ["b2:v1", "b2:v2"],
                    "project": ["mine"] * 2,
                    "strategy": ["champion"] * 2,
                    "spec_json": [orjson.dumps(SNAPSHOT).decode()] * 2,
                    "ts": [T0] * 2,
                },
                "runs": {
                    "run_id": ["r1", "r1", "r2", "other"],
                    "event": ["started", "finished", "started", "started"],
                    "project": ["mine", "mine", "mine", "theirs"],
                    "strategy": ["champion"] * 4,
                    "strategy_fp": ["b2:v1", "b2:v1", "b2:v2", "b2:v1"],
                    "ts": [T0] * 4,
                },
                "decisions": _decisions(
                    ("r1", "i1", "b2:v1", "spam", "review", T0),
                    ("r1", "i2", "b2:v1", "praise", "auto_accept", T0),
                    ("r1", "i3", "b2:v1", None, "failed", T0),
                    ("r2", "i1", "b2:v2", "question", "auto_accept", T0 + timedelta(days=1)),
                    ("other", "i2", "b2:v1", "spam", "review", T0 + timedelta(days=2)),
                ),
            }
        )
    return Path("store")


def test_latest_decision_of_every_name(run: Run, stored: Path) -> None:
    code, out, _ = run("export", "mine", "--to", "out.jsonl")
    assert code == 0
    rows = [orjson.loads(line) for line in Path("out.jsonl").read_bytes().splitlines()]
    assert [(r["external_id"], r["label"], r["decision"], r["run_id"]) for r in rows] == [
        ("a", "question", "auto_accept", "r2"),
        ("a-again", "question", "auto_accept", "r2"),
        ("b", "praise", "auto_accept", "r1"),
        ("c", None, "failed", "r1"),
    ]
    assert rows[0]["text"] == "=one"
    assert rows[0]["model"] == "embedded:small, langchain:x:big"
    assert rows[0]["strategy_fp"] == "b2:v2"
    assert rows[0]["decided_at"].startswith("2026-01-02T00:00:00")
    assert "4 rows (3 auto_accept, 1 failed)" in out
    assert "from 2 versions of the strategy" in out


def test_what_people_decided_is_the_final_label(run: Run, stored: Path) -> None:
    with open_store(stored) as store:
        store.append_many(
            {
                "review_tasks": {
                    "task_id": ["t1", "t3"],
                    "project": ["mine"] * 2,
                    "kind": ["audit", "routed"],
                    "item_id": ["i1", "i3"],
                    "votes_wanted": [1, 1],
                    "ts": [T0] * 2,
                },
                "votes": {
                    "vote_id": ["v1", "v3"],
                    "project": ["mine"] * 2,
                    "task_id": ["t1", "t3"],
                    "item_id": ["i1", "i3"],
                    "annotator": ["ann", "bob"],
                    "role": ["reviewer"] * 2,
                    "answer": ["label", "unclear"],
                    "label": ["spam", None],
                    "ts": [T0] * 2,
                },
            }
        )
    code, out, _ = run("export", "mine", "--to", "out.jsonl")
    assert code == 0
    rows = [orjson.loads(line) for line in Path("out.jsonl").read_bytes().splitlines()]
    assert [(r["label"], r["final_label"], r["final_source"], r["annotators"]) for r in rows] == [
        ("question", "spam", "agreed", "ann"),
        ("question", "spam", "agreed", "ann"),
        ("praise", "praise", "auto_accept", None),
        (None, None, None, None),
    ]
    assert "final label: 2 agreed, 1 auto_accept; 1 wait for people" in out.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--run", "r1"], ["a", "a-again", "b", "c"]),
        (["--decision", "auto_accept"], ["a", "a-again", "b"]),
        (["--run", "r1", "--decision", "review"], ["a", "a-again"]),
        (["--strategy", "b2:v2"], ["a", "a-again"]),
    ],
)
def test_choices(run: Run, stored: Path, options: list[str], names: list[str]) -> None:
    assert run("export", "mine", "--to", "out.parquet", *options)[0] == 0
    assert pq.read_table("out.parquet")["external_id"].to_pylist() == names


def test_csv_is_guarded_and_an_existing_file_kept(
    run: Run, run_json: Callable[..., Any], stored: Path
) -> None:
    result = run_json("export", "mine", "--to", "out.csv")
    assert result["decisions"] == {"auto_accept": 3, "failed": 1}
    with Path("out.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["text"] == "'=one"
    code, _, err = run("export", "mine", "--to", "out.csv")
    assert (code, "--overwrite" in err) == (2, True)
    assert run("export", "mine", "--to", "out.csv", "--overwrite", "--no-text")[0] == 0
    assert "text" not in Path("out.csv").read_text().splitlines()[0].split(",")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "out.xlsx"], "cannot tell the format"),
        (
            ["--to", "o.csv", "--strategy", "none"],
            "strategy none; strategies that ran here: champion",
        ),
        (["--to", "o.csv", "--run", "r9"], "no decision for project mine, run r9"),
    ],
)
def test_nothing_to_export_says_why(run: Run, stored: Path, options: Sequence[str], says: str) -> None:
    code, _, err = run("export", "mine", *options)
    assert code == 2
    assert says in err.replace("\n", " ")


def test_no_item_with_the_decision_is_an_answer_not_a_mistake(
    run: Run, run_json: Callable[..., Any], stored: Path
) -> None:
    options = ["export", "mine", "--to", "o.csv", "--run", "r2", "--decision", "failed"]
    code, out, _ = run(*options)
    assert (code, out) == (1, "no item is failed; found 2 auto_accept. Nothing was written\n")
    assert run_json(*options, exits=1)["rows"] == 0
    assert not Path("o.csv").exists()


def test_without_a_store_it_says_so(run: Run) -> None:
    assert run("init", "mine")[0] == 0
    code, _, err = run("export", "mine", "--to", "o.csv")
    assert code == 2
    assert err.startswith("error ")


def test_models_are_listed_once() -> None:
    twice = {"steps": [SNAPSHOT["steps"][1], SNAPSHOT["steps"][1]]}
    assert model_names(twice) == "embedded:small"


def _decisions(*rows: tuple[str, str, str, str | None, str, datetime]) -> dict[str, list[Any]]:
    names = ("run_id", "item_id", "strategy_fp", "label", "decision", "ts")
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}
