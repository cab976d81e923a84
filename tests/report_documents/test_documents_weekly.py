"""The weekly report: each number is its query's, the first line follows the promise, names and texts stay inside."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy.stats import binom
from statsmodels.stats.proportion import confint_proportions_2indep
from typer.testing import CliRunner

from docs._report_scene import END, NOW
from evaluation.intervals import Estimate, wilson
from labelproof.cli.sql import sql
from labelproof.report.documents._weekly_quality import difference_interval
from labelproof.report.documents._weekly_work import median_ranks
from labelproof.report.documents.build import make
from labelproof.report.documents.model import Document, Ref
from labelproof.report.documents.words import interval_text, ref_text, value_text
from labelproof.report.quality import quality_report
from labelproof.report.rca.periods import parse_period
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore
from tests.report_documents.document_reader import check_page, check_queries, same


def weekly(store: TraceStore, folder: ProjectFolder, week: str = "2026-W41", **more: object) -> Document:
    return make(store, folder, "weekly", period=parse_period(week, NOW), now=NOW, **more)  # type: ignore[arg-type]


def test_every_number_of_the_page_is_what_labelproof_sql_gives(
    scene: TraceStore, scene_path: Path, content_safety: ProjectFolder
) -> None:
    made = weekly(scene, content_safety)
    page = check_page(made)
    shown = {name for name, _, _ in page.shown}
    assert {
        "quality.right",
        "harm.missed",
        "harm.removed",
        "hours.saved",
        "cost.per_correct",
        "work.coverage",
    } <= shown
    run, app = CliRunner(), typer.Typer()
    app.command()(sql)
    for name in sorted(shown):
        number = made.numbers[name]
        done = run.invoke(app, [number.sql, "--store", str(scene_path), "--json"])
        assert done.exit_code == 0, (name, done.output)
        (row,) = json.loads(done.stdout)
        same(name, number.value, row["value"])
        if row["n"] is not None:
            assert number.n == int(row["n"]), name
    check_queries(made, scene)


def test_the_first_line_is_the_answer_of_labelproof_quality(
    scene: TraceStore, content_safety: ProjectFolder
) -> None:
    made = weekly(scene, content_safety)
    report = quality_report(
        scene, content_safety, since=END - timedelta(days=7), until=END, now=NOW, void_certificates=False
    )
    assert report.quality is not None
    right, number = report.quality.correct, made.numbers["quality.right"]
    assert (number.value, number.low, number.high, number.n) == pytest.approx(
        (right.value, right.low, right.high, right.n)
    )
    assert made.numbers["audits.audited"].value == report.audits.n_settled
    assert made.numbers["audits.auto_accepted"].value == report.n_decisions
    assert made.headline.startswith(
        f"Auto-decisions were right {value_text(number)} ({interval_text(number)}; "
    )
    assert made.headline.split(": ")[-1] in ("met.", "not met.", "not yet provable.")
    assert "We promise ≥ 90 %" in made.headline
    missed = made.numbers["harm.missed"]
    assert missed.value is not None
    assert missed.low is not None
    assert missed.low <= missed.value


def test_a_target_that_is_not_met_is_exit_code_one(scene: TraceStore, content_safety: ProjectFolder) -> None:
    made = weekly(scene, content_safety)
    assert made.exit_code == 1  # review_age_hours is breached
    earlier = weekly(scene, content_safety, "2026-W40")
    assert earlier.exit_code == 0
    assert "Whether these targets are kept" in earlier.markdown


@pytest.mark.parametrize(
    ("promise", "verdict"), [(0.5, "met"), (0.999, "not met"), (None, "not yet provable")]
)
def test_the_verdict_follows_the_promise(
    scene: TraceStore, content_safety: ProjectFolder, promise: float | None, verdict: str
) -> None:
    right = weekly(scene, content_safety).numbers["quality.right"]
    assert right.value is not None
    assert right.low is not None
    bound = promise if promise is not None else right.low + 0.2 * (right.value - right.low)
    made = weekly(scene, _promising(content_safety, bound))
    assert made.headline.endswith(f": {verdict}.")
    if verdict == "not met":
        assert made.exit_code == 1
        assert "whether the machine goes on deciding alone" in made.markdown
    if verdict == "not yet provable" and "audits.more" in made.numbers:
        n = right.n or 0
        wanted = n * ((right.value - right.low) / (right.value - bound)) ** 2 - n
        assert made.numbers["audits.more"].value == np.ceil(wanted)
        assert "more automatic decisions to prove the promise" in made.markdown


def _promising(folder: ProjectFolder, bound: float) -> ProjectFolder:
    targets = tuple(
        target.model_copy(update={"at_least": bound}) if target.metric == "auto_accuracy" else target
        for target in folder.spec.targets
    )
    return ProjectFolder(folder.folder, folder.spec.model_copy(update={"targets": targets}))


def test_an_empty_week_says_what_is_not_known(scene: TraceStore, content_safety: ProjectFolder) -> None:
    made = weekly(scene, content_safety, "2026-W01", slides=True)
    check_page(made)
    check_queries(made, scene)
    assert made.headline.startswith("How often auto-decisions were right cannot be told")
    assert made.numbers["quality.right"].value is None
    assert "How right the automatic decisions are: " in made.markdown
    assert made.pngs == {}


def test_the_risk_and_the_decision_follow_their_rules(
    scene: TraceStore, content_safety: ProjectFolder
) -> None:
    text = weekly(scene, content_safety).markdown
    assert "The one risk: Harmful items in Spanish are let pass" in text
    assert "The decision needed: approve or reject" in text
    before = weekly(scene, content_safety, "2026-W40").markdown
    assert "Harmful items in Spanish" not in before  # the finding is younger


def test_reviewers_are_numbered_unless_names_are_asked_for(
    scene: TraceStore, content_safety: ProjectFolder
) -> None:
    made = weekly(scene, content_safety)
    everything = made.html + made.markdown + json.dumps(made.to_json())
    assert "reviewer 4" in everything
    assert "dee" not in everything
    assert "dee" in weekly(scene, content_safety, names=True).html


def test_slides_have_the_size_of_a_screen(scene: TraceStore, content_safety: ProjectFolder) -> None:
    made = weekly(scene, content_safety, slides=True)
    assert set(made.pngs) == {"volume", "quality", "harm", "causes", "cost"}
    for picture in made.pngs.values():
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (1920, 1080)


def test_the_page_needs_nothing_else(scene: TraceStore, content_safety: ProjectFolder) -> None:
    made = weekly(scene, content_safety)
    page = check_page(made)
    assert "script" not in page.tags
    assert "default-src 'none'" in made.html
    assert not [tag for tag in page.tags if tag in ("link", "img", "iframe")]
    assert "http" not in made.html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_only_one_strategy_can_be_asked_about(scene: TraceStore, content_safety: ProjectFolder) -> None:
    everything = weekly(scene, content_safety)
    none = weekly(scene, content_safety, ref="few_shot")
    assert everything.numbers["work.decisions"].value
    assert none.numbers["work.decisions"].value == 0
    assert "--strategy few_shot" in none.html


def test_a_period_that_runs_is_told_until_now(scene: TraceStore, content_safety: ProjectFolder) -> None:
    now = END - timedelta(days=3)
    made = make(scene, content_safety, "weekly", period=parse_period("2026-W41", now), now=now)
    check_queries(made, scene)
    days = [name for name in made.numbers if name.startswith("work.auto:")]
    assert len(days) == 4


def test_the_difference_of_two_wilson_rates_is_newcombes() -> None:
    for k1, n1, k2, n2 in ((56, 70, 48, 80), (9, 10, 3, 10), (190, 200, 180, 200)):
        found = difference_interval(wilson(k1, n1), wilson(k2, n2))
        assert found == pytest.approx(confint_proportions_2indep(k1, n1, k2, n2, method="newcomb"), abs=1e-6)
    unknown = Estimate(value=0.5, low=None, high=None, n=1, method="none", reason="one")
    assert difference_interval(unknown, wilson(1, 2)) is None


def test_the_ranks_around_a_median_hold_it_often_enough() -> None:
    for n in range(20, 400, 7):
        low, high = median_ranks(n)
        # The median lies between the sorted values of these ranks when low to high - 1 values are below it.
        assert binom.cdf(high - 1, n, 0.5) - binom.cdf(low - 1, n, 0.5) >= 0.95
        assert 1 <= low < high <= n


def test_hours_saved_are_the_decisions_times_the_median_answer(
    scene: TraceStore, content_safety: ProjectFolder
) -> None:
    made = weekly(scene, content_safety)
    seconds = scene.query(
        "SELECT seconds FROM votes WHERE role = 'reviewer' AND ts >= ? AND ts < ?",
        [END - timedelta(days=7), END],
        fresh=True,
    )["seconds"].to_pylist()
    auto = made.numbers["work.auto"].value
    assert auto is not None
    assert made.numbers["hours.saved"].value == pytest.approx(auto * float(np.median(seconds)) / 3600)
    assert ref_text(Ref("hours.saved"), made.numbers).endswith(" h")
