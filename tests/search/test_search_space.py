"""Moves are small edits of a strategy file, candidates a fair spread of them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import yaml

from agents.search.propose import proposals
from agents.search.space import (
    FAMILIES,
    Facts,
    edited,
    enumerate_space,
    main_step,
    parse_families,
    plain,
    without_calibration,
    written,
)
from labelproof.cli.optimize import ALL_FAMILIES
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import ModelSpec, Strategy

SHOWN = frozenset({"guideline", "near_examples", "fixed_examples"})
STRONG = ModelSpec(provider="openai_compatible", model="strong")


def strategy(*steps: dict[str, Any]) -> Strategy:
    return Strategy.model_validate({"name": "base", "steps": [*steps, {"kind": "route"}]})


def facts(**more: Any) -> Facts:
    values: dict[str, Any] = {
        "n_examples": 20,
        "encoders": ("tfidf",),
        "shown": SHOWN,
        "second_models": {},
    } | more
    return Facts(**values)


JSON = strategy({"kind": "normalize"}, {"kind": "label"}, {"kind": "calibrate", "encoder": "none"})
TOKEN = strategy({"kind": "label", "method": "logprob", "guideline": "short"})


def names(base: Strategy, **more: Any) -> dict[str, list[str]]:
    found = enumerate_space(base, facts(**more), FAMILIES)
    return {family: [move.name for move in moves] for family, moves in found.moves.items()}


def test_the_space_of_a_written_answer() -> None:
    assert names(JSON) == {
        "few_shot": [
            "knn2-tfidf",
            "fixed2",
            "knn4-tfidf",
            "fixed4",
            "knn8-tfidf",
            "fixed8",
            "knn16-tfidf",
            "fixed16",
        ],
        "guideline": ["guideline-none", "guideline-short"],
        "calibrate": ["calibrate-tfidf", "calibrate-off"],
        "consensus": ["consensus3", "consensus5"],
        "cascade": [],
    }
    assert names(JSON, second_models={"strong": STRONG})["cascade"] == [
        "second1-below0.6",
        "second1-below0.8",
        "second1-below0.9",
    ]


def test_what_makes_no_sense_is_left_out_with_its_reason() -> None:
    found = enumerate_space(TOKEN, facts(n_examples=1), FAMILIES)
    assert found.moves["consensus"] == ()
    assert "probabilities of one token" in found.skipped["consensus"]
    assert "holds 1 items" in found.skipped["few_shot"]
    assert "no strategy of the project defines a second model" in found.skipped["cascade"]


def test_every_move_makes_another_valid_strategy() -> None:
    space = enumerate_space(JSON, facts(second_models={"strong": STRONG}), FAMILIES)
    seen = [JSON]
    for moves in space.moves.values():
        for move in moves:
            made = edited(JSON, [move], name="made", description="made")
            again = Strategy.model_validate(yaml.safe_load(yaml.safe_dump(plain(made))))
            assert again.model_dump() == made.model_dump()
            assert all(made.steps != one.steps for one in seen), move.name
            seen.append(made)
    assert len(seen) > 12


def test_moves_keep_what_they_do_not_change() -> None:
    base = strategy(
        {"kind": "retrieve", "method": "knn", "k": 3, "encoder": "tfidf"},
        {"kind": "label", "max_retries": 5, "guideline": "short"},
        {"kind": "label", "name": "again", "when": "confidence < 0.7"},
    )
    space = enumerate_space(base, facts(), FAMILIES)
    by_name = {move.name: move for moves in space.moves.values() for move in moves}
    consensus = edited(base, [by_name["consensus3"]], name="x", description="").steps[1]
    assert (consensus.kind, consensus.samples, consensus.max_retries, consensus.guideline) == (  # type: ignore[union-attr]
        "consensus",
        3,
        5,
        "short",
    )
    assert edited(base, [by_name["no-examples"]], name="x", description="").steps[0].kind == "label"
    later = edited(base, [by_name["again-below0.9"]], name="x", description="").steps[2]
    assert later.when == "confidence < 0.9"
    fixed = edited(base, [by_name["fixed8"]], name="x", description="").steps[0]
    assert (fixed.method, fixed.k) == ("fixed", 8)  # type: ignore[union-attr]
    assert len(without_calibration(JSON).steps) == 3


def test_a_written_instruction_is_a_prompt_of_the_main_step() -> None:
    made = edited(TOKEN, [written("instruction1", "search_abc_1@1", "says")], name="x", description="")
    assert main_step(made).prompt == "search_abc_1@1"


def test_a_strategy_without_a_first_reading_is_refused() -> None:
    base = strategy({"kind": "investigate"})
    with pytest.raises(ConfigError, match="varies such a step"):
        main_step(base)


def test_families_are_checked_and_the_command_offers_all() -> None:
    assert parse_families(ALL_FAMILIES) == FAMILIES
    assert parse_families(" cascade,few_shot ") == ("few_shot", "cascade")
    for wrong in ("few_shots", "", ","):
        with pytest.raises(ConfigError, match="expected some of few_shot"):
            parse_families(wrong)


def test_candidates_are_spread_over_the_families_and_come_once() -> None:
    space = enumerate_space(JSON, facts(second_models={"strong": STRONG}), FAMILIES)
    moves = dict(space.moves)
    moves["instructions"] = tuple(written(f"instruction{i}", f"p{i}", "") for i in (1, 2, 3))
    first = list(islice(proposals(moves, 12, 0), 12))
    assert len(set(first)) == 12
    singles = [combo[0] for combo in first if len(combo) == 1]
    assert len(singles) == 9
    assert [move.name for move in singles[:3]] == ["instruction1", "instruction2", "instruction3"]
    assert {move.family for move in singles} == set(FAMILIES)
    assert first == list(islice(proposals(moves, 12, 0), 12))
    assert first != list(islice(proposals(moves, 12, 1), 12))
    everything = list(proposals(moves, 12, 0))
    assert len({frozenset(m.name for m in combo) for combo in everything}) == len(everything)
    assert all(
        {m.family for m in combo} not in ({"consensus", "instructions"}, {"consensus", "guideline"})
        for combo in everything
    )
