"""A certificate is earned on gold, relied on by runs, and gone when its ground is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agents.certificates import StoredCertificate, answers_fingerprint, find_valid, standings, void
from agents.routing import REST
from agents.run.workload import load_workload
from labelproof.report.certificate_list import certificate_list
from labelproof.report.certify_report import write_plots
from labelproof.report.gold_use import declare_used
from labelproof.report.scoring import score_workload
from labelproof.spec.errors import ConfigError
from tests.conftest import STEPS, MakeProject, write_strategy
from tests.report.certify_helpers import (
    CERTIFIED,
    N_CERTIFY,
    N_ITEMS,
    NOW,
    certified,
    gold_rows,
    is_sure,
    opened,
    project,
    truth,
)
from tests.run.run_helpers import rows, run


def test_a_strategy_that_earns_it_is_certified_and_the_run_relies_on_it(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, server), opened(tmp_path) as store:
        before = run(folder, tmp_path / "store")
        assert (before["auto_accept"], before["certificate"]) == (0, None)
        assert before["no_certificate"] == "no certificate was issued for this strategy"
        paid = len(server.requests)
        report = certified(folder, store, now=datetime.now(UTC))
        assert len(server.requests) == paid, "every answer was stored"
        assert report.certificate is not None
        found = report.results[REST]
        assert (found.certified, found.n_gold, found.n_errors) == (True, N_CERTIFY, 0)
        assert found.n_accepted == sum(is_sure(i) for i in range(60, 60 + N_CERTIFY))
        assert report.coverage == pytest.approx(0.75, abs=0.01)
        assert "Certified (with 95% confidence)" in report.sentence
        after = run(folder, tmp_path / "store")
        assert after["model_calls"] == 0
        assert after["auto_accept"] == sum(is_sure(i) for i in range(N_ITEMS))
        assert after["certificate"]["certificate_id"] == report.certificate.certificate_id
        decided = rows(store, "SELECT DISTINCT certificate_id FROM decisions WHERE decision = 'auto_accept'")
        assert decided == [{"certificate_id": report.certificate.certificate_id}]
        tasks = rows(store, "SELECT item_id, inclusion_prob FROM review_tasks WHERE kind = 'audit'")
        drawn = rows(store, "SELECT item_id, inclusion_prob FROM decisions WHERE audited")
        assert sorted(map(str, tasks)) == sorted(map(str, drawn))
        assert 0.15 < len(drawn) / after["auto_accept"] < 0.45
        assert after["audited"] == len(drawn)


def test_certifying_decides_nothing_and_asks_only_what_is_missing(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, server), opened(tmp_path) as store:
        report = certified(folder, store, pool=30)
        assert report.pool_n == 30
        assert 60 + N_CERTIFY < len(server.requests) <= 60 + N_CERTIFY + 30
        assert rows(store, "FROM decisions") == []
        assert rows(store, "FROM review_tasks") == []


def test_without_enough_gold_there_is_no_certificate_and_it_says_how_much_would_do(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with (
        project(make_project, n_items=900, gold=gold_rows(12)) as (folder, _),
        opened(tmp_path) as store,
    ):
        report = certified(folder, store)
        assert report.certificate is None
        assert report.sentence.startswith("No certificate: ")
        need = report.results[REST].more_gold
        assert need is not None
        assert need.n_accepted_more is not None
        assert need.n_accepted_more >= 59 - 9
        assert standings(store, "mini", NOW) == []


def test_without_gold_to_certify_on_it_says_how_to_draw_some(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, gold=gold_rows(0)) as (folder, _), opened(tmp_path) as store:
        with pytest.raises(ConfigError, match="no gold in the split 'certify'") as refused:
            certified(folder, store)
        assert "gold sample" in (refused.value.hint or "")


def test_a_changed_strategy_has_no_certificate_and_is_told_what_changed(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, server), opened(tmp_path) as store:
        first = certified(folder, store, now=datetime.now(UTC))
        assert first.certificate is not None
        for routing_only in ("mode: threshold, threshold_prob: 0.9", "audit_rate_prob: 1.0"):
            write_strategy(
                folder,
                server.base_url,
                steps=STEPS.rstrip() + f"\n    {routing_only.replace(', ', chr(10) + '    ')}\n",
            )
            assert [s.state for s in certificate_list(store, str(folder), datetime.now(UTC))] == ["valid"]
        write_strategy(
            folder,
            server.base_url,
            steps=STEPS.replace("- kind: label", "- kind: label\n    guideline: none"),
        )
        (listed,) = certificate_list(store, str(folder), datetime.now(UTC))
        assert listed.state == "not applicable"
        assert "label.guideline" in (listed.reason or "")
        summary = run(folder, tmp_path / "store")
        assert summary["auto_accept"] == 0
        assert "the strategy has changed since: label.guideline" in summary["no_certificate"]
        second = certified(folder, store, now=datetime.now(UTC))
        states = {s.certificate.certificate_id: s for s in standings(store, "mini", datetime.now(UTC))}
        assert second.certificate is not None
        assert states[second.certificate.certificate_id].state == "valid"
        old = states[first.certificate.certificate_id]
        assert (old.state, (old.reason or "")[:17]) == ("void", "strategy changed:")


def test_voided_and_expired_certificates_are_not_relied_on_and_say_why(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        report = certified(folder, store, valid_days=10)
        one = report.certificate
        assert one is not None
        snapshot = load_workload(str(folder), None).resolved.snapshot

        def valid_at(now: datetime) -> tuple[StoredCertificate | None, str | None]:
            return find_valid(store, "mini", "champion", snapshot, one.calibrator_ids, now)

        assert valid_at(NOW + timedelta(days=9))[0] == one
        assert valid_at(NOW + timedelta(days=10)) == (
            None,
            f"certificate {one.certificate_id} is expired: expired on 2026-03-11",
        )
        other_fit = find_valid(store, "mini", "champion", snapshot, ["b2:other"], NOW)
        assert "another fit of the calibrator" in (other_fit[1] or "")
        void(store, one.certificate_id, "drift alarm: label mix", NOW)
        assert valid_at(NOW) == (None, f"certificate {one.certificate_id} is void: drift alarm: label mix")


def test_more_strategies_on_the_same_gold_pay_with_delta(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, server), opened(tmp_path) as store:
        assert certified(folder, store).results[REST].delta == 0.05
        assert certified(folder, store).results[REST].delta == 0.05, "the same version again is no new look"
        write_strategy(
            folder,
            server.base_url,
            steps=STEPS.replace("- kind: label", "- kind: label\n    guideline: none"),
            name="candidate",
        )
        second = certified(folder, store, "candidate")
        assert second.results[REST].delta == 0.025
        assert second.wear.n_looks == 2
        assert any("2 judgements rest on this gold" in note for note in second.notes)


def test_more_gold_is_another_look_and_the_same_gold_proves_nothing_new(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project, gold=gold_rows(100)) as (folder, _), opened(tmp_path) as store:
        first = certified(folder, store, valid_days=30)
        assert first.certificate is not None
        again = certified(folder, store, valid_days=30, now=NOW + timedelta(days=20))
        assert again.certificate is not None
        assert again.certificate.expires_at == first.certificate.expires_at
        late = certified(folder, store, valid_days=30, now=NOW + timedelta(days=30))
        assert late.certificate is None
        assert "testing it again proves nothing about today's items" in late.sentence
        more = "".join(
            json.dumps({"id": f"m{i}", "label": truth(i), "split": "certify"}) + "\n" for i in range(160, 300)
        )
        with (folder / "gold.jsonl").open("a") as file:
            file.write(more)
        grown = certified(folder, store, valid_days=30, now=NOW + timedelta(days=30))
        assert grown.certificate is not None
        assert (grown.results[REST].delta, grown.wear.n_looks) == (0.025, 2)


def test_gold_drawn_for_another_version_alone_certifies_nothing_and_says_so(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        lines = [json.loads(line) for line in (folder / "gold.jsonl").read_text().splitlines()]
        for line in lines:
            if line["split"] == "certify":
                line |= {"design": "region", "p": 0.5, "draw": "S-elsewhere"}
        (folder / "gold.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        text = (folder / "project.yaml").read_text()
        columns = "split_column: split, design_column: design, inclusion_prob_column: p, sample_column: draw"
        (folder / "project.yaml").write_text(text.replace("split_column: split", columns))
        report = certified(folder, store)
        assert report.certificate is None
        assert "drawn for another version of the strategy" in report.sentence


def test_gold_whose_results_were_seen_certifies_no_later_strategy(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with project(make_project) as (folder, server), opened(tmp_path) as store:
        run(folder, tmp_path / "store")
        score_workload(store, load_workload(str(folder), None), split="certify")
        now = datetime.now(UTC)
        assert certified(folder, store, now=now).certificate is not None, "it stood before the look"
        write_strategy(
            folder,
            server.base_url,
            steps=STEPS.replace("- kind: label", "- kind: label\n    guideline: none"),
            name="tuned",
        )
        later = certified(folder, store, "tuned", now=now)
        assert later.certificate is None
        assert len(later.wear.opened) == N_CERTIFY
        assert "it may be tuned on them. Draw fresh gold." in later.sentence


def test_declaring_gold_as_used_voids_what_was_made_since(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        now = datetime.now(UTC)
        report = certified(folder, store, now=now)
        assert report.certificate is not None
        work = load_workload(str(folder), None)
        after = declare_used(
            store, work, "certify", "read the errors", since=now + timedelta(days=1), now=now
        )
        assert after == [], "the strategy was there before"
        hit = declare_used(store, work, "certify", "read the errors", since=now - timedelta(days=1), now=now)
        assert hit == [report.certificate.certificate_id]
        (standing,) = standings(store, "mini", now)
        assert standing.state == "void"
        assert "used for tuning" in (standing.reason or "")


def test_labels_are_promised_one_by_one_and_held_ones_need_no_promise(
    make_project: MakeProject, tmp_path: Path
) -> None:
    routing = CERTIFIED + ", always_review: [spam]"
    with project(make_project, routing=routing) as (folder, _), opened(tmp_path) as store:
        report = certified(folder, store, alpha=0.1, per_class={"hate": 0.05}, now=datetime.now(UTC))
        assert list(report.results) == ["hate", REST]
        assert {group: found.delta for group, found in report.results.items()} == {"hate": 0.025, REST: 0.025}
        assert (
            report.n_held == sum(1 for i in range(60, 240) if i % 3 == 2 or (i % 3 == 1 and i % 8 == 0))
            or report.n_held > 0
        )
        assert not report.results["hate"].certified, "45 accepted items cannot prove 5 % at delta .025"
        assert report.results[REST].certified
        summary = run(folder, tmp_path / "store")
        accepted = rows(store, "SELECT DISTINCT label FROM decisions WHERE decision = 'auto_accept'")
        assert accepted == [{"label": "safe"}]
        reasons = rows(store, "SELECT DISTINCT reason FROM decisions WHERE label = 'hate'")
        assert reasons == [{"reason": "the certificate does not cover this label"}]
        assert summary["certificate"]["groups"][0]["group"] == "hate"
        with pytest.raises(ConfigError, match="unknown label 'hat'"):
            certified(folder, store, per_class={"hat": 0.05})


def test_a_finite_pool_is_promised_for_its_own_items_only(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        report = certified(folder, store, finite_pool=True, now=datetime.now(UTC))
        assert report.results[REST].method == "fixed-sequence-hypergeometric"
        more = [f'{{"id": "n{i}", "text": "text number {i + 1000} for the reader"}}\n' for i in range(4, 8)]
        with (folder / "items.jsonl").open("a") as file:
            file.writelines(more)
        run(folder, tmp_path / "store")
        new = rows(
            store,
            "SELECT reason, count(*) AS n FROM decisions d JOIN current_items i USING (item_id)"
            " WHERE external_id LIKE 'n%' GROUP BY 1 ORDER BY 1",
        )
        assert {"reason": "the certificate speaks of another pool of items", "n": 4} in new


def test_a_certificate_is_checked_when_it_is_read(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        one = certified(folder, store).certificate
        assert one is not None
        assert StoredCertificate.from_json(one.to_json()) == one
        assert one.answers_fp == answers_fingerprint(load_workload(str(folder), None).resolved.snapshot)
        with pytest.raises(ConfigError, match="was changed after it was issued"):
            StoredCertificate.from_json({**one.to_json(), "coverage": 0.99})


def test_the_plot_and_the_page_say_the_same(make_project: MakeProject, tmp_path: Path) -> None:
    with project(make_project) as (folder, _), opened(tmp_path) as store:
        report = certified(folder, store)
        paths = write_plots(report, tmp_path / "plots")
        assert [path.suffix for path in paths] == [".svg", ".png", ".html"]
        assert "http://" not in paths[2].read_text().replace("http://www.w3.org", "")
        page = report.markdown()
        assert report.sentence in page
        assert "| all labels |" in page
        assert report.to_json()["certified"] is True
