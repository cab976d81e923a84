"""What a run's summary says of the sentinel set, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentinel_lines(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return (heading, text) pairs from a summary's key `sentinel`; nothing without one."""
    if told is None:
        return []
    found = []
    if told["n_answers"]:
        cost = f", ${told['cost_usd']:.4f}" if told.get("cost_usd") else ""
        found.append(f"{told['n_answers']} frozen items asked anew{cost}")
    if told.get("note"):
        found.append(str(told["note"]))
    return [("Sentinel set" if i == 0 else "", text) for i, text in enumerate(found)]
