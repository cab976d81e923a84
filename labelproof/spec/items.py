"""One thing to label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labelproof.spec.hashing import digest_text

MetaValue = str | int | float | bool | None


def item_id(text: str) -> str:
    """Return the identity of an item: the hash of its content, so that a copy is the same item."""
    return digest_text(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A text to label. ``external_id`` is the caller's name for it; ``meta`` values become slices."""

    id: str
    external_id: str
    text: str
    meta: Mapping[str, MetaValue] = field(default_factory=dict)

    @classmethod
    def of(
        cls, text: str, *, external_id: str | None = None, meta: Mapping[str, MetaValue] | None = None
    ) -> Item:
        """Return the item of a text; without an external id its content hash serves."""
        identity = item_id(text)
        return cls(id=identity, external_id=external_id or identity, text=text, meta=dict(meta or {}))
