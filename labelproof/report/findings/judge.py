"""Whether a reading keeps a clause, and how sure that is. Pure.

Open findings: a look *holds* when the estimate keeps the bound on at least ``min_n`` items (with `proven`: when the whole
95 % interval does), *fails* when it does not, and otherwise *waits*: the next look reads its work too. With a rate that
sits exactly at its bound, a plain look holds about half of the time, so three in a row still happen one time in eight:
that is why a closed finding is watched.

Closed findings are looked at again and again, so a 95 % interval would open most of them sooner or later by chance. A
rate must therefore be proven to miss its bound at a level that pays for all looks: the k-th look since closing may err
with probability ``delta`` / (k^2 (k + 1)). It may read the work since any of the k - 1 looks before or since the closing
itself (it starts where the estimate last kept the bound), so all looks together err with at most
sum k delta / (k^2 (k + 1)) = ``delta`` (union bound over starts and looks). The interval is stretched to that level on the
logit scale, and for shares the exact binomial limit (Clopper & Pearson 1934) of that many items must lie beyond the bound
too, since score intervals stretch badly into their tails. tests/findings/test_findings_judge.py simulates 120 looks at a
rate that sits at its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from statistics import NormalDist
from typing import Any, Literal

from labelproof.report.findings.predicate import MIN_N, SHARES, Clause

Outcome = Literal["holds", "fails", "waits"]
FAR = 1.5
"""Age, cost and throughput, which have no sampling error: this many times beyond the bound opens a finding at once."""
_Z95 = NormalDist().inv_cdf(0.975)
_EDGE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read for a clause: ``value`` with its 95 % interval from ``n`` (audits, items, cases), or None and why.

    ``quiet``: of drift and sentinel, whether their test is quiet. ``expected_n``: how many there are to read (`items right`).
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    quiet: bool | None = None
    expected_n: int | None = None
    reason: str = ""
    sql: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClauseResult:
    """A clause, what was read, and what follows. ``proven``: a failure that may open a closed finding again."""

    clause: Clause
    reading: Reading
    outcome: Outcome
    proven: bool
    why: str
    words: str

    def to_json(self) -> dict[str, Any]:
        return {
            "clause": self.clause.text,
            "outcome": self.outcome,
            "proven": self.proven,
            **asdict(self.reading),
            "words": self.words,
        }


def judge_clause(
    clause: Clause,
    reading: Reading,
    *,
    watching: bool = False,
    look: int = 1,
    delta: float = 0.05,
    failed_before: bool = False,
) -> ClauseResult:
    """Return what a reading says of a clause.

    ``watching``: the finding is closed (`proven` asks nothing then: the estimate must keep the bound). ``look``: which
    look since closing, from 1; ``delta``: chance that all looks at this clause together open it by mistake;
    ``failed_before``: the look before this one failed too.
    """
    outcome, why = _outcome(clause, reading, watching=watching)
    proven = outcome == "fails" and _is_proven(
        clause, reading, look=look, delta=delta, failed_before=failed_before
    )
    return ClauseResult(
        clause=clause,
        reading=reading,
        outcome=outcome,
        proven=proven,
        why=why,
        words=_words(clause, reading, why),
    )


def together(results: Sequence[ClauseResult]) -> Outcome:
    """Return what a check says: it fails when one clause does, and holds when all do."""
    said = {result.outcome for result in results}
    if "fails" in said:
        return "fails"
    return "waits" if "waits" in said or not said else "holds"


def has_no_sampling_error(clause: Clause) -> bool:
    """Whether a clause is about a quantity that is read, not estimated."""
    return clause.kind == "items" or (clause.kind == "metric" and clause.metric not in SHARES)


def needed_n(clause: Clause, reading: Reading) -> int:
    """Return how many items a look needs before it counts."""
    if clause.min_n is not None:
        return clause.min_n
    if clause.kind == "items":
        return max(1, reading.expected_n or 1)
    if clause.kind == "suite":
        return 1
    return MIN_N if clause.metric in SHARES else 0  # no open task: nobody waits, and that is an age of 0


def miss_level(look: int, delta: float) -> float:
    """Return the one-sided error that the ``look``-th look may make; see the module."""
    return delta / (look * look * (look + 1))


def is_missed(clause: Clause, reading: Reading, level: float) -> bool:
    """Whether the interval, stretched to the one-sided error ``level``, lies beyond the bound, and the exact one too."""
    value, low, high, bound = reading.value, reading.low, reading.high, clause.bound
    if value is None or low is None or high is None or bound is None or clause.keeps(value):
        return False
    stretch = NormalDist().inv_cdf(1 - level) / _Z95
    if not 0 <= low <= value <= high <= 1:  # agreement below chance: no share, so no logit
        end = value + stretch * ((high if clause.side == "at_least" else low) - value)
        return end < bound if clause.side == "at_least" else end > bound
    room = 0.5 / max(1, reading.n)
    at = _logit(min(max(value, room), 1 - room))
    if clause.side == "at_least":
        end = _share(at + stretch * max(0.0, _logit(high) - at))
    else:
        end = _share(at - stretch * max(0.0, at - _logit(low)))
    ends = [end] if clause.metric == "agreement" else [end, _exact_end(clause, value, reading.n, level)]
    return all(one < bound if clause.side == "at_least" else one > bound for one in ends)


def _exact_end(clause: Clause, value: float, n: int, level: float) -> float:
    """Return the exact one-sided limit of a share of ``n`` items on the side of its bound."""
    from scipy.special import betaincinv

    k = min(n, max(0, round(value * n)))
    if clause.side == "at_least":
        return 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - level))
    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, level))


def _outcome(clause: Clause, reading: Reading, *, watching: bool) -> tuple[Outcome, str]:
    if clause.side is None:
        if reading.quiet is None:
            return "waits", reading.reason
        return ("holds", "quiet") if reading.quiet else ("fails", reading.reason or "alarm")
    if reading.value is None:
        return "waits", reading.reason or "nothing to measure yet"
    needed = needed_n(clause, reading)
    if reading.n < needed:
        return "waits", f"a look needs at least {needed}"
    if not clause.keeps(reading.value):
        return "fails", "fails"
    if not clause.proven or watching or clause.kind == "items":
        return "holds", "holds"
    end = reading.low if clause.side == "at_least" else reading.high
    if end is not None and clause.keeps(end):
        return "holds", "holds, proven"
    return "waits", "kept, but not proven yet"


def _is_proven(clause: Clause, reading: Reading, *, look: int, delta: float, failed_before: bool) -> bool:
    if clause.side is None:
        return True  # its test is anytime valid itself
    assert reading.value is not None
    assert clause.bound is not None
    if has_no_sampling_error(clause):
        bound = clause.bound
        far = reading.value > FAR * bound if clause.side == "at_most" else reading.value * FAR < bound
        return failed_before or far
    return is_missed(clause, reading, miss_level(look, delta))


def _words(clause: Clause, reading: Reading, why: str) -> str:
    if clause.side is None:
        return f"{clause.text}: {why}"
    if reading.value is None:
        return f"{clause.text}: {why}"
    interval = ""
    if reading.low is not None and reading.high is not None:
        interval = f"95 % interval {reading.low:.4g} to {reading.high:.4g}, "
    return f"{clause.text}: {reading.value:.4g} ({interval}n = {reading.n}): {why}"


def _logit(share: float) -> float:
    share = min(max(share, _EDGE), 1 - _EDGE)
    return log(share / (1 - share))


def _share(at: float) -> float:
    return 1 / (1 + exp(-at)) if at > -700 else 0.0
