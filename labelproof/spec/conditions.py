"""The small language of ``when:``: comparisons of signals, joined by and / or / not.

Parsed with Python's grammar but never evaluated by Python: only names of known signals, numbers,
strings, booleans, comparisons and boolean operators get through.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

SIGNALS = {
    "confidence": "calibrated, or best raw, probability that the current label is right; unknown counts as 0",
    "margin": "difference between the two most probable labels, 0 to 1; unknown counts as 0",
    "agreement": "share of samples or models behind the current label, 0 to 1; unknown counts as 0",
    "label": "the current label",
    "manipulation": "true when hidden, obfuscated or instruction-like content was found",
    "language": "guessed language or script code of the item",
    "n_chars": "length of the normalized text, in characters",
    "failed": "true when no label could be read from the model's answers",
}
_MAX_CHARS = 500
_UNKNOWN_IS_ZERO = frozenset(("confidence", "margin", "agreement", "n_chars"))
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed ``when:``; ``names`` are the signals it reads."""

    source: str
    names: frozenset[str]
    _body: ast.expr

    def holds(self, signals: Mapping[str, Any]) -> bool:
        """Return whether the condition is met; a signal that is missing makes its comparison false,
        except confidence, margin and agreement, which count as 0 (unknown is not trusted).
        """
        return bool(_evaluate(self._body, signals))


@lru_cache(maxsize=256)
def parse_condition(source: str) -> Condition:
    """Return the condition of ``source``; ``ValueError`` says what is not understood."""
    if len(source) > _MAX_CHARS:
        raise ValueError(f"a condition has at most {_MAX_CHARS} characters; found {len(source)}")
    try:
        with warnings.catch_warnings():  # Python warns of odd spellings; ours are checked below
            warnings.simplefilter("ignore")
            body = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(
            f"cannot read condition {source!r}: {why}; expected e.g. confidence < 0.7"
        ) from error
    names = frozenset(node.id for node in ast.walk(body) if isinstance(node, ast.Name))
    unknown = names - SIGNALS.keys()
    if unknown:
        raise ValueError(
            f"unknown signal {min(unknown)!r} in {source!r}; expected one of {', '.join(SIGNALS)}"
        )
    _check(body, source)
    return Condition(source, names, body)


def _check(node: ast.expr, source: str) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check(value, source)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check(operand, source)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return
        case ast.Compare(left=left, ops=ops, comparators=right):
            if any(type(op) not in _COMPARE for op in ops):
                raise ValueError(f"operator not allowed in condition {source!r}")
            for side in (left, *right):
                _check(side, source)
        case ast.Name() | ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            for element in elements:
                _check(element, source)
        case _:
            raise ValueError(
                f"{ast.unparse(node)!r} is not allowed in a condition; expected comparisons of "
                f"signals joined by and / or / not"
            )


def _evaluate(node: ast.expr, signals: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_evaluate(value, signals) for value in values)
        case ast.BoolOp(values=values):
            return any(_evaluate(value, signals) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, signals)
        case ast.UnaryOp(operand=ast.Constant(value=value)):
            return -value  # type: ignore[operator]  # _check admits only numbers here
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            current = _evaluate(left, signals)
            for op, comparator in zip(ops, comparators, strict=True):
                other = _evaluate(comparator, signals)
                if current is None or other is None:
                    return False
                try:
                    if not _COMPARE[type(op)](current, other):
                        return False
                except TypeError:
                    return False
                current = other
            return True
        case ast.Name(id=name):
            value = signals.get(name)
            return 0.0 if value is None and name in _UNKNOWN_IS_ZERO else value
        case ast.Constant(value=value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_evaluate(element, signals) for element in elements]
    raise AssertionError("unreachable: _check admits nothing else")
