"""What blind audits say of automatic decisions in a period: how many were right, what harm was missed, what was removed
wrongly. Values are made by SQL that anybody can run; intervals by the same code as `labelproof quality`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evaluation.audit_intervals import join_thin_strata
from evaluation.audits import DEFAULT_STRATA, audit_strata
from evaluation.decision_quality import decision_quality
from evaluation.suites.injection import harmless_label
from labelproof.report.documents.book import Book, literal
from labelproof.report.documents.model import Number
from labelproof.report.quality_data import ANSWER
from labelproof.spec.labels import EMPTY_SET, LabelSchema, Severity

_SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
_AUDITS_PER_STRATUM = 20
_COVERED = "inclusion_prob > 0 AND inclusion_prob <= 1 AND confidence BETWEEN 0 AND 1"
WRONG = "final_label <> label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless:
    """Which label lets an item pass, and how that is known. ``names``: canonical labels that count as harmless."""

    name: str
    why: str
    severity: dict[str, Severity]
    """Harmful leaf → its severity."""
    graded: bool
    """Whether the harmful labels have different severities."""

    def is_harmless(self, column: str) -> str:
        """Return the SQL condition that a label column holds the harmless label."""
        return f"{column} = {literal(self.name)}"

    def is_harmful(self, column: str, severity: Severity | None = None, *, multi: bool = False) -> str:
        """Return the SQL condition that a label is not harmless, of a ``severity`` if one is named."""
        if severity is None:
            return f"{column} <> {literal(self.name)}"
        names = [name for name, one in self.severity.items() if one == severity]
        if not multi:
            return f"{column} IN ({', '.join(literal(name) for name in names)})"
        worse = [
            n for n, one in self.severity.items() if _SEVERITIES.index(one) > _SEVERITIES.index(severity)
        ]
        found = (
            f"list_has_any(string_split({column}, '+'), [{', '.join(literal(n) for n in names)}]::VARCHAR[])"
        )
        above = (
            f"list_has_any(string_split({column}, '+'), [{', '.join(literal(n) for n in worse)}]::VARCHAR[])"
        )
        return f"({found} AND NOT {above})" if worse else found


def harmless_of(schema: LabelSchema) -> Harmless:
    """Return the label that counts as harmless: the class of the lowest severity; among several, by its name.

    Multi-label: the empty set. Where all classes have one severity, the name decides (safe, none, benign, not_x …),
    and without such a name the first class does; ``why`` says which rule applied.
    """
    ranks = {name: _SEVERITIES.index(leaf.severity) for name, leaf in schema.leaf_classes.items()}
    lowest = [name for name in schema.leaves if ranks[name] == min(ranks.values())]
    if schema.kind == "multi":
        name, why = EMPTY_SET, "no label at all"
    elif len(lowest) == 1:
        name, why = lowest[0], "the class of the lowest severity"
    else:
        plain = {one.casefold().replace(" ", "_").replace("-", "_"): one for one in lowest}
        name = plain[harmless_label(list(plain))]
        why = (
            "of the classes of the lowest severity, the one named so or else the first"
            if len(lowest) < len(ranks)
            else "no severities are set: the class named so, or else the first"
        )
    harmful = {one: _SEVERITIES[rank] for one, rank in ranks.items() if one != name}
    return Harmless(name=name, why=why, severity=harmful, graded=len(set(harmful.values())) > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A question to the audits: of the automatic decisions ``inside``, which share is ``wrong``?

    Both are SQL conditions over `label` and `final_label`; ``right``: the share that is not wrong is asked for.
    """

    name: str
    label: str
    inside: str = "true"
    wrong: str = WRONG
    right: bool = False


def ask_audits(
    book: Book, asked: Sequence[Audited], *, since: datetime, until: datetime, strategy: str | None
) -> list[Number]:
    """Keep and return one number per question, over the decisions with ``since`` <= time < ``until``.

    One pass over the decisions answers all questions; only numbers leave the store, no texts.
    """
    given = {"since": since, "until": until, "strategy": strategy}
    columns = ", ".join(
        f"coalesce({one.inside}, false) AS inside_{i}, coalesce({one.wrong}, false) AS wrong_{i}"
        for i, one in enumerate(asked)
    )
    table = book.read(
        f"SELECT confidence, inclusion_prob, drawn, final_label IS NOT NULL AS settled, {columns}\n"
        f"FROM (\n{ANSWER}) WHERE {_COVERED}",
        **given,
    )

    def column(name: str) -> npt.NDArray[np.generic]:
        return np.asarray(table[name].to_numpy(zero_copy_only=False))

    confidence, prob = column("confidence").astype(np.float64), column("inclusion_prob").astype(np.float64)
    drawn, settled = column("drawn").astype(np.bool_), column("settled").astype(np.bool_)
    found = []
    for i, one in enumerate(asked):
        inside = column(f"inside_{i}").astype(np.bool_)
        seen = inside & drawn & settled
        number = _estimate(
            book, one, confidence[inside], confidence[seen], prob[seen], column(f"wrong_{i}")[seen].astype(np.bool_),
            int((inside & drawn).sum()), given,
        )  # fmt: skip
        found.append(book.add(number))
    return found


def _estimate(
    book: Book,
    asked: Audited,
    pool: npt.NDArray[np.float64],
    confidence: npt.NDArray[np.float64],
    prob: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.bool_],
    n_drawn: int,
    given: Mapping[str, object],
) -> Number:
    edges = final_edges(pool, confidence)
    number = Number(
        name=asked.name,
        label=asked.label,
        value=None,
        n=int(wrong.size),
        unit="share",
        sql=book.filled(_share_sql(asked, edges), **given),
        reason="no such decision was made" if not pool.size else "no such decision has a settled audit",
    )
    if not wrong.size:
        return number
    # To be seen, an item had to be drawn and settled: see quality_estimates.quality_of.
    quality = decision_quality(wrong, prob * (wrong.size / n_drawn), confidence, population_confidence=pool)
    estimate = quality.correct if asked.right else quality.error
    return replace(
        number,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        method=quality.method,
        reason="" if estimate.low is not None else estimate.reason or "",
    )


def final_edges(pool: npt.NDArray[np.float64], audited: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Return the confidences at which the strata of the estimate begin, strata with too few audits joined."""
    if not pool.size or not audited.size:
        return ()
    wanted = min(DEFAULT_STRATA, max(1, audited.size // _AUDITS_PER_STRATUM))
    strata = audit_strata(pool, n_strata=wanted)
    if len(strata.sizes) == 1:
        return ()
    _, joined, _ = join_thin_strata(strata.codes(audited), np.array(strata.sizes, dtype=np.float64))
    ends = set(np.cumsum(joined)[:-1].tolist())
    return tuple(
        edge
        for edge, end in zip(strata.edges, np.cumsum(strata.sizes)[:-1].tolist(), strict=True)
        if end in ends
    )


def _share_sql(asked: Audited, edges: Sequence[float]) -> str:
    """The estimate's value as SQL: weighted within strata of confidence, strata weighted by their sizes."""
    ends = (None, *edges, None)
    cases = " ".join(
        f"WHEN {' AND '.join(part for part in (_from(low), _below(high)) if part)} THEN {h}"
        for h, (low, high) in enumerate(pairwise(ends))
        if low is not None or high is not None
    )
    stratum = f"CASE {cases} END" if cases else "0"
    value = "sum(size * wrong / weight) / sum(size)"
    return (
        f"WITH pool AS (\n    SELECT *, {stratum} AS stratum, drawn AND final_label IS NOT NULL AS seen\n"
        f"    FROM (\n{ANSWER})\n    WHERE {_COVERED} AND ({asked.inside})\n),\n"
        "strata AS (\n    SELECT count(*) AS size, coalesce(sum(1 / inclusion_prob) FILTER (seen), 0) AS weight,\n"
        f"        coalesce(sum(1 / inclusion_prob) FILTER (seen AND {asked.wrong}), 0) AS wrong,\n"
        "        count(*) FILTER (seen) AS n\n    FROM pool GROUP BY stratum\n)\n"
        f"SELECT {'1 - ' if asked.right else ''}{value} AS value, coalesce(sum(n), 0) AS n FROM strata"
    )


def _from(low: float | None) -> str:
    return "" if low is None else f"confidence >= {low!r}"


def _below(high: float | None) -> str:
    return "" if high is None else f"confidence < {high!r}"


__all__ = ["Audited", "Harmless", "ask_audits", "final_edges", "harmless_of"]
