"""Entries: one for each question, with the numbers of the comparison and the kind of change."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from evaluation.meta_analysis import random_effects
from labelproof.report.compare.build import record
from labelproof.report.playbook.entries import entries_of, find_entry, standard_error_of
from labelproof.report.playbook.pooled import pool, recommend
from labelproof.report.playbook.traits import Traits, is_similar
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import load_strategy
from labelproof.store import open_store
from tests.conftest import STEPS, MakeProject
from tests.playbook.playbook_helpers import NOW, N, measured_project, several
from tests.report.compare_project import compared


def test_a_comparison_is_an_entry_a_metric_and_looks_are_no_more_entries(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with open_store(tmp_path / "store") as store:
        measured_project(store, make_project, "p0", wrong_a=24, wrong_b=12, looks=3)
        entries = entries_of(store)
    accuracy = [entry for entry in entries if entry.metric == "accuracy"]
    assert len(accuracy) == 1
    (entry,) = accuracy
    assert entry.kinds == ("add critique",)
    assert entry.effect == pytest.approx(12 / N)
    assert entry.n_looks == 3
    assert entry.n_items == N
    assert entry.standard_error is not None
    assert entry.low is not None
    assert entry.low < 12 / N < (entry.high or 0)
    assert (entry.traits.n_labels, entry.traits.label_kind) == (3, "single")
    assert entry.reason is None
    assert not entry.shipped


def test_the_standard_error_comes_from_the_interval_or_the_discordant_counts() -> None:
    assert standard_error_of({"low": -0.0196, "high": 0.0196, "confidence": 0.95}) == pytest.approx(
        0.01, rel=1e-4
    )
    assert standard_error_of({"low": -0.02, "high": 0.02, "confidence": 0.5}) == pytest.approx(
        0.02965, rel=1e-3
    )
    counts = {"low": None, "high": None, "n_b_only": 30, "n_a_only": 10, "n": 400}
    assert standard_error_of(counts) == pytest.approx(np.sqrt(40 - 400 / 400) / 400)
    assert standard_error_of({"low": None, "high": None, "n": 10}) is None


def test_failed_changes_count_as_much_as_those_that_shipped(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with open_store(tmp_path / "store") as store:
        several(store, make_project, [(30, 6), (24, 20), (10, 22), (18, 18)])
        good = next(e for e in entries_of(store) if e.metric == "accuracy" and e.project == "p0")
        store.append(
            "rollouts",
            {
                "rollout_id": ["r"],
                "project": ["p0"],
                "event": ["promoted"],
                "fp_to": [_fp_b(store)],
                "ts": [good.at],
            },
        )
        entries = entries_of(store)
    (kind,) = pool(entries, "accuracy")
    assert kind.kind == "add critique"
    assert kind.n_projects == 4
    mine = [entry for entry in entries if entry.metric == "accuracy"]
    expected = random_effects([e.effect or 0.0 for e in mine], [e.standard_error or 0.0 for e in mine])
    assert kind.meta.mean == pytest.approx(expected.mean)
    assert kind.n_shipped == 1
    assert kind.shipped_mean == pytest.approx(24 / N)
    assert (kind.meta.mean or 0) < 24 / N
    assert kind.helps_prob == pytest.approx(expected.prob_above(0.0))


def _fp_b(store: object) -> str:
    rows = store.query("SELECT fp_b FROM comparisons WHERE project = 'p0'", fresh=True).to_pylist()  # type: ignore[attr-defined]
    return str(rows[0]["fp_b"])


def test_advice_needs_two_other_projects(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        several(store, make_project, [(30, 6), (24, 8), (20, 10), (28, 14)])
        measured_project(
            store, make_project, "other", wrong_a=9, wrong_b=9, steps_b=STEPS, model_b="temperature: 0.5"
        )
        entries = entries_of(store)
        here = next(entry.traits for entry in entries if entry.project == "p0")
    advice = recommend(entries, here, project="p0")
    (best,) = advice.ranked
    assert (best.kind, best.n_projects, best.scope) == ("add critique", 3, "similar")
    assert best.helps_prob is not None
    assert best.helps_prob > 0.9
    assert best.start_from is not None
    assert best.start_from.project != "p0"
    assert "Try first: add critique" in advice.headline
    assert [one.kind for one in advice.unknown] == ["sampling"]
    nothing = recommend(entries[:0], here, project="p0")
    assert nothing.headline.startswith("Nothing is known yet")
    assert nothing.ranked == ()


def test_a_look_without_gold_does_not_replace_one_with_gold(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with open_store(tmp_path / "store") as store:
        folder = measured_project(store, make_project, "p0", wrong_a=24, wrong_b=12)
        record(store, compared(store, folder, split="none", now=NOW + timedelta(days=3)))
        entries = entries_of(store)
    assert {entry.metric for entry in entries} >= {"accuracy", "cost_per_1k_usd", "failed_rate"}
    assert {entry.n_looks for entry in entries} == {2}
    failed = next(entry for entry in entries if entry.metric == "cost_per_1k_usd")
    assert failed.reason is not None  # the same cost on both sides: no interval
    assert [kind.kind for kind in pool(entries, "cost_per_1k_usd")] == []


def test_the_strategy_of_an_entry_can_be_written_and_read(make_project: MakeProject, tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        folder = measured_project(store, make_project, "p0", wrong_a=24, wrong_b=12)
        entry = find_entry(
            entries_of(store), next(e.entry_id for e in entries_of(store) if e.metric == "accuracy")
        )
        with pytest.raises(ConfigError, match="no entry"):
            find_entry(entries_of(store), "e000")
    assert entry.reusable is not None
    path = tmp_path / "again.yaml"
    path.write_text(entry.reusable.text("again", ("From there.",)))
    again, first = load_strategy(path), load_strategy(folder / "strategies" / "candidate.yaml")
    assert [step.kind for step in again.steps] == [step.kind for step in first.steps]
    assert {n: m.identity() for n, m in again.models.items()} == {
        n: m.identity() for n, m in first.models.items()
    }
    assert "always_review" not in path.read_text()


def test_projects_are_alike_when_at_most_one_known_trait_differs() -> None:
    one = Traits(label_kind="single", n_labels=2, languages=("en",), text_chars=120, provider="embedded")
    assert is_similar(one, one)
    assert is_similar(one, Traits(label_kind="single", n_labels=2, languages=("de",), text_chars=90))
    assert not is_similar(one, Traits(label_kind="multi", n_labels=40, languages=("en",), text_chars=120))
    assert not is_similar(one, Traits(label_kind="single", n_labels=2))
