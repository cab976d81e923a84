"""Numbers as people read them, alike in every room: counts in groups of three, shares in per cent."""

from __future__ import annotations


def count(n: int) -> str:
    """Return `41 300`, with a narrow space that does not break."""
    return f"{n:,}".replace(",", "\u202f")


def plain_count(n: int) -> str:
    """Return `41 300` with an ordinary space, for sentences that are copied and searched."""
    return f"{n:,}".replace(",", " ")


def percent(value: float | None, digits: int = 1) -> str:
    """Return `96.2 %`; a dash for None."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"
