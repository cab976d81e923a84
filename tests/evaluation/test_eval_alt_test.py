"""The alternative annotator test: the paper's formula, its guards, and real votes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.multitest import multipletests

from benchmarks.validity.agreement import NULLS, _null_rows, _power_rows
from evaluation import AltTest, VoteTable, alt_test
from evaluation._alt_test_stats import benjamini_yekutieli, difference_p_value, exact_p_value
from labelproof.spec.errors import ConfigError

DATA = Path(os.environ.get("LABELPROOF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def drawn(
    seed: int, *, n: int = 120, annotators: int = 4, missing: float = 0.2
) -> tuple[VoteTable, dict[str, str]]:
    rng = np.random.default_rng(seed)
    labels = ("x", "y", "z")
    truth = rng.integers(0, 3, (n, 1))
    votes = np.where(rng.random((n, annotators)) < 0.8, truth, rng.integers(0, 3, (n, annotators)))
    votes = np.where(rng.random(votes.shape) < missing, -1, votes)
    model = np.where(rng.random(n) < 0.85, truth[:, 0], rng.integers(0, 3, n))
    table = VoteTable(
        items=tuple(f"i{i}" for i in range(n)),
        annotators=tuple(f"a{j}" for j in range(annotators)),
        labels=labels,
        codes=votes,
    )
    return table, {f"i{i}": labels[code] for i, code in enumerate(model)}


def by_the_paper(
    table: VoteTable, model: dict[str, str], epsilon: float
) -> dict[str, tuple[float, float, float]]:
    """The procedure of section 3, written out: rho of the model, rho of the annotator, p."""
    found = {}
    for j, name in enumerate(table.annotators):
        won, lost = [], []
        for i, item in enumerate(table.items):
            others = [c for o, c in enumerate(table.codes[i]) if o != j and c >= 0]
            if table.codes[i, j] < 0 or not others:
                continue
            of_model = np.mean([table.labels[c] == model[item] for c in others])
            of_person = np.mean([c == table.codes[i, j] for c in others])
            won.append(float(of_model >= of_person))
            lost.append(float(of_person >= of_model))
        d = np.array(lost) - np.array(won)
        p = stats.ttest_1samp(d, epsilon, alternative="less").pvalue
        found[name] = (float(np.mean(won)), float(np.mean(lost)), float(p))
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.2])
def test_it_is_the_paper_s_procedure(seed: int, epsilon: float) -> None:
    table, model = drawn(seed)
    expected = by_the_paper(table, model, epsilon)
    found = alt_test(table, model, epsilon=epsilon, resamples=50)
    for row in found.rows:
        assert (row.rho_model, row.rho_annotator, row.p_value) == pytest.approx(expected[row.annotator])
        assert row.test == "t"
    rejected = multipletests([row.p_value for row in found.rows], alpha=0.05, method="fdr_by")[0]
    assert [row.rejected for row in found.rows] == rejected.tolist()
    assert found.winning_rate == pytest.approx(rejected.mean())
    assert found.passed == (rejected.mean() >= 0.5)
    assert found.advantage.value == pytest.approx(np.mean([rho for rho, _, _ in expected.values()]))


@pytest.mark.parametrize("seed", range(5))
def test_benjamini_yekutieli_is_that_of_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).beta(0.3, 3, size=8)
    assert list(benjamini_yekutieli(p.tolist(), 0.05)) == multipletests(p, 0.05, "fdr_by")[0].tolist()
    assert benjamini_yekutieli([], 0.05) == ()


def test_the_exact_test_is_the_binomial_when_nothing_is_negative_and_large_n_agrees_with_t() -> None:
    d = np.repeat([0, 1], [95, 5])
    # without -1 among 100, the nuisance P(-1) lies below .0733: at its worst the tail is bounded by it
    assert exact_p_value(d, 0.2) >= stats.binom.cdf(5, 100, 0.2)
    assert exact_p_value(d, 0.2) < 0.02
    many = np.random.default_rng(3).choice([-1, 0, 1], size=4000, p=[0.15, 0.7, 0.15])
    t, _ = difference_p_value(many, 0.02, exact=False)
    assert exact_p_value(many, 0.02) == pytest.approx(t, abs=0.02)
    assert exact_p_value(np.ones(40, dtype=np.int64), 0.1) == 1.0


def test_equal_differences_are_answered_exactly() -> None:
    for value, p in ((0, 0.9**50), (-1, 0.45**50), (1, 1.0)):
        found, name = difference_p_value(np.full(50, value), 0.1, exact=False)
        assert name == "exact"
        assert found == pytest.approx(p)
    # no point of H0 makes that outcome likelier: P(-1) from 0 to .45, P(1) = P(-1) + .1
    minus = np.linspace(0, 0.45, 46)
    assert ((0.9 - 2 * minus) ** 50 + minus**50).max() <= 0.9**50


def test_a_model_that_votes_as_the_others_do_passes_and_one_that_never_does_fails() -> None:
    table, _ = drawn(4, missing=0.0, n=200, annotators=5)
    majority = {i: table.labels[c] for i, c in zip(table.items, table.counts.argmax(axis=1), strict=True)}
    best = alt_test(table, majority, resamples=50)
    assert best.passed is True
    assert best.winning_rate == 1.0
    never = {i: table.labels[c] for i, c in zip(table.items, table.counts.argmin(axis=1), strict=True)}
    worst = alt_test(table, never, resamples=50)
    assert worst.passed is False
    assert worst.n_won == 0
    assert worst.constant_passes is False


def test_a_failed_answer_counts_against_the_model_and_an_unknown_one_is_left_out() -> None:
    table, model = drawn(5)
    failed = alt_test(table, dict.fromkeys(table.items), resamples=50)
    assert failed.n_failed == failed.n_items > 0
    assert all(row.rho_model == 0.0 and row.rho_annotator == 1.0 for row in failed.rows)
    half = {item: model[item] for item in table.items[:60]}
    found = alt_test(table, half, resamples=50)
    assert found.n_items + found.n_dropped == failed.n_items
    assert found.n_failed == 0


def test_models_among_the_annotators_are_no_yardstick() -> None:
    rows = [(f"i{i}", name, "x" if i % 3 else "y") for i in range(60) for name in ("a", "b", "c", "m")]
    table = VoteTable.from_votes(rows, models={"m"})
    found = alt_test(table, {f"i{i}": "x" for i in range(60)}, resamples=50)
    assert [row.annotator for row in found.rows] == ["a", "b", "c"]


def test_ordinal_alignment_rewards_being_near() -> None:
    rows = [(f"i{i}", name, label) for i in range(40) for name, label in (("a", "1"), ("b", "1"), ("c", "3"))]
    table = VoteTable.from_votes(rows, labels=("1", "2", "3"))
    model = {f"i{i}": "2" for i in range(40)}
    exact = {row.annotator: row for row in alt_test(table, model, resamples=50).rows}
    ordinal = {row.annotator: row for row in alt_test(table, model, alignment="ordinal", resamples=50).rows}
    assert exact["a"].rho_model == 0.0  # agrees with nobody; a agrees with b
    assert ordinal["a"].rho_model == 1.0  # squares to b and c: 1 + 1, those of a: 0 + 4
    assert exact["c"].rho_model == 1.0  # neither agrees with anyone


def test_fewer_than_thirty_items_are_tested_only_when_asked_for_and_by_wilcoxon() -> None:
    table, model = drawn(6, n=25, missing=0.0)
    found = alt_test(table, model, resamples=50)
    assert found.passed is None
    assert found.winning_rate is None
    assert "at least 30 items" in str(found.reason)
    assert "30 needed" in str(found.rows[0].reason)
    asked = alt_test(table, model, min_items=20, resamples=50)
    assert {row.test for row in asked.rows} == {"wilcoxon"}
    assert any("Wilcoxon" in text for text in asked.assumptions)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "no item has votes of two people"),
        ([("i", "a", "x")], "no item has votes of two people"),
        ([(f"i{i}", name, "x") for i in range(50) for name in "ab"], "2 of 2 annotators"),
    ],
    ids=["empty", "one-vote", "two-annotators"],
)
def test_no_verdict_says_why(rows: list[tuple[str, str, str]], reason: str) -> None:
    found = alt_test(VoteTable.from_votes(rows), dict.fromkeys((item for item, _, _ in rows), "x"))
    assert found.passed is None
    assert reason in str(found.reason)


def test_bad_settings_are_refused() -> None:
    table, model = drawn(7)
    for settings, message in (
        ({"epsilon": 1.0}, r"epsilon: .* found 1.0"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"q": 0.0}, "q: expected a rate"),
        ({"needed_rate": 0.0}, "needed_rate"),
        ({"min_items": 1}, "min_items >= 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            alt_test(table, model, **settings)
    with pytest.raises(ConfigError, match="found 'other' for item 'i0'"):
        alt_test(table, {"i0": "other"})
    with pytest.raises(ConfigError, match="needs to know who voted"):
        alt_test(VoteTable.from_counts([[1, 2]], labels=("x", "y")), {"0": "x"})


@pytest.mark.parametrize("cell", [0, 5, 9])
def test_a_model_epsilon_worse_than_everybody_rarely_passes(cell: int) -> None:
    rows = _null_rows(NULLS[cell], 200, np.random.default_rng([12, cell]))
    assert len([row for row in rows if row.holds is not None]) == 3
    assert all(row.holds for row in rows if row.holds is not None)


def test_a_better_model_passes() -> None:
    rows = _power_rows(100, 0.1, 100, np.random.default_rng(13))
    better = next(row for row in rows if "better" in row.cell and row.cell.endswith("paper"))
    assert better.value >= 0.95


# -- votes of people: convabuse, abusive or not -----------------------------------------------------


@pytest.fixture(scope="module")
def convabuse() -> list[dict[str, object]]:
    path = DATA / "convabuse.jsonl"
    if not path.is_file():
        pytest.skip("needs convabuse.jsonl in $LABELPROOF_SHARED_DATA")
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _binary(row: dict[str, object]) -> dict[str, str]:
    votes = row["votes"]
    assert isinstance(votes, dict)
    return {name: "fine" if vote > 0 else "abusive" for name, vote in votes.items()}


def _majority(row: dict[str, object]) -> str:
    return Counter(_binary(row).values()).most_common(1)[0][0]


def _judge(rows: list[dict[str, object]], labels: list[str], epsilon: float) -> AltTest:
    table = VoteTable.from_votes(
        (str(row["id"]), name, label) for row in rows for name, label in _binary(row).items()
    )
    answers = {str(row["id"]): label for row, label in zip(rows, labels, strict=True)}
    return alt_test(table, answers, epsilon=epsilon, resamples=50)


def test_on_real_votes_the_majority_passes_and_the_common_label_fails(
    convabuse: list[dict[str, object]],
) -> None:
    rows = convabuse[2500:]
    oracle = _judge(rows, [_majority(row) for row in rows], 0.1)
    assert oracle.passed is True
    assert oracle.advantage.value == pytest.approx(1.0)
    common = _judge(rows, ["fine"] * len(rows), 0.1)
    assert common.passed is False
    assert common.constant_label == "fine"
    # at the epsilon for experts even "fine" for everything passes, and the result says so
    lax = _judge(rows, [_majority(row) for row in rows], 0.2)
    assert lax.constant_passes is True


def test_on_real_votes_a_small_classifier_passes_at_the_crowd_epsilon(
    convabuse: list[dict[str, object]],
) -> None:
    train, rows = convabuse[:2500], convabuse[2500:]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000)
    model.fit(words.fit_transform([row["text"] for row in train]), [_majority(row) for row in train])
    labels = [str(label) for label in model.predict(words.transform([row["text"] for row in rows]))]
    found = _judge(rows, labels, 0.1)
    assert found.n_tested == 8
    assert found.passed is True
    assert found.constant_passes is False
    strict = _judge(rows, labels, 0.0)
    assert strict.passed is False
