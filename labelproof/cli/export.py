"""`labelproof export`: labels with confidence and provenance, in one file."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import EXIT_NO, console, emit_json, user_errors
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from labelproof.spec.labels import LabelSchema
    from labelproof.store import TraceStore


class Format(StrEnum):
    """How the file is written."""

    AUTO = "auto"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class Decision(StrEnum):
    """Which items are written."""

    AUTO_ACCEPT = "auto_accept"
    REVIEW = "review"
    FAILED = "failed"
    ALL = "all"


# One row for each external id: an item that came under two names is written under both.
_QUERY = """
WITH named_runs AS (SELECT DISTINCT run_id, project, strategy FROM runs),
chosen AS (
    SELECT d.*, r.strategy
    FROM decisions AS d JOIN named_runs AS r USING (run_id)
    WHERE r.project = $project
      AND ($run IS NULL OR d.run_id = $run)
      AND ($strategy IS NULL OR r.strategy = $strategy OR d.strategy_fp = $strategy)
    QUALIFY row_number() OVER (PARTITION BY d.item_id ORDER BY d.ts DESC, d.run_id DESC) = 1
),
names AS (
    SELECT item_id, external_id, text_hash FROM items WHERE project = $project
    QUALIFY row_number() OVER (PARTITION BY item_id, external_id ORDER BY ts DESC) = 1
),
people AS (SELECT * FROM final_labels WHERE project = $project AND source <> 'auto_accept')
SELECT coalesce(n.external_id, c.item_id) AS external_id, c.item_id, t.text, c.label, c.confidence,
       c.raw_confidence, c.decision, c.reason, c.audited, c.inclusion_prob, c.run_id, c.strategy,
       c.strategy_fp, c.calibrator_id, c.certificate_id, c.ts AS decided_at,
       CASE WHEN p.label <> '' THEN p.label WHEN c.decision = 'auto_accept' THEN c.label END AS final_label,
       CASE WHEN p.label <> '' THEN p.source WHEN c.decision = 'auto_accept' THEN 'auto_accept' END AS final_source,
       p.annotators, p.task_id AS review_task, p.decided_at AS reviewed_at
FROM chosen AS c
LEFT JOIN people AS p USING (item_id)
LEFT JOIN names AS n USING (item_id)
LEFT JOIN text_by_hash AS t ON t.text_hash = n.text_hash
ORDER BY external_id, item_id
"""


def export(
    project: Annotated[str, typer.Argument(help="Project name or folder.")],
    *,
    to: Annotated[Path, typer.Option("--to", help="File to write: .jsonl, .csv or .parquet.")],
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", help="Name or fingerprint.", show_default="the project's default"),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="One run's decisions.")] = None,
    decision: Annotated[Decision, typer.Option("--decision", help="Which items to write.")] = Decision.ALL,
    format: Annotated[  # noqa: A002  # the option's name
        Format, typer.Option("--format", help="auto: by the file's name.")
    ] = Format.AUTO,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Write the items' texts too.")] = True,
    guard: Annotated[
        bool,
        typer.Option(
            "--guard-formulas/--no-guard-formulas",
            help="CSV: put an apostrophe before text that a spreadsheet would run as a formula.",
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="LABELPROOF_STORE", help="Folder, file or URL of the trace store."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the latest decision of every item, with confidence, reason and provenance.

    `label` is the machine's; `final_label` is what people decided, else what was auto-accepted, else empty;
    `final_source` says which (adjudicated, agreed, auto_accept).
    """
    with user_errors(as_json=as_json):
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store
        from labelproof.store.interchange import format_of, write_labels

        declared = format_of(to, format.value)
        if to.exists() and not overwrite:
            raise ConfigError("the file exists", path=to, hint="choose another name or add --overwrite")
        folder = find_project(project)
        wanted = {
            "project": folder.name,
            "run": run,
            "strategy": strategy or (None if run else folder.spec.default_strategy),
        }
        with open_store(store or default_store(), create=False) as opened:
            rows = opened.query(_QUERY, wanted, fresh=True)
            if rows.num_rows == 0:
                raise ConfigError(_nothing(opened, wanted), hint=f"labelproof run {folder.name}")
            counts = Counter(rows["decision"].to_pylist())
            if decision is not Decision.ALL:
                rows = rows.filter([decided == decision.value for decided in rows["decision"].to_pylist()])
            if rows.num_rows == 0:
                _print_none(decision, counts, as_json=as_json)
                raise typer.Exit(EXIT_NO)
            rows = _with_models(rows, opened)
        rows = _shaped(rows, folder.spec.labels, keep_text=text)
        written = write_labels(rows, to, declared, guard_formulas=guard)
        result = _result(rows, to, written)
        if as_json:
            emit_json(result)
        else:
            _print(result)


def _print_none(decision: Decision, counts: Counter[str], *, as_json: bool) -> None:
    if as_json:
        emit_json({"file": None, "rows": 0, "decisions": counts})
        return
    found = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    console().print(f"no item is {decision.value}; found {found}. Nothing was written")


def _nothing(opened: TraceStore, wanted: dict[str, str | None]) -> str:
    """Return why there is nothing to write: what was asked for and what the store has."""
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items() if value is not None)
    found = opened.query(
        "SELECT DISTINCT strategy FROM runs WHERE project = $project ORDER BY strategy",
        {"project": wanted["project"]},
        fresh=True,
    )
    strategies = ", ".join(found["strategy"].to_pylist()) or "none"
    return f"no decision for {asked}; strategies that ran here: {strategies}"


def _with_models(rows: pa.Table, opened: TraceStore) -> pa.Table:
    """Add the models that each row's strategy version calls."""
    import orjson
    import pyarrow as pa

    prints = rows["strategy_fp"].unique().to_pylist()
    marks = ", ".join("?" * len(prints))
    stored = opened.query(
        f"SELECT DISTINCT strategy_fp, spec_json FROM strategies WHERE strategy_fp IN ({marks})",
        prints,
        fresh=True,
    ).to_pylist()
    models = {row["strategy_fp"]: model_names(orjson.loads(row["spec_json"])) for row in stored}
    column = [models.get(fp) for fp in rows["strategy_fp"].to_pylist()]
    return rows.append_column("model", pa.array(column, pa.string()))


def model_names(snapshot: dict[str, Any]) -> str:
    """Return the models of a stored strategy, in the order of its steps, joined by commas."""
    names = [
        f"{model['provider']}:{model['model']}"
        for step in snapshot["steps"]
        for model in step["components"].get("models", ())
    ]
    return ", ".join(dict.fromkeys(names))


def _shaped(rows: pa.Table, schema: LabelSchema, *, keep_text: bool) -> pa.Table:
    import pyarrow as pa

    if not keep_text:
        rows = rows.drop_columns(["text"])
    if schema.kind == "multi":
        labels = [
            None if label is None else sorted(schema.members(label)) for label in rows["label"].to_pylist()
        ]
        at = rows.column_names.index("label") + 1
        rows = rows.add_column(at, "labels", pa.array(labels, pa.list_(pa.string())))
    return rows


def _result(rows: pa.Table, to: Path, written: int) -> dict[str, Any]:
    return {
        "file": str(to),
        "rows": written,
        "decisions": Counter(rows["decision"].to_pylist()),
        "final": Counter(source for source in rows["final_source"].to_pylist() if source),
        "strategy_fingerprints": rows["strategy_fp"].unique().to_pylist(),
        "runs": rows["run_id"].unique().to_pylist(),
    }


def _print(result: dict[str, Any]) -> None:
    from rich.markup import escape

    out = console()
    counts = ", ".join(f"{n} {name}" for name, n in sorted(result["decisions"].items()))
    out.print(f"{escape(result['file'])}: {result['rows']} rows ({counts})")
    final = ", ".join(f"{n} {source}" for source, n in sorted(result["final"].items()))
    unlabeled = result["rows"] - sum(result["final"].values())
    if final and unlabeled:
        out.print(f"  final label: {final}; {unlabeled} wait for people")
    versions = len(result["strategy_fingerprints"])
    if versions > 1:
        out.print(
            f"  from {versions} versions of the strategy: items whose latest decision is older keep it;"
            " --run takes one run only"
        )
