"""`labelproof quality`: the answer in one sentence, exit codes a script can act on, charts on request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from labelproof.cli.quality import _time, quality
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore, open_store
from tests.report.review_rows import T0, add_run, add_tasks, add_votes, days, project

Quality = Callable[..., Result]


@pytest.fixture
def store(work: Path) -> Iterator[TraceStore]:
    project(work / "projects" / "mini", routing="mode: threshold, alpha: 0.05")
    with open_store(work / "store") as opened:
        add_run(opened)
        yield opened


@pytest.fixture
def ask(work: Path) -> Quality:
    app = typer.Typer()
    app.command()(quality)

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def audited(store: TraceStore, *, n: int, n_wrong: int, votes: bool = True) -> None:
    """``n`` decisions, half of them audited, ``n_wrong`` (evenly spread) wrong, over two days."""
    ids = [f"b2:{i}" for i in range(n)]
    store.append(
        "decisions",
        {
            "run_id": ["r1"] * n,
            "item_id": ids,
            "strategy_fp": ["b2:s1"] * n,
            "label": ["safe"] * n,
            "confidence": [0.9] * n,
            "decision": ["auto_accept"] * n,
            "inclusion_prob": [0.5] * n,
            "audited": [i % 2 == 0 for i in range(n)],
            "ts": [T0 + days(2 * i // n) for i in range(n)],
        },
    )
    drawn = ids[::2]
    tasks = add_tasks(store, drawn)
    wrong = {int((i + 0.5) * len(drawn) / n_wrong) for i in range(n_wrong)}
    truths = ["hate" if i in wrong else "safe" for i in range(len(drawn))]
    for who in ("ann", "bob") if votes else ():
        add_votes(store, tasks, drawn, truths, annotator=who, at=T0 + days(3))


def test_the_answer_comes_first(ask: Quality, store: TraceStore) -> None:
    audited(store, n=800, n_wrong=4)
    made = ask("mini")
    assert made.exit_code == 0
    lines = made.stdout.splitlines()
    # With 17 wrong among 800, four or fewer in the 400 drawn have a chance of .023; with 16, of .037.
    answer = "Auto-decisions were right 99.0 % (95 % interval 98.0-99.5; 400 audited of 800)."
    assert lines[0] == answer
    assert lines[1] == "We promise >= 95 %: met."
    for words in (
        "400 of 400 drawn are settled (100 %)",
        "SLA monitor: version",
        "Drift monitor:",
        "Assumed:",
    ):
        assert words in made.stdout
    assert "cannot be told: no item" in " ".join(made.stdout.split())
    found = json.loads(ask("mini", "--json").stdout)
    assert found["right"]["value"] == pytest.approx(0.99)
    assert found["verdict"] == "met"
    assert [day["n_audited"] for day in found["days"]] == [200, 200]
    assert found["sql"]["answer"].startswith("WITH mine AS")


def test_a_broken_promise_exits_1(ask: Quality, store: TraceStore) -> None:
    audited(store, n=800, n_wrong=80)
    made = ask("mini")
    assert made.exit_code == 1
    assert "We promise >= 95 %: not met." in made.stdout
    assert "ALARM at audit" in made.stdout


def test_no_answer_exits_2_and_says_what_to_do(ask: Quality, store: TraceStore) -> None:
    audited(store, n=8, n_wrong=0, votes=False)
    made = ask("mini")
    assert made.exit_code == 2
    assert made.stdout.startswith(
        "Cannot be answered: none of the 4 drawn audits of 8 auto-decisions is settled."
    )
    assert "next: labelproof review export mini --kind audit --to audits.csv" in made.stdout
    assert ask("mini", "--json", "--plots", "charts").exit_code == 2
    assert not Path("charts").exists()


def test_charts_are_written(ask: Quality, store: TraceStore) -> None:
    audited(store, n=80, n_wrong=4)
    found = json.loads(ask("mini", "--plots", "charts", "--json").stdout)
    assert found["plots"] == ["charts/quality-over-time.svg", "charts/quality-over-time.html"]
    assert Path("charts/quality-over-time.svg").read_text().startswith("<svg")
    assert "2026-03-02" in Path("charts/quality-over-time.html").read_text()


def test_a_period(ask: Quality, store: TraceStore) -> None:
    audited(store, n=80, n_wrong=0)
    for arguments, n in (
        (("--until", "2026-03-02"), 40),
        (("--since", "2026-03-03"), 40),
        (("--since", "2026-03-02", "--until", "2026-03-03"), 80),
    ):
        assert json.loads(ask("mini", *arguments, "--json").stdout)["auto_decisions"] == n


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mini", "--since", "yesterday"), "expected a day or a time, found 'yesterday'"),
        (("mini", "--since", "2026-03-03", "--until", "2026-03-02"), "is not before"),
        (("other",), "no project 'other'"),
    ],
)
def test_what_the_user_must_fix_exits_2(
    ask: Quality, store: TraceStore, arguments: tuple[str, ...], says: str
) -> None:
    made = ask(*arguments)
    assert made.exit_code == 2
    assert says in made.stderr


def test_days_and_times() -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC)
    assert _time("2026-03-01", "--since") == day
    assert _time("2026-03-01", "--until", is_end=True) == day + timedelta(days=1)
    assert _time("2026-03-01T12:00", "--until", is_end=True) == day + timedelta(hours=12)
    assert _time("2026-03-01T12:00+02:00", "--since") == day + timedelta(hours=10)
    assert _time(None, "--since") is None
    with pytest.raises(ConfigError, match="found 'x'"):
        _time("x", "--since")
