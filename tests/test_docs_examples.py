"""The Python sessions of the statistics page print what the page says."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_statistics_page_computes_what_it_shows() -> None:
    page = Path(__file__).parents[1] / "docs" / "statistics.md"
    found = doctest.testfile(str(page), module_relative=False)
    assert found.attempted > 20
    assert found.failed == 0
