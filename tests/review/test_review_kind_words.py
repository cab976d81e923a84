"""Kinds of task are named in the plural where they are counted, and in the singular beside one task."""

from __future__ import annotations

from labelproof.review.web._view_lead import ONE_OF_KIND
from labelproof.review.web._view_words import KIND_WORDS


def test_a_single_task_is_named_in_the_singular() -> None:
    assert ONE_OF_KIND.keys() == KIND_WORDS.keys()
    assert [ONE_OF_KIND[kind] for kind in ("audit", "gold", "appeal")] == [
        "audit",
        "gold candidate",
        "appeal",
    ]
