"""The canary's monitor: a broken split and a worse candidate are rolled back, a good one is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.review_tasks import ReviewTask, task_columns
from agents.run.rollout import side_of
from labelproof.report.rollouts.events import read_rollouts, record
from labelproof.report.rollouts.intents import end_event
from labelproof.report.rollouts.model import RolloutState, Terms
from labelproof.report.rollouts.monitor import read_canary
from labelproof.report.rollouts.promote import promote
from labelproof.report.rollouts.text import markdown, watch_lines
from labelproof.report.rollouts.watch import Watch, watch
from labelproof.spec.errors import ConfigError
from labelproof.spec.experiment import ExperimentPolicy, Guardrail
from labelproof.spec.project import find_project
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject
from tests.rollouts.rollout_helpers import NOW, OPEN_ROUTING, pair_of, started, two_strategies

URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(make_project: MakeProject) -> Path:
    return two_strategies(make_project, URL, routing=f"{OPEN_ROUTING}, alpha: 0.05")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How one side behaves: shares of items that fail, and of audited ones that are wrong."""

    failed: float = 0.01
    wrong: float = 0.04


def traffic(
    store: TraceStore,
    state: RolloutState,
    champion: Rates,
    candidate: Rates,
    *,
    n: int = 4000,
    seed: int = 0,
    lost: float = 0.0,
    prob: tuple[float, float] = (0.2, 0.2),
    per_unit: int = 1,
) -> None:
    """Store a canary's traffic: units, decisions, settled audits. ``lost``: share of candidate items never decided."""
    rng = np.random.default_rng(seed)
    share = state.share_prob or 0.0
    names = [f"b2:item{seed}-{i}" for i in range(n)]
    units = [f"author=a{seed}-{i // per_unit}" if per_unit > 1 else name for i, name in enumerate(names)]
    sides = [side_of(state.rollout_id, unit, share) for unit in units]
    rates = [candidate if side == "candidate" else champion for side in sides]
    ts = [NOW + timedelta(seconds=i + 1) for i in range(n)]
    fails = rng.random(n) < [rate.failed for rate in rates]
    wrong = rng.random(n) < [rate.wrong for rate in rates]
    probs = np.where(np.arange(n) % 2 == 0, prob[0], prob[1])
    audited = (rng.random(n) < probs) & ~fails
    kept = [i for i in range(n) if sides[i] == "champion" or rng.random() >= lost]
    audits = [i for i in kept if audited[i]]
    store.append_many(
        {
            "rollout_units": {
                "rollout_id": [state.rollout_id] * n,
                "item_id": names,
                "unit": units,
                "arm": sides,
                "ts": ts,
            },
            "runs": {
                "run_id": [f"r{seed}-champion", f"r{seed}-candidate"],
                "ts": [ts[-1]] * 2,
                "event": ["finished"] * 2,
                "project": ["mini"] * 2,
                "strategy": ["champion", "candidate"],
                "strategy_fp": [state.fp_from, state.fp_to],
                "params_json": ["{}"] * 2,
            },
            "decisions": {
                "run_id": [f"r{seed}-{sides[i]}" for i in kept],
                "item_id": [names[i] for i in kept],
                "strategy_fp": [state.fp_to if sides[i] == "candidate" else state.fp_from for i in kept],
                "label": [None if fails[i] else "safe" for i in kept],
                "confidence": [None if fails[i] else 0.9 for i in kept],
                "decision": ["failed" if fails[i] else "auto_accept" for i in kept],
                "inclusion_prob": [None if fails[i] else float(probs[i]) for i in kept],
                "audited": [bool(audited[i]) for i in kept],
                "ts": [ts[i] for i in kept],
            },
            "review_tasks": task_columns(
                [
                    ReviewTask(
                        task_id=f"t-{names[i]}",
                        project="mini",
                        kind="audit",
                        item_id=names[i],
                        votes_wanted=1,
                        reason="audit",
                        ts=ts[i],
                    )
                    for i in audits
                ]
            ),
            "votes": {
                "vote_id": [f"v-{names[i]}" for i in audits],
                "project": ["mini"] * len(audits),
                "task_id": [f"t-{names[i]}" for i in audits],
                "item_id": [names[i] for i in audits],
                "annotator": ["ann"] * len(audits),
                "role": ["reviewer"] * len(audits),
                "answer": ["label"] * len(audits),
                "label": ["hate" if wrong[i] else "safe" for i in audits],
                "ts": [ts[i] for i in audits],
            },
        }
    )


def looked(
    store: TraceStore, folder: Path, *, at: datetime = NOW + timedelta(days=1), act: bool = True
) -> Watch:
    seen = watch(store, find_project(str(folder)), now=at, act=act)
    assert seen is not None
    return seen


def test_a_bad_canary_is_rolled_back_with_its_numbers(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.2, now=NOW)
    traffic(store, state, Rates(), Rates(wrong=0.25))
    only = looked(store, folder, act=False)
    assert only.alarms
    assert not only.rolled_back
    assert read_rollouts(store, "mini")[0].phase == "canary"
    seen = looked(store, folder)
    assert seen.rolled_back
    assert seen.exit_code == 1
    (after,) = read_rollouts(store, "mini")
    assert (after.phase, after.actor) == ("rolled_back", "monitor")
    assert [one.event for one in after.events[-2:]] == ["alarm", "rolled_back"]
    assert "error rate of auto-accepted items: candidate 2" in after.reason
    assert after.events[-1].evidence["reading"]["guards"][0]["test"]["alarm_at"] > 0
    assert looked(store, folder).rolled_back is False  # nothing is ended twice
    text = markdown("status", watch_lines(seen))
    assert "rolled back by the monitor" in text


def test_a_good_canary_stays(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.2, now=NOW)
    traffic(store, state, Rates(), Rates(wrong=0.03, failed=0.0))
    seen = looked(store, folder)
    assert seen.canary is not None
    assert (seen.alarms, seen.rolled_back, seen.exit_code) == ((), False, 0)
    assert [split.alarm for split in seen.canary.splits] == [False, False]
    assert all(split.e_value is not None and split.e_value < 20 for split in seen.canary.splits)
    errors, failures = (guard.test for guard in seen.canary.guards)
    assert errors.n_blocks > 100
    assert errors.per_block == failures.per_block == 4
    assert seen.canary.mix_distance == 0.0


def test_failures_alone_roll_back(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.2, now=NOW)
    traffic(store, state, Rates(), Rates(failed=0.12), n=3000)
    seen = looked(store, folder)
    assert seen.rolled_back
    assert "share of items that failed" in seen.alarms[0]


def test_answers_that_get_lost_break_the_split(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.5, now=NOW)
    traffic(store, state, Rates(), Rates(), n=2000, lost=0.2)
    seen = looked(store, folder, act=False)
    assert seen.canary is not None
    assert [split.alarm for split in seen.canary.splits] == [False, True]
    assert seen.alarms[0].startswith("answered units split")
    unfinished: dict[str, list[Any]] = {
        "run_id": ["r9"],
        "ts": [NOW + timedelta(hours=9)],
        "event": ["stopped"],
        "project": ["mini"],
        "strategy_fp": [state.fp_to],
        "params_json": ["{}"],
    }
    store.append("runs", unfinished)
    again = looked(store, folder, act=False)
    assert again.canary is not None
    assert again.canary.splits[1].reason == "run r9 has not ended"
    assert again.alarms == ()


def test_a_hash_that_does_not_split_as_asked_is_seen(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.5, now=NOW)
    items = [f"b2:{i}" for i in range(400)]
    store.append(
        "rollout_units",
        {
            "rollout_id": [state.rollout_id] * 400,
            "item_id": items,
            "unit": items,
            "arm": ["candidate" if i % 3 == 0 else "champion" for i in range(400)],
            "ts": [NOW + timedelta(seconds=1)] * 400,
        },
    )
    seen = looked(store, folder)
    assert seen.rolled_back
    assert "assigned units split 266 : 134, and 0.5 : 0.5 was asked for" in seen.alarms[0]


def test_items_of_one_author_are_one_observation(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.5, now=NOW)
    traffic(store, state, Rates(), Rates(), n=400, per_unit=10)
    reading = read_canary(store, state, ExperimentPolicy(), NOW)
    failed = reading.guards[1].test
    assert failed.old.n + failed.new.n == 40
    assert reading.splits[0].n_champion + reading.splits[0].n_candidate == 40


def test_unequal_audit_probabilities_are_thinned_to_equal_ones(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.5, now=NOW)
    traffic(store, state, Rates(), Rates(), n=4000, prob=(0.5, 0.1))
    test = read_canary(store, state, ExperimentPolicy(), NOW).guards[0].test
    assert 4000 * 0.1 * 0.8 < test.old.n + test.new.n < 4000 * 0.1 * 1.2


def test_the_margins_are_the_projects(store: TraceStore, folder: Path) -> None:
    state = started(store, folder, share=0.5, now=NOW)
    rails = (Guardrail(metric="auto_accuracy", margin=0.05), Guardrail(metric="failed_rate", margin=0.0))
    reading = read_canary(store, state, ExperimentPolicy(guardrails=rails), NOW)
    assert [guard.test.margin for guard in reading.guards] == [0.05, 0.0]
    assert all("not measurable yet" in guard.sentence for guard in reading.guards)
    assert [split.reason for split in reading.splits] == ["no unit yet"] * 2


def audits_after(store: TraceStore, fp: str, since: datetime, *, wrong: float, n: int = 400) -> None:
    """Store audited decisions of a version after its promotion."""
    state = RolloutState(
        rollout_id="none",
        project="mini",
        strategy="x",
        fp_from=fp,
        fp_to=fp,
        phase="canary",
        share_prob=0.5,
        since=since,
        actor="",
        reason="",
        terms=Terms(),
        events=(),
    )
    traffic(
        store, state, Rates(wrong=wrong, failed=0), Rates(wrong=wrong, failed=0), n=n, prob=(1.0, 1.0), seed=7
    )


@pytest.mark.parametrize("auto", [False, True])
def test_an_alarm_after_promotion_proposes_a_rollback_or_does_it(
    store: TraceStore, folder: Path, auto: bool
) -> None:
    path = folder / "strategies" / "champion.yaml"
    before = path.read_bytes()
    started(
        store, folder, share=None, now=NOW - timedelta(hours=2), terms=Terms(auto_rollback=auto, watch_days=7)
    )
    pair = pair_of(store, folder)
    promote(store, pair, why="better", by="ann", now=NOW - timedelta(hours=1), force=True)
    audits_after(store, pair.fp_to, NOW, wrong=0.3)
    seen = looked(store, folder)
    assert len(seen.alarms) == 1
    assert "SLA alarm" in seen.alarms[0] or "drift alarm" in seen.alarms[0]
    assert seen.exit_code == 1
    assert seen.rolled_back is auto
    assert (path.read_bytes() == before) is auto
    if auto:
        assert (seen.state.phase, seen.state.actor) == ("rolled_back", "monitor")
        return
    assert seen.proposal is not None
    again = looked(store, folder)
    assert (again.alarms, len(again.state.alarms)) == ((), 1)  # raised once, proposed until it is done
    assert again.proposal is not None
    late = looked(store, folder, at=NOW + timedelta(days=30))
    assert late.proposal is None


def test_an_edit_by_hand_keeps_auto_rollback_from_overwriting_it(store: TraceStore, folder: Path) -> None:
    path = folder / "strategies" / "champion.yaml"
    started(store, folder, share=None, now=NOW - timedelta(hours=2), terms=Terms(auto_rollback=True))
    pair = pair_of(store, folder)
    promote(store, pair, why="better", by="ann", now=NOW - timedelta(hours=1), force=True)
    audits_after(store, pair.fp_to, NOW, wrong=0.3)
    edited = path.read_text() + "# mine\n"
    path.write_text(edited)
    seen = looked(store, folder)
    assert path.read_text() == edited
    assert seen.rolled_back is False
    assert seen.proposal is not None
    assert "was edited after" in seen.proposal


def test_a_late_alarm_does_not_end_a_newer_share(store: TraceStore, folder: Path) -> None:
    from labelproof.report.rollouts.watch import end_canary

    old = started(store, folder, share=0.2, now=NOW)
    started(store, folder, share=0.4, now=NOW + timedelta(hours=1))
    assert end_canary(store, old, ("late",), NOW + timedelta(hours=2)) is False
    (state,) = read_rollouts(store, "mini")
    assert state.share_prob == 0.4
    record(store, [end_event(state, "stopped", by="ann", why="done", now=NOW + timedelta(hours=3))])
    assert end_canary(store, state, ("late",), NOW + timedelta(hours=4)) is False


def test_no_roll_out_is_nothing_to_see(store: TraceStore, folder: Path) -> None:
    assert watch(store, find_project(str(folder)), now=NOW) is None
    with pytest.raises(ConfigError, match="no roll-out of project 'mini' is under way"):
        from labelproof.report.rollouts.traffic import stop

        stop(store, "mini", why="x", by="ann", now=NOW)
