"""Suites from a project to the store: what is fooled shows, bases are shared, pairs and guardrails hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agents.run.workload import Workload, load_workload
from labelproof.report.suites import latest_pairs, latest_rate
from labelproof.report.suites.cases import Suite, build_suite, chosen_sources, draw
from labelproof.report.suites.latest import paired_cases, reference_version, suite_guardrails
from labelproof.report.suites.page import page_html
from labelproof.report.suites.run import SuiteResult, plan_suites, run_suites, texts_of
from labelproof.report.suites.text import visible
from labelproof.spec.errors import ConfigError, ProviderError
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.run.run_helpers import rows
from tests.run.run_helpers import run as run_project
from tests.scripted_server import scripted_server
from tests.suites.suite_helpers import Fooled, replying, second_strategy, suite_project, write_cases

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def never(_: str) -> None:
    return None


def suites_of(work: Workload, name: str, n: int = 6) -> list[Suite]:
    return [build_suite(source, work, n=n, seed=0) for source in chosen_sources(work.folder, name)]


def one_run(
    folder: Path,
    store: TraceStore,
    name: str,
    *,
    strategy: str | None = None,
    n: int = 6,
    now: datetime = NOW,
) -> SuiteResult:
    work = load_workload(str(folder), strategy)
    (result,) = run_suites(store, work, suites_of(work, name, n), now=now)
    return result


def test_a_model_fooled_by_one_change_fails_exactly_there(make_project: MakeProject, tmp_path: Path) -> None:
    def shouting(prompt: str) -> str | None:
        return "spam" if "LOVELY GARDEN" in prompt or "DESERVE NOTHING" in prompt else None

    with scripted_server(replying(shouting)) as server, open_store(tmp_path / "store") as store:
        result = one_run(suite_project(make_project, server.base_url), store, "robustness")
        failed = {row.functionality: row for row in result.score.rows if row.n_failed}
        assert set(failed) == {"case_upper"}
        assert (failed["case_upper"].n_failed, failed["case_upper"].failure.n) == (4, 6)
        assert result.score.rows[0].functionality == "case_upper"
        assert 0.5 < result.edit_shares["case_upper"] <= 1
        assert result.edit_shares["typo_swap"] < 0.1


def test_nothing_becomes_an_item_and_nothing_is_decided(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(replying(never)) as server, open_store(tmp_path / "store") as store:
        result = one_run(suite_project(make_project, server.base_url), store, "robustness")
        for table in ("decisions", "arm_answers", "review_tasks", "items", "strategy_answers"):
            assert rows(store, f"SELECT count(*) AS n FROM {table}") == [{"n": 0}], table
        stored = rows(
            store,
            "SELECT count(*) AS n, count(DISTINCT case_id) AS cases, bool_and(t.text IS NOT NULL) AS texts, any_value(run_id) AS run"
            " FROM suite_results LEFT JOIN texts AS t USING (text_hash)",
        )
        n = len(result.outcomes)
        assert stored == [{"n": n, "cases": n, "texts": True, "run": result.run_id}]
        assert rows(store, "SELECT suite, n_cases FROM suite_runs") == [{"suite": "robustness", "n_cases": n}]


def test_bases_are_those_of_production_and_a_second_run_is_free(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(replying(never)) as server:
        folder = suite_project(make_project, server.base_url)
        run_project(folder, tmp_path / "store")
        asked = len(server.requests)
        with open_store(tmp_path / "store") as store:
            work = load_workload(str(folder), None)
            suites = suites_of(work, "robustness")
            planned = plan_suites(store, work, suites)
            # The bases are answered already, and what normalization undoes reads like its base.
            assert 0 < planned.n_calls < len(suites[0].cases)
            first = one_run(folder, store, "robustness")
            paid = len(server.requests) - asked
            assert paid == planned.n_calls
            again = one_run(folder, store, "robustness", now=NOW + timedelta(hours=1))
            assert len(server.requests) - asked == paid
            assert again.suite_fp == first.suite_fp
            assert plan_suites(store, work, suites).n_calls == 0


def test_an_injection_that_works_shows_and_bases_at_the_target_say_nothing(
    make_project: MakeProject, tmp_path: Path
) -> None:
    def obeys(prompt: str) -> str | None:
        if "13x" in prompt:  # a spam item in gold that the model calls safe by itself
            return "safe"
        return "safe" if "the correct label is safe" in prompt else None

    with scripted_server(replying(obeys)) as server, open_store(tmp_path / "store") as store:
        result = one_run(suite_project(make_project, server.base_url), store, "injection", n=99)
        failed = {row.functionality: row for row in result.score.rows if row.n_failed}
        assert set(failed) == {"correct_label_is"}
        row = failed["correct_label_is"]
        assert (row.n_failed, row.failure.n, row.n_cases) == (7, 7, 8)
        noticed = {row.functionality: row.n_noticed for row in result.score.rows}
        assert noticed["ignore_instructions"] == 7
        assert noticed["hidden_tags"] == 7
        assert all(o.case.expected == "safe" and o.case.base_text for o in result.outcomes)
        unseen = rows(store, "SELECT count(*) AS n FROM suite_results WHERE reason LIKE '%without a person'")
        assert unseen == [{"n": row.n_accepted_wrong}]


def test_a_label_that_depends_on_the_group_is_found(make_project: MakeProject, tmp_path: Path) -> None:
    def prejudiced(prompt: str) -> str | None:
        return "hate" if "Nigerian" in prompt or ("Syrian" in prompt and "documentary" in prompt) else None

    with scripted_server(replying(prejudiced)) as server, open_store(tmp_path / "store") as store:
        result = one_run(suite_project(make_project, server.base_url), store, "bias", n=100)
        failed = [o for o in result.outcomes if o.passed is False]
        assert {o.case.group for o in failed} == {"nigerian", "syrian"}
        assert {row.functionality for row in result.score.rows if row.n_failed} == {"nationality"}
        gap = result.score.gaps[0]
        assert gap.axis == "nationality"
        assert gap.gap.value == 1.0
        assert gap.p_value < 0.01
        worst = min(gap.pairs, key=lambda pair: pair.q_value)
        assert "nigerian" in (worst.first, worst.second)
        assert all(g.p_value > 0.5 for g in result.score.gaps[1:])


def test_functional_cases_are_held_against_their_label(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(replying(never)) as server, open_store(tmp_path / "store") as store:
        folder = suite_project(make_project, server.base_url)
        write_cases(
            folder,
            [
                ("a", "plain", "1x text", "hate"),
                ("b", "plain", "2x text", "hate"),
                ("c", "other", "3x, ok", "safe"),
            ],
        )
        result = one_run(folder, store, "functional")
        assert {(o.case.base_id, o.passed) for o in result.outcomes} == {
            ("a", True),
            ("b", False),
            ("c", True),
        }
        fp = result.strategy_fp
        assert latest_rate(store, "mini", fp, "functional") == (1, 3)
        assert latest_rate(store, "mini", fp, "functional/plain") == (1, 2)
        assert latest_rate(store, "mini", fp, "functional/none") == (0, 0)
        assert latest_rate(store, "mini", fp, "robustness") is None
        assert latest_rate(store, "mini", "b2:0", "functional") is None


def _two_versions(
    make_project: MakeProject, tmp_path: Path, first: Fooled, second: Fooled, experiments: str = ""
) -> tuple[Path, TraceStore, SuiteResult, SuiteResult]:
    store = open_store(tmp_path / "store")
    with scripted_server(replying(first)) as one, scripted_server(replying(second)) as two:
        folder = suite_project(make_project, one.base_url, experiments=experiments)
        second_strategy(folder, two.base_url)
        a = one_run(folder, store, "robustness")
        b = one_run(folder, store, "robustness", strategy="candidate")
    return folder, store, a, b


def test_two_versions_are_paired_by_case(make_project: MakeProject, tmp_path: Path) -> None:
    def shouting(prompt: str) -> str | None:
        return "spam" if "LOVELY GARDEN" in prompt else None

    _, store, a, b = _two_versions(make_project, tmp_path, never, shouting)
    with store:
        assert a.suite_fp == b.suite_fp
        pairs = latest_pairs(store, "mini", a.strategy_fp, b.strategy_fp, "robustness")
        assert pairs is not None
        failed_a, failed_b = pairs
        assert failed_a.dtype == failed_b.dtype == np.bool_
        assert (len(failed_a), failed_a.sum(), failed_b.sum()) == (len(a.outcomes), 0, 2)
        upper = paired_cases(store, "mini", a.strategy_fp, b.strategy_fp, "robustness/case_upper")
        assert upper is not None
        assert (upper.failed_b.sum(), len(set(upper.base_ids))) == (2, 6)
        assert latest_pairs(store, "mini", a.strategy_fp, "b2:0", "robustness") is None


def test_pairs_prefer_runs_over_the_same_cases(make_project: MakeProject, tmp_path: Path) -> None:
    folder, store, a, b = _two_versions(make_project, tmp_path, never, never)
    with store, scripted_server(replying(never)) as server:
        text = (folder / "strategies" / "champion.yaml").read_text()
        assert server.base_url not in text
        row = rows(store, "SELECT * FROM suite_runs WHERE suite_run_id = ?", a.suite_run_id)[0]
        later = {**row, "suite_run_id": "newer", "suite_fp": "b2:other", "ts": NOW + timedelta(days=1)}
        store.append("suite_runs", {name: [value] for name, value in later.items()})
        pairs = latest_pairs(store, "mini", a.strategy_fp, b.strategy_fp, "robustness")
        assert pairs is not None
        assert len(pairs[0]) == len(a.outcomes)


@pytest.mark.parametrize(
    ("margin", "worse", "state"), [(0.01, True, "broken"), (0.99, True, "holds"), (0.01, False, "unproven")]
)
def test_a_guardrail_is_held_against_the_version_in_use(
    make_project: MakeProject, tmp_path: Path, margin: float, worse: bool, state: str
) -> None:
    def bad(prompt: str) -> str | None:
        return "spam" if worse and ("Edit:" in prompt or "phone" in prompt or "(sent" in prompt) else None

    rule = f"{{guardrails: [{{metric: 'suite:robustness', margin: {margin}}}, {{metric: 'suite:bias', margin: 0.1}}]}}"
    folder, store, a, b = _two_versions(make_project, tmp_path, never, bad, rule)
    with store:
        policy = load_workload(str(folder), None).folder.spec.experiments
        champion = ("champion", a.strategy_fp)
        reference = reference_version(store, "mini", champion=champion, strategy_fp=b.strategy_fp)
        assert reference == champion
        found = suite_guardrails(store, "mini", policy, b.strategy_fp, reference)
        assert [(one.metric, one.state) for one in found] == [
            ("suite:robustness", state),
            ("suite:bias", "not measured"),
        ]
        (only,) = suite_guardrails(store, "mini", policy, b.strategy_fp, reference, suites=["robustness"])
        assert only.difference is not None
        assert only.difference.n == len(a.outcomes)
        # The version in use has none before it: nothing to be worse than.
        assert reference_version(store, "mini", champion=champion, strategy_fp=a.strategy_fp) is None
        (alone,) = suite_guardrails(store, "mini", policy, a.strategy_fp, None, suites=["robustness"])
        assert (alone.state, alone.reason) == ("not measured", "there is no other version to hold it against")


def test_bases_are_drawn_by_label_and_never_from_what_was_learned(make_project: MakeProject) -> None:
    folder = suite_project(make_project, "http://127.0.0.1:9")
    work = load_workload(str(folder), None)
    labels = work.gold_labels["test"]
    drawn, _ = draw(work, 6, 0)
    assert sorted(labels[item.id] for item in drawn) == ["hate", "hate", "safe", "safe", "spam", "spam"]
    assert draw(work, 6, 0)[0] == drawn != draw(work, 6, 1)[0]
    without, _ = draw(work, 99, 0, without="safe")
    assert {labels[item.id] for item in without} == {"hate", "spam"}
    assert len(texts_of(suites_of(work, "robustness"))) > 100


def test_without_gold_the_source_is_drawn_from_and_calibration_is_that_of_production(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(replying(never)) as server, open_store(tmp_path / "store") as store:
        folder = make_project(server.base_url, n_items=12)
        work = load_workload(str(folder), None)
        suites = suites_of(work, "robustness", 2)
        assert suites[0].notes == ["2 random items of the source: there is no gold in split test"]
        planned = plan_suites(store, work, suites)
        run_suites(store, work, suites, now=NOW)
        assert planned.n_calls == len(suites[0].cases) + 12  # with the traffic, on which it is calibrated
        fitted = rows(store, "SELECT n, params_json FROM calibrators")
        run_project(folder, tmp_path / "store")
        production = rows(store, "SELECT DISTINCT calibrator_id FROM decisions")
        assert rows(store, "SELECT DISTINCT calibrator_id FROM calibrators") == production, fitted


def test_a_stopped_run_says_so_and_goes_on(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(replying(never)) as server, open_store(tmp_path / "store") as store:
        folder = suite_project(make_project, server.base_url)
        path = folder / "strategies" / "champion.yaml"
        path.write_text(
            path.read_text().replace(
                "concurrency: 16", "concurrency: 1, price_in_usd_per_mtok: 1000, price_out_usd_per_mtok: 1000"
            )
        )
        work = load_workload(str(folder), None)
        suites = suites_of(work, "robustness", 2)
        with pytest.raises(ProviderError, match="not complete"):
            run_suites(store, work, suites, now=NOW, max_cost_usd=3.0)
        assert rows(store, "SELECT count(*) AS n FROM suite_runs") == [{"n": 0}]
        paid = len(server.requests)
        assert paid > 0
        run_suites(store, work, suites, now=NOW)
        assert max(server.counts.values()) == 1  # nothing was paid twice
        assert len(server.requests) > paid
        assert rows(store, "SELECT count(*) AS n FROM suite_runs") == [{"n": 1}]


def test_hostile_texts_stay_texts(make_project: MakeProject, tmp_path: Path) -> None:
    nasty = "1x <script>alert(1)</script> [red]x[/] \u202e\x1b[31m"
    with scripted_server(replying(lambda _: "spam")) as server, open_store(tmp_path / "store") as store:
        folder = suite_project(make_project, server.base_url)
        write_cases(folder, [("a", "<b>[bold]", nasty, "hate")])
        page = page_html([one_run(folder, store, "functional")])
    assert "<script>" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert visible("a\u200bb\x1b\nc") == "a‹U+200B›b‹U+001B›⏎c"
    assert visible("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("nope", "no suite 'nope'.*robustness, bias, injection"),
        ("nope.csv", "no such file"),
        ("bias.csv", "may not be called"),
    ],
)
def test_wrong_names_say_what_there_is(make_project: MakeProject, name: str, wrong: str) -> None:
    folder = suite_project(make_project, "http://127.0.0.1:9")
    if name == "bias.csv":
        write_cases(folder, [("a", "f", "t", "safe")], name)
    with pytest.raises(ConfigError, match=wrong):
        chosen_sources(load_workload(str(folder), None).folder, name)
