"""Dawid-Skene finds who errs how, counts a model family once, and never hides that it did not converge."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest

from benchmarks.validity.agreement import _family_rows
from evaluation import VoteTable, dawid_skene
from labelproof.spec.errors import ConfigError


def noisy(seed: int, n: int, accuracies: tuple[float, ...], k: int = 3) -> tuple[VoteTable, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    columns = [np.where(rng.random(n) < a, truth, (truth + rng.integers(1, k, n)) % k) for a in accuracies]
    table = VoteTable(
        items=tuple(f"i{i}" for i in range(n)),
        annotators=tuple(f"a{j}" for j in range(len(accuracies))),
        labels=tuple(f"l{c}" for c in range(k)),
        codes=np.stack(columns, axis=1),
    )
    return table, truth


def right(answer: tuple[str | None, ...], table: VoteTable, truth: np.ndarray) -> float:
    return float(np.mean([a == table.labels[t] for a, t in zip(answer, truth, strict=True)]))


def test_it_recovers_accuracies_and_beats_the_majority() -> None:
    accuracies = (0.95, 0.9, 0.55, 0.5, 0.45)
    table, truth = noisy(1, 1500, accuracies)
    fit = dawid_skene(table)
    assert fit.converged
    assert fit.reason is None
    assert fit.accuracy == pytest.approx(accuracies, abs=0.04)
    assert fit.confusion.sum(axis=2) == pytest.approx(np.ones((5, 3)))
    assert fit.posterior.sum(axis=1) == pytest.approx(np.ones(1500))
    majority = tuple(table.labels[c] for c in table.counts.argmax(axis=1))
    assert right(fit.answer, table, truth) > right(majority, table, truth) + 0.05


def test_each_step_raises_the_penalised_likelihood() -> None:
    table, _ = noisy(2, 200, (0.8, 0.7, 0.6))
    found = []
    for steps in range(1, 12):
        fit = dawid_skene(table, max_iterations=steps)
        assert fit.log_likelihood is not None
        # the prior that the smoothing stands for, at the parameters behind this likelihood
        prior = (np.log(fit.confusion).sum() + np.log(fit.prevalence).sum()) / 3
        found.append(fit.log_likelihood + prior)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(found))


def test_the_posterior_is_bayes_rule_by_hand() -> None:
    table, _ = noisy(3, 80, (0.9, 0.8, 0.7))
    fit = dawid_skene(table, tolerance=1e-12)
    joint = fit.prevalence.copy()
    for j in range(3):
        joint = joint * fit.confusion[j, :, table.codes[0, j]]
    assert fit.posterior[0] == pytest.approx(joint / joint.sum(), abs=1e-6)


def test_too_few_steps_are_said() -> None:
    table, _ = noisy(4, 100, (0.8, 0.7, 0.6))
    fit = dawid_skene(table, max_iterations=1)
    assert not fit.converged
    assert "not converged after 1 steps" in str(fit.reason)


@pytest.mark.parametrize("how", ["majority", "mean"])
def test_a_family_becomes_one_annotator(how: Literal["majority", "mean"]) -> None:
    rows = [
        (str(i), name, label)
        for i, (person, samples) in enumerate([("x", "xxx"), ("y", "yyx"), ("x", "yyy"), ("y", "yy")])
        for name, label in [("ann", person), *((f"m{s}", label) for s, label in enumerate(samples))]
    ]
    table = VoteTable.from_votes(rows, families={"m0": "model", "m1": "model", "m2": "model"})
    assert table.is_model == (False, True, True, True)
    fit = dawid_skene(table, how=how)
    assert fit.annotators == ("ann", "model")
    assert fit.collapsed == {"model": 3}
    assert dawid_skene(table, collapse_families=False).annotators == ("ann", "m0", "m1", "m2")


def test_majority_and_mean_treat_a_tie_in_the_family_alike() -> None:
    rows = [
        ("1", "ann", "x"),
        ("1", "m0", "x"),
        ("1", "m1", "y"),
        ("2", "ann", "y"),
        ("2", "m0", "y"),
        ("2", "m1", "y"),
    ]
    table = VoteTable.from_votes(rows, families={"m0": "m", "m1": "m"})
    assert dawid_skene(table, how="majority").posterior == pytest.approx(
        dawid_skene(table, how="mean").posterior
    )


def test_collapsing_keeps_correlated_samples_from_outvoting_people() -> None:
    rows = {row.measure: row for row in _family_rows(8, np.random.default_rng(5))}
    assert rows["gain of collapsing"].holds
    assert rows["share of fits that converged"].holds
    assert rows["accuracy, every sample an annotator"].value == pytest.approx(0.862, abs=0.02)
    assert rows["accuracy, family collapsed by majority"].value == pytest.approx(0.96, abs=0.02)


def test_items_without_votes_and_ties_have_no_answer() -> None:
    table = VoteTable(
        items=("tied", "none"),
        annotators=("a", "b"),
        labels=("x", "y"),
        codes=np.array([[0, 1], [-1, -1]]),
    )
    fit = dawid_skene(table)
    assert fit.answer == (None, None)
    assert fit.posterior == pytest.approx(np.full((2, 2), 0.5))


@pytest.mark.parametrize("labels", [(), ("x", "y")], ids=["no-labels", "two-labels"])
def test_an_empty_table_gives_a_reason(labels: tuple[str, ...]) -> None:
    fit = dawid_skene(VoteTable.from_votes([], labels=labels))
    assert fit.reason == "no votes"
    assert not fit.converged
    assert fit.log_likelihood is None
    assert fit.answer == ()


def test_one_label_only_is_answered_with_it() -> None:
    fit = dawid_skene(VoteTable.from_votes([("1", "a", "x"), ("1", "b", "x"), ("2", "a", "x")]))
    assert fit.answer == ("x", "x")
    assert fit.converged


def test_what_cannot_work_is_refused() -> None:
    table, _ = noisy(6, 10, (0.8, 0.7))
    with pytest.raises(ConfigError, match="smoothing > 0"):
        dawid_skene(table, smoothing=0)
    with pytest.raises(ConfigError, match="needs to know who voted"):
        dawid_skene(VoteTable.from_counts([[1, 2]], labels=("x", "y")))
    clash = VoteTable.from_votes([("1", "m", "x"), ("1", "s", "x")], families={"s": "m"})
    with pytest.raises(ConfigError, match="share the name 'm'"):
        dawid_skene(clash)
