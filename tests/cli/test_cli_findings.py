"""`labelproof findings`: from opening to closing in the terminal, exit codes, files, hostile words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from labelproof.cli.main import Row, load
from labelproof.store import open_store
from tests.findings.findings_helpers import HOSTILE, PROJECT, T0, days, decisions, opened, project_folder

Findings = Callable[..., tuple[int, str, str]]
NOW = "2026-05-05T08:00"


@pytest.fixture
def findings(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Findings:
    """Run `labelproof findings ...` in a folder with a project; returns exit code, stdout, stderr."""
    monkeypatch.setenv("LABELPROOF_BY", "ann")
    project_folder(work / "projects")
    with open_store(work / "store") as store:
        decisions(store, [("b2:i1", "safe")], T0, run_id="r1")
        store.append(
            "items",
            {
                "item_id": ["b2:i1", "b2:i2"],
                "external_id": ["m1", "m2"],
                "project": [PROJECT] * 2,
                "ts": [T0] * 2,
            },
        )
    row = Row("findings", "labelproof.cli.findings", "app", "", "")

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code: Any = 0
        try:
            load(row).main(args=list(arguments), prog_name="labelproof findings")
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return int(code), said.out, said.err

    return run


def open_one(findings: Findings, *more: str) -> str:
    code, out, err = findings(
        "open", PROJECT, "--title", "Sarcasm is read as praise", "--now", NOW, "--json", *more
    )
    assert code == 0, err
    return str(orjson.loads(out)["finding_id"])


def test_from_opening_to_closing(findings: Findings) -> None:
    one = open_one(
        findings,
        *("--severity", "critical", "--owner", "olga", "--items", "m1,b2:i2", "--sql", "SELECT 41 + 1 AS n"),
        *("--check", "auto_accuracy >= 95 %", "--runs", "2", "--due", "14d"),
    )
    code, out, _ = findings("list", PROJECT, "--now", NOW)
    assert code == 0
    for word in (one, "critical", "olga", "0 of 2 runs", "Sarcasm"):
        assert word in out
    assert findings("assign", one[:7], "bob", "--due", "2026-06-01", "--now", NOW)[0] == 0
    assert findings("note", one, "asked the vendor", "--now", NOW)[0] == 0
    assert findings("edit", one, "--cause", "no example", "--action", "add three", "--now", NOW)[0] == 0
    code, out, _ = findings("show", one, "--now", NOW)
    assert code == 0
    for word in (
        "due 2026-06-01",
        "no example",
        "add three",
        "asked the vendor",
        "auto_accuracy >= 0.95: 0 of 2 runs",
        f"trace {PROJECT} b2:i1",
        f"findings show {one} --sql |",
        "SELECT 41 + 1 AS n",
        "ann",
    ):
        assert word in out, word
    assert findings("show", one, "--sql") == (0, "SELECT 41 + 1 AS n\n", "")
    code, out, err = findings("close", one, "--why", "fixed", "--now", NOW)
    assert (code, "its check has not held yet: 0 of 2 runs" in err) == (0, True)
    assert out.startswith(f"Closed: {one}")
    code, _, err = findings("close", one, "--why", "fixed", "--now", NOW)
    assert (code, "is closed since" in err) == (2, True)
    assert findings("reopen", one, "--why", "it is back", "--now", NOW)[0] == 0
    assert findings("accept", one, "--why", "rare", "--until", "90d", "--now", NOW)[0] == 0
    document = orjson.loads(findings("show", one, "--json", "--now", NOW)[1])
    assert [event["event"] for event in document["history"]] == [
        *("opened", "assigned", "noted", "edited", "closed", "reopened", "accepted")
    ]
    assert (document["state"], document["owner"], document["n_seen"]) == ("accepted", "bob", 2)
    assert document["evidence"]["items"] == [{"item_id": "b2:i1"}, {"item_id": "b2:i2"}]


def test_the_gate_stops_at_what_is_critical_or_overdue(findings: Findings) -> None:
    assert findings("list", PROJECT, "--gate", "--now", NOW)[:2] == (0, "No open findings.\n")
    one = open_one(findings, "--due", "2026-05-10")
    assert findings("list", "--gate", "--now", NOW)[0] == 0
    code, _, err = findings("list", "--gate", "--severity", "critical", "--now", "2026-05-11T01:00")
    assert (code, "1 critical or overdue (1 overdue)" in err) == (1, True)  # whatever is listed
    findings("edit", one, "--severity", "critical", "--now", NOW)
    assert findings("list", "--gate", "--now", NOW)[0] == 1
    found = orjson.loads(findings("list", "--json", "--gate", "--now", NOW)[1])
    assert found["gate"] == [one]


def test_mistakes_are_one_line_and_exit_2(findings: Findings, work: Path) -> None:
    one = open_one(findings)
    (work / "none.txt").write_text("\n")
    for arguments, said in (
        (("open", PROJECT), "expected --title, or --comparison"),
        (("open", PROJECT, "--title", "t", "--check", "accuracy >= 1"), "position 1"),
        (("open", PROJECT, "--title", "t", "--items", "m1,m9"), "no item 'm9'"),
        (("open", PROJECT, "--title", "t", "--items", "none.txt"), "no item is named"),
        (("open", PROJECT, "--title", "t", "--due", "soon"), "--due: expected a day"),
        (("open", "nowhere", "--title", "t"), "nowhere"),
        (("edit", one), "nothing to change"),
        (("show", "F-ffff"), "no finding begins"),
        (("show", one, "--sql"), "has no query"),
        (("close", one, "--why", " "), "why it is closed"),
        (("changes", PROJECT, "--period", "someday"), "someday"),
        (("risks", PROJECT, "--to", "risks.xlsx"), "risks.xlsx"),
    ):
        code, _, err = findings(*arguments)
        assert (code, said in err) == (2, True), (arguments, err)
    assert findings("close", one)[0] == 2  # --why is needed


def test_items_come_from_files_with_their_right_labels(findings: Findings, work: Path) -> None:
    (work / "items.csv").write_text("external_id,right\nm1,hate\nm2,\n")
    (work / "items.jsonl").write_text('{"item_id": "b2:i1", "gold": "safe"}\n')
    (work / "items.txt").write_text("m2\n\nm1\n")
    for name, items in (
        ("items.csv", [{"item_id": "b2:i1", "right": "hate"}, {"item_id": "b2:i2"}]),
        ("items.jsonl", [{"item_id": "b2:i1", "right": "safe"}]),
        ("items.txt", [{"item_id": "b2:i2"}, {"item_id": "b2:i1"}]),
    ):
        one = open_one(findings, "--items", name)
        assert orjson.loads(findings("show", one, "--json")[1])["evidence"]["items"] == items


def test_checks_are_looked_at_on_request(findings: Findings, work: Path) -> None:
    assert findings("check", PROJECT, "--now", NOW)[1] == "No finding has a check to look at.\n"
    one = open_one(findings, "--check", "items right >= 0.5", "--runs", "1", "--items", "m1")
    with open_store(work / "store") as store:
        store.append(
            "gold",
            {"project": [PROJECT], "item_id": ["b2:i1"], "label": ["hate"], "gold_fp": ["b2:g"], "ts": [T0]},
        )
        decisions(store, [("b2:i1", "safe")], T0 + days(2), run_id="r2")
    code, out, _ = findings("check", PROJECT, "--now", "2026-05-07T08:00")
    assert (code, f"{one} failed (0 of 1 runs)" in out) == (1, True)
    with open_store(work / "store") as store:
        decisions(store, [("b2:i1", "hate")], T0 + days(4), run_id="r3")
    code, out, _ = findings("check", PROJECT, "--finding", one, "--json", "--now", "2026-05-09T08:00")
    assert (code, orjson.loads(out)["checks"][0]["verdict"]) == (0, "closed")


def test_registers_are_shown_and_written(findings: Findings, work: Path) -> None:
    assert findings("risks", PROJECT)[1] == "No open or accepted finding.\n"
    assert findings("changes", PROJECT)[1] == "Nothing changed.\n"
    one = open_one(findings, "--owner", "olga")
    assert "once (1)" in findings("risks", PROJECT, "--now", NOW)[1]
    assert orjson.loads(findings("risks", PROJECT, "--json", "--now", NOW)[1])[0]["score"] == 2
    for name in ("risks.md", "risks.csv", "risks.jsonl"):
        assert findings("risks", PROJECT, "--to", f"out/{name}", "--now", NOW)[0] == 0
        assert one in (work / "out" / name).read_text()
    findings("close", one, "--why", "done", "--now", NOW)
    assert "closed: Sarcasm" in findings("changes", PROJECT)[1]
    assert findings("changes", PROJECT, "--period", "2026-05-06", "--now", NOW)[1] == "Nothing changed.\n"
    assert findings("changes", PROJECT, "--to", "log.md")[0] == 0


def test_hostile_words_reach_no_terminal(findings: Findings, work: Path) -> None:
    with open_store(work / "store") as store:
        one = opened(
            store,
            title=HOSTILE[:190],
            owner=HOSTILE[:60],
            cause=HOSTILE,
            evidence={"sql": f"SELECT '{HOSTILE}'", "items": ["x; rm -rf $HOME"], "note": HOSTILE},
        )
    findings("note", one.finding_id, HOSTILE, "--by", HOSTILE, "--now", NOW)
    for arguments in (
        ("list",),
        ("list", PROJECT),
        ("show", one.finding_id),
        ("risks", PROJECT),
        ("close", one.finding_id, "--why", HOSTILE, "--now", NOW),
        ("changes", PROJECT),
    ):
        code, out, _ = findings(*arguments)
        assert code == 0
        assert not [char for char in out if char != "\n" and (ord(char) < 32 or char == "\u202e")]
        if arguments[0] == "show":
            assert "'x; rm -rf $HOME'" in out  # quoted: the command may be pasted
            assert "[red]x[/]" in out
