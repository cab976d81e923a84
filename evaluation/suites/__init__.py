"""Behavioural tests of a labelling strategy: how cases are made, and what passing them says. Texts in, values out.

:mod:`perturb` (changes that must not flip a label), :mod:`bias` (identity terms swapped), :mod:`injection` (attacks inside
the item), :mod:`functional` (cases with an expected label), :mod:`score` (failure rates with intervals, group gaps).
"""

from evaluation.suites.case import Case, edit_share, rng_of, suite_fingerprint
from evaluation.suites.score import (
    Answer,
    GroupGap,
    GroupPair,
    Outcome,
    RateRow,
    SuiteScore,
    failure_difference,
    group_gaps,
    judge_case,
    modal_labels,
    score_suite,
)

__all__ = [
    "Answer",
    "Case",
    "GroupGap",
    "GroupPair",
    "Outcome",
    "RateRow",
    "SuiteScore",
    "edit_share",
    "failure_difference",
    "group_gaps",
    "judge_case",
    "modal_labels",
    "rng_of",
    "score_suite",
    "suite_fingerprint",
]
