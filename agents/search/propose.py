"""Which candidates are tried: single moves of all families in turn, then pairs of moves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, zip_longest

from agents.search.space import FAMILIES, Family, Move

SINGLES = 3 / 4
"""Share of the candidates that make one move only: what one move does is easier to learn from."""
_APART = (frozenset({"consensus", "instructions"}), frozenset({"consensus", "guideline"}))
"""Families that do not go together: both rewrite the main step's prompt, or one undoes what the other says."""


def proposals(moves: Mapping[Family, Sequence[Move]], n: int, seed: int) -> Iterator[tuple[Move, ...]]:
    """Yield combinations of moves, best spread first; the first ``n`` usable ones are the candidates.

    Three quarters are single moves: all instruction variants (they are paid for), then the other families in turn, in
    an order drawn by ``seed``; then pairs from different families; then what is left of both. No combination comes twice. The same arguments give the same order.
    """
    rng = random.Random(seed)
    shuffled = {family: rng.sample(list(found), len(found)) for family, found in sorted(moves.items())}
    turns = zip_longest(*(shuffled.get(family, ()) for family in FAMILIES if family != "instructions"))
    singles = [(move,) for move in moves.get("instructions", ())]
    singles += [(move,) for turn in turns for move in turn if move is not None]
    pairs = [
        (one, other)
        for a, b in combinations([family for family in FAMILIES if shuffled.get(family)], 2)
        if frozenset((a, b)) not in _APART
        for one in shuffled[a]
        for other in shuffled[b]
    ]
    rng.shuffle(pairs)
    first = max(1, round(n * SINGLES)) if pairs else n
    yield from singles[:first]
    yield from pairs[: max(0, n - first)]
    yield from singles[first:]
    yield from pairs[max(0, n - first) :]
