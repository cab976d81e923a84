"""Model card, data card and the report of an experiment: their numbers are the store's, their gaps are said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.agreement import krippendorff_alpha
from evaluation.intervals import wilson
from evaluation.suites import GroupGap
from evaluation.votes import VoteTable
from labelproof.report.compare.build import record
from labelproof.report.documents.build import make
from labelproof.report.findings.book import open_finding
from labelproof.report.scoring import score_project
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.spec.project import ProjectFolder, find_project
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.report.compare_project import NOW, START, Said, compared, store_answers, two_strategies
from tests.report_documents.document_reader import check_page, check_queries

NAMES = ("safe", "hate", "spam")
N = 90
HOSTILE = "text number 3 for the reader"


@pytest.fixture
def folder(make_project: MakeProject) -> Path:
    gold = [(i, NAMES[i % 3], "test" if i >= 30 else "calibration") for i in range(N)]
    return two_strategies(make_project, gold, n_items=N)


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> Iterator[TraceStore]:
    """Champion right on most, the candidate on all but a few; both auto-accept half."""
    with open_store(tmp_path / "store") as opened:
        champion = {i: Said(label=NAMES[(i + (i % 5 == 0)) % 3], accepted=i % 2 == 0) for i in range(N)}
        candidate = {i: Said(label=NAMES[(i + (i % 30 == 0)) % 3], accepted=i % 2 == 0) for i in range(N)}
        store_answers(opened, folder, "champion", champion)
        store_answers(opened, folder, "candidate", candidate)
        yield opened


def test_a_model_card_says_what_is_known_and_what_is_not(
    store: TraceStore, folder: Path, tmp_path: Path
) -> None:
    project = find_project(str(folder))
    made = make(store, project, "model-card", now=NOW)
    check_page(made)
    check_queries(made, store)
    assert "is not scored on gold yet" in made.headline
    assert "labelproof score mini --strategy champion" in made.html
    assert "Robustness, bias and injection are not tested" in made.html
    score_project(str(folder), "champion", store_url=str(tmp_path / "store"))
    made = make(store, project, "model-card", now=NOW, slides=True)
    check_page(made)
    check_queries(made, store)
    right = made.numbers["gold.right"]
    expected = wilson(48, 60)
    assert (right.value, right.low, right.high, right.n) == pytest.approx(
        (48 / 60, expected.low, expected.high, 60)
    )
    assert {"gold.confidence_auroc", "gold.confidence_ece", "gold.macro_f1"} <= set(made.numbers)
    assert made.numbers["gold.recall.hate"].value == pytest.approx(0.8)
    assert made.numbers["slice:lang=a"].n == 30
    assert made.numbers["confusion:safe>hate"].value == 4
    assert made.numbers["production.coverage"].value == 0.5
    assert set(made.pngs) == {"classes"}


def test_a_model_card_shows_texts_only_when_asked(store: TraceStore, folder: Path) -> None:
    project = find_project(str(folder))
    assert "for the reader" not in make(store, project, "model-card", now=NOW).html
    shown = make(store, project, "model-card", now=NOW, with_text=True)
    check_page(shown)
    assert "for the reader" in shown.html


def test_a_model_card_names_roles_and_no_person(store: TraceStore, folder: Path) -> None:
    with (folder / "project.yaml").open("a") as file:
        file.write("contacts:\n  - {role: QA lead, name: Ann Smith, channel: ann@corp.example}\n")
    project = find_project(str(folder))
    owners = ["Ann Smith (ann@corp.example)", "QA lead", "Bob <bob@corp.example> +1 555 0199", ""]
    for i, owner in enumerate(owners):
        open_finding(
            store, "mini", title=f"finding {i}", severity="minor", owner=owner, source="person", source_id=str(i),
            evidence={}, actor="t", now=NOW,
        )  # fmt: skip
    made = make(store, project, "model-card", now=NOW)
    check_page(made)
    for text in (made.html, made.markdown):
        assert "finding 3" in text
        assert not [private for private in ("Ann", "Bob", "corp.example", "0199") if private in text]
        assert text.count("QA lead") == 2


def test_a_model_card_shows_suites_gaps_and_certificates(store: TraceStore, folder: Path) -> None:
    project = find_project(str(folder))
    fp = store.query("SELECT strategy_fp FROM strategies WHERE strategy = 'champion'", fresh=True)[0][
        0
    ].as_py()
    failure = wilson(6, 40)
    gap = GroupGap(axis="religion", rates={}, gap=wilson(3, 30), p_value=0.01, pairs=())
    summary = {
        "total": {"failure": asdict(failure), "n_failed": 6},
        "gaps": [asdict(gap)],
        "rows": [],
        "notes": [],
    }
    store.append(
        "suite_runs",
        {
            "suite_run_id": ["s1"],
            "project": ["mini"],
            "suite": ["bias"],
            "strategy": ["champion"],
            "strategy_fp": [fp],
            "n_cases": [40],
            "summary_json": [orjson.dumps(summary).decode()],
            "ts": [START],
        },
    )
    store.append(
        "suite_results",
        {
            "suite_run_id": ["s1"] * 41,
            "case_id": [f"c{i}" for i in range(41)],
            "passed": [*[i >= 6 for i in range(40)], None],
            "ts": [START] * 41,
        },
    )
    spec = {
        "strategy": "champion",
        "alpha": 0.05,
        "coverage": 0.61,
        "pool_n": 90,
        "expires_at": "2027-06-01T00:00:00+00:00",
    }
    store.append(
        "certificates",
        {
            "certificate_id": ["C-1"],
            "project": ["mini"],
            "strategy_fp": [fp],
            "spec_json": [orjson.dumps(spec).decode()],
            "ts": [START],
        },
    )
    made = make(store, project, "model-card", now=NOW)  # fmt: skip
    check_page(made)
    check_queries(made, store)
    suite = made.numbers["suite:bias"]
    assert (suite.value, suite.n, suite.low, suite.high) == pytest.approx(
        (0.15, 40, failure.low, failure.high)
    )
    assert made.numbers["gap:bias:religion"].value == pytest.approx(0.1)
    assert "unequal" in made.html
    assert made.numbers["certificate:C-1.coverage"].value == 0.61
    assert "≤ 5 % wrong" in made.markdown.replace("&#8804;", "≤").replace("&#37;", "%").replace("&#32;", " ")


def test_a_card_of_a_version_can_be_asked_for_by_fingerprint(store: TraceStore, folder: Path) -> None:
    project = find_project(str(folder))
    made = make(store, project, "model-card", now=NOW, ref="candidate")
    assert made.ref is not None
    assert make(store, project, "model-card", now=NOW, ref=f"candidate@{short(made.ref)}").ref == made.ref
    with pytest.raises(ConfigError):
        make(store, project, "model-card", now=NOW, ref="nobody")


def test_a_data_card_counts_items_gold_and_agreement(
    scene: TraceStore, content_safety: ProjectFolder
) -> None:
    made = make(scene, content_safety, "data-card", now=NOW, slides=True)
    check_page(made)
    check_queries(made, scene)
    assert made.numbers["items.n"].value == 489
    assert made.numbers["gold.n"].value == 489
    rows = scene.query(
        "SELECT task_id, annotator, label FROM votes WHERE role = 'reviewer' AND task_id IN "
        "(SELECT task_id FROM review_tasks WHERE kind <> 'check') ORDER BY task_id, annotator"
    ).to_pylist()
    votes: dict[str, list[Any]] = {}
    for row in rows:
        votes.setdefault(row["task_id"], []).append(row)
    pairs = [
        (r["task_id"], r["annotator"], r["label"])
        for found in votes.values()
        if len(found) > 1
        for r in found
    ]
    alpha = krippendorff_alpha(VoteTable.from_votes(pairs))
    shown = made.numbers["people.alpha"]
    assert shown.value == pytest.approx(alpha.value)
    assert shown.n == alpha.n
    assert shown.low is not None
    assert "Licences of single items are not recorded" in made.markdown
    assert "labels" in made.pngs


def test_a_data_card_of_a_small_project_names_its_gaps(store: TraceStore, folder: Path) -> None:
    made = make(store, find_project(str(folder)), "data-card", now=NOW)
    check_page(made)
    check_queries(made, store)
    assert made.numbers["language:a"].value == N / 2
    assert "Nobody knows how far people agree" in made.markdown
    assert "Too little test gold" in made.markdown


def test_a_data_card_of_nothing_is_refused(tmp_path: Path, folder: Path) -> None:
    with open_store(tmp_path / "empty") as empty, pytest.raises(ConfigError, match="no stored items"):
        make(empty, find_project(str(folder)), "data-card", now=NOW)


def test_an_experiment_is_reported_from_its_stored_comparison(store: TraceStore, folder: Path) -> None:
    project = find_project(str(folder))
    with pytest.raises(ConfigError, match="no comparison is stored"):
        make(store, project, "experiment", now=NOW)
    report = compared(store, folder)
    record(store, report)
    made = make(store, project, "experiment", now=NOW, slides=True)
    check_page(made)
    check_queries(made, store)
    row = next(row for row in report.rows if row.role == "primary").difference
    shown = made.numbers[f"{row.metric}.delta"]
    assert (shown.value, shown.low, shown.high) == pytest.approx((row.delta, row.low, row.high))
    assert made.numbers["n_fixed"].value == report.n_fixed
    assert made.headline.split(":")[0] in ("Ship", "Not yet", "Do not ship")
    assert set(made.pngs) == {"metrics", "why"}
    assert made.numbers["why.0"].value == pytest.approx(row.delta)  # the only change
    same = make(store, project, "experiment", now=NOW, ref=report.comparison_id)
    assert same.headline == made.headline
    with pytest.raises(ConfigError, match="no comparison or experiment 'x9'"):
        make(store, project, "experiment", now=NOW, ref="x9")
