"""From no certificate to one, to a certified run, audits and quality: by commands alone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.conftest import MakeProject
from tests.report.certify_helpers import gold_rows, project, truth

RunJson = Callable[..., Any]


def fill_in(sheet: Path, annotator: str) -> None:
    """Answer every row of an exported sheet truthfully, as a person with a spreadsheet would."""
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))
    for row in table:
        row["label"] = truth(int(row["text"].split()[2]))
        row["annotator"] = annotator
    with sheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)


@pytest.mark.slow
def test_the_whole_way_from_gold_to_audited_quality(
    make_project: MakeProject, work: Path, run: Run, run_json: RunJson
) -> None:
    with project(make_project, gold=gold_rows(30)) as (folder, _):
        name = str(folder)
        code, out, _ = run("certify", name)
        assert code == 1
        assert "No certificate" in out
        assert "gold sample mini" in out
        draw = run_json("gold", "sample", name, "--budget", "120")
        assert draw["n"] == 120
        for annotator in ("ann", "bob"):
            sheet = work / f"{annotator}.csv"
            run_json("review", "export", name, "--kind", "gold", "--to", str(sheet), "--annotator", annotator)
            fill_in(sheet, annotator)
            run_json("review", "import", name, str(sheet))
        built = run_json("gold", "build", name, "--to", "gold_v2.jsonl")
        assert built["n_new"] == 120
        text = (folder / "project.yaml").read_text()
        fields = "".join(f", {key}: {value}" for key, value in built["fields"].items())
        wanted = "gold: {path: gold.jsonl, split_column: split}"
        assert wanted in text
        (folder / "project.yaml").write_text(text.replace(wanted, f"gold: {{path: gold_v2.jsonl{fields}}}"))
        certified = run_json("certify", name)
        assert certified["certified"] is True
        assert len([path for path in certified["plots"] if Path(path).stat().st_size > 1000]) == 3
        code, out, _ = run("certificates", name)
        assert certified["certificate"]["certificate_id"] in out
        assert "valid until" in out
        code, out, _ = run("gold", "list", name)
        assert "120 region" in out
        code, out, _ = run("run", name, "--prefect", "off")
        assert f"Certificate  {certified['certificate']['certificate_id']}" in " ".join(out.split()).replace(
            "Certificate ", "Certificate  "
        )
        for annotator in ("ann", "bob"):
            sheet = work / f"audit-{annotator}.csv"
            run_json(
                "review", "export", name, "--kind", "audit", "--to", str(sheet), "--annotator", annotator
            )
            fill_in(sheet, annotator)
            run_json("review", "import", name, str(sheet))
        code, out, _ = run("quality", name)
        assert code in (0, 1)
        assert "Auto-decisions were right 100" in out
        assert "audited of 2" in out


def test_voiding_needs_a_known_certificate_and_a_reason(
    make_project: MakeProject, run: Run, run_json: RunJson
) -> None:
    with project(make_project) as (folder, _):
        name = str(folder)
        assert "No certificate was issued" in run("certificates", name)[1]
        one = run_json("certify", name)["certificate"]["certificate_id"]
        assert run("certificates", name, "--void", one)[0] == 2
        assert run("certificates", name, "--void", "C-unknown", "--why", "x")[0] == 2
        (listed,) = run_json("certificates", name, "--void", one, "--why", "labels were redefined")
        assert (listed["state"], listed["reason"]) == ("void", "labels were redefined")
        summary = run_json("run", name, "--prefect", "off")
        assert summary["auto_accept"] == 0
        assert summary["no_certificate"] == f"certificate {one} is void: labels were redefined"


def test_saying_that_gold_was_used_voids_what_stands_on_it(
    make_project: MakeProject, run: Run, run_json: RunJson
) -> None:
    with project(make_project) as (folder, _):
        one = run_json("certify", str(folder))["certificate"]["certificate_id"]
        used = ("gold", "used", str(folder), "--why", "read its errors", "--since", "2026-01-01")
        assert run_json(*used) == {"voided": [one]}
        (listed,) = run_json("certificates", str(folder))
        assert (listed["state"], listed["reason"]) == (
            "void",
            "the gold was used for tuning since 2026-01-01: read its errors",
        )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--per-class", "hate"), "LABEL=ALPHA"),
        (("--per-class", "hat=.1"), "unknown label 'hat'"),
        (("--alpha", "0"), "alpha must lie between 0 and 1"),
        (("--delta", "1"), "delta"),
    ],
)
def test_bad_promises_are_told_in_one_line(
    make_project: MakeProject, run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    with project(make_project, n_items=80, gold=gold_rows(10)) as (folder, _):
        code, _, err = run("certify", str(folder), *arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
