"""One thing planted, one thing named first, the others ruled out or below."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from labelproof.report.rca.build import analyse
from labelproof.report.rca.model import Cause, RootCauseReport
from labelproof.spec.project import find_project
from labelproof.store import open_store
from tests.rca.rca_world import EARLIER, LATER, NOW, Plant, made

Worlds = Callable[..., RootCauseReport]


@pytest.fixture(scope="module")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """Return a maker of reports; each world is made once."""

    @cache
    def place(plant: Plant, more: tuple[tuple[str, object], ...]) -> Path:
        folder = tmp_path_factory.mktemp(plant)
        with open_store(folder / "store") as store:
            made(store, folder / "mini", plant, **dict(more))
            store.drain_all()
        return folder

    @cache
    def report(plant: Plant, metric: str = "accuracy", **more: object) -> RootCauseReport:
        folder = place(plant, tuple(more.items()))
        with open_store(folder / "store") as store:
            return analyse(
                store,
                find_project(str(folder / "mini")),
                earlier=EARLIER,
                later=LATER,
                metric=metric,
                now=NOW,
            )

    return report


def _part(report: RootCauseReport, name: str) -> float:
    return next(part.value for part in report.parts if part.name == name)


@pytest.mark.parametrize(
    ("plant", "first", "part"),
    [
        ("mix", "traffic_mix", "mix shift"),
        ("provider", "provider_change", "model behaviour"),
        ("silent", "provider_change", "model behaviour"),
        ("guideline", "guideline_change", "model behaviour"),
        ("reviewer", "reviewer", "gold / reviewers"),
        ("ambiguity", "guideline_ambiguity", "mix shift"),
        ("injection", "manipulation", "mix shift"),
        ("spanish", "language", "mix shift"),
        ("failures", "parse_failure", "unexplained"),
    ],
)
def test_the_planted_cause_comes_first(report_of: Worlds, plant: Plant, first: Cause, part: str) -> None:
    report = report_of(plant)
    assert report.worse
    assert report.exit_code == 1
    assert report.first_cause == first
    assert sum(one.value for one in report.parts) == pytest.approx(report.change, abs=1e-9)
    assert _part(report, part) == min(one.value for one in report.parts)
    assert _part(report, part) < -0.04
    named = {row.cause for row in report.explaining}
    events: set[Cause] = {
        "parse_failure", "manipulation", "reviewer", "language", "provider_change", "guideline_change", "strategy_change"
    }  # fmt: skip
    assert named & events <= {first}
    for cause in events - {first}:
        row = next(one for one in report.causes if one.cause == cause)
        assert row.status in ("not more than elsewhere", "covered", "unmeasured")
    action = report.explaining[0].action
    assert action is not None
    assert action.items
    assert set(action.items) <= {case.item_id for case in report.errors}


def test_without_a_plant_nothing_is_blamed(report_of: Worlds) -> None:
    report = report_of("nothing")
    assert not report.worse
    assert report.exit_code == 0
    assert report.first_cause is None
    assert "no more than chance" in report.headline
    ruled = " ".join(report.ruled_out)
    assert "same model and fingerprint before and after" in ruled
    assert "0 of 60 frozen items changed" in ruled
    assert "nobody's answers fell beyond chance" in ruled


def test_a_new_guideline_is_named_with_what_changed_and_its_clause_is_found(report_of: Worlds) -> None:
    report = report_of("guideline")
    case = next(one for one in report.errors if one.cause == "guideline_change")
    assert "label.guideline.text" in case.fits["guideline_change"]
    ambiguous = report_of("ambiguity")
    action = next(row.action for row in ambiguous.causes if row.cause == "guideline_ambiguity")
    assert action is not None
    assert action.kind == "clarify guideline"
    assert action.clause is not None
    assert "sarcasm" in action.clause


def test_a_sentinel_that_did_not_change_rules_the_provider_out(tmp_path: Path) -> None:
    """The mark is new on every later item, and something else made the errors."""
    with open_store(tmp_path / "store") as store:
        world = made(store, tmp_path / "mini", "provider")
        store.append_many(
            {
                "sentinels": {
                    "sentinel_fp": ["s2"] * 60, "project": ["mini"] * 60, "item_id": [f"t{i}" for i in range(60)],
                    "gold_label": ["safe"] * 60, "ts": [EARLIER.start] * 60,
                },
                "sentinel_answers": {
                    "sentinel_fp": ["s2"] * 120, "project": ["mini"] * 120, "run_id": ["a"] * 60 + ["b"] * 60,
                    "item_id": [f"t{i}" for i in range(60)] * 2, "label": ["safe"] * 120, "repeat_idx": [0] * 120,
                    "strategy_fp": ["x"] * 120, "ts": [EARLIER.end.replace(day=11)] * 60 + [LATER.end.replace(day=18)] * 60,
                },
            }
        )  # fmt: skip
        report = analyse(store, world.folder, earlier=EARLIER, later=LATER, now=NOW)
    assert report.worse
    assert _part(report, "model behaviour") == pytest.approx(0.0, abs=1e-9)
    assert "provider_change" not in {row.cause for row in report.explaining}
    assert any("0 of 60 frozen items changed" in line for line in report.ruled_out)


def test_a_silent_swap_is_named_by_the_frozen_items_and_without_them_it_stays_unexplained(
    report_of: Worlds,
) -> None:
    told = report_of("silent")
    row = told.explaining[0]
    assert "under the same name" in next(
        c.fits["provider_change"] for c in told.errors if c.cause == row.cause
    )
    assert row.action is not None
    assert "under the same name" in row.action.what
    assert not row.by_timing
    assert not report_of("provider").explaining[0].by_timing
    mute = report_of("silent", sentinel=False)
    assert mute.worse
    assert mute.first_cause is None
    assert "mostly unexplained" in mute.headline


def test_without_a_sentinel_a_new_provider_is_known_by_timing_only(report_of: Worlds) -> None:
    report = report_of("provider", sentinel=False)
    assert report.first_cause == "provider_change"
    assert report.explaining[0].by_timing
    assert report.decomposition is not None
    assert report.decomposition.behaviour_from == "new version, timing only"
    assert any("no sentinel set" in line for line in report.unmeasured)


def test_a_reviewer_is_found_by_agreement_where_there_are_double_votes(report_of: Worlds) -> None:
    report = report_of("reviewer", metric="agreement", double_votes=True)
    assert report.worse
    assert report.first_cause == "reviewer"
    assert report.facts["turned"] == ["cyd"]
    checks = report_of("reviewer", metric="reviewer_accuracy")
    assert checks.first_cause == "reviewer"


def test_coverage_and_failures_have_causes_too(report_of: Worlds) -> None:
    failed = report_of("failures", metric="failed_rate")
    assert failed.lower_is_better
    assert failed.worse
    assert failed.first_cause == "parse_failure"
    coverage = report_of("failures", metric="coverage")
    assert coverage.worse
    assert coverage.first_cause == "parse_failure"
    assert coverage.after is not None
    assert coverage.after.population == 700


def test_a_reviewer_is_found_by_two_signs_where_each_is_too_weak(report_of: Worlds) -> None:
    """14 of 20 on hidden gold after 20 of 20 is not beyond chance among five reviewers; with what they audit it is."""
    found = report_of("reviewer", seed=205, n=500)
    assert found.facts["turned"] == ["cyd"]
    assert found.first_cause == "reviewer"
    assert any("contradicts the machine on 29 of 60" in words for words in found.facts["reviewers"])
