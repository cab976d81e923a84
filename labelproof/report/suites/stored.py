"""Suite runs read back from the store: lists, summaries, failed cases with their texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from evaluation.intervals import Estimate
from labelproof.report.suites.text import interval, rate, visible
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import TraceStore

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One stored suite run with its summary as JSON values (``SuiteResult.to_json``)."""

    suite_run_id: str
    suite: str
    strategy: str
    strategy_fp: str
    n_cases: int
    at: datetime
    summary: Mapping[str, Any]

    @property
    def failure(self) -> Estimate:
        """The failure rate over all cases."""
        return Estimate(**self.summary["total"]["failure"])

    @property
    def n_failed(self) -> int:
        return int(self.summary["total"]["n_failed"])

    @property
    def headline(self) -> str:
        """Version and failure rate in one line."""
        return (
            f"{self.strategy}@{short(self.strategy_fp)} failed {self.n_failed} of {self.failure.n}, "
            f"{rate(self.failure)} {interval(self.failure)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the run without its rows."""
        return {
            "suite_run_id": self.suite_run_id,
            "suite": self.suite,
            "strategy": self.strategy,
            "strategy_fp": self.strategy_fp,
            "n_cases": self.n_cases,
            "at": self.at.isoformat(),
            "total": self.summary["total"],
        }


def stored_runs(store: TraceStore, project: str) -> list[StoredRun]:
    """Return the newest run of each suite, cases and strategy version of a project, newest first."""
    rows = store.query(
        "SELECT * FROM suite_runs WHERE project = ? QUALIFY row_number() OVER"
        " (PARTITION BY suite, suite_fp, strategy_fp ORDER BY ts DESC, suite_run_id DESC) = 1"
        " ORDER BY ts DESC, suite_run_id DESC",
        [project],
        fresh=True,
    ).to_pylist()
    return [_run(row) for row in rows]


def load_run(store: TraceStore, run: str) -> StoredRun:
    """Return the run of an id or of its beginning; ``ConfigError`` when none or several fit."""
    rows = store.query(
        "SELECT * FROM suite_runs WHERE starts_with(suite_run_id, ?) ORDER BY ts DESC, suite_run_id LIMIT 6",
        [run],
        fresh=True,
    ).to_pylist()
    exact = [row for row in rows if row["suite_run_id"] == run] or rows
    if len(exact) != 1:
        several = ", ".join(row["suite_run_id"] for row in rows[:5])
        raise ConfigError(
            f"{'several suite runs begin' if rows else 'no suite run begins'} with {run!r}",
            hint=several or "`labelproof suite list PROJECT` shows them",
        )
    return _run(exact[0])


def stored_cases(store: TraceStore, suite_run_id: str, *, failed: bool = False) -> list[dict[str, Any]]:
    """Return the cases of a run with their texts, by functionality; ``failed``: only those that failed."""
    rows: list[dict[str, Any]] = store.query(
        "WITH known AS (SELECT text_hash, any_value(text) AS text FROM texts GROUP BY text_hash)"
        " SELECT r.case_id, r.base_id, r.functionality, r.term_group, r.expected, r.base_label, r.label, r.confidence,"
        " r.passed, r.reason, t.text FROM suite_results AS r LEFT JOIN known AS t USING (text_hash)"
        " WHERE r.suite_run_id = $run AND (NOT $failed OR r.passed IS FALSE)"
        " ORDER BY r.functionality, r.confidence DESC NULLS LAST, r.case_id",
        {"run": suite_run_id, "failed": failed},
        fresh=True,
    ).to_pylist()
    return rows


def render_run(found: StoredRun) -> Iterator[RenderableType]:
    """Yield a stored run's headline and its table."""
    from rich.markup import escape
    from rich.table import Table

    yield f"[bold]{escape(found.suite)}[/] · {escape(found.headline)} · {found.at:%Y-%m-%d %H:%M}"
    for note in found.summary["notes"]:
        yield f"[dim]{escape(note)}[/]"
    table = Table("functionality", "failed", "rate", "95 % interval", "noticed", "used unseen", box=None)
    for row in (*found.summary["rows"], found.summary["total"]):
        failure = Estimate(**row["failure"])
        table.add_row(
            escape(row["functionality"]),
            f"{row['n_failed']} of {failure.n}",
            rate(failure),
            interval(failure),
            str(row["n_noticed"]),
            str(row["n_accepted_wrong"]),
        )
    yield table


def render_cases(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield failed cases as lines with Rich markup; their texts escaped and hidden characters written out."""
    from rich.markup import escape

    last = None
    for case in cases:
        if case["functionality"] != last:
            last = case["functionality"]
            yield f"\n[bold]{escape(last)}[/]"
        group = f" ({case['term_group']})" if case["term_group"] else ""
        yield (
            f"  [red]{escape(case['reason'] or '')}[/]{escape(group)} [dim]{short(case['case_id'])}[/] "
            f"{escape(visible(case['text'] or '', 400))}"
        )


def _run(row: Mapping[str, Any]) -> StoredRun:
    return StoredRun(
        suite_run_id=row["suite_run_id"],
        suite=row["suite"],
        strategy=row["strategy"],
        strategy_fp=row["strategy_fp"],
        n_cases=row["n_cases"],
        at=row["ts"],
        summary=orjson.loads(row["summary_json"]),
    )
