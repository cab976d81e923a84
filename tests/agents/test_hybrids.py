"""Mixtures of two strategies: none of B's components is A, all of them are B, and each can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hybrids import MOST, coalitions, components, hybrid
from agents.rebuild import rebuild
from agents.resolve import GoldExample, resolve, snapshot_fingerprint
from labelproof.spec.errors import ConfigError
from labelproof.spec.project import Project, ProjectFolder
from labelproof.spec.strategy import Strategy
from prompts import load_template

Snapshot = Mapping[str, Any]
BASE: list[dict[str, Any]] = [{"kind": "label"}, {"kind": "calibrate"}, {"kind": "route"}]
GOLD = [GoldExample(item_id=f"b2:{i}", label="ok") for i in range(3)]
SHARED_DIR: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("hybrids")
    (folder / "guideline.md").write_text("One.\n\nTwo.\n")
    (folder / "other.md").write_text("One.\n\nThree.\n\nFour.\n")
    (folder / "prompts").mkdir()
    for name in ("terse", "plain"):
        text = load_template("label_json").text.replace("name: label_json", f"name: {name}")
        text = text.replace("# User", f"Answer in the {name} way.\n# User", 1)
        (folder / "prompts" / f"{name}.md").write_text(text)
    SHARED_DIR[:] = [folder]


def project(**more: Any) -> ProjectFolder:
    spec = {
        "name": "p",
        "labels": {"classes": [{"name": "ok"}, {"name": "spam", "description": more.pop("spam", "ads")}]},
        "items": {"path": "items.jsonl"},
        **more,
    }
    return ProjectFolder(SHARED_DIR[0], Project.model_validate(spec))


def snapshot(
    steps: Sequence[Mapping[str, Any]],
    *,
    name: str = "s",
    examples: int = 3,
    calibration: int = 3,
    models: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    strategy = Strategy.model_validate(
        {
            "name": name,
            "models": models
            or {
                "main": {"provider": "openai_compatible", "model": "m"},
                "big": {"provider": "openai_compatible", "model": "b"},
            },
            "steps": list(steps),
        }
    )
    resolved = resolve(project(**more), strategy, examples=GOLD[:examples], calibration=GOLD[:calibration])
    return dict(resolved.snapshot)


def names(a: Snapshot, b: Snapshot) -> list[str]:
    return [component.name for component in components(a, b)]


def test_a_strategy_does_not_differ_from_itself() -> None:
    assert components(snapshot(BASE), snapshot(BASE, name="twin")) == ()
    assert coalitions([]) == [frozenset()]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {"prompt": "terse"}, ["label.prompt"]),
        ({}, {"guideline": "short"}, ["label.guideline"]),
        ({}, {"model": "big"}, ["label.model"]),
        ({}, {"max_retries": 5}, ["label.params"]),
        ({}, {"when": "n_chars < 9"}, ["label.params"]),
        ({"prompt": "terse"}, {"prompt": "plain", "model": "big"}, ["label.prompt", "label.model"]),
        ({}, {"method": "logprob"}, ["label.method"]),  # with the prompt that is written for it
        ({"method": "logprob"}, {"method": "logprob", "answer_with": "letter"}, ["label.method"]),
    ],
)
def test_parts_of_a_model_step_have_names(a: Any, b: Any, expected: list[str]) -> None:
    left = snapshot([{"kind": "label", **a}, *BASE[1:]])
    right = snapshot([{"kind": "label", **b}, *BASE[1:]])
    assert names(left, right) == expected


def test_what_all_steps_share_is_one_component_each() -> None:
    steps = [
        {"kind": "retrieve", "k": 2},
        *BASE[:1],
        {"kind": "investigate", "when": "confidence < 0.2"},
        *BASE[1:],
    ]
    a = snapshot(steps, description="Old.", class_prior={"ok": 0.5, "spam": 0.5})
    b = snapshot(
        steps,
        description="New.",
        spam="commercial offers",
        guideline="other.md",
        examples=2,
        calibration=2,
        class_prior={"ok": 0.9, "spam": 0.1},
    )
    assert names(a, b) == [
        "label.guideline",
        "investigate.guideline",
        "task",
        "labels",
        "examples",
        "calibration",
        "class_prior",
        "guideline_search",
    ]
    one = hybrid(a, b, frozenset(("examples", "class_prior")))
    told = {step["name"]: step["components"] for step in one["steps"]}
    assert len(told["retrieve"]["examples"]) == len(told["calibrate"]["examples"]) == 2
    assert told["calibrate"]["calibration"]["n"] == 3
    assert told["calibrate"]["class_prior"] == {"ok": 0.9, "spam": 0.1}
    assert told["label"]["task"].endswith("Old.")


def test_words_say_how_much_changed() -> None:
    a = snapshot([{"kind": "label", "prompt": "terse"}, *BASE[1:]])
    b = snapshot(
        [
            {"kind": "retrieve"},
            {"kind": "label", "prompt": "plain"},
            BASE[1],
            {"kind": "route", "alpha": 0.03},
        ]
    )
    retrieve, prompt, route = components(a, b)
    assert (retrieve.words, retrieve.state) == ("retrieve added", "added")
    assert prompt.words == "label.prompt +2/-2 reference terse@1→plain@1"
    assert route.words == "route alpha 0.05→0.03"
    assert components(b, a)[0].words == "retrieve removed"


def test_a_step_that_takes_anothers_place_goes_with_it() -> None:
    a = snapshot(BASE)
    b = snapshot([{"kind": "consensus"}, *BASE[1:]])
    (only,) = components(a, b)  # without either of them no item would have a label
    assert (only.name, only.state) == ("consensus", "changed")
    more = snapshot(
        [
            *BASE[:2],
            {"kind": "consensus", "when": "confidence < 0.5"},
            {"kind": "calibrate", "name": "again"},
            BASE[2],
        ]
    )
    assert names(a, more) == ["consensus", "again"]
    renamed = snapshot([{"kind": "label", "name": "read"}, *BASE[1:]])
    assert names(a, renamed) == ["read"]


def test_a_hidden_guideline_is_the_prompts_doing() -> None:
    text = load_template("label_json").text
    start, end = (
        text.index("{% if guideline"),
        text.index("{% endif %}", text.index("{% if guideline")) + len("{% endif %}"),
    )
    bare = (text[:start] + text[end:]).replace("name: label_json", "name: bare").replace("guideline, ", "")
    (SHARED_DIR[0] / "prompts" / "bare.md").write_text(bare)
    a, b = snapshot(BASE), snapshot([{"kind": "label", "prompt": "bare"}, *BASE[1:]])
    assert names(a, b) == ["label.prompt"]


def test_more_than_eight_changes_are_told_by_step() -> None:
    a = [{"kind": "label", "name": f"l{i}"} for i in range(4)]
    b = [
        {"kind": "label", "name": f"l{i}", "prompt": "terse", "model": "big", "guideline": "none"}
        for i in range(4)
    ]
    left, right = snapshot([*a, *BASE[1:]]), snapshot([*b, *BASE[1:]])
    assert names(left, right) == ["l0", "l1", "l2", "l3"]
    many = [{"kind": "retrieve", "name": f"r{i}"} for i in range(12)]
    changed = [{"kind": "retrieve", "name": f"r{i}", "k": 9} for i in range(12)]
    left, right = snapshot([*many, *BASE]), snapshot([*changed, *BASE])
    assert names(left, right) == [*(f"r{i}" for i in range(7)), "other steps"]
    assert snapshot_fingerprint(hybrid(left, right, frozenset(names(left, right)))) == snapshot_fingerprint(
        right
    )


def test_an_unknown_component_is_refused() -> None:
    a, b = snapshot(BASE), snapshot([{"kind": "label", "model": "big"}, *BASE[1:]])
    with pytest.raises(
        ConfigError, match=r"no changed component 'label.prompt'; expected some of label.model"
    ):
        hybrid(a, b, frozenset(("label.prompt",)))


KINDS = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("retrieve"), "k": st.integers(1, 3), "method": st.sampled_from(["fixed", "knn"])}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("label"),
            "prompt": st.sampled_from(["label_json", "terse", "plain"]),
            "model": st.sampled_from(["main", "big"]),
            "guideline": st.sampled_from(["none", "short", "full"]),
            "method": st.sampled_from(["json", "logprob"]),
            "shortlist": st.sampled_from([None, 2]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("consensus"), "models": st.sampled_from([[], ["main", "big"]])}),
    st.fixed_dictionaries({"kind": st.just("critique"), "when": st.sampled_from([None, "confidence < 0.4"])}),
    st.fixed_dictionaries(
        {
            "kind": st.just("investigate"),
            "tools": st.sampled_from([["decode"], ["guideline_search"], ["similar_gold", "decode"]]),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("calibrate"),
            "method": st.sampled_from(["auto", "batch", "none"]),
            "encoder": st.sampled_from(["none", "tfidf"]),
        }
    ),
)


@st.composite
def random_snapshots(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(
        st.lists(KINDS, min_size=1, max_size=4).filter(
            lambda steps: any(step["kind"] in ("label", "consensus", "investigate") for step in steps)
        )
    )
    first: list[list[dict[str, Any]]] = [
        [],
        [{"kind": "normalize"}],
        [{"kind": "normalize", "max_chars": 300}],
    ]
    kinds = draw(st.sampled_from(first)) + kinds
    pool = draw(st.permutations(["one", "two", "three", "four", "five", "six"]))
    steps = [{**step, "name": name} for step, name in zip(kinds, pool, strict=False)]
    return snapshot(
        [*steps, {"kind": "route", "name": pool[5], "alpha": draw(st.sampled_from([0.03, 0.05]))}],
        examples=draw(st.integers(0, 3)),
        calibration=draw(st.integers(0, 3)),
        description=draw(st.sampled_from(["", "Old.", "New."])),
        guideline=draw(st.sampled_from(["guideline.md", "other.md"])),
        spam=draw(st.sampled_from(["ads", "offers"])),
        class_prior=draw(st.sampled_from([{}, {"ok": 0.6, "spam": 0.4}])),
    )


@given(a=random_snapshots(), b=random_snapshots(), data=st.data())
def test_all_is_b_and_none_is_a_and_every_mixture_can_run(
    a: Snapshot, b: Snapshot, data: st.DataObject
) -> None:
    found = names(a, b)
    assert len(found) == len(set(found)) <= MOST
    assert (found == []) == (snapshot_fingerprint(a) == snapshot_fingerprint(b))
    assert snapshot_fingerprint(hybrid(a, b, frozenset())) == snapshot_fingerprint(a)
    assert snapshot_fingerprint(hybrid(a, b, frozenset(found))) == snapshot_fingerprint(b)
    chosen = data.draw(st.sets(st.sampled_from(found))) if found else set()
    mixed = hybrid(a, b, frozenset(chosen))
    rebuilt = rebuild(mixed, project())
    assert rebuilt.resolved.fingerprint == snapshot_fingerprint(mixed)
    # taken from the other side, the rest is what is missing
    rest = hybrid(b, a, frozenset(names(b, a)))
    assert snapshot_fingerprint(rest) == snapshot_fingerprint(a)


@given(a=random_snapshots(), b=random_snapshots())
def test_every_component_changes_something(a: Snapshot, b: Snapshot) -> None:
    for component in components(a, b):
        assert component.keys or component.n_added or component.n_removed, component
