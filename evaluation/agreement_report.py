"""All agreement numbers of one vote table together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from evaluation._reliability import Distance
from evaluation.agreement import (
    AnnotatorAgreement,
    LabelAgreement,
    Weights,
    annotator_agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    label_agreement,
    percent_agreement,
)
from evaluation.intervals import Estimate, wilson
from evaluation.votes import VoteTable

MAX_PAIR_ANNOTATORS = 20
"""With more annotators there are over 190 pairs: none is listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Two annotators on the items both voted on."""

    first: str
    second: str
    agreement: Estimate
    kappa: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementReport:
    """Agreement with intervals; ``n_paired``: items with at least two votes, where agreement can be seen.

    ``alpha_masi`` is there for multi-label tables only; ``annotators`` and ``pairs`` are empty for anonymous
    votes, ``pairs`` also with more than 20 annotators.
    """

    distance: Distance
    n_items: int
    n_paired: int
    n_votes: int
    n_annotators: int | None
    alpha: Estimate
    alpha_masi: Estimate | None
    fleiss: Estimate
    percent: Estimate
    labels: tuple[LabelAgreement, ...]
    annotators: tuple[AnnotatorAgreement, ...]
    pairs: tuple[PairAgreement, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One flat row per number: metric, slice, value, low, high, n, method, reason."""
        found = [("krippendorff_alpha", "all", self.alpha)]
        if self.alpha_masi is not None:
            found.append(("krippendorff_alpha_masi", "all", self.alpha_masi))
        found += [("fleiss_kappa", "all", self.fleiss), ("percent_agreement", "all", self.percent)]
        found += [("label_agreement", row.label, row.agreement) for row in self.labels]
        found += [("annotator_agreement", row.annotator, row.agreement) for row in self.annotators]
        found += [("cohen_kappa", f"{row.first} / {row.second}", row.kappa) for row in self.pairs]
        return [{"metric": metric, "slice": part, **asdict(estimate)} for metric, part, estimate in found]


def agreement_report(
    table: VoteTable,
    *,
    ordinal: bool = False,
    multilabel: bool | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> AgreementReport:
    """Every agreement number that the table allows; an empty table gives undefined numbers with reasons.

    ``ordinal``: the labels are a scale in the order of ``table.labels`` (ordinal alpha, quadratic kappa).
    ``multilabel``: labels are sets "a+b", so alpha is also given with the MASI distance; None: when any label
    holds a "+".
    """
    how: dict[str, Any] = {"seed": seed, "confidence": confidence, "resamples": resamples}
    distance: Distance = "ordinal" if ordinal else "nominal"
    sets = any("+" in label for label in table.labels) if multilabel is None else multilabel
    known = not table.anonymous
    return AgreementReport(
        distance=distance,
        n_items=len(table.items),
        n_paired=int((table.counts.sum(axis=1) >= 2).sum()),
        n_votes=table.n_votes,
        n_annotators=len(table.annotators) if known else None,
        alpha=krippendorff_alpha(table, distance=distance, **how),
        alpha_masi=krippendorff_alpha(table, distance="masi", **how) if sets else None,
        fleiss=fleiss_kappa(table, **how),
        percent=percent_agreement(table, **how),
        labels=label_agreement(table, **how),
        annotators=annotator_agreement(table, **how) if known else (),
        pairs=pairwise_agreement(table, weights="quadratic" if ordinal else None, **how)
        if known and len(table.annotators) <= MAX_PAIR_ANNOTATORS
        else (),
    )


def pairwise_agreement(
    table: VoteTable,
    *,
    weights: Weights | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> tuple[PairAgreement, ...]:
    """Every two annotators who share an item: percent agreement (Wilson) and Cohen's kappa, in table order."""
    table.need_annotators("agreement of pairs")
    found = []
    for first, second in combinations(table.annotators, 2):
        a, b = table.column(first), table.column(second)
        both = (a >= 0) & (b >= 0)
        if both.any():
            found.append(
                PairAgreement(
                    first=first,
                    second=second,
                    agreement=wilson(int((a == b)[both].sum()), int(both.sum()), confidence=confidence),
                    kappa=cohen_kappa(
                        table,
                        first,
                        second,
                        weights=weights,
                        seed=seed,
                        confidence=confidence,
                        resamples=resamples,
                    ),
                )
            )
    return tuple(found)
