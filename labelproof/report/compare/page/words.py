"""Numbers as the page says them."""

from __future__ import annotations


def count(n: int) -> str:
    """Return a count in groups of three, with spaces that do not break."""
    return f"{n:,}".replace(",", "\u202f")
