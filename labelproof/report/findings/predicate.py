"""The check language: what must hold before a finding closes, read into clauses; nothing is evaluated as code.

    check     = clause { "and" clause }
    clause    = metric ( ">=" | "<=" ) number [ strength ]
              | "suite:" NAME [ "/" FUNCTIONALITY ] "fail_rate" "<=" number [ strength ]
              | "items right" ">=" number [ strength ]
              | "drift:" KIND "quiet"
              | "sentinel quiet"
    strength  = "proven" | "with n >=" INTEGER
    number    = 0.95 | 95 %

``metric`` is a target's metric: auto_accuracy, recall:LABEL, coverage, … A label or name with blanks or other marks
stands in double quotes: ``recall:"hate speech"``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal, NamedTuple

from labelproof.spec.errors import ConfigError
from labelproof.spec.monitoring import DRIFT_KINDS, LOWER_IS_BETTER, TARGET_METRICS, Target

Side = Literal["at_least", "at_most"]
ClauseKind = Literal["metric", "suite", "items", "drift", "sentinel"]
MIN_N = 30
"""Items, audits or tasks that a share needs before a look at it counts, unless the check says `with n >=`."""
SHARES = frozenset({"auto_accuracy", "recall", "coverage", "failed_rate", "reviewer_accuracy", "agreement"})
"""Metrics with a sampling error; the others (age, cost, throughput) are what they are."""
MAX_LENGTH = 500
MAX_CLAUSES = 10
_SYMBOLS = {"≥": ">=", "≤": "<="}
_TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<op>>=|<=|≥|≤)|(?P<percent>%)"""
    r"""|(?P<word>(?:[^\s"<>=≥≤%]|"[^"\n]*")+)|(?P<other>.)""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z|\.[0-9]+\Z")
_PLAIN = re.compile(r'[^\s"<>=≥≤%]+\Z')


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition. ``of``: the label of a recall, the kind of a drift, or NAME[/FUNCTIONALITY] of a suite.

    ``side`` and ``bound`` are None for `quiet`. ``proven``: the 95 % interval must keep the bound, not only the estimate.
    ``min_n``: fewer decide nothing; None: the default of its kind (:data:`MIN_N` for shares, all items for `items right`).
    """

    kind: ClauseKind
    metric: str
    of: str | None = None
    side: Side | None = None
    bound: float | None = None
    proven: bool = False
    min_n: int | None = None

    @property
    def subject(self) -> str:
        """The metric as targets name it: `recall:hate`, `auto_accuracy`."""
        return self.metric if self.of is None else f"{self.metric}:{self.of}"

    @property
    def text(self) -> str:
        """The clause, written the one way."""
        if self.kind == "drift":
            return f"drift:{self.of} quiet"
        if self.kind == "sentinel":
            return "sentinel quiet"
        name = {"suite": f"suite:{_quoted(self.of or '')} fail_rate", "items": "items right"}.get(self.kind)
        if name is None:
            name = self.metric if self.of is None else f"{self.metric}:{_quoted(self.of)}"
        assert self.bound is not None
        strength = " proven" if self.proven else "" if self.min_n is None else f" with n >= {self.min_n}"
        return f"{name} {'>=' if self.side == 'at_least' else '<='} {_number_text(self.bound)}{strength}"

    def keeps(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        assert self.bound is not None
        return value >= self.bound if self.side == "at_least" else value <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Clauses that must all hold."""

    clauses: tuple[Clause, ...]

    @property
    def text(self) -> str:
        return " and ".join(clause.text for clause in self.clauses)


def parse_check(text: str) -> Check:
    """Return the check that ``text`` says; ``ConfigError`` names the position (from 1) and what was expected there."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"a check has at most {MAX_LENGTH} characters, found {len(text)}")
    return _Parser(text).check()


def target_check(target: Target) -> str:
    """Return the check that a target itself is: `auto_accuracy >= 0.95`."""
    side: Side = "at_least" if target.at_least is not None else "at_most"
    return Clause(kind="metric", metric=target.name, of=target.of, side=side, bound=target.bound).text


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def check(self) -> Check:
        clauses = [self._clause()]
        while self._peek() is not None:
            token = self._next("`and`, or the end of the check")
            if token.text.lower() != "and":
                raise self._error(token, "expected `and`, or the end of the check")
            if len(clauses) == MAX_CLAUSES:
                raise self._error(token, f"a check has at most {MAX_CLAUSES} clauses")
            clauses.append(self._clause())
        return Check(clauses=tuple(clauses))

    def _clause(self) -> Clause:
        token = self._next("a metric, `suite:NAME`, `drift:KIND`, `sentinel` or `items`")
        name, colon, of = token.text.partition(":")
        name = name.lower()
        if name == "sentinel" and not colon:
            self._word("quiet")
            return Clause(kind="sentinel", metric="sentinel")
        if name == "items" and not colon:
            self._word("right")
            return self._bounded(Clause(kind="items", metric="items right"), "at_least", (0.0, 1.0))
        if name == "drift":
            return self._drift(token, of)
        if name == "suite":
            named = self._unquoted(token, of, "suite:NAME")
            self._word("fail_rate")
            return self._bounded(Clause(kind="suite", metric="suite", of=named), "at_most", (0.0, 1.0))
        return self._metric(token, name, colon, of)

    def _drift(self, token: _Token, of: str) -> Clause:
        if of not in DRIFT_KINDS:
            raise self._error(token, f"expected drift:KIND with one of {', '.join(DRIFT_KINDS)}")
        self._word("quiet")
        return Clause(kind="drift", metric="drift", of=of)

    def _metric(self, token: _Token, name: str, colon: str, of: str) -> Clause:
        if name not in TARGET_METRICS:
            known = (*TARGET_METRICS, "suite", "drift", "sentinel", "items")
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else None
            raise self._error(
                token, f"unknown metric {name!r}; expected one of {', '.join(known)}", hint=hint
            )
        if (name == "recall") != bool(colon):
            raise self._error(token, "recall names a label (`recall:LABEL`), the other metrics none")
        label = self._unquoted(token, of, "recall:LABEL") if colon else None
        side: Side = "at_most" if name in LOWER_IS_BETTER else "at_least"
        limits = (0.0, 1.0) if name in SHARES else (0.0, float("inf"))
        return self._bounded(Clause(kind="metric", metric=name, of=label), side, limits)

    def _bounded(self, clause: Clause, side: Side, limits: tuple[float, float]) -> Clause:
        wanted = ">=" if side == "at_least" else "<="
        token = self._next(f"`{wanted}`")
        if token.kind != "op" or _SYMBOLS.get(token.text, token.text) != wanted:
            raise self._error(token, f"{clause.subject} is promised with `{wanted}`: expected `{wanted}`")
        bound = self._number(limits)
        proven, min_n = self._strength()
        if proven and clause.kind != "items" and clause.kind == "metric" and clause.metric not in SHARES:
            token = self._tokens[self._at - 1]
            raise self._error(token, f"{clause.metric} has no sampling error, so nothing needs to be proven")
        return Clause(
            kind=clause.kind,
            metric=clause.metric,
            of=clause.of,
            side=side,
            bound=bound,
            proven=proven,
            min_n=min_n,
        )

    def _strength(self) -> tuple[bool, int | None]:
        token = self._peek()
        if token is None or token.text.lower() not in ("proven", "with"):
            return False, None
        self._at += 1
        if token.text.lower() == "proven":
            return True, None
        self._word("n")
        op = self._next("`>=`")
        if _SYMBOLS.get(op.text, op.text) != ">=":
            raise self._error(op, "expected `>=`: `with n >= 100`")
        number = self._next("a whole number of at least 1")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", number.text):
            raise self._error(number, "expected a whole number of at least 1")
        return False, int(number.text)

    def _number(self, limits: tuple[float, float]) -> float:
        low, high = limits
        token = self._next("a number")
        if not _NUMBER.match(token.text):
            raise self._error(token, "expected a number, such as 0.95 or 95 %")
        value = float(token.text)
        after = self._peek()
        if after is not None and after.kind == "percent":
            self._at += 1
            value = float(f"{value / 100:.12g}")
        if not (isfinite(value) and low <= value <= high):
            between = f"between {low:g} and {high:g}" if isfinite(high) else f"of at least {low:g}"
            raise self._error(token, f"expected a number {between}")
        return value

    def _unquoted(self, token: _Token, text: str, form: str) -> str:
        found = text.replace('"', "") if text.count('"') % 2 == 0 else ""
        if not found.strip():
            raise self._error(token, f"expected {form}")
        return found

    def _word(self, wanted: str) -> None:
        token = self._next(f"`{wanted}`")
        if token.text.lower() != wanted:
            raise self._error(token, f"expected `{wanted}`")

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self, wanted: str) -> _Token:
        token = self._peek()
        if token is None:
            raise ConfigError(f"check, position {len(self._text) + 1}: expected {wanted}, found the end")
        self._at += 1
        return token

    def _error(self, token: _Token, message: str, *, hint: str | None = None) -> ConfigError:
        return ConfigError(f"check, position {token.at + 1}: {message}, found {token.text!r}", hint=hint)


def _tokens(text: str) -> Sequence[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "other":
            raise ConfigError(f"check, position {match.start() + 1}: unexpected {match[0]!r}")
        if kind != "blank":
            found.append(_Token(kind, match[0], match.start()))
    return found


def _quoted(name: str) -> str:
    return name if _PLAIN.match(name) else f'"{name}"'


def _number_text(value: float) -> str:
    return f"{value:.12g}"
