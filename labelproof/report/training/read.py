"""Decided labels with their provenance, and the texts of gold, from the store."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from labelproof.report.training.model import LabelRow, Source
from labelproof.spec.errors import LabelproofError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

TABLES = (
    "items", "texts", "runs", "decisions", "votes", "review_tasks", "review_events", "certificates", "certificate_events",
)  # fmt: skip
# One row for each decided item. People's decisions carry what the machine had said of the task; counts stand for names.
LABELS = """
WITH chosen AS (SELECT * FROM final_labels WHERE project = $project),
known_runs AS (
    SELECT run_id, any_value(strategy) AS strategy FROM runs WHERE project = $project GROUP BY run_id
),
said AS (
    SELECT run_id, item_id, arg_max(label, ts) AS label, arg_max(confidence, ts) AS confidence
    FROM decisions SEMI JOIN known_runs USING (run_id) GROUP BY run_id, item_id
),
tasks AS (
    SELECT task_id, any_value(label) AS label, any_value(confidence) AS confidence
    FROM review_tasks WHERE project = $project GROUP BY task_id
),
people AS (
    SELECT task_id, count(DISTINCT annotator) AS n,
           list(DISTINCT label ORDER BY label) FILTER (role = 'reviewer') AS labels
    FROM current_votes WHERE project = $project AND answer = 'label' GROUP BY task_id
),
named AS (
    SELECT item_id, any_value(text_hash ORDER BY text_hash) AS text_hash, any_value(meta_json ORDER BY text_hash) AS meta_json
    FROM items WHERE project = $project GROUP BY item_id
)
SELECT c.item_id, t.text, c.label, c.kind AS task_kind,
       CASE WHEN c.source = 'auto_accept' THEN 'auto' WHEN c.kind = 'appeal' THEN 'appeal' ELSE c.source END AS source,
       coalesce(p.n, 0) AS n_annotators, p.labels AS voted, coalesce(k.label, s.label) AS model_label,
       coalesce(k.confidence, s.confidence) AS confidence, c.run_id, r.strategy, c.strategy_fp, c.certificate_id,
       z.state AS certificate_state, c.decided_at,
       CASE WHEN $column <> '' THEN json_extract_string(n.meta_json, $column) END AS cluster
FROM chosen AS c
LEFT JOIN named AS n USING (item_id)
LEFT JOIN text_by_hash AS t ON t.text_hash = n.text_hash
LEFT JOIN tasks AS k ON k.task_id = c.task_id
LEFT JOIN people AS p ON p.task_id = c.task_id
LEFT JOIN said AS s ON s.run_id = c.run_id AND s.item_id = c.item_id
LEFT JOIN known_runs AS r ON r.run_id = c.run_id
LEFT JOIN current_certificates AS z ON z.certificate_id = c.certificate_id
ORDER BY c.item_id
"""
GOLD = """
WITH held AS (SELECT DISTINCT item_id FROM gold WHERE project = $project AND split <> 'examples'),
named AS (SELECT item_id, any_value(text_hash) AS text_hash FROM items GROUP BY item_id)
SELECT h.item_id, t.text FROM held AS h
LEFT JOIN named AS n USING (item_id) LEFT JOIN text_by_hash AS t ON t.text_hash = n.text_hash ORDER BY h.item_id
"""


def decided_rows(store: TraceStore, project: str, column: str | None) -> list[LabelRow]:
    """Return every decided item of a project, by item id; ``column``: metadata column that groups items."""
    path = "" if column is None else f'$."{column.replace(chr(34), "")}"'
    rows = store.query(LABELS, {"project": project, "column": path}, fresh=True, only=TABLES).to_pylist()
    return [_row(row) for row in rows]


def _row(row: dict[str, Any]) -> LabelRow:
    source: Source = row["source"]
    label, said = row["label"], row["model_label"]
    rejected = [(said, "model")] if source != "auto" and said and said != label else []
    rejected += [(one, "reviewer") for one in row["voted"] or () if one not in (label, said)]
    at = row["decided_at"]
    return LabelRow(
        item_id=row["item_id"],
        text=row["text"] or "",
        label=label,
        source=source,
        task_kind=row["task_kind"],
        n_annotators=row["n_annotators"],
        confidence=row["confidence"],
        model_label=said,
        run_id=row["run_id"],
        strategy=row["strategy"],
        strategy_fp=row["strategy_fp"],
        certificate_id=row["certificate_id"] or None,
        certificate_state=row["certificate_state"],
        decided_at=None if at is None else at.astimezone(UTC).isoformat(),
        cluster=row["cluster"],
        rejected=tuple(rejected),
    )


def gold_texts(store: TraceStore, folder: ProjectFolder) -> tuple[set[str], list[str], str | None]:
    """Return item ids and texts of all gold but the examples, of every stored version and of the project's files as they stand.

    The third: why the files could not be read, None when they could.
    """
    rows = store.query(
        GOLD, {"project": folder.name}, fresh=True, only=("gold", "items", "texts")
    ).to_pylist()
    texts = {row["item_id"]: row["text"] for row in rows}
    problem = None
    if folder.spec.gold is not None:
        try:
            texts |= _texts_of_files(folder)
        except LabelproofError as error:
            problem = error.message
    return set(texts), [text for text in texts.values() if text], problem


def _texts_of_files(folder: ProjectFolder) -> dict[str, str]:
    from agents.run.workload import read_sources

    sources = read_sources(folder)
    gold = sources.gold
    if gold is None:
        return {}
    by_id = {item.id: item.text for item in (*sources.read.items, *gold.items)}
    return {
        row.item_id: by_id[row.item_id]
        for row in gold.rows
        if row.split != "examples" and row.item_id in by_id
    }
