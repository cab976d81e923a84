"""Examples: class-balanced and the same every time, or nearest and never the item itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.examples import ExampleBank, _largest
from agents.state import Example
from labelproof.spec.errors import ConfigError
from labelproof.spec.items import item_id
from tests.agents.agent_helpers import item_state, make_step, no_encoder, resources

LABELS = ("safe", "hate", "spam")


def bank(n: int = 12) -> list[Example]:
    texts = [f"{('garden', 'vermin', 'loan')[i % 3]} sentence number {i}" for i in range(n)]
    return [Example(item_id(text), text, LABELS[i % 3]) for i, text in enumerate(texts)]


@given(st.integers(1, 20), st.integers(0, 5), st.randoms())
def test_fixed_examples_are_balanced_and_depend_on_the_seed_only(k: int, seed: int, order: object) -> None:
    rows = [*bank(), *(Example(f"more{i}", f"safe {i}", "safe") for i in range(9))]
    chosen = ExampleBank(rows, no_encoder).fixed(k, seed)
    shuffled = list(rows)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ExampleBank(shuffled, no_encoder).fixed(k, seed) == chosen
    assert len(chosen) == len({e.item_id for e in chosen}) == min(k, 21)
    counts = Counter(e.label for e in chosen)
    scarce = {"hate": 4, "spam": 4, "safe": 13}
    most = max(counts.values())
    assert all(counts[label] >= min(most - 1, scarce[label]) for label in LABELS)


def test_another_seed_chooses_others() -> None:
    rows = ExampleBank(bank(60), no_encoder)
    assert rows.fixed(6, 0) != rows.fixed(6, 1)


def test_the_nearest_come_first_and_the_item_is_never_its_own_neighbour() -> None:
    rows = bank()
    found = ExampleBank(rows, no_encoder).nearest(
        [e.text for e in rows], [e.item_id for e in rows], 3, "tfidf"
    )
    for example, near in zip(rows, found, strict=True):
        assert len(near) == 3
        assert example.item_id not in {n.item_id for n in near}
        similar = [n.similarity for n in near]
        assert all(s is not None for s in similar)
        assert similar == sorted(similar, reverse=True, key=lambda s: s or 0)
        assert near[0].text.split()[0] == example.text.split()[0]


def test_more_neighbours_than_there_are_examples_are_all_of_them() -> None:
    rows = bank(4)
    (other,) = ExampleBank(rows, no_encoder).nearest(["a new text"], ["new"], 50, "tfidf")
    assert len(other) == 4
    (own,) = ExampleBank(rows, no_encoder).nearest([rows[0].text], [rows[0].item_id], 50, "tfidf")
    assert len(own) == 3
    (none,) = ExampleBank(rows[:1], no_encoder).nearest([rows[0].text], [rows[0].item_id], 5, "tfidf")
    assert none == ()


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.5, 1.0]), min_size=7, max_size=7), min_size=1, max_size=4
    ),
    st.integers(1, 9),
)
def test_the_k_largest_are_those_of_a_whole_stable_sort(scores: list[list[float]], k: int) -> None:
    matrix = np.asarray(scores, dtype=np.float32)
    whole = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
    assert [row.tolist() for row in _largest(matrix, k)] == whole.tolist()


def test_without_examples_the_user_is_told_what_to_add() -> None:
    empty = ExampleBank([], no_encoder)
    for ask in (lambda: empty.fixed(2, 0), lambda: empty.nearest(["x"], ["x"], 2, "tfidf")):
        with pytest.raises(ConfigError, match="split 'examples'") as caught:
            ask()
        assert "add gold items" in str(caught.value)


def test_retrieved_neighbours_stand_most_similar_last_in_the_user_turn(tmp_path: Path) -> None:
    step = make_step(tmp_path, "retrieve", with_=resources(examples=bank()), encoder="tfidf", k=3)
    states = [item_state("loan sentence number 2"), item_state("vermin sentence number 99")]
    for state, output in zip(states, step.run_batch(states), strict=True):
        assert orjson.loads(orjson.dumps(output)) == output
        step.apply(state, output)
        similar = [e.similarity or 0 for e in state.near_examples]
        assert similar == sorted(similar)
        assert state.fixed_examples == ()
        assert state.item.id not in {e.item_id for e in state.near_examples}
    assert states[1].near_examples[-1].label == "hate"


def test_fixed_examples_go_to_the_system_text_of_all_items(tmp_path: Path) -> None:
    step = make_step(tmp_path, "retrieve", with_=resources(examples=bank()), method="fixed", k=3, seed=4)
    states = [item_state("a"), item_state("b")]
    for state, output in zip(states, step.run_batch(states), strict=True):
        step.apply(state, output)
    assert states[0].fixed_examples == states[1].fixed_examples
    assert {e.label for e in states[0].fixed_examples} == set(LABELS)
    assert states[0].near_examples == ()
