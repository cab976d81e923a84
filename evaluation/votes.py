"""Votes as one table: who gave which item which label, with gaps where nobody asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluation._arrays import IntArray, same_length
from labelproof.spec.errors import ConfigError

MISSING = -1
"""Code of a vote that was not given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VoteTable:
    """``codes[i, j]``: index into ``labels`` of annotator j's vote on item i, -1 where there is none.

    ``labels`` are in the order that an ordinal scale has. ``families[j]``: the model family that annotator
    j is a sample of (None: an annotator of its own); ``is_model[j]``: not a person. ``anonymous``: only
    counts of votes were known, so a column is a seat, not somebody, and whatever needs to know who voted is
    refused. ``n_replaced``: votes that a later one by the same annotator on the same item replaced.
    """

    items: tuple[str, ...]
    annotators: tuple[str, ...]
    labels: tuple[str, ...]
    codes: IntArray
    families: tuple[str | None, ...] = ()
    is_model: tuple[bool, ...] = ()
    anonymous: bool = False
    n_replaced: int = 0
    _column: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, values in (("items", self.items), ("annotators", self.annotators), ("labels", self.labels)):
            if len(set(values)) != len(values):
                twice = next(v for v in values if values.count(v) > 1)
                raise ConfigError(f"{name}: expected different names, found {twice!r} twice")
        codes = np.array(self.codes, dtype=np.int64, ndmin=2)
        if codes.shape != (len(self.items), len(self.annotators)) and codes.size:
            raise ConfigError(
                f"codes: expected shape ({len(self.items)}, {len(self.annotators)}), found {codes.shape}"
            )
        codes = codes.reshape(len(self.items), len(self.annotators))
        bad = (codes < MISSING) | (codes >= len(self.labels))
        if bad.any():
            i, j = (int(x) for x in np.argwhere(bad)[0])
            raise ConfigError(
                f"codes: expected -1 (no vote) to {len(self.labels) - 1}, found {codes[i, j]} for item "
                f"{self.items[i]!r}, annotator {self.annotators[j]!r}"
            )
        codes.setflags(write=False)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "families", self.families or (None,) * len(self.annotators))
        object.__setattr__(self, "is_model", self.is_model or (False,) * len(self.annotators))
        same_length(annotators=self.annotators, families=self.families, is_model=self.is_model)
        object.__setattr__(self, "_column", {name: j for j, name in enumerate(self.annotators)})

    @classmethod
    def from_votes(
        cls,
        rows: Iterable[tuple[str, str, str]],
        *,
        labels: Sequence[str] | None = None,
        families: Mapping[str, str] | None = None,
        models: Collection[str] = (),
    ) -> VoteTable:
        """The table of (item, annotator, label) rows; items and annotators in order of first appearance.

        When an annotator votes on an item again the later row wins (as in the store's ``current_votes``) and
        ``n_replaced`` counts it. ``labels``: the closed, ordered set (a label outside is a ConfigError);
        default: the labels that occur, sorted. ``families``: annotator -> model family; its members and
        ``models`` are no people. No rows give an empty table.
        """
        votes: dict[tuple[str, str], str] = {}
        n_rows = 0
        for item, annotator, label in rows:
            n_rows += 1
            votes[(item, annotator)] = label
        items = {item: i for i, item in enumerate(dict.fromkeys(item for item, _ in votes))}
        annotators = {name: j for j, name in enumerate(dict.fromkeys(name for _, name in votes))}
        names = tuple(sorted(set(votes.values()))) if labels is None else tuple(labels)
        code_of = {label: code for code, label in enumerate(names)}
        codes = np.full((len(items), len(annotators)), MISSING, dtype=np.int64)
        for (item, annotator), label in votes.items():
            code = code_of.get(label)
            if code is None:
                raise ConfigError(
                    f"votes: expected one of {', '.join(names)}; found {label!r} by {annotator!r} on item {item!r}",
                    hint="add the label to the list of labels or correct the vote",
                )
            codes[items[item], annotators[annotator]] = code
        of = families or {}
        return cls(
            items=tuple(items),
            annotators=tuple(annotators),
            labels=names,
            codes=codes,
            families=tuple(of.get(name) for name in annotators),
            is_model=tuple(name in of or name in models for name in annotators),
            n_replaced=n_rows - len(votes),
        )

    @classmethod
    def from_counts(
        cls, counts: npt.ArrayLike, *, labels: Sequence[str], items: Sequence[str] | None = None
    ) -> VoteTable:
        """The anonymous table of ``counts`` (n_items, n_labels): how many votes each label got on each item.

        Enough for alpha, Fleiss' kappa and agreement per label; what needs annotators is refused later.
        Negative and fractional counts are a ConfigError. ``items`` default to "0", "1", ...
        """
        given = np.asarray(counts, dtype=np.float64)
        if given.size == 0:
            given = given.reshape(0, len(labels))
        if given.ndim != 2 or given.shape[1] != len(labels):
            raise ConfigError(f"counts: expected shape (n_items, {len(labels)}), found {given.shape}")
        bad = ~np.isfinite(given) | (given < 0) | (given != np.floor(given))
        if bad.any():
            i, k = (int(x) for x in np.argwhere(bad)[0])
            raise ConfigError(f"counts: expected whole numbers from 0, found {given[i, k]} at [{i}, {k}]")
        whole = given.astype(np.int64)
        n = len(whole)
        if items is not None:
            same_length(items=items, counts=whole)
        votes = whole.sum(axis=1)
        width = int(votes.max(initial=0))
        codes = np.full((n, width), MISSING, dtype=np.int64)
        seat = np.arange(width)
        before = np.zeros(n, dtype=np.int64)
        for k in range(len(labels)):
            after = before + whole[:, k]
            codes[(seat >= before[:, None]) & (seat < after[:, None])] = k
            before = after
        return cls(
            items=tuple(str(i) for i in range(n)) if items is None else tuple(items),
            annotators=tuple(f"vote {j + 1}" for j in range(width)),
            labels=tuple(labels),
            codes=codes,
            anonymous=True,
        )

    @property
    def counts(self) -> IntArray:
        """Votes of each label on each item, (n_items, n_labels)."""
        found = np.zeros((len(self.items), len(self.labels)), dtype=np.int64)
        for column in self.codes.T:
            voted = np.flatnonzero(column >= 0)
            found[voted, column[voted]] += 1
        return found

    @property
    def n_votes(self) -> int:
        """How many votes the table holds."""
        return int((self.codes >= 0).sum())

    def column(self, annotator: str) -> IntArray:
        """The codes (n_items,) of one annotator, -1 where they did not vote; ConfigError if unknown."""
        self.need_annotators("the votes of one annotator")
        j = self._column.get(annotator)
        if j is None:
            shown = ", ".join(self.annotators[:12]) or "none"
            raise ConfigError(f"no annotator {annotator!r}; found: {shown}")
        return np.asarray(self.codes[:, j])

    def need_annotators(self, what: str) -> None:
        """Refuse ``what`` with a ConfigError when only counts are known."""
        if self.anonymous:
            raise ConfigError(
                f"{what} needs to know who voted; this table holds only how many votes each label got",
                hint="give one row per vote with its annotator, or use alpha and Fleiss' kappa",
            )

    def people(self) -> VoteTable:
        """The same table without the annotators that are models."""
        keep = [j for j, model in enumerate(self.is_model) if not model]
        return VoteTable(
            items=self.items,
            annotators=tuple(self.annotators[j] for j in keep),
            labels=self.labels,
            codes=self.codes[:, keep],
            anonymous=self.anonymous,
            n_replaced=self.n_replaced,
        )
