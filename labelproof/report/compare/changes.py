"""What differs between two versions, short enough to read: long lists are counted, not written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.snapshots import ABSENT, KeyChange, StepChange

MOST_ENTRIES = 6
"""More changed entries of one list than this become one line."""


def few_keys(changes: Sequence[StepChange]) -> tuple[StepChange, ...]:
    """Return the changes with each list of which many entries differ (examples, gold) as one key, counted."""
    return tuple(replace(change, keys=_counted(change.keys)) for change in changes)


def _counted(keys: Sequence[KeyChange]) -> tuple[KeyChange, ...]:
    lists: dict[str, list[KeyChange]] = {}
    for key in keys:
        lists.setdefault(_list_of(key.path), []).append(key)
    short: list[KeyChange] = []
    for name, mine in lists.items():
        if not name or len(mine) <= MOST_ENTRIES:
            short += mine
            continue
        gone = sum(key.after is ABSENT for key in mine)
        new = sum(key.before is ABSENT for key in mine)
        other = len(mine) - gone - new
        before = ABSENT if new == len(mine) else f"{gone} entries that go, {other} that change"
        after = ABSENT if gone == len(mine) else f"{new} new entries, {other} that change"
        if new == len(mine):
            after = f"{new} entries"
        if gone == len(mine):
            before = f"{gone} entries"
        short.append(KeyChange(path=name, before=before, after=after))
    return tuple(short)


def _list_of(path: str) -> str:
    """Return the list that a path's last entry stands in: `examples` of `examples[b2:00d8]`; empty: in none."""
    return path.rpartition("[")[0] if path.endswith("]") else ""
