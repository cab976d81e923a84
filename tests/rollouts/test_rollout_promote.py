"""Promote writes the champion's file and says why; rollback restores the very bytes; a kill in between is repaired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from agents.run.workload import load_workload
from labelproof.report.rollouts import champion_file, intents
from labelproof.report.rollouts.champion_file import replace_file
from labelproof.report.rollouts.events import read_rollouts
from labelproof.report.rollouts.intents import Outcome, repair
from labelproof.report.rollouts.promote import promote, propose, reject
from labelproof.report.rollouts.rollback import rollback
from labelproof.report.rollouts.traffic import stop
from labelproof.report.rollouts.watch import watch
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import find_project
from labelproof.store import TraceStore, open_store
from tests.conftest import MakeProject, write_strategy
from tests.rollouts.rollout_helpers import CANDIDATE_STEPS, NOW, compared, pair_of, started, two_strategies

URL = "http://127.0.0.1:9/v1"
GOLD = [(i, "safe", "test") for i in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def folder(make_project: MakeProject) -> Path:
    return two_strategies(make_project, URL, gold=GOLD)


def champion(folder: Path) -> Path:
    return folder / "strategies" / "champion.yaml"


def promoted(store: TraceStore, folder: Path, *, day: int = 0, force: bool = False) -> Outcome:
    now = NOW + timedelta(days=day)
    pair = pair_of(store, folder, now=now)
    return promote(store, pair, why="it is better", by="ann", now=now, force=force)


def rolled_back(store: TraceStore, folder: Path, *, day: int = 1, force: bool = False) -> Outcome:
    return rollback(
        store, str(folder), why="complaints", by="bob", now=NOW + timedelta(days=day), force=force
    )


def test_the_candidate_becomes_the_champion_under_its_name(store: TraceStore, folder: Path) -> None:
    pair = pair_of(store, folder)
    compared(store, pair)
    done = promoted(store, folder)
    text = champion(folder).read_text()
    own = (folder / "strategies" / "candidate.yaml").read_text()
    assert text == own.replace("name: candidate", "name: champion")
    assert text.startswith("# Tried since March.")
    assert load_workload(str(folder), None).resolved.fingerprint == pair.fp_to == done.fp_after
    assert [event.event for event in done.state.events] == ["proposed", "approved", "promoted"]
    assert done.state.events[-1].evidence["comparison"]["comparison_id"] == "c1"
    assert done.state.events[-1].evidence["forced"] is None
    assert (done.state.actor, done.state.reason) == ("ann", "it is better")
    assert "uncertified" in done.certificate.sentence
    assert not [path for path in champion(folder).parent.iterdir() if path.suffix != ".yaml"]


def test_without_the_verdict_ship_nothing_changes_unless_forced(store: TraceStore, folder: Path) -> None:
    before = champion(folder).read_bytes()
    with pytest.raises(ConfigError, match="no comparison of champion@"):
        promoted(store, folder)
    pair = pair_of(store, folder)
    compared(store, pair, ts=NOW - timedelta(days=1))
    compared(store, pair, verdict="inconclusive", name="c2")
    with pytest.raises(ConfigError, match="c2 of these versions says inconclusive: because"):
        promoted(store, folder)
    assert pair_of(store, folder, evidence="c1").evidence.missing is None
    assert champion(folder).read_bytes() == before
    assert read_rollouts(store, "mini") == ()
    forced = promoted(store, folder, force=True)
    assert "says inconclusive" in forced.state.events[-1].evidence["forced"]


def test_a_comparison_counts_for_its_versions_and_its_gold_only(store: TraceStore, folder: Path) -> None:
    compared(store, pair_of(store, folder))
    gold = folder / "gold.jsonl"
    gold.write_text(gold.read_text().replace('"safe"', '"spam"', 1))
    with pytest.raises(ConfigError, match=r"is on gold \w+, and the gold is \w+ now"):
        promoted(store, folder)
    gold.write_text(gold.read_text().replace('"spam"', '"safe"', 1))
    path = champion(folder)
    path.write_text(path.read_text().replace("- kind: normalize", "- {kind: normalize, max_chars: 900}"))
    with pytest.raises(ConfigError, match="it was edited or replaced since"):
        promoted(store, folder)
    other = pair_of(store, folder, evidence="c1").evidence
    assert other.missing is not None
    missing = pair_of(store, folder, evidence="c9").evidence.missing
    assert missing == "there is no comparison c9 in this project"


def test_a_chain_of_promotions_is_taken_back_one_by_one(store: TraceStore, folder: Path) -> None:
    texts = [champion(folder).read_bytes()]
    for n in range(3):
        steps = CANDIDATE_STEPS.replace("5000", str(3000 + n))
        write_strategy(folder, URL, steps=steps, name="candidate")
        promoted(store, folder, day=n, force=True)
        texts.append(champion(folder).read_bytes())
    assert len(set(texts)) == 4
    for n in (2, 1, 0):
        done = rolled_back(store, folder, day=9 - n)
        assert champion(folder).read_bytes() == texts[n]
        assert (done.state.phase, done.state.actor, done.note) == ("rolled_back", "bob", None)
    with pytest.raises(ConfigError, match="no promotion of project 'mini' is left"):
        rolled_back(store, folder, day=20)
    # and the way forward is open again
    assert promoted(store, folder, day=21, force=True).state.phase == "promoted"


def test_line_ends_and_bytes_come_back_as_they_were(store: TraceStore, folder: Path) -> None:
    odd = champion(folder).read_bytes().replace(b"\n", b"\r\n") + "# café\t\r\n".encode()
    champion(folder).write_bytes(odd)
    promoted(store, folder, force=True)
    assert champion(folder).read_bytes() != odd
    rolled_back(store, folder)
    assert champion(folder).read_bytes() == odd


def test_an_edit_after_the_promotion_is_not_lost(store: TraceStore, folder: Path) -> None:
    before = champion(folder).read_bytes()
    promoted(store, folder, force=True)
    edited = champion(folder).read_text() + "# tuned by hand\n"
    champion(folder).write_text(edited)
    with pytest.raises(ConfigError, match="was edited after candidate@"):
        rolled_back(store, folder)
    done = rolled_back(store, folder, force=True)
    assert champion(folder).read_bytes() == before
    assert done.state.events[-1].evidence["before"] == edited
    assert done.state.events[-1].evidence["edited"] is True


def test_rollback_says_when_the_old_file_means_another_version_today(store: TraceStore, folder: Path) -> None:
    promoted(store, folder, force=True)
    (folder / "guideline.md").write_text("# Guideline\n\nEverything changed.\n")
    done = rolled_back(store, folder)
    assert done.note is not None
    assert "what it refers to has changed since" in done.note
    assert done.evidence["fp_recorded"] != done.evidence["fp_restored"] == done.fp_after


@pytest.mark.parametrize("where", ["before the file", "after the file"])
@pytest.mark.parametrize("what", ["promote", "rollback"])
def test_a_kill_in_the_middle_is_repaired(
    store: TraceStore, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, what: str
) -> None:
    old = champion(folder).read_bytes()
    if what == "rollback":
        promoted(store, folder, force=True)
    before = champion(folder).read_bytes()
    real = replace_file

    def killed(path: Path, text: str) -> None:
        if where == "after the file":
            real(path, text)
        raise KeyboardInterrupt

    monkeypatch.setattr(intents, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        promoted(store, folder, force=True) if what == "promote" else rolled_back(store, folder)
    monkeypatch.undo()
    (state,) = read_rollouts(store, "mini")
    assert state.pending is not None
    if where == "after the file":
        repair(store, find_project(str(folder)), NOW + timedelta(days=2))
        (state,) = read_rollouts(store, "mini")
        assert state.phase == ("promoted" if what == "promote" else "rolled_back")
        assert state.pending is None
        assert repair(store, find_project(str(folder)), NOW + timedelta(days=2)) == ()
        if what == "promote":
            rolled_back(store, folder, day=3)
        assert champion(folder).read_bytes() == old
        return
    assert champion(folder).read_bytes() == before
    assert repair(store, find_project(str(folder)), NOW + timedelta(days=2)) == ()
    seen = watch(store, find_project(str(folder)), now=NOW + timedelta(days=2))
    assert seen is not None
    assert seen.open_intent is not None
    assert f"run labelproof {what} again" in seen.open_intent
    assert seen.exit_code == 1
    again = promoted(store, folder, day=3, force=True) if what == "promote" else rolled_back(store, folder)
    assert again.state.rollout_id == state.rollout_id
    assert again.state.pending is None
    assert champion(folder).read_bytes() != before


def test_a_promotion_ends_the_other_roll_outs(store: TraceStore, folder: Path) -> None:
    started(store, folder, share=0.2, now=NOW)
    write_strategy(folder, URL, steps=CANDIDATE_STEPS.replace("5000", "4000"), name="candidate")
    promoted(store, folder, day=1, force=True)
    states = {state.phase for state in read_rollouts(store, "mini")}
    assert states == {"promoted", "stopped"}


def test_a_canary_is_promoted_as_the_same_roll_out(store: TraceStore, folder: Path) -> None:
    canary = started(store, folder, share=0.2, now=NOW)
    assert canary.phase == "canary"
    wider = started(store, folder, share=0.4, now=NOW + timedelta(hours=1))
    assert (wider.rollout_id, wider.share_prob) == (canary.rollout_id, 0.4)
    done = promoted(store, folder, day=1, force=True)
    assert done.state.rollout_id == canary.rollout_id
    assert [one.event for one in done.state.events] == [
        "proposed",
        "canary",
        "canary",
        "approved",
        "promoted",
    ]


def test_a_proposal_is_turned_down_once(store: TraceStore, folder: Path) -> None:
    state = propose(store, pair_of(store, folder), why="try", by="ann", now=NOW)
    ended = reject(store, state, why="too dear", by="bob", now=NOW + timedelta(hours=1))
    assert (ended.phase, ended.actor) == ("rejected", "bob")
    assert reject(store, state, why="again", by="eve", now=NOW + timedelta(hours=2)) == ended


def test_what_cannot_be_promoted_is_said(store: TraceStore, folder: Path) -> None:
    with pytest.raises(ConfigError, match="a reason is needed"):
        promote(store, pair_of(store, folder), why="  ", by="ann", now=NOW, force=True)
    path = folder / "strategies" / "candidate.yaml"
    text = path.read_text()
    path.write_text(text.replace("name: candidate", '"name": candidate'))
    with pytest.raises(ConfigError, match="expected a line `name"):
        promoted(store, folder, force=True)
    path.write_text(champion(folder).read_text().replace("name: champion", "name: candidate"))
    with pytest.raises(ConfigError, match="candidate is the champion already"):
        pair_of(store, folder)


def test_stopping_after_a_kill_does_not_hide_the_promotion(
    store: TraceStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = champion(folder).read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(intents, "_finish", killed)
    with pytest.raises(KeyboardInterrupt):
        promoted(store, folder, force=True)
    monkeypatch.undo()
    now = NOW + timedelta(days=1)
    with pytest.raises(ConfigError, match="no roll-out of project 'mini' is under way"):
        stop(store, "mini", why="enough", by="bob", now=now, folder=find_project(str(folder)))
    rolled_back(store, folder, day=2)
    assert champion(folder).read_bytes() == old


def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_lost(
    store: TraceStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = champion(folder).read_bytes()

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(champion_file, "_replace", refused)
    with pytest.raises(ConfigError, match="cannot be written, and is as it was: Permission denied"):
        promoted(store, folder, force=True)
    assert champion(folder).read_bytes() == before
    monkeypatch.undo()
    done = promoted(store, folder, day=1, force=True)
    assert (done.state.phase, done.state.pending) == ("promoted", None)
    assert champion(folder).read_bytes() != before


def test_a_champion_that_is_a_link_stays_one(store: TraceStore, folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_bytes(champion(folder).read_bytes())
    champion(folder).unlink()
    champion(folder).symlink_to(shared)
    promoted(store, folder, force=True)
    assert champion(folder).is_symlink()
    assert "Tried since March" in shared.read_text()


def test_a_comparison_that_was_read_off_by_another_rule_carries_no_promotion(
    store: TraceStore, folder: Path
) -> None:
    def report(metric: str, margin: float = 0.02) -> str:
        rows = [("primary", metric, None), ("guardrail", "failed_rate", margin)]
        said = [
            {"role": role, "difference": {"metric": name, "margin": most, "confidence": 0.95}}
            for role, name, most in rows
        ]
        return orjson.dumps({"rows": said}).decode()

    pair = pair_of(store, folder)
    compared(store, pair, verdict="inconclusive", name="c0")
    for n, other in enumerate((report("auto_accept_rate"), report("accuracy", 0.5), "{}"), start=1):
        later = NOW + timedelta(minutes=n)
        compared(store, pair, name=f"c{n}", ts=later, experiment_id=None, plan_fp=None, report_json=other)
        with pytest.raises(
            ConfigError, match=rf"c{n} was judged by .*, and the project judges by accuracy, "
        ):
            promoted(store, folder)
    later = NOW + timedelta(minutes=9)
    own = report("accuracy")
    compared(store, pair, name="c9", ts=later, experiment_id=None, plan_fp=None, report_json=own)
    assert pair_of(store, folder).evidence.text.endswith("no plan; others of these versions: 1 inconclusive")
    assert promoted(store, folder).state.phase == "promoted"
