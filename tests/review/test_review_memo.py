"""Costly pages are computed once per half minute, whoever asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from labelproof.review.web._memo import KEPT, Memo

T0 = datetime(2026, 3, 2, tzinfo=UTC)


def test_a_result_is_kept_for_half_a_minute_and_says_when_it_was_made() -> None:
    memo, made = Memo(), iter(range(10))
    assert memo.get("a", T0, lambda: next(made)) == (T0, 0)
    assert memo.get("a", T0 + KEPT - timedelta(seconds=1), lambda: next(made)) == (T0, 0)
    assert memo.get("b", T0, lambda: next(made)) == (T0, 1)
    assert memo.get("a", T0 + KEPT, lambda: next(made)) == (T0 + KEPT, 2)
    assert memo.get("a", T0, lambda: next(made)) == (T0, 3), (
        "a clock that was set back keeps nothing for long"
    )


def test_an_error_is_raised_and_not_kept() -> None:
    memo = Memo()

    def fail() -> int:
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        memo.get("a", T0, fail)
    assert memo.get("a", T0, lambda: 1) == (T0, 1)


def test_who_asks_meanwhile_waits_and_gets_the_same() -> None:
    memo, started, go, calls = Memo(), threading.Event(), threading.Event(), []

    def slow() -> int:
        calls.append(1)
        started.set()
        go.wait(10)
        return 7

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(memo.get, "a", T0, slow) for _ in range(4)]
        started.wait(10)
        go.set()
        assert [one.result()[1] for one in asked] == [7] * 4
    assert len(calls) == 1
