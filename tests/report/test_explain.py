"""A difference is explained by replaying mixtures: stored calls are not paid again, and the shares sum to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.rehydrate import workload_of
from agents.run.judge import judge
from agents.run.workload import MixedGold
from labelproof.report.explain import (
    Explanation,
    evidence_of,
    explain,
    plan_explanation,
    planned_why,
    record_looks,
)
from labelproof.spec.errors import ConfigError, ProviderError
from labelproof.spec.metrics import parse_metric
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.report.explain_helpers import GOLD, N_ITEMS, N_TEST, answer, two_strategies, wrong
from tests.run.run_helpers import rows
from tests.scripted_server import scripted_server

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def explained(
    store: TraceStore,
    folder: Path,
    metric: str = "accuracy",
    a: str = "champion",
    b: str = "candidate",
    **more: Any,
) -> Explanation:
    work_a, work_b = (workload_of(store, str(folder), ref) for ref in (a, b))
    evidence = evidence_of(work_a, work_b, "test")
    return explain(
        store,
        work_a,
        work_b,
        evidence.items,
        evidence.labels,
        metric=parse_metric(metric),
        now=NOW,
        gold_fp=evidence.gold_fp,
        resamples=400,
        **more,
    )


def test_only_new_mixtures_are_asked_and_the_plan_says_so(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        work_a, work_b = (workload_of(store, str(folder), name) for name in ("champion", "candidate"))
        items = evidence_of(work_a, work_b, "test").items
        assert len(items) == N_TEST
        fresh = plan_explanation(store, work_a, work_b, items)
        assert [component.name for component in fresh.components] == ["label.prompt", "label.model", "route"]
        assert len(fresh.hybrids) == 8
        assert fresh.n_new_calls == 4 * N_ITEMS  # route asks nothing; calibration items are asked, too
        assert not server.requests
        for work in (work_a, work_b):
            judge(work, store, items)
        asked = len(server.requests)
        assert asked == 2 * N_ITEMS
        plan = plan_explanation(store, work_a, work_b, items)
        assert plan.n_new_calls == 2 * N_ITEMS
        assert plan.cost_usd is not None
        why = planned_why(plan, "accuracy", "labelproof explain champion candidate")
        assert (why.shares, why.n_new_calls) == ((), 2 * N_ITEMS)
        assert why.reason == f"8 mixtures, {2 * N_ITEMS} new calls: labelproof explain champion candidate"
        told: list[tuple[int, int]] = []
        found = explained(store, folder, begin=lambda done, of: told.append((done, of)))
        assert len(server.requests) - asked == 2 * N_ITEMS == found.n_calls == found.plan.n_new_calls
        assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]  # mixtures that answer alike are run once
        again = explained(store, folder)
        assert len(server.requests) - asked == 2 * N_ITEMS
        assert (again.plan.n_new_calls, again.n_calls, again.shares) == (0, 0, found.shares)


def test_shares_sum_to_the_difference_of_what_was_answered(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        # Without calibration the labels are the model's own, and the shares can be worked out by hand.
        for name in ("champion", "candidate"):
            path = folder / "strategies" / f"{name}.yaml"
            path.write_text(path.read_text().replace("\n  - {kind: calibrate, encoder: none}", ""))
        found = explained(store, folder)
        tested = [i for i, _, split in GOLD if split == "test"]

        def value(**changes: bool) -> float:
            return sum(not wrong(i, **changes) for i in tested) / len(tested)

        none, both = value(strict=False, large=False), value(strict=True, large=True)
        one = value(strict=True, large=False)
        expected = (one - none + both - one) / 2
        by_name = {share.component: share for share in found.shares}
        assert by_name["label.prompt"].delta == pytest.approx(expected)
        assert by_name["label.model"].delta == pytest.approx(expected)
        assert by_name["route"].delta == pytest.approx(0.0, abs=1e-12)
        assert by_name["label.model"].low is not None
        assert by_name["label.model"].low > 0
        assert [found.value_a, found.value_b] == pytest.approx([none, both])
        assert found.delta == pytest.approx(both - none)
        assert abs(sum(share.delta for share in found.shares) - (found.delta or 0.0)) < 1e-9
        values = {one.taken: one.value for one in found.hybrids}
        assert values["label.prompt",] == values["label.prompt", "route"] == pytest.approx(one)
        assert found.why().shares == found.shares
        assert found.to_json()["plan"]["n_new_calls"] == found.n_calls == 4 * N_TEST
        stored = rows(store, found.hybrids[2].sql)
        assert {row["kind"] for row in stored} == {"normalize", "label"}
        assert len({row["item_id"] for row in stored}) == N_TEST
        # Nothing was decided, and no half-made strategy is taken for one of the project's.
        assert rows(store, "SELECT count(*) AS n FROM decisions") == [{"n": 0}]
        names = {row["strategy"] for row in rows(store, "SELECT strategy FROM strategies")}
        assert {"champion", "candidate"} <= names
        assert all(name.startswith("hybrid-") for name in names - {"champion", "candidate"})


def test_acceptance_follows_each_mixtures_own_threshold(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url, route=", threshold_prob: 0.0")
        rate = explained(store, folder, "auto_accept_rate")
        assert rate.value_b == 1.0
        by_name = {share.component: share.delta for share in rate.shares}
        assert sum(by_name.values()) == pytest.approx((rate.value_b or 0) - (rate.value_a or 0))
        accepted = {one.taken: one.n_accepted for one in rate.hybrids}
        assert accepted["route",] == N_TEST  # a threshold of 0 lets all pass, whatever answers
        assert explained(store, folder, "auto_accuracy").reason is None


def test_certified_routing_without_a_certificate_accepts_nothing_and_says_so(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url, route=", mode: certified")
        rate = explained(store, folder, "auto_accept_rate")
        assert rate.value_b == 0.0
        (note,) = rate.notes
        assert note.startswith("4 of 8 mixtures accept nothing, such as candidate: no certificate was issued")
        share = explained(store, folder, "auto_accuracy")
        assert share.shares == ()
        assert share.delta is None
        assert "auto_accuracy is undefined for the mixture" in str(share.reason)
        assert explained(store, folder, "accuracy").notes == ()


def test_one_version_has_nothing_to_explain_and_money_is_not_divided(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        same = explained(store, folder, b="champion")
        assert (same.delta, same.shares) == (0.0, ())
        assert same.reason == "both are the same version: there is nothing to explain"
        work = workload_of(store, str(folder), "champion")
        assert planned_why(plan_explanation(store, work, work, work.items[:3]), "accuracy", "x").reason == (
            "both are the same version"
        )
        with pytest.raises(ConfigError, match="cost_per_1k_usd is not divided among components"):
            explained(store, folder, "cost_per_1k_usd")
        for split, says in (("examples", "learn from the gold split"), ("certify", "no gold in the split")):
            with pytest.raises(ConfigError, match=says):
                evidence_of(work, work, split)


def test_items_that_a_version_learned_from_are_left_out(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        before = workload_of(store, str(folder), "champion")
        judge(before, store, before.items[:1])
        # Two calibration items become test items; the stored version was fitted on them.
        lines = (folder / "gold.jsonl").read_text().splitlines()
        moved = [line.replace("calibration", "test") if i < 2 else line for i, line in enumerate(lines)]
        (folder / "gold.jsonl").write_text("\n".join(moved) + "\n")
        old = workload_of(store, str(folder), before.resolved.fingerprint[3:10])
        new = workload_of(store, str(folder), "candidate")
        evidence = evidence_of(old, new, "test")
        assert len(evidence.items) == N_TEST
        assert evidence.notes == (
            f"2 of {N_TEST + 2} items of test were left out: a version learned from them",
        )
        found = explained(store, folder, a=before.resolved.fingerprint[3:10])
        assert [share.component for share in found.shares] == [
            "label.prompt",
            "label.model",
            "route",
            "calibration",
        ]
        assert abs(sum(share.delta for share in found.shares) - (found.delta or 0.0)) < 1e-9


def test_a_look_by_two_stored_versions_is_a_look_at_todays_gold(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        work = workload_of(store, str(folder), "champion")
        assert work.gold is not None
        values = {name: getattr(work.gold, name) for name in ("name", "rows", "items", "errors")}
        stored = replace(work, gold=MixedGold(**values, n_rows=len(work.gold.rows), n_duplicates=0))
        found = evidence_of(stored, stored, "test")
        assert found.gold_fp == work.gold.fingerprint
        record_looks(store, (stored, stored), found, NOW)
        assert rows(store, "SELECT DISTINCT gold_fp FROM gold_looks") == [{"gold_fp": work.gold.fingerprint}]


def test_a_budget_stops_it_and_the_next_call_goes_on(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        price = "price_in_usd_per_mtok: 1000, price_out_usd_per_mtok: 1000, concurrency: 1"
        for path in (folder / "strategies").glob("*.yaml"):
            path.write_text(
                path.read_text()
                .replace("model: gpt", f"{price}, model: gpt")
                .replace(", concurrency: 16", "")
            )
        with pytest.raises(ProviderError, match="not complete") as caught:
            explained(store, folder, max_cost_usd=10.0)
        assert caught.value.hint == "run the same command again: what is done is stored"
        asked = len(server.requests)
        assert 0 < asked < 4 * N_ITEMS
        found = explained(store, folder)
        assert len(server.requests) == 4 * N_ITEMS
        assert found.cost_usd is not None
        assert found.n_calls == 4 * N_ITEMS


def test_clusters_and_unequal_gold_reach_the_shares(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        work = workload_of(store, str(folder), "champion")
        evidence = evidence_of(work, workload_of(store, str(folder), "candidate"), "test", cluster="lang")
        assert evidence.cluster is not None
        assert set(evidence.cluster.values()) == {"'a'", "'b'"}
        half = {item.id: float(n % 2) for n, item in enumerate(evidence.items)}
        found = explained(store, folder, weight=half, cluster=evidence.cluster)
        assert "clusters" in found.method
        odd = [item for n, item in enumerate(evidence.items) if n % 2]
        work_b = workload_of(store, str(folder), "candidate")
        alone = explain(
            store, work, work_b, odd, evidence.labels, metric=parse_metric("accuracy"), now=NOW, resamples=10
        )
        assert found.delta == pytest.approx(alone.delta)


def test_a_mixture_that_cannot_run_is_named(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = two_strategies(make_project, server.base_url)
        path = folder / "strategies" / "candidate.yaml"
        fused = "{kind: calibrate, encoder: tfidf, method: fused}"
        path.write_text(path.read_text().replace("{kind: calibrate, encoder: none}", fused))
        with pytest.raises(
            ConfigError, match=r"the mixture that takes .*calibrate.* from B cannot run: .*fused"
        ):
            explained(store, folder)
