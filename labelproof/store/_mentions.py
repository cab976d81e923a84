"""Which tables a statement may read, told from its words: waiting rows of the others need not be copied for it."""

from __future__ import annotations

import re
from functools import cache

from labelproof.store.migrate import known_migrations

_WORD = re.compile(r"\w+")
_VIEW = re.compile(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?VIEW\s+(\w+)", re.IGNORECASE)
_NAMES_MADE_WHILE_IT_RUNS = frozenset({"query", "query_table"})
"""Table functions whose argument names a table: no word of the statement has to be that name."""


def names_read(sql: str) -> frozenset[str] | None:
    """Return every word of ``sql`` and of the views it names, in lower case; None where words do not tell.

    A superset: words of strings, comments and columns are among them. A table that is missing is not read.
    """
    found = _words(sql)
    if found & _NAMES_MADE_WHILE_IT_RUNS:
        return None
    views = _words_of_views()
    left = found & views.keys()
    while left:
        found |= frozenset().union(*(views[name] for name in left))
        views = {name: words for name, words in views.items() if name not in left}
        left = found & views.keys()
    return found


def _words(sql: str) -> frozenset[str]:
    return frozenset(_WORD.findall(sql.lower()))


@cache
def _words_of_views() -> dict[str, frozenset[str]]:
    """Return view → the words of all its definitions; what follows a view in its migration counts too."""
    found: dict[str, frozenset[str]] = {}
    for migration in known_migrations():
        parts = _VIEW.split(migration.sql)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            found[name.lower()] = found.get(name.lower(), frozenset()) | _words(body)
    return found
