"""`labelproof monitor`: the table and exit codes, taking alarms on, time series and pictures, hostile names."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from labelproof.cli.monitor import monitor
from labelproof.report.findings.book import findings_of
from labelproof.report.monitor.alarms import alarms_of
from labelproof.report.monitor.history import series_of, series_plot, sparkline
from labelproof.report.monitor.run import monitor as run_monitor
from labelproof.report.monitor.run import note_told
from labelproof.report.monitor.text import event_line, evidence_bar, evidence_share, markdown
from labelproof.report.monitor.values import change_interval_text, change_text
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.monitor.monitor_world import day, watched_project, work

Monitor = Callable[..., Result]
TARGETS = (
    "metric: auto_accuracy, at_least: 0.9, level: critical",
    "metric: coverage, at_least: 0.7",
    "metric: cost_per_1000, at_most: 3, owner: '[red]Dee|x'",
)


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    return watched_project(tmp_path / "mini", TARGETS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def ask(tmp_path: Path) -> Monitor:
    app = typer.Typer()
    app.command()(monitor)

    def run(*arguments: str) -> Result:
        given = [str(tmp_path / "mini"), "--store", str(tmp_path / "store"), *arguments]
        result = CliRunner().invoke(app, given, env={"COLUMNS": "160"})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def bad_days(store: TraceStore, n: int = 4) -> None:
    for i in range(n):
        work(store, i, n=600, error=0.3, seed=i)


def test_what_is_met_exits_0(ask: Monitor, folder: ProjectFolder, store: TraceStore) -> None:
    work(store, 0, n=4000, error=0.01)
    made = ask("--now", day(1).isoformat())
    assert made.exit_code == 0, made.output
    assert "3 of 3 targets are met." in made.stdout
    for words in (
        "auto_accuracy",
        "≥ 90 %",
        "≤ $3.00 per 1 000",
        "$2.00 per 1 000",
        "░░░░░░░░",
        "Ann",
        "[red]Dee|x",
    ):
        assert words in made.stdout, words


def test_what_is_breached_exits_1_and_says_who_is_told(
    ask: Monitor, folder: ProjectFolder, store: TraceStore
) -> None:
    bad_days(store)
    made = ask("--now", day(4).isoformat())
    assert made.exit_code == 1, made.output
    assert "Broken: auto_accuracy." in made.stdout
    assert "████████" in made.stdout
    assert "breached, QA lead Ann (#qa) told" in made.stdout
    for command in ("rca mini", "findings list mini", "monitor mini --ack A-"):  # what to type next
        assert f" {command}" in made.stdout.partition("Next")[2], command
    later = json.loads(ask("--now", day(4.2).isoformat(), "--json").stdout)
    assert later["breached"] is True
    assert [(event["event"], event["role"]) for event in later["events"]] == [("escalated", "policy")]
    (alarm,) = later["alarms"]
    assert [told["role"] for told in alarm["told"]] == ["QA lead", "policy"]
    assert later["findings"] == []  # opened by the first pass


def test_an_alarm_is_taken_on(ask: Monitor, folder: ProjectFolder, store: TraceStore) -> None:
    bad_days(store)
    ask("--now", day(4).isoformat())
    (alarm,) = alarms_of(store, "mini")
    made = ask("--ack", alarm.alarm_id, "--why", "asked the vendor", "--by", "eve")
    assert made.exit_code == 0, made.output
    assert "taken on by eve" in made.stdout
    assert alarms_of(store, "mini")[0].state == "acknowledged"
    assert ask("--ack", alarm.alarm_id).exit_code == 2
    assert ask("--ack", "A-none", "--why", "x").exit_code == 2


def test_a_metrics_past_is_a_line_a_table_and_a_picture(
    ask: Monitor, folder: ProjectFolder, store: TraceStore, tmp_path: Path
) -> None:
    for i in range(5):
        work(store, i, n=400, error=0.02 * i, seed=i)
        run_monitor(store, folder, now=day(i + 0.9))
    made = ask("--history", "auto_accuracy", "--plot", str(tmp_path / "out" / "series.svg"))
    assert made.exit_code == 0, made.output
    assert "█" in made.stdout
    assert made.stdout.count("2026-03-0") == 5
    drawn = (tmp_path / "out" / "series.svg").read_text()
    assert "auto_accuracy" in drawn
    assert "promised ≥ 90 %" in drawn
    found = json.loads(ask("--history", "auto_accuracy", "--json").stdout)
    assert [point["n"] for point in found["points"]] == [32, 64, 96, 128, 160]
    assert len(store.query(found["sql"], fresh=True)) == 5
    for wrong in (("--history", "speed"), ("--plot", "x.svg"), ("--history", "coverage", "--plot", "x.gif")):
        assert ask(*wrong).exit_code == 2


def test_there_must_be_a_store_and_a_time(ask: Monitor, folder: ProjectFolder) -> None:
    assert ask().exit_code == 2
    assert ask("--now", "soon").exit_code == 2


def test_markdown_shows_hostile_names_as_text(store: TraceStore, tmp_path: Path) -> None:
    hostile = watched_project(
        tmp_path / "h", ["metric: coverage, at_least: 0.9, owner: 'x|[y](http://e) <b>'"]
    )
    work(store, 0, n=4000, auto=0.5)
    report = run_monitor(store, hostile, now=day(1))
    text = markdown(hostile, report)
    assert "x\\|\\[y\\]\\(http://e\\) \\<b\\>" in text
    (event,) = report.events
    assert event_line(event).startswith("major: coverage raised an alarm (QA lead Ann (#qa) is told): 50 %")
    assert report.findings


def test_a_certificate_falls_with_the_traffic_it_was_proven_on(store: TraceStore, tmp_path: Path) -> None:
    from agents.certificates import StoredCertificate, issue, standings
    from labelproof.report.monitor.alarms import step
    from labelproof.report.monitor.model import Measurement
    from labelproof.report.monitor.run import void_by_drift

    folder = watched_project(tmp_path / "mini", ())

    def issued(at: float, strategy: str = "champion") -> str:
        made = StoredCertificate.of(
            project="mini",
            strategy=strategy,
            strategy_fp="b2:s1",
            answers_fp=f"b2:{strategy}",
            calibrator_ids=(),
            gold_fp="b2:g",
            split_fp="b2:s",
            design="simple_random",
            alpha=0.05,
            delta=0.05,
            groups=(),
            coverage=0.5,
            pool_n=10,
            pool_fp="b2:p",
            finite_pool=False,
            n_looks=1,
            audit_plan=None,
            run_id="r",
            issued_at=day(at).isoformat(),
            expires_at=day(at + 90).isoformat(),
        )
        issue(store, made, day(at))
        return made.certificate_id

    mine, other = issued(0), issued(0, "candidate")
    drift = Measurement(
        kind="drift", subject="confidence", state="alarm", value=0.2, reason="confidence fell"
    )
    step(store, folder, [drift], now=day(2))
    voided = void_by_drift(store, folder, alarms_of(store, "mini"), day(2))
    assert list(voided) == [mine]
    assert "confidence fell" in voided[mine]
    assert void_by_drift(store, folder, alarms_of(store, "mini"), day(2)) == {}
    later = issued(3)  # on the traffic as it is now
    assert void_by_drift(store, folder, alarms_of(store, "mini"), day(4)) == {}
    states = {one.certificate.certificate_id: one.state for one in standings(store, "mini", day(4))}
    assert states == {mine: "void", other: "valid", later: "valid"}


def test_a_flow_sends_what_passes_without_prefect_could_not(store: TraceStore, folder: ProjectFolder) -> None:
    bad_days(store)
    first = run_monitor(store, folder, now=day(3.5), flow_run_id="f1")
    assert [event.event for event in first.to_send] == ["breached"]
    note_told(store, first, "f1")
    silent = run_monitor(store, folder, now=day(3.7))
    assert [event.event for event in silent.events] == ["escalated"]
    assert silent.to_send == ()
    second = run_monitor(store, folder, now=day(3.8), flow_run_id="f2")
    assert second.events == ()
    assert [event.event for event in second.to_send] == ["escalated"]
    note_told(store, second, "f2")
    assert run_monitor(store, folder, now=day(3.9), flow_run_id="f3").to_send == ()


def test_what_a_killed_flow_did_not_tell_the_next_one_sends(store: TraceStore, folder: ProjectFolder) -> None:
    bad_days(store)
    killed = run_monitor(store, folder, now=day(3.5), flow_run_id="f1")
    again = run_monitor(store, folder, now=day(3.52), flow_run_id="f1")
    assert again.events == ()
    assert again.to_send == killed.to_send != ()
    note_told(store, again, "f1")
    assert run_monitor(store, folder, now=day(3.54), flow_run_id="f2").to_send == ()


@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
def test_a_pass_killed_between_two_writes_is_completed_by_the_next(
    store: TraceStore, folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """Whatever was written before, afterwards there are one alarm and one finding."""
    bad_days(store)
    writes = 0
    append = store.append

    def dies(table: str, rows: Any) -> None:
        nonlocal writes
        if table in ("measurements", "alarms", "findings"):
            if writes == done:
                raise KeyboardInterrupt
            writes += 1
        append(table, rows)

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", dies)
        with contextlib.suppress(KeyboardInterrupt):
            run_monitor(store, folder, now=day(3.5))
    run_monitor(store, folder, now=day(3.6))
    run_monitor(store, folder, now=day(3.65))
    (alarm,) = alarms_of(store, "mini")
    (finding,) = findings_of(store, "mini")
    assert alarm.is_open
    assert finding.evidence["alarm_id"] == alarm.alarm_id
    assert [event.event for event in finding.events].count("opened") == 1


def test_bars_and_lines() -> None:
    assert evidence_share(1.0, 20.0) == 0
    assert evidence_share(400.0, 20.0) == 1
    assert evidence_share(20**0.5, 20.0) == pytest.approx(0.5)
    assert evidence_share(None, 20.0) is None
    assert evidence_bar(0.5) == "████░░░░"
    assert evidence_bar(0.99) == "███████░"
    assert evidence_bar(1.0) == "████████"
    assert sparkline([0, None, 1, 0.5]) == "▁ █▅"
    assert sparkline([2, 2]) == "▄▄"
    assert sparkline([None]) == ""


def test_a_number_never_measured_has_no_picture(store: TraceStore, folder: ProjectFolder) -> None:
    from labelproof.spec.errors import ConfigError

    with pytest.raises(ConfigError, match="never been measured"):
        series_plot(series_of(store, find_project(str(folder.folder)).name, "coverage"))


@pytest.mark.parametrize(
    ("kind", "subject", "value", "words", "band"),
    [
        ("drift", "language", 0.00619, "0.6 % moved", "0.0 to 2.2"),
        ("drift", "text", 0.494, "AUC 0.49", "0.00 to 0.02"),
        ("drift", "provider", 0.16, "16.0 % of calls new", "0.0 to 2.2"),
        ("drift", "strategy", 1.0, "100.0 % of decisions", "0.0 to 2.2"),
        ("sentinel", "answers", 0.025, "2.5 % flipped", "0.0 to 2.2"),
        ("sentinel", "accuracy", -0.05, "-5.0 points", "0.0 to 2.2"),
        ("drift", "confidence", None, "-", "0.0 to 2.2"),
    ],
)
def test_how_large_a_change_is_has_its_unit(
    kind: str, subject: str, value: float | None, words: str, band: str
) -> None:
    assert change_text(kind, subject, value) == words
    assert change_interval_text(kind, subject, 0.0, 0.0224) == band
    assert change_interval_text(kind, subject, None, None) == ""
