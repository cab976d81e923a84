"""Long lists in a strategy diff are counted; what is short stays as it is."""

from __future__ import annotations

from agents.snapshots import ABSENT, KeyChange, StepChange
from labelproof.report.compare.changes import MOST_ENTRIES, few_keys


def changed(*keys: KeyChange) -> StepChange:
    return StepChange(name="calibrate", state="changed", before="x", after="y", keys=keys)


def entry(index: int, before: object, after: object) -> KeyChange:
    return KeyChange(path=f"examples[b2:{index:04d}]", before=before, after=after)


def test_many_new_examples_are_one_line() -> None:
    other = KeyChange(path="params.encoder", before="none", after="minilm")
    (step,) = few_keys([changed(other, *(entry(i, ABSENT, "hate") for i in range(200)))])
    assert step.keys == (other, KeyChange(path="examples", before=ABSENT, after="200 entries"))


def test_a_few_are_written_out() -> None:
    keys = tuple(entry(i, "safe", "hate") for i in range(MOST_ENTRIES))
    assert few_keys([changed(*keys)])[0].keys == keys


def test_what_goes_what_comes_and_what_changes_is_told_apart() -> None:
    keys = [entry(i, "safe", ABSENT) for i in range(3)]
    keys += [entry(i, ABSENT, "safe") for i in range(3, 5)]
    keys += [entry(i, "safe", "hate") for i in range(5, 9)]
    (step,) = few_keys([changed(*keys)])
    (key,) = step.keys
    assert key.before == "3 entries that go, 4 that change"
    assert key.after == "2 new entries, 4 that change"
