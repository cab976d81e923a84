"""Functional tests: short cases with an expected label, a functionality each, in the form of HateCheck.

Röttger et al. (2021), "HateCheck: Functional Tests for Hate Speech Detection Models", ACL; the idea of behavioural
tests by capability is Ribeiro et al. (2020), "CheckList".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evaluation.suites.case import Case
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import LabelSchema

COLUMNS = ("case_id", "functionality", "text", "expected")
OPTIONAL = ("target_group", "direction", "language")
_ALSO_CALLED = {"test_case": "text", "label_gold": "expected", "target_ident": "target_group"}
"""How HateCheck's own file names its columns."""


def functional_cases(
    rows: Iterable[Mapping[str, str | None]],
    schema: LabelSchema,
    *,
    suite: str = "functional",
    source: str = "cases",
) -> list[Case]:
    """Return the cases of a table's rows, in order; empty table: none.

    Columns: case_id, functionality, text, expected, and optionally target_group, direction, language; HateCheck's own
    names are understood, further columns ignored. ``expected`` is a label of the schema or, in a taxonomy, a parent.
    Raises ``ConfigError`` with the line (the header is line 1) for what is missing, repeated or no label.
    """
    parents = {one.name for one in schema.classes if one.children}
    seen: dict[str, int] = {}
    cases = []
    for line, raw in enumerate(rows, start=2):
        row = {_ALSO_CALLED.get(name, name): (value or "").strip() for name, value in raw.items() if name}
        missing = [name for name in COLUMNS if not row.get(name)]
        if missing:
            raise ConfigError(
                f"expected a value in {', '.join(COLUMNS)}; missing: {', '.join(missing)}",
                path=source,
                line=line,
                hint="the first line names the columns: " + ",".join((*COLUMNS, *OPTIONAL)),
            )
        name = row["case_id"]
        if name in seen:
            raise ConfigError(f"case_id {name!r} stands in line {seen[name]} already", path=source, line=line)
        seen[name] = line
        try:
            expected = row["expected"] if row["expected"] in parents else schema.canonical(row["expected"])
        except ValueError as error:
            raise ConfigError(f"expected: {error}", path=source, line=line) from error
        meta = {key: row[key] for key in ("language", "direction") if row.get(key)}
        cases.append(
            Case(
                suite=suite,
                functionality=row["functionality"],
                base_id=name,
                text=row["text"],
                rule="expected",
                expected=expected,
                group=row.get("target_group") or None,
                meta=meta,
            )
        )
    return cases
