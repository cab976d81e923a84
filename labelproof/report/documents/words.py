"""Numbers as people read them, and lines of a report as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping

from labelproof.report.documents.model import Fragment, Given, Line, Number, Ref, Unit
from labelproof.report.plots._units import MINUS

NONE = "–"
_UNKNOWN = "not known"
_TAILS: Mapping[str, str] = {"hours": " h", "days": " d", "seconds": " s", "ms": " ms", "ms_change": " ms"}
_SIGNED = frozenset(("points", "usd_change", "ms_change"))


def value_text(number: Number) -> str:
    """Return the value in its unit: "96.2 %", "41 300", "$1.20"; "not known" for None."""
    return _UNKNOWN if number.value is None else _shown(number.value, number.unit)


def interval_text(number: Number) -> str:
    """Return "95 % interval 95.1–97.1", its ends rounded outward; why there is none, or nothing for a count."""
    if number.value is None:
        return number.reason
    ends = ends_text(number)
    return f"95 % interval {ends}" if ends else ""


def ends_text(number: Number) -> str:
    """Return "95.1–97.1"; empty without an interval."""
    if number.low is None or number.high is None:
        return ""
    signed = number.unit in _SIGNED
    low, high = _end(number.low, number.unit, up=False), _end(number.high, number.unit, up=True)
    return f"{low} to {high}" if signed or low.startswith(MINUS) else f"{low}–{high}"


def n_text(number: Number) -> str:
    """Return how many items, votes or audits are behind it."""
    return NONE if number.n is None else count_text(number.n)


def count_text(value: float) -> str:
    """Return a whole number in groups of three."""
    return f"{round(value):,}".replace(",", "\u202f").replace("-", MINUS)


def ref_text(ref: Ref, numbers: Mapping[str, Number]) -> str:
    """Return what a reference shows."""
    number = numbers[ref.name]
    if ref.form == "n":
        return n_text(number)
    if ref.form == "interval":
        return interval_text(number)
    if ref.form == "ends":
        return ends_text(number) or NONE
    if ref.form == "both":
        more = ends_text(number) or (number.reason if number.value is None else "")
        return f"{value_text(number)} ({more})" if more else value_text(number)
    return value_text(number)


def plain(line: Line, numbers: Mapping[str, Number]) -> str:
    """Return a line as text without markup, on one line."""
    return "".join(_plain(part, numbers) for part in line).replace("\u202f", " ").strip()


def join(lines: list[Line], separator: str) -> Line:
    """Return lines as one, with a separator between them."""
    found: list[Fragment] = []
    for place, line in enumerate(lines):
        found += ([separator] if place else []) + list(line)
    return tuple(found)


def safe_text(text: str, most: int = 400) -> str:
    """Return a text from outside on one line, its hidden and control characters written out."""
    from labelproof.report.suites.text import visible

    return visible(text, most)


def _plain(part: Fragment, numbers: Mapping[str, Number]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Ref):
        return ref_text(part, numbers)
    return safe_text(part.text) if isinstance(part, Given) else part.text


def _shown(value: float, unit: Unit) -> str:
    sign = MINUS if value < 0 else ""
    size = abs(value)
    if unit == "count":
        return count_text(value)
    if unit == "share":
        return f"{sign}{_decimals(100 * size, 1)} %"
    if unit in _SIGNED:
        text = {"points": f"{100 * size:.1f}", "usd_change": _money(size)}.get(unit, f"{size:.0f}")
        sign = "±" if not text.strip("0.") else MINUS if value < 0 else "+"
        return f"{sign}{'$' if unit == 'usd_change' else ''}{text}{' points' * (unit == 'points')}{' ms' * (unit == 'ms_change')}"
    if unit == "ms":
        return f"{sign}{count_text(size)} ms"
    if unit == "usd":
        return f"{sign}${_money(size)}"
    if unit in ("hours", "days", "seconds"):
        return f"{sign}{count_text(size) if size >= 100 else f'{size:.1f}'}{_TAILS[unit]}"
    return f"{sign}{size:.2f}" if size < 1000 else count_text(value)


def _end(value: float, unit: Unit, *, up: bool) -> str:
    """An interval's end, rounded outward so that no digit says too much."""
    digits = {"share": 3, "points": 3, "number": 2, "hours": 1, "days": 1, "seconds": 1}.get(unit)
    if digits is not None:
        scale = 10.0**digits
        value = (math.ceil(value * scale - 1e-9) if up else math.floor(value * scale + 1e-9)) / scale
    elif unit == "count":
        value = math.ceil(value - 1e-9) if up else math.floor(value + 1e-9)
    return _shown(value, unit).removesuffix(
        {"share": " %", "points": " points"}.get(unit, _TAILS.get(unit, ""))
    )


def _decimals(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _money(value: float) -> str:
    if value == 0 or value >= 0.1:
        return f"{value:,.2f}".replace(",", "\u202f")
    rounded = float(f"{value:.2g}")
    return f"{rounded:.10f}".rstrip("0").rstrip(".") if rounded else "0"
