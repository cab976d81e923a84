"""Labels from votes of annotators who err differently: Dawid-Skene, with model families collapsed.

Five samples of one model make the same mistakes. Counted as five annotators they outvote everybody else
and the estimate of who is right becomes "the model"; so a family is one annotator here unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from evaluation._arrays import FloatArray
from evaluation.votes import VoteTable
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Collapse = Literal["majority", "mean"]
_TIE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DawidSkene:
    """What the votes say together, and how each annotator errs.

    ``posterior`` (n_items, K): probability of each label; an item nobody voted on has the prevalence.
    ``answer``: the most probable label, None without votes and when labels tie. ``prevalence`` (K,).
    ``annotators`` (J,): people and, when collapsed, one per model family. ``confusion`` (J, K, K):
    [annotator, true label, vote]; rows sum to 1. ``accuracy`` (J,): chance that a vote is right, over the
    prevalence. ``collapsed``: family -> how many annotators became one. ``reason``: why it should not be used
    as it is (unconverged, no votes); None when all is well.
    """

    items: tuple[str, ...]
    labels: tuple[str, ...]
    annotators: tuple[str, ...]
    posterior: FloatArray
    answer: tuple[str | None, ...]
    prevalence: FloatArray
    confusion: FloatArray
    collapsed: dict[str, int]
    converged: bool
    n_iterations: int
    log_likelihood: float | None
    reason: str | None

    @property
    def accuracy(self) -> FloatArray:
        """Chance that a vote of each annotator is right, (J,): prevalence-weighted diagonal."""
        return np.asarray(np.einsum("k,jkk->j", self.prevalence, self.confusion))


def dawid_skene(
    table: VoteTable,
    *,
    collapse_families: bool = True,
    how: Collapse = "majority",
    smoothing: float = 1.0,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
) -> DawidSkene:
    """The Dawid-Skene estimate: posterior label per item, confusion matrix per annotator, prevalence.

    Dawid & Skene (1979), Applied Statistics 28, eqs. 2.3-2.5, by EM in log space from the vote shares
    (their majority start). ``smoothing`` pseudo-votes are spread evenly over each confusion row and over the
    prevalence, so no vote is ever impossible; the penalised likelihood then rises in every step. Converged:
    no posterior moved by more than ``tolerance``. Votes are taken as independent given the true label; so
    ``collapse_families`` makes all annotators of one family a single one, by the ``majority`` of their votes
    on an item (a tie splits the vote evenly) or by their ``mean`` (shares).

    An empty table gives no answers and a reason; ConfigError for anonymous votes and bad settings.
    """
    table.need_annotators("Dawid-Skene")
    if smoothing <= 0 or max_iterations < 1 or tolerance <= 0:
        raise ConfigError(
            f"expected smoothing > 0, max_iterations >= 1, tolerance > 0; found {smoothing}, {max_iterations}, "
            f"{tolerance}"
        )
    groups = _groups(table, collapse=collapse_families)
    votes = _votes(table, list(groups.values()), how)
    n, k, j = len(table.items), len(table.labels), len(groups)
    voted = np.diff(votes.indptr) > 0
    reason = None
    converged = False
    n_iterations = 0
    likelihood: float | None = None
    posterior = np.full((n, k), 1 / max(k, 1))
    prevalence = np.full(k, 1 / max(k, 1))
    confusion = np.full((j, k, k), 1 / max(k, 1))
    if not voted.any():
        reason = "no votes"
    else:
        posterior[voted] = _shares(votes[voted], j, k)
        for n_iterations in range(1, max_iterations + 1):  # noqa: B007  # reported after the loop
            prevalence, confusion = _maximise(votes, posterior, voted, smoothing, j, k)
            new, likelihood = _expect(votes, prevalence, confusion)
            moved = float(np.abs(new - posterior)[voted].max())
            posterior = new
            if moved <= tolerance:
                converged = True
                break
        else:
            reason = f"not converged after {max_iterations} steps (last change of a posterior: {moved:.2g})"
    return DawidSkene(
        items=table.items,
        labels=table.labels,
        annotators=tuple(groups),
        posterior=posterior,
        answer=_answers(posterior, voted, table.labels),
        prevalence=prevalence,
        confusion=confusion,
        collapsed={name: len(columns) for name, columns in groups.items() if len(columns) > 1},
        converged=converged,
        n_iterations=n_iterations,
        log_likelihood=likelihood,
        reason=reason,
    )


def _groups(table: VoteTable, *, collapse: bool) -> dict[str, list[int]]:
    """Columns of each annotator after collapsing; a family that is named like an annotator is refused."""
    groups: dict[str, list[int]] = {}
    for j, (name, family) in enumerate(zip(table.annotators, table.families, strict=True)):
        if not collapse or family is None:
            if name in groups:
                raise ConfigError(f"family and annotator share the name {name!r}", hint="rename the family")
            groups[name] = [j]
            continue
        members = groups.setdefault(family, [])
        if any(table.families[m] != family for m in members):
            raise ConfigError(f"family and annotator share the name {family!r}", hint="rename the family")
        members.append(j)
    return groups


def _votes(table: VoteTable, groups: Sequence[Sequence[int]], how: Collapse) -> csr_array:
    """Vote shares as a sparse (n_items, J*K) matrix; each voting group's block sums to 1 on an item."""
    from scipy.sparse import csr_array

    n, k = len(table.items), len(table.labels)
    rows, columns, values = [], [], []
    for g, members in enumerate(groups):
        block = np.zeros((n, k))
        for j in members:
            voted = np.flatnonzero(table.codes[:, j] >= 0)
            block[voted, table.codes[voted, j]] += 1.0
        if how == "majority" and len(members) > 1:
            most = block.max(axis=1, keepdims=True)
            block = ((block == most) & (most > 0)).astype(np.float64)
        row, label = np.nonzero(block)
        rows.append(row)
        columns.append(g * k + label)
        values.append(block[row, label] / block.sum(axis=1)[row])
    if not rows:
        return csr_array((n, 0))
    return csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, len(groups) * k)
    )


def _shares(votes: csr_array, j: int, k: int) -> FloatArray:
    """The start: each item's share of votes per label."""
    summed = votes @ np.tile(np.eye(k), (j, 1))
    return np.asarray(summed / summed.sum(axis=1, keepdims=True), dtype=np.float64)


def _maximise(
    votes: csr_array, posterior: FloatArray, voted: np.ndarray, smoothing: float, j: int, k: int
) -> tuple[FloatArray, FloatArray]:
    """Eqs. 2.3 and 2.4: prevalence (K,) and confusion (J, K true, K vote) from the posterior, smoothed."""
    prevalence = posterior[voted].sum(axis=0) + smoothing / k
    expected = (votes.T @ posterior).reshape(j, k, k).transpose(0, 2, 1) + smoothing / k
    return prevalence / prevalence.sum(), expected / expected.sum(axis=2, keepdims=True)


def _expect(votes: csr_array, prevalence: FloatArray, confusion: FloatArray) -> tuple[FloatArray, float]:
    """Eq. 2.5: the posterior (n, K), and the log likelihood of the votes."""
    from scipy.special import logsumexp

    j, k, _ = confusion.shape
    weights = np.log(confusion).transpose(0, 2, 1).reshape(j * k, k)
    joint = votes @ weights + np.log(prevalence)
    evidence = logsumexp(joint, axis=1, keepdims=True)
    return np.asarray(np.exp(joint - evidence), dtype=np.float64), float(evidence.sum())


def _answers(posterior: FloatArray, voted: np.ndarray, labels: tuple[str, ...]) -> tuple[str | None, ...]:
    if not labels:
        return (None,) * len(posterior)
    best = posterior.argmax(axis=1)
    tied = (posterior >= posterior.max(axis=1, keepdims=True) - _TIE).sum(axis=1) > 1
    return tuple(
        None if tie or not has else labels[code] for code, tie, has in zip(best, tied, voted, strict=True)
    )
