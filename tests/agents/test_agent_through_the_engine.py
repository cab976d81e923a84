"""Strategies run whole against the scripted server: cascades, recovery, hybrids, crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.run.workload import load_workload
from agents.steps.critique import Critique
from agents.steps.label import JsonLabel
from tests.conftest import MakeProject, write_strategy
from tests.run.run_helpers import rows, run
from tests.scripted_server import Reply, Seen, off_label, scripted_server

STEPS_OF = (
    "SELECT s.name, s.status, s.error, s.output_json FROM steps s JOIN items i USING (item_id)"
    " WHERE i.external_id = ? ORDER BY s.seq"
)


def answer(label: Any, confidence: float = 0.9, **more: Any) -> Reply:
    key = "label" if isinstance(label, str) else "labels"
    body = {"rationale": "because", key: label, "confidence": confidence, **more}
    return Reply(content=orjson.dumps(body).decode(), without_logprobs=True)


def numbered(seen: Seen) -> int:
    return int(seen.prompt.split("number ")[1].split()[0])


def reasoned(label: str) -> Reply:
    return Reply(
        content=orjson.dumps({"reasoning": "so", "label": label, "confidence": 0.9}).decode(),
        without_logprobs=True,
    )


def test_a_cascade_asks_again_only_where_its_condition_holds(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = """
  - kind: normalize
  - kind: label
  - {kind: consensus, when: confidence < 0.7, samples: 3}
  - {kind: critique, when: "agreement > 0 and agreement < 0.6 and not failed"}
  - kind: route
"""

    def script(seen: Seen) -> Reply:
        if "First reader" in seen.prompt:
            return answer("spam", objection="no", clause="", agrees=True)
        if "Reason, then" in seen.prompt:
            labels = ("spam", "hate", "spam") if numbered(seen) == 1 else ("safe", "hate", "spam")
            return reasoned(labels[seen.body["seed"]])
        return answer("safe", 0.5 if numbered(seen) in (1, 2) else 0.95)

    with scripted_server(script) as server:
        folder = make_project(server.base_url, n_items=4, steps=steps)
        summary = run(folder, tmp_path / "store")
    assert summary["model_calls"] == 4 + 2 * 3 + 1
    status = {n: [row["status"] for row in rows(tmp_path / "store", STEPS_OF, f"m{n}")] for n in range(3)}
    assert status == {
        0: ["ok", "ok", "skipped", "skipped", "ok"],
        1: ["ok", "ok", "ok", "skipped", "ok"],
        2: ["ok", "ok", "ok", "ok", "ok"],
    }
    skipped = rows(tmp_path / "store", STEPS_OF, "m0")[2]
    assert skipped["error"] == "not when confidence < 0.7"
    assert skipped["output_json"] is None


def test_an_item_whose_first_reading_failed_is_saved_by_a_later_one(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = """
  - kind: normalize
  - {kind: label, max_retries: 0}
  - {kind: label, name: second_try, when: failed, max_retries: 0, prompt: label_reason}
  - {kind: calibrate, encoder: none}
  - kind: route
"""

    def script(seen: Seen) -> Reply:
        if "Reason, then" in seen.prompt:
            return reasoned("hate") if numbered(seen) == 2 else off_label()
        return off_label() if numbered(seen) in (2, 3) else answer("safe")

    with scripted_server(script) as server:
        folder = make_project(server.base_url, n_items=5, steps=steps)
        summary = run(folder, tmp_path / "store")
    assert summary["failed"] == 1
    saved, lost = (rows(tmp_path / "store", STEPS_OF, name) for name in ("m2", "m3"))
    assert [row["status"] for row in saved] == ["ok", "failed", "ok", "ok", "ok"]
    assert [row["status"] for row in lost] == ["ok", "failed", "failed", "ok", "ok"]
    (decided,) = rows(
        tmp_path / "store",
        "SELECT decision, label, reason FROM decisions JOIN items USING (item_id) WHERE external_id = 'm3'",
    )
    assert decided["decision"] == "failed"
    assert decided["reason"].startswith("second_try: ")
    labels = rows(
        tmp_path / "store",
        "SELECT label, decision FROM decisions JOIN items USING (item_id) WHERE external_id = 'm2'",
    )
    assert labels[0]["decision"] != "failed"


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_strategy_that_differs_in_calibration_pays_no_call(
    make_project: MakeProject, tmp_path: Path, kind: str
) -> None:
    steps = """
  - kind: normalize
  - {kind: retrieve, encoder: tfidf, k: 2}
  - kind: label
  - {kind: consensus, when: confidence < 0.8, samples: 2}
  - {kind: calibrate, encoder: none, method: METHOD}
  - kind: route
"""
    names = ("safe", "hate", "spam")
    gold = [(i, names[i % 3], "examples" if i < 6 else "calibration") for i in range(20)]

    def script(seen: Seen) -> Reply:
        label: Any = names[seen.index % 3]
        body = {"label": label} if kind == "single" else {"labels": [label]}
        why = "reasoning" if "Reason, then" in seen.prompt else "rationale"
        content = orjson.dumps({why: "so", "confidence": 0.6 + 0.03 * (seen.index % 12), **body}).decode()
        return Reply(content=content, without_logprobs=True)

    with scripted_server(script) as server:
        folder = make_project(
            server.base_url, n_items=24, gold=gold, steps=steps.replace("METHOD", "batch"), kind=kind
        )
        first = run(folder, tmp_path / "store")
        write_strategy(folder, server.base_url, steps=steps.replace("METHOD", "temperature"), name="other")
        write_strategy(folder, server.base_url, steps=steps.replace("METHOD", "batch"), name="renamed")
        paid = len(server.requests)
        second = run(folder, tmp_path / "store", strategy="other")
        renamed = run(folder, tmp_path / "store", strategy="renamed")
        assert len(server.requests) == paid
    assert first["model_calls"] == paid > 24
    assert (second["model_calls"], renamed["model_calls"]) == (0, 0)
    assert second["strategy_fp"] != first["strategy_fp"]
    assert renamed["strategy_fp"] == first["strategy_fp"]
    assert second["steps_reused"] == first["done"] + sum(
        row["n"]
        for row in rows(
            tmp_path / "store",
            "SELECT count(*) AS n FROM steps WHERE name = 'consensus' AND status = 'ok' AND run_id = ?",
            first["run_id"],
        )
    )


def test_a_corrected_example_label_is_asked_anew(make_project: MakeProject, tmp_path: Path) -> None:
    steps = """
  - kind: normalize
  - {kind: retrieve, encoder: tfidf, k: 3}
  - kind: label
  - kind: route
"""
    with scripted_server(lambda _: answer("safe")) as server:
        gold = [(i, "spam", "examples") for i in range(3)]
        folder = make_project(server.base_url, n_items=6, gold=gold, steps=steps)
        first = run(folder, tmp_path / "store")
        text = (folder / "gold.jsonl").read_text()
        (folder / "gold.jsonl").write_text(text.replace('"label": "spam"', '"label": "hate"', 1))
        second = run(folder, tmp_path / "store")
        last = server.requests[-1].prompt
    assert first["model_calls"] == 6
    # m0's own prompt does not show m0: its answer still stands.
    assert second["model_calls"] == 5
    assert "Label: hate" in last


def test_one_character_of_the_guideline_calls_the_model_again(
    make_project: MakeProject, tmp_path: Path
) -> None:
    with scripted_server(lambda _: answer("safe")) as server:
        folder = make_project(server.base_url, n_items=4)
        run(folder, tmp_path / "store")
        before = load_workload(str(folder), None).resolved
        (folder / "guideline.md").write_text((folder / "guideline.md").read_text() + "!")
        after = load_workload(str(folder), None).resolved
        second = run(folder, tmp_path / "store")
    assert second["model_calls"] == 4
    assert [a.fingerprint == b.fingerprint for a, b in zip(before.steps, after.steps, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


def test_the_letter_method_takes_the_servers_log_probabilities(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = """
  - kind: normalize
  - {kind: label, method: logprob, answer_with: letter}
  - kind: route
"""
    reply = Reply(content="B", logprobs=[{"B": -0.2, " A": -2.0, "C": -4.0}])
    with scripted_server(lambda _: reply) as server:
        folder = make_project(server.base_url, n_items=2, steps=steps)
        run(folder, tmp_path / "store")
        body = server.requests[0].body
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    output = orjson.loads(rows(tmp_path / "store", STEPS_OF, "m0")[1]["output_json"])
    assert (output["label"], output["signal"]) == ("hate", "letter_token")
    assert output["log_probs"][0] - output["log_probs"][1] == pytest.approx(-1.8, abs=1e-4)


def test_an_investigation_runs_its_tools_and_is_replayed_without_a_call(
    make_project: MakeProject, tmp_path: Path
) -> None:
    steps = """
  - kind: normalize
  - kind: label
  - {kind: investigate, when: confidence < 0.6, tools: [guideline_search, decode], max_turns: 3}
  - kind: route
"""

    def script(seen: Seen) -> Reply:
        messages = seen.body["messages"]
        if "You investigate items" not in messages[0]["content"]:
            return answer("safe", 0.5 if numbered(seen) == 1 else 0.9)
        act: dict[str, Any] = {"tool": "guideline_search", "arguments": {"query": "offers spam"}}
        if len(messages) > 2:
            act = {
                "tool": "submit_label",
                "arguments": {"label": "spam", "confidence": 0.95, "reason": "S-1"},
            }
        return Reply(content=orjson.dumps(act).decode(), without_logprobs=True)

    with scripted_server(script) as server:
        folder = make_project(server.base_url, n_items=3, steps=steps)
        first = run(folder, tmp_path / "store")
        second = run(folder, tmp_path / "store")
    assert (first["model_calls"], second["model_calls"]) == (5, 0)
    found = rows(
        tmp_path / "store",
        "SELECT output_json FROM steps WHERE kind = 'investigate' AND output_json IS NOT NULL",
    )
    output = orjson.loads(found[0]["output_json"])
    assert (output["label"], output["turns"]) == ("spam", 2)
    assert (
        output["evidence"][0][2].startswith("Guideline: S-1. Offers are spam.")
        or "S-1" in output["evidence"][0][2]
    )


@pytest.mark.parametrize(("step", "method"), [(JsonLabel, "apply"), (Critique, "run"), (Critique, "apply")])
def test_a_bug_in_a_step_stops_the_run_with_its_traceback_and_loses_nothing(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: type, method: str
) -> None:
    steps = """
  - kind: normalize
  - kind: label
  - kind: critique
  - {kind: calibrate, encoder: none}
  - kind: route
"""
    real = getattr(step, method)
    seen_items: set[str] = set()

    def broken(self: Any, state: Any, *rest: Any) -> Any:
        seen_items.add(state.item.id)
        if len(seen_items) > 5 and type(self) is step:
            raise RuntimeError("a bug of ours")
        return real(self, state, *rest)

    def script(seen: Seen) -> Reply:
        if "First reader" in seen.prompt:
            return answer("hate", objection="no", clause="", agrees=True)
        return answer("hate")

    with scripted_server(script) as server:
        folder = make_project(server.base_url, n_items=12, steps=steps, model="concurrency: 1")
        with monkeypatch.context() as patch:
            patch.setattr(step, method, broken)
            with pytest.raises(RuntimeError, match="a bug of ours") as caught:
                run(folder, tmp_path / "store", batch_size=4)
        assert any(entry.name == "broken" for entry in caught.traceback)
        paid = len(server.requests)
        stored = rows(tmp_path / "store", "SELECT count(*) AS n FROM calls")[0]["n"]
        events = rows(tmp_path / "store", "SELECT event, reason FROM runs")
        second = run(folder, tmp_path / "store", batch_size=4)
        total = len(server.requests)
    lost = paid - stored
    assert 0 <= lost <= 1, "only the call under way when the bug struck"
    assert stored > 0
    assert {row["event"] for row in events} == {"started", "stopped"}
    assert any("RuntimeError: a bug of ours" in (row["reason"] or "") for row in events)
    assert second["resumed"]
    assert second["done"] == 12
    assert total == 24 + lost, "no finished call was paid twice"
