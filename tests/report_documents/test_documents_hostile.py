"""What comes from outside stays text: in the page, in Markdown, on slides and in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from docs._report_scene import END, NOW, PROJECT
from labelproof.report.documents.audited import harmless_of
from labelproof.report.documents.build import make
from labelproof.report.documents.write import write
from labelproof.report.rca.periods import parse_period
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore, open_store
from tests.report_documents.document_reader import check_page, check_queries

EVIL = "</td><script>alert(1)</script> | [x](javascript:y) \x1b[2J \u202e $project ' \" `; #1 @all"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    """A store in which every free text of the week is hostile."""
    at = END - timedelta(days=2)
    with open_store(tmp_path / "store") as opened:
        common: dict[str, list[Any]] = {"project": [PROJECT], "ts": [at]}
        opened.append(
            "findings",
            {
                **common,
                "finding_id": [EVIL],
                "event": ["opened"],
                "title": [EVIL],
                "severity": ["critical"],
                "owner": [EVIL],
                "cause": [EVIL],
                "check_text": [EVIL],
                "check_runs": [2],
                "check_held": [1],
            },
        )
        opened.append(
            "alarms",
            {
                **common,
                "alarm_id": [EVIL],
                "kind": ["target"],
                "subject": [EVIL],
                "event": ["breached"],
                "level": ["major"],
                "contact": [EVIL],
                "reason": [EVIL],
            },
        )
        opened.append(
            "rollouts",
            {
                **common,
                "rollout_id": [EVIL],
                "event": ["proposed"],
                "strategy": [EVIL],
                "fp_to": ["b2:abc123"],
                "actor": [EVIL],
                "reason": [EVIL],
            },
        )
        opened.append(
            "root_causes",
            {
                "rca_id": ["r"],
                "project": [PROJECT],
                "to_start": [at],
                "to_end": [at + timedelta(1)],
                "ts": [at],
            },
        )
        opened.append("error_causes", {**common, "rca_id": ["r"], "item_id": ["i"], "cause": [EVIL]})
        opened.append(
            "measurements",
            {
                **common,
                "measurement_id": ["m"],
                "kind": ["target"],
                "subject": ["coverage"],
                "state": ["unknown"],
                "reason": [EVIL],
            },
        )
        opened.append(
            "votes",
            {
                **common,
                "vote_id": ["v"],
                "task_id": ["t"],
                "item_id": ["i"],
                "annotator": [EVIL],
                "role": ["reviewer"],
                "answer": ["label"],
                "label": ["safe"],
                "seconds": [3.0],
            },
        )
        yield opened  # fmt: skip


def test_hostile_texts_stay_texts(store: TraceStore, content_safety: ProjectFolder) -> None:
    period = parse_period("2026-W41", NOW)
    made = make(store, content_safety, "weekly", period=period, now=NOW, names=True, slides=True)
    page = check_page(made)
    check_queries(made, store)
    assert "script" not in page.tags
    assert "\x1b" not in made.html + made.markdown + made.headline
    assert "\u202e" not in made.html + made.markdown
    assert any("alert(1)" in text for text in page.given)
    assert "<script" not in made.markdown
    assert "](javascript" not in made.markdown
    assert made.pngs
    table = made.markdown.split("## Open findings")[1].split("##")[0].strip().splitlines()
    assert {line.count(" | ") for line in table[:3]} == {5}  # no cell of the text became two


def test_the_terminal_shows_the_first_line_and_the_files(
    scene_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content_safety: ProjectFolder
) -> None:
    from labelproof.cli.report import app

    monkeypatch.chdir(tmp_path)
    common = [str(content_safety.folder), "--store", str(scene_path), "--now", NOW.isoformat()]
    done = CliRunner().invoke(app, ["weekly", *common, "--markdown"])
    assert done.exit_code == 1, done.output  # a target is breached
    assert done.stdout.startswith("Auto-decisions were right ")
    assert "not met: review_age_hours" in done.stdout
    folder = tmp_path / "reports" / PROJECT
    assert sorted(path.name for path in folder.iterdir()) == ["weekly-2026-W41.html", "weekly-2026-W41.md"]
    assert "*" in (tmp_path / "reports" / ".gitignore").read_text().split()
    both = CliRunner().invoke(app, ["weekly", *common, "--week", "W41", "--period", "yesterday"])
    assert both.exit_code == 2
    unknown = CliRunner().invoke(app, ["weekly", *common, "--week", "W99", "--json"])
    assert unknown.exit_code == 2
    assert '"error"' in unknown.stdout
    named = CliRunner().invoke(
        app, ["weekly", *common, "--week", "W40", "--out", str(tmp_path / "x.html"), "--json"]
    )
    assert named.exit_code == 0, named.output
    assert (tmp_path / "x.html").read_text().startswith("<!doctype html>")
    with open_store(scene_path) as opened:
        rows = opened.query(
            "SELECT kind, headline, path, json_extract_string(report_json, '$.numbers.\"work.items\".value') AS items "
            "FROM reports WHERE project = ? ORDER BY ts, path",
            [PROJECT],
            fresh=True,
        ).to_pylist()
    assert {row["kind"] for row in rows} == {"weekly"}
    assert {Path(row["path"]).name for row in rows} == {"weekly-2026-W41.html", "x.html"}
    assert all(float(row["items"]) > 0 for row in rows)


def test_every_command_has_help_and_json(tmp_path: Path) -> None:
    from labelproof.cli.report import app

    group = typer.main.get_command(app)
    assert sorted(group.commands) == ["data-card", "experiment", "model-card", "weekly"]  # type: ignore[attr-defined]
    for name in group.commands:  # type: ignore[attr-defined]
        shown = CliRunner().invoke(app, [name, "--help"])
        assert "--json" in shown.output


def test_only_pages_and_folders_can_be_written(
    scene: TraceStore, content_safety: ProjectFolder, tmp_path: Path
) -> None:
    made = make(scene, content_safety, "data-card", now=NOW)
    with pytest.raises(ConfigError, match="expected a folder"):
        write(made, tmp_path / "card.pdf")
    files = write(made, tmp_path / "new" / "folder", markdown=True)
    assert files.page == tmp_path / "new" / "folder" / "data-card.html"
    assert [path.name for path in files.others] == ["data-card.md"]
    assert not list((tmp_path / "new" / "folder").glob(".*"))


def schema(*classes: tuple[str, str], kind: str = "single") -> LabelSchema:
    return LabelSchema.model_validate(
        {"kind": kind, "classes": [LabelClass.model_validate({"name": n, "severity": s}) for n, s in classes]}
    )


def test_which_label_is_harmless_follows_from_the_labels() -> None:
    assert harmless_of(schema(("hate", "high"), ("fine", "low"))).name == "fine"
    assert harmless_of(schema(("spam", "low"), ("safe", "low"), ("hate", "high"))).name == "safe"
    plain = harmless_of(schema(("Toxic", "low"), ("Not Toxic", "low")))
    assert plain.name == "Not Toxic"
    assert plain.why.startswith("no severities are set")
    assert not plain.graded
    assert harmless_of(schema(("a", "low"), ("b", "low"))).name == "a"
    assert harmless_of(schema(("insult", "low"), ("threat", "high"), kind="multi")).name == "none"
    graded = harmless_of(schema(("safe", "low"), ("spam", "low"), ("hate", "high")))
    assert graded.graded
    assert graded.severity == {"spam": "low", "hate": "high"}


def test_severity_of_a_set_is_that_of_its_worst_label(scene: TraceStore) -> None:
    found = harmless_of(schema(("rude", "medium"), ("insult", "low"), ("threat", "high"), kind="multi"))
    asked = found.is_harmful("label", "medium", multi=True)
    rows = scene.query(
        f"SELECT label, {asked} AS hit FROM (VALUES ('none'), ('rude'), ('insult+rude'), ('rude+threat'), ('insult')) AS t(label)"
    )
    assert {row["label"] for row in rows.to_pylist() if row["hit"]} == {"rude", "insult+rude"}
