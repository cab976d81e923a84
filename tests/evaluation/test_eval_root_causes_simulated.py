"""Section 6 at small R: what `python -m benchmarks.validity --only root_causes` promises."""

from __future__ import annotations

from benchmarks.validity import __main__ as validity
from benchmarks.validity.root_causes import simulate


def test_intervals_and_slices_keep_what_they_promise() -> None:
    rows = simulate(40, 3)
    assert [(row.cell, row.measure, row.value, row.bound) for row in rows if row.holds is False] == []
    bounded = {(row.check, row.measure) for row in rows if row.holds is not None}
    assert ("slices", "false discoveries") in bounded
    assert ("decomposition", "coverage of mix") in bounded
    assert ("behaviour", "behaviour proven") in bounded
    naive = [row.value for row in rows if row.measure == "by uncorrected intervals"]
    assert min(naive) > 0.2  # what the correction is for
    assert "root_causes" in validity.MODULES
