"""One behavioural test: a text, what it was made from, and what its label must be."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

from labelproof.spec.hashing import digest, digest_parts
from labelproof.spec.items import MetaValue

Rule = Literal["same_as_base", "same_in_set", "not_target", "expected"]
"""What passing means. same_as_base: the label of ``base_text``; same_in_set: the label most of the cases with the same
``base_id`` get; not_target: anything but the label that the attacker wants; expected: ``expected`` (a taxonomy's parent
admits its leaves)."""
_MOST_COMPARED = 500
"""Characters of a text that the edit share reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A text and how its label is judged.

    ``base_id`` names what it was made from: the item, the template, or the case itself. Cases of one base are not
    independent. ``base_text``: the text whose label it is held against, None where the rule needs none. ``expected``: the
    label it must get (rule expected) or must not be led to (not_target). ``group``: whose identity terms the text names.
    """

    suite: str
    functionality: str
    base_id: str
    text: str
    rule: Rule
    base_text: str | None = None
    expected: str | None = None
    group: str | None = None
    meta: Mapping[str, MetaValue] = field(default_factory=dict)

    @property
    def case_id(self) -> str:
        """The hash of text and test: the same case of two strategies, or of two days, has the same id."""
        return digest_parts(
            self.suite,
            self.functionality,
            self.base_id,
            self.text,
            self.base_text or "",
            self.expected or "",
            self.group or "",
        )


def suite_fingerprint(cases: Iterable[Case]) -> str:
    """Return the hash of a set of cases; their order does not matter."""
    return digest(sorted(case.case_id for case in cases))


def rng_of(seed: int, *parts: str) -> random.Random:
    """Return a generator that depends on ``seed`` and ``parts`` only: adding a case changes no other."""
    return random.Random(digest_parts(str(seed), *parts))


def edit_share(before: str, after: str) -> float:
    """Return how much of a text was changed, 0 (nothing) to 1 (all): 1 - the ratio of Ratcliff and Obershelp.

    Reads the first 500 characters of both.
    """
    before, after = before[:_MOST_COMPARED], after[:_MOST_COMPARED]
    return 1.0 - SequenceMatcher(None, before, after, autojunk=False).ratio()
