"""People are asked only where two arms differ, no longer than needed, and what they say is estimated honestly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from evaluation.sequential import discordant_e_value
from labelproof.report.experiments.evidence import Right, accuracy_difference, weigh
from labelproof.report.experiments.labels import LabelStatus, disagreements, label_disagreements
from labelproof.report.experiments.opening import Opened
from labelproof.report.experiments.run import run_experiment
from labelproof.report.experiments.text import label_lines
from labelproof.report.review_io import review_sheet
from labelproof.spec.errors import ConfigError
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.experiments.experiment_helpers import NOW, Wrong, answering, make_arms, opened, truth
from tests.run.run_helpers import rows
from tests.scripted_server import scripted_server

N = 80
LATER = NOW + timedelta(hours=1)


@contextmanager
def finished(
    make_project: MakeProject, tmp_path: Path, champion: Wrong, candidate: Wrong
) -> Iterator[tuple[TraceStore, Opened]]:
    answer = answering({"champion": champion, "candidate": candidate})
    with scripted_server(answer) as server, open_store(tmp_path / "store") as store:
        folder = make_arms(make_project, server.base_url, n_items=N, n_gold=3, rerun=0)
        one = opened(store, folder, items="all")
        (report,) = run_experiment(store, one).reports
        assert (report.balance.n_wanted, report.n_items, report.verdict) == (N - 3, N - 3, "inconclusive")
        yield store, one


def look(store: TraceStore, one: Opened, at: datetime = LATER, **more: object) -> LabelStatus:
    return label_disagreements(store, one.folder, one.plan, now=at, **more)  # type: ignore[arg-type]


def vote(store: TraceStore, item_ids: list[str], at: datetime = LATER) -> None:
    """Let a reviewer give the true label of items, a second apart."""
    names = {row["item_id"]: row for row in rows(store, "SELECT item_id, external_id FROM items")}
    tasks = {row["item_id"]: row["task_id"] for row in rows(store, "FROM review_tasks")}
    n = len(item_ids)
    columns = {
        "vote_id": [f"v-{item_id}" for item_id in item_ids],
        "project": ["mini"] * n,
        "task_id": [tasks[item_id] for item_id in item_ids],
        "item_id": item_ids,
        "annotator": ["bob"] * n,
        "role": ["reviewer"] * n,
        "answer": ["label"] * n,
        "label": [truth(int(names[item_id]["external_id"][1:])) for item_id in item_ids],
        "source": ["sheet"] * n,
        "ts": [at + timedelta(seconds=place) for place in range(n)],
    }
    store.append("votes", columns)


def test_only_disagreements_become_blind_tasks_in_a_fixed_random_order(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with finished(make_project, tmp_path, lambda i: i % 4 == 0, lambda i: i % 10 == 0) as (store, one):
        pairs, n_items = disagreements(store, one.plan)
        # Items 0, 1, 2 are gold. Where both are wrong they are wrong in the same way: no disagreement.
        differ = {f"m{i}" for i in range(3, N) if (i % 4 == 0) != (i % 10 == 0)}
        names = {row["item_id"]: row["external_id"] for row in rows(store, "FROM items")}
        assert {names[pair.item_id] for pair in pairs} == differ
        assert (n_items, one.plan.n_items) == (N - 3, N - 3)
        first = look(store, one, limit=5)
        assert (first.n_new, first.n_asked, first.n_disagree, first.n_open) == (5, 5, len(differ), 5)
        tasks = rows(store, "SELECT * FROM review_tasks ORDER BY ts")
        assert [task["item_id"] for task in tasks] == [pair.item_id for pair in pairs[:5]]
        everywhere = [pair.item_id for pair in pairs]
        assert everywhere != sorted(everywhere)
        assert disagreements(store, one.plan)[0] == pairs
        for task in tasks:
            assert (task["kind"], task["blind"], task["label"], task["confidence"]) == (
                "disagreement",
                True,
                None,
                None,
            )
            assert not any(name in task["reason"] for name in ("safe", "hate", "spam"))
        assert look(store, one, limit=5, ask=False).n_new == 0
        rest = look(store, one)
        assert (rest.n_new, rest.n_asked) == (len(differ) - 5, len(differ))
        assert look(store, one).n_new == 0


def test_it_stops_when_it_is_known_which_arm_is_better_and_closes_the_rest(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with finished(make_project, tmp_path, lambda i: i % 2 == 0, lambda _: False) as (store, one):
        pairs, _ = disagreements(store, one.plan)
        assert look(store, one).n_new == len(pairs) == 38
        enough = next(n for n in range(50) if discordant_e_value(n, 0) >= 20)
        vote(store, [pair.item_id for pair in pairs[: enough - 1]])
        early = look(store, one)
        assert (early.stopped, early.n_closed_now, early.evidence.wins) == (False, 0, enough - 1)
        vote(store, [pairs[enough - 1].item_id])
        assert look(store, one, ask=False).n_closed_now == 0
        done = look(store, one)
        assert (done.stopped, done.evidence.better, done.evidence.stopped_at) == (True, "b", enough)
        assert (done.n_closed_now, done.n_open, done.tasks) == (
            38 - enough,
            0,
            {"agreed": enough, "closed": 38 - enough},
        )
        events = rows(store, "SELECT DISTINCT event, actor, reason FROM review_events")
        assert [(row["event"], row["actor"]) for row in events] == [("closed", "labelproof")]
        assert "candidate is more accurate, e-value" in events[0]["reason"]
        again = look(store, one)
        assert (again.n_new, again.n_closed_now, again.n_open) == (0, 0, 0)
        said = dict(label_lines(done))
        assert f"candidate is more accurate: e-value {done.evidence.e_sure:.2f} of 20" in said["Evidence"]
        assert f"known after the first {enough} disagreements" in said["Evidence"]
        assert f"{38 - enough} disagreements needed no label" in said["Saved"]
        assert "say nothing about either's accuracy" in said["Careful"]
        assert done.to_json()["evidence"]["better"] == "b"


def test_all_labels_give_the_very_difference(make_project: MakeProject, tmp_path: Path) -> None:
    with finished(make_project, tmp_path, lambda i: i % 4 == 0, lambda i: i % 5 == 0) as (store, one):
        look(store, one)
        pairs, n_items = disagreements(store, one.plan)
        vote(store, [pair.item_id for pair in pairs])
        found = look(store, one)
        right = sum((i % 4 == 0) - (i % 5 == 0) for i in range(3, N))
        assert found.difference.value == pytest.approx(right / n_items)
        assert found.difference.low is not None
        assert found.difference.high is not None
        assert found.difference.low < right / n_items < found.difference.high
        assert found.difference.labels_at_random is not None
        assert found.difference.labels_at_random > found.difference.n_labels == len(pairs)
        assert "every disagreement was asked about" in dict(label_lines(found))["Evidence"]


def test_a_sheet_asks_in_the_order_of_the_experiment(make_project: MakeProject, tmp_path: Path) -> None:
    """It did not: a sheet answered from the top to the middle left gaps that counted against the evidence."""
    with finished(make_project, tmp_path, lambda i: i % 2 == 0, lambda _: False) as (store, one):
        look(store, one)
        pairs, _ = disagreements(store, one.plan)
        sheet = review_sheet(store, one.folder, kind="disagreement", annotator="bob")
        assert [row["task_id"] for row in sheet.rows] == [pair.task_id for pair in pairs]
        vote(store, [pair.item_id for pair in pairs[:10]])
        found = look(store, one, LATER + timedelta(minutes=1), ask=False)
        assert (found.evidence.skipped, found.evidence.better) == (0, "b")
        vote(store, [pair.item_id for pair in pairs[10:]], LATER + timedelta(minutes=2))
        sure = look(store, one, LATER + timedelta(minutes=3), ask=False)
        assert "(p < 0.001 at any look)" in dict(label_lines(sure))["Evidence"]


def test_a_person_may_stop_asking(make_project: MakeProject, tmp_path: Path) -> None:
    with finished(make_project, tmp_path, lambda i: i % 4 == 0, lambda _: False) as (store, one):
        look(store, one)
        found = look(store, one, stop="no more budget for people")
        assert (found.n_open, found.stopped, found.n_closed_now) == (0, False, found.n_disagree)
        assert found.difference.value is None
        assert "not measurable" in dict(label_lines(found))["Accuracy"]


def test_the_planned_level_cannot_be_weakened_once_people_answer(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with finished(make_project, tmp_path, lambda i: i % 4 == 0, lambda _: False) as (store, one):
        for weak in (0.5, 0.0, float("nan")):
            with pytest.raises(ConfigError, match=r"has fixed 0\.05 before the first label"):
                look(store, one, alpha=weak)
        assert look(store, one, alpha=0.01).evidence.alpha == 0.01


def test_what_people_cannot_decide_is_refused(make_project: MakeProject, tmp_path: Path) -> None:
    with scripted_server(answering()) as server, open_store(tmp_path / "store") as store:
        arms = ("champion", "candidate", "third")
        folder = make_arms(make_project, server.base_url, arms=arms, rerun=0)
        for one, message in (
            (opened(store, folder, arms, items=10), "people decide between two"),
            (opened(store, folder), "whose labels are known"),
            (opened(store, folder, items=10), "has not answered everything yet: champion 0 of 10"),
        ):
            with pytest.raises(ConfigError, match=message):
                look(store, one)
        assert rows(store, "FROM review_tasks") == []


def test_answers_that_are_missing_cannot_help_either_arm() -> None:
    won: list[Right | None] = ["b"] * 12
    plain = weigh(won, alpha=0.05)
    assert plain.stopped_at is not None
    assert plain.p_value == pytest.approx(1 / discordant_e_value(12, 0))
    missing = weigh([None] * 6 + won, alpha=0.05)
    assert (missing.wins, missing.skipped) == (12, 6)
    assert missing.stopped_at is None
    assert missing.e_value == plain.e_value
    assert missing.e_sure < plain.e_sure
    least = min(discordant_e_value(12 + i, j) for i in range(7) for j in range(7 - i))
    assert max(1.0, least) == pytest.approx(missing.e_sure)
    assert weigh([*won, None, None], alpha=0.05).e_sure == plain.e_sure  # later ones are only not reached yet
    assert weigh(["neither"] * 30, alpha=0.05).e_sure == 1.0


def test_the_estimate_is_unbiased_its_interval_holds_and_peeking_costs_nothing() -> None:
    rng = random.Random(7)
    n_items, share, truth_of_d = 600, 0.15, (0.5, 0.3)
    want = share * (truth_of_d[0] - truth_of_d[1])
    errors, inside, false_alarms, runs = [], 0, 0, 400
    for _ in range(runs):
        n = sum(rng.random() < share for _ in range(n_items))
        names: tuple[Right, ...] = ("b", "a", "neither")
        part: list[Right | None] = [*rng.choices(names, weights=(*truth_of_d, 0.2), k=n // 3)]
        found = accuracy_difference(weigh(part, alpha=0.05), n_items=n_items, n_disagree=n)
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        errors.append(found.value - want)
        inside += found.low <= want <= found.high
        equal: list[Right | None] = ["a" if rng.random() < 0.5 else "b" for _ in range(80)]
        false_alarms += weigh(equal, alpha=0.05).stopped_at is not None
    mean = sum(errors) / runs
    spread = (sum((error - mean) ** 2 for error in errors) / runs) ** 0.5
    assert abs(mean) < 3 * spread / runs**0.5
    assert inside / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert false_alarms / runs < 0.05 + 3 * (0.95 * 0.05 / runs) ** 0.5


def test_arms_that_agree_everywhere_differ_in_nothing() -> None:
    found = accuracy_difference(weigh([], alpha=0.05), n_items=50, n_disagree=0)
    assert (found.value, found.low, found.reason) == (0.0, None, "the arms agree on every item")
