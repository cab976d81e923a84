"""Which side of a canary decides an item: a stable split by a hash, the same in every run and on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from labelproof.spec.errors import ConfigError
from labelproof.spec.items import Item

Side = Literal["champion", "candidate"]
_SPACE = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Who decides one item; ``unit`` is what was hashed: the item's id, or `COLUMN=VALUE` of what belongs together."""

    item: Item
    unit: str
    side: Side


def unit_position(rollout_id: str, unit: str) -> float:
    """Return where a unit lies in [0, 1), uniform over units and independent between roll-outs."""
    size = str(len(rollout_id)).encode()
    data = size + b":" + rollout_id.encode() + unit.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, person=b"lp.rollout").digest()) / _SPACE


def side_of(rollout_id: str, unit: str, share_prob: float) -> Side:
    """Return who decides a unit when the candidate gets ``share_prob`` of them, 0 to 1.

    A unit stays where it is: a higher share only moves units from the champion to the candidate.
    """
    return "candidate" if unit_position(rollout_id, unit) < share_prob else "champion"


def unit_of(item: Item, column: str | None) -> str:
    """Return what an item is assigned by: its id, or the value of a metadata column (without one, its id)."""
    value = None if column is None else item.meta.get(column)
    return item.id if value is None else f"{column}={value}"


def assign(
    items: Sequence[Item], rollout_id: str, share_prob: float, *, column: str | None = None
) -> tuple[Assignment, ...]:
    """Return each item's side, in the order given. ``ConfigError``: no item has the column, or a share outside 0..1."""
    if not 0 <= share_prob <= 1:
        raise ConfigError(f"share: expected a number from 0 to 1, found {share_prob:g}")
    if column is not None and items and all(item.meta.get(column) is None for item in items):
        known = sorted({name for item in items for name in item.meta})
        raise ConfigError(
            f"no item has the metadata column {column!r}; found: {', '.join(known) or 'none'}",
            hint="name another column with --unit, or leave it out: items are then assigned one by one",
        )
    found = []
    for item in items:
        unit = unit_of(item, column)
        found.append(Assignment(item=item, unit=unit, side=side_of(rollout_id, unit, share_prob)))
    return tuple(found)
