"""Alpha and the kappas match independent libraries and a published example; the undefined says why."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Literal

import krippendorff
import numpy as np
import orjson
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from benchmarks.validity.agreement import ALPHA_CASES, _alpha_rows
from evaluation import (
    VoteTable,
    agreement_report,
    annotator_agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    label_agreement,
    pairwise_agreement,
    percent_agreement,
)
from labelproof.spec.errors import ConfigError

DATA = Path(os.environ.get("LABELPROOF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
PUBLISHED = (  # Krippendorff (2011), section C: 4 observers, 12 units, 0 = missing
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)


def published() -> VoteTable:
    return VoteTable.from_votes(
        (f"u{i}", f"o{j}", str(value))
        for j, votes in enumerate(PUBLISHED)
        for i, value in enumerate(votes)
        if value
    )


def random_table(
    seed: int, *, n: int = 60, k: int = 4, annotators: int = 5, missing: float = 0.3
) -> VoteTable:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, (n, 1))
    votes = np.where(rng.random((n, annotators)) < 0.6, truth, rng.integers(0, k, (n, annotators)))
    codes = np.where(rng.random((n, annotators)) < missing, -1, votes)
    return VoteTable(
        items=tuple(f"i{i}" for i in range(n)),
        annotators=tuple(f"a{j}" for j in range(annotators)),
        labels=tuple(f"l{c}" for c in range(k)),
        codes=codes,
    )


def test_the_published_example() -> None:
    found = krippendorff_alpha(published())
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11  # one unit has a single value
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.743 < found.high
    ordinal = krippendorff_alpha(published(), distance="ordinal").value
    assert ordinal == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_alpha_is_that_of_the_krippendorff_package(level: Literal["nominal", "ordinal"], seed: int) -> None:
    table = random_table(seed)
    data = np.where(table.codes < 0, np.nan, table.codes).T
    expected = krippendorff.alpha(reliability_data=data, level_of_measurement=level)
    assert krippendorff_alpha(table, distance=level).value == pytest.approx(expected, abs=1e-12)


def test_masi_is_nominal_on_single_labels_and_kinder_to_overlap() -> None:
    single = random_table(4)
    masi = krippendorff_alpha(single, distance="masi").value
    assert masi == pytest.approx(krippendorff_alpha(single).value)
    sets = VoteTable.from_votes(
        [
            ("1", "a", "x+y"),
            ("1", "b", "x"),
            ("2", "a", "none"),
            ("2", "b", "none"),
            ("3", "a", "y"),
            ("3", "b", "y"),
        ]
    )
    # by hand: pairs 1 - 1/2 * 2/3 = 2/3 apart on item 1 only; all 15 value pairs of the pool, twice
    pool = [{"x", "y"}, {"x"}, set(), set(), {"y"}, {"y"}]
    apart = 0.0
    for a, b in itertools.combinations(pool, 2):
        if a != b:
            monotone = 2 / 3 if a < b or b < a else 1 / 3
            apart += 1 - len(a & b) / len(a | b) * monotone
    expected = 1 - (2 / 3 / 3) / (apart / 15)
    found = krippendorff_alpha(sets, distance="masi").value
    assert found == pytest.approx(expected)
    assert found is not None
    nominal = krippendorff_alpha(sets).value
    assert nominal is not None
    assert found > nominal
    assert agreement_report(sets).alpha_masi is not None
    assert agreement_report(single).alpha_masi is None


def test_fleiss_is_that_of_statsmodels() -> None:
    table = random_table(5, missing=0.0)
    assert fleiss_kappa(table).value == pytest.approx(statsmodels_fleiss(table.counts), abs=1e-12)


def test_fleiss_needs_as_many_votes_on_each_item() -> None:
    found = fleiss_kappa(random_table(6))
    assert found.value is None
    assert "same number" in str(found.reason)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_cohen_is_that_of_scikit_learn(weights: Literal["linear", "quadratic"] | None) -> None:
    table = random_table(7)
    a, b = table.column("a0"), table.column("a1")
    both = (a >= 0) & (b >= 0)
    found = cohen_kappa(table, "a0", "a1", weights=weights)
    assert found.value == pytest.approx(cohen_kappa_score(a[both], b[both], weights=weights), abs=1e-12)
    assert found.n == both.sum()
    if weights is None:
        square = np.zeros((4, 4))
        np.add.at(square, (a[both], b[both]), 1)
        oracle = cohens_kappa(square)
        assert found.value == pytest.approx(oracle.kappa, abs=1e-12)
        assert found.low is not None
        assert found.high is not None
        # the bootstrap's width is near that of the asymptotic interval
        assert found.high - found.low == pytest.approx(oracle.kappa_upp - oracle.kappa_low, rel=0.25)


def test_agreement_per_label_and_annotator_by_hand() -> None:
    table = VoteTable.from_votes(
        [
            *(("1", name, "x") for name in "abc"),
            ("2", "a", "x"),
            ("2", "b", "y"),
            ("2", "c", "y"),
            ("3", "a", "y"),
        ]
    )
    by_label = {row.label: row for row in label_agreement(table)}
    assert by_label["x"].agreement.value == pytest.approx(
        6 / 8
    )  # 3*2 of 3*2 + 1*2 pairs that start with an x
    assert by_label["y"].agreement.value == pytest.approx(2 / 4)
    assert by_label["y"].n_votes == 2  # the single vote on item 3 can agree with nobody
    assert by_label["x"].agreement.n == 2
    by_name = {row.annotator: row.agreement.value for row in annotator_agreement(table)}
    assert by_name == pytest.approx({"a": 0.5, "b": 0.75, "c": 0.75})
    assert percent_agreement(table).value == pytest.approx((1 + 1 / 3) / 2)


def test_all_agree_on_two_labels_is_one_without_interval() -> None:
    table = VoteTable.from_votes((str(i), name, "x" if i % 2 else "y") for i in range(10) for name in "abc")
    found = krippendorff_alpha(table)
    assert found.value == 1.0
    assert found.low is None
    assert "every resample" in str(found.reason)
    assert fleiss_kappa(table).value == 1.0
    assert cohen_kappa(table, "a", "b").value == 1.0


def test_systematic_disagreement_is_below_zero() -> None:
    table = VoteTable.from_votes(
        (str(i), name, "x" if (name == "a") == bool(i % 2) else "y") for i in range(10) for name in "ab"
    )
    assert cohen_kappa(table, "a", "b").value == pytest.approx(-1.0)
    value = krippendorff_alpha(table).value
    assert value is not None
    assert value < 0


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "no item has two votes"),
        ([("1", "a", "x"), ("2", "b", "y")], "no item has two votes"),
        ([("1", "a", "x"), ("1", "b", "x"), ("2", "a", "x"), ("2", "b", "x")], "only one label"),
    ],
    ids=["empty", "single-votes", "one-label"],
)
def test_what_cannot_be_measured_says_why(rows: list[tuple[str, str, str]], reason: str) -> None:
    table = VoteTable.from_votes(rows)
    for distance in ("nominal", "ordinal", "masi"):
        found = krippendorff_alpha(table, distance=distance)
        assert found.value is None
        assert reason in str(found.reason)
    assert fleiss_kappa(table).value is None
    assert all(row["value"] is not None or row["reason"] for row in agreement_report(table).rows())


def test_cohen_without_shared_items_or_with_one_label() -> None:
    apart = VoteTable.from_votes([("1", "a", "x"), ("2", "b", "y")])
    assert cohen_kappa(apart, "a", "b").reason == "no item with a vote of both"
    assert pairwise_agreement(apart) == ()
    same = VoteTable.from_votes([("1", "a", "x"), ("1", "b", "x"), ("2", "c", "y")])
    assert "one and the same label" in str(cohen_kappa(same, "a", "b").reason)
    with pytest.raises(ConfigError, match="no annotator 'z'"):
        cohen_kappa(same, "a", "z")
    with pytest.raises(ConfigError, match="found 'a' twice"):
        cohen_kappa(same, "a", "a")


def test_a_later_vote_replaces_the_earlier() -> None:
    table = VoteTable.from_votes([("1", "a", "x"), ("1", "b", "y"), ("1", "a", "y")])
    assert table.n_replaced == 1
    assert table.n_votes == 2
    assert percent_agreement(table).value == 1.0


def test_counts_are_enough_for_alpha_but_not_for_annotators() -> None:
    named = random_table(8)
    counted = VoteTable.from_counts(named.counts, labels=named.labels)
    assert np.array_equal(counted.counts, named.counts)
    assert krippendorff_alpha(counted) == krippendorff_alpha(named)
    report = agreement_report(counted)
    assert report.n_annotators is None
    assert not report.annotators
    assert not report.pairs
    with pytest.raises(ConfigError, match="needs to know who voted"):
        annotator_agreement(counted)


@pytest.mark.parametrize("bad", [-1.0, 0.5, float("nan")])
def test_counts_that_are_no_counts_are_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match=r"whole numbers from 0.*\[1, 0\]"):
        VoteTable.from_counts(np.array([[1.0, 2.0], [bad, 1.0]]), labels=("x", "y"))


def test_tables_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="'i' twice"):
        VoteTable(items=("i", "i"), annotators=("a",), labels=("x",), codes=np.zeros((2, 1), dtype=np.int64))
    with pytest.raises(ConfigError, match="found 3 for item 'i'"):
        VoteTable(items=("i",), annotators=("a",), labels=("x",), codes=np.array([[3]]))
    with pytest.raises(ConfigError, match="shape"):
        VoteTable(items=("i",), annotators=("a", "b"), labels=("x",), codes=np.array([[0]]))
    with pytest.raises(ConfigError, match="expected one of x; found 'y'"):
        VoteTable.from_votes([("i", "a", "y")], labels=("x",))


def test_the_interval_covers_a_known_alpha() -> None:
    rows = _alpha_rows(ALPHA_CASES[4], 200, np.random.default_rng(11))
    checked = next(row for row in rows if row.relation == ">=")
    assert checked.holds


def test_davidson_counts_match_the_krippendorff_package() -> None:
    path = DATA / "davidson.jsonl"
    if not path.is_file():
        pytest.skip("needs davidson.jsonl in $LABELPROOF_SHARED_DATA")
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    labels = ("hate", "offensive", "neither")
    counts = np.array([[row["votes"][label] for label in labels] for row in rows])
    expected = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    table = VoteTable.from_counts(counts, labels=labels)
    assert krippendorff_alpha(table).value == pytest.approx(expected, abs=1e-10)
    three = counts[counts.sum(axis=1) == 3]
    found = fleiss_kappa(VoteTable.from_counts(three, labels=labels)).value
    assert found == pytest.approx(statsmodels_fleiss(three), abs=1e-10)
