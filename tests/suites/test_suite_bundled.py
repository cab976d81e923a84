"""The bundled project's suites: cases in HateCheck's form, complete, distinct, and not the items over again."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

from agents.run.workload import load_workload
from labelproof.report.suites.cases import build_suite, chosen_sources, read_terms, suite_sources
from labelproof.spec.project import ProjectFolder, find_project

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "projects" / "content_safety"


def _rows() -> list[dict[str, str]]:
    with (FOLDER / "suites" / "functional.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.casefold()))


def test_the_functional_cases_cover_every_label_with_several_cases_a_functionality() -> None:
    rows = _rows()
    assert len(rows) >= 120
    counts = Counter(row["functionality"] for row in rows)
    assert len(counts) >= 20
    assert min(counts.values()) >= 4
    assert {row["expected"] for row in rows} == set(find_project(str(FOLDER)).spec.labels.leaves)
    assert 0.25 < sum(row["expected"] == "safe" for row in rows) / len(rows) < 0.6
    assert len({row["text"] for row in rows}) == len({row["case_id"] for row in rows}) == len(rows)


def test_no_functional_case_is_an_item_or_another_case_over_again() -> None:
    items = [json.loads(line)["text"] for line in (FOLDER / "data" / "items.jsonl").read_text().splitlines()]
    seen = [_words(text) for text in items]
    for row in _rows():
        bag = _words(row["text"])
        assert all(len(bag & other) / len(bag | other) < 0.6 for other in seen if len(other) >= 4), row[
            "text"
        ]
        if len(bag) >= 4:
            seen.append(bag)


def test_every_suite_of_the_bundled_project_can_be_built_and_is_the_same_again() -> None:
    work = load_workload(str(FOLDER), None)
    for source in suite_sources(work.folder):
        suite = build_suite(source, work, n=10, seed=1)
        assert len({case.case_id for case in suite.cases}) == len(suite.cases) > 50
        assert build_suite(source, work, n=10, seed=1).fp == suite.fp
    assert [s.name for s in chosen_sources(work.folder, "all")] == [
        "robustness",
        "bias",
        "injection",
        "functional",
    ]


def test_identity_terms_fill_every_template_in_every_language() -> None:
    for folder in (FOLDER, None):
        axes, templates, _ = read_terms(find_project(str(folder)) if folder else _without_terms())
        for template in templates:
            named = [axis for axis in axes if axis.language == template.language]
            assert named, template.name
        languages = {axis.language for axis in axes}
        assert languages == ({"en", "es", "de"} if folder else {"en"})


def _without_terms() -> ProjectFolder:
    return ProjectFolder(ROOT / "tests", find_project(str(FOLDER)).spec)
