"""The SQL behind every number of a comparison: statements that anybody can run with `labelproof sql`."""

from __future__ import annotations

from dataclasses import dataclass

from labelproof.spec.labels import LabelSchema
from labelproof.spec.metrics import MetricRef


def quoted(value: str) -> str:
    """Return ``value`` as a SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was compared; ``repeat``: the repeat of B (A is compared with its first answers)."""

    project: str
    fp_a: str
    fp_b: str
    repeat: int
    gold_fp: str | None
    split: str
    experiment_id: str | None
    """Without gold: only items of this experiment."""

    def pairs(self) -> str:
        """Return the common table expression `pairs`: one row per item that both sides answered."""
        gold = "NULL::VARCHAR AS gold, 1.0 AS weight,"
        source = "strategy_answers AS a JOIN strategy_answers AS b ON b.item_id = a.item_id"
        where = ""
        if self.gold_fp is not None:
            gold = "g.label AS gold, coalesce(1 / g.inclusion_prob, 1) AS weight,"
            source = (
                "current_gold AS g JOIN strategy_answers AS a ON a.item_id = g.item_id\n"
                "    JOIN strategy_answers AS b ON b.item_id = g.item_id"
            )
            where = (
                f"g.project = {quoted(self.project)} AND g.gold_fp = {quoted(self.gold_fp)}"
                f" AND g.split = {quoted(self.split)} AND "
            )
        elif self.experiment_id is not None:
            source += (
                "\n    SEMI JOIN (SELECT item_id FROM arm_answers WHERE experiment_id ="
                f" {quoted(self.experiment_id)}) AS x ON x.item_id = a.item_id"
            )
        return (
            "WITH pairs AS (\n"
            f"    SELECT a.item_id, {gold}\n"
            "        CASE WHEN a.decision <> 'failed' THEN a.label END AS a,\n"
            "        CASE WHEN b.decision <> 'failed' THEN b.label END AS b,\n"
            "        coalesce(a.decision = 'auto_accept', false) AS accepted_a,"
            " coalesce(b.decision = 'auto_accept', false) AS accepted_b,\n"
            "        a.confidence AS confidence_a, b.confidence AS confidence_b,\n"
            "        a.cost_usd AS cost_a, b.cost_usd AS cost_b,"
            " a.latency_ms AS latency_a, b.latency_ms AS latency_b\n"
            f"    FROM {source}\n"
            f"    WHERE {where}a.project = {quoted(self.project)} AND a.strategy_fp = {quoted(self.fp_a)}"
            " AND a.repeat_idx = 0\n"
            f"        AND b.project = {quoted(self.project)} AND b.strategy_fp = {quoted(self.fp_b)}"
            f" AND b.repeat_idx = {self.repeat}\n"
            ")\n"
        )


def metric_sql(question: Question, metric: MetricRef, schema: LabelSchema) -> str:
    """Return a statement with columns value_a and value_b."""
    pairs = question.pairs()
    simple = {
        "accuracy": ("a IS NOT DISTINCT FROM gold", "b IS NOT DISTINCT FROM gold", "true"),
        "failed_rate": ("a IS NULL", "b IS NULL", "true"),
        "auto_accept_rate": ("accepted_a", "accepted_b", "true"),
    }
    if metric.name in simple:
        a, b, _ = simple[metric.name]
        return f"{pairs}SELECT {_share(a)} AS value_a, {_share(b)} AS value_b, count(*) AS n FROM pairs"
    if metric.name == "auto_accuracy":
        return (
            f"{pairs}SELECT {_share('a = gold', 'accepted_a')} AS value_a,\n"
            f"    {_share('b = gold', 'accepted_b')} AS value_b,\n"
            "    count(*) FILTER (accepted_a OR accepted_b) AS n FROM pairs"
        )
    if metric.name in ("cost_per_1k_usd", "latency_ms"):
        name, times = ("cost", " * 1000") if metric.name.startswith("cost") else ("latency", "")
        sums = ", ".join(
            f"sum(weight * {name}_{side}) / sum(weight){times} AS value_{side}" for side in ("a", "b")
        )
        return (
            f"{pairs}SELECT {sums}, count(*) AS n\n"
            f"FROM pairs WHERE {name}_a IS NOT NULL AND {name}_b IS NOT NULL"
        )
    if metric.name == "macro_f1":
        return pairs + _macro_f1(schema)
    return pairs + _of_class(metric, schema)


def _share(what: str, among: str = "true") -> str:
    """The weighted share of rows with ``what`` among those with ``among``."""
    return (
        f"sum(weight) FILTER (({among}) AND coalesce({what}, false)) / nullif(sum(weight) FILTER ({among}), 0)"
        if among != "true"
        else f"coalesce(sum(weight) FILTER ({what}), 0) / sum(weight)"
    )


def _names(column: str, schema: LabelSchema, *, parents: bool = False) -> str:
    """A list of the classes that a label column names."""
    if schema.kind == "multi":
        return f"CASE WHEN {column} IS NULL OR {column} = 'none' THEN [] ELSE string_split({column}, '+') END"
    if parents:
        return f"CASE WHEN {column} IS NULL THEN [] ELSE [split_part({column}, '/', 1)] END"
    return f"CASE WHEN {column} IS NULL THEN [] ELSE [{column}] END"


def _of_class(metric: MetricRef, schema: LabelSchema) -> str:
    assert metric.of is not None
    parents = metric.of not in schema.leaves
    has = {
        column: f"list_contains({_names(column, schema, parents=parents)}, {quoted(metric.of)})"
        for column in ("gold", "a", "b")
    }
    parts = []
    for side in ("a", "b"):
        hit, said, true = "gold_has AND " + side + "_has", side + "_has", "gold_has"
        if metric.name == "f1":
            parts.append(
                f"2 * coalesce(sum(weight) FILTER ({hit}), 0)"
                f" / nullif(coalesce(sum(weight) FILTER ({true}), 0) + coalesce(sum(weight) FILTER ({said}), 0), 0)"
                f" AS value_{side}"
            )
        else:
            among = true if metric.name == "recall" else said
            parts.append(
                f"coalesce(sum(weight) FILTER ({hit}), 0) / nullif(sum(weight) FILTER ({among}), 0) AS value_{side}"
            )
    n = {"recall": "gold_has", "precision": "a_has OR b_has", "f1": "gold_has OR a_has OR b_has"}[metric.name]
    named = ", ".join(f"{expression} AS {column}_has" for column, expression in has.items())
    return f"SELECT {', '.join(parts)}, count(*) FILTER ({n}) AS n\nFROM (SELECT weight, {named} FROM pairs)"


def _macro_f1(schema: LabelSchema) -> str:
    classes = ", ".join(f"({quoted(name)})" for name in schema.leaves)
    named = ", ".join(f"{_names(column, schema)} AS {column}_names" for column in ("gold", "a", "b"))
    sums = ", ".join(
        f"coalesce(sum(weight) FILTER (list_contains(gold_names, class) AND list_contains({s}_names, class)), 0)"
        f" AS hit_{s}, coalesce(sum(weight) FILTER (list_contains({s}_names, class)), 0) AS said_{s}"
        for s in ("a", "b")
    )
    values = ", ".join(
        f"avg(2 * hit_{s} / (gold_n + said_{s})) FILTER (gold_n + said_{s} > 0) AS value_{s}"
        for s in ("a", "b")
    )
    return (
        f"SELECT {values}, max(n) AS n FROM (\n"
        f"    SELECT class, coalesce(sum(weight) FILTER (list_contains(gold_names, class)), 0) AS gold_n, {sums},\n"
        "        count(*) AS n\n"
        f"    FROM (SELECT weight, {named} FROM pairs), (VALUES {classes}) AS classes(class)\n"
        "    GROUP BY class\n)"
    )


def panel_queries(question: Question, keys: list[str]) -> dict[str, str]:
    """Return the statements behind the panels other than single metrics."""
    pairs = question.pairs()
    kind = (
        "CASE WHEN gold IS NULL THEN 'no_gold' WHEN b = gold THEN 'fixed' WHEN a = gold THEN 'broke'"
        " ELSE 'both_wrong' END"
    )
    found = {
        "flips": f"{pairs}SELECT {kind} AS kind, count(*) AS n\nFROM pairs WHERE a IS DISTINCT FROM b GROUP BY 1 ORDER BY 1",
        "curves": (
            f"{pairs}SELECT round(confidence_a, 1) AS confidence, count(*) AS n,\n"
            "    avg((a IS NOT DISTINCT FROM gold)::INT) AS right_share\n"
            "FROM pairs WHERE confidence_a IS NOT NULL GROUP BY 1 ORDER BY 1  -- of A; for B write b"
        ),
        "cost": (
            f"{pairs}SELECT sum(cost_a) AS cost_a_usd, sum(cost_b) AS cost_b_usd,"
            " sum(weight * cost_b) / nullif(sum(weight * cost_a), 0) AS ratio\n"
            "FROM pairs WHERE cost_a IS NOT NULL AND cost_b IS NOT NULL"
        ),
        "rerun": _rerun(question),
        "balance": _balance(question),
    }
    if keys:
        path = quoted(f'$."{keys[0]}"')
        found["slices"] = (
            f"{pairs}SELECT json_extract_string(i.meta_json, {path}) AS slice, count(*) AS n,\n"
            "    avg((a IS NOT DISTINCT FROM gold)::INT) AS accuracy_a,"
            " avg((b IS NOT DISTINCT FROM gold)::INT) AS accuracy_b\n"
            f"FROM pairs JOIN current_items AS i ON i.item_id = pairs.item_id AND i.project = {quoted(question.project)}\n"
            "GROUP BY 1 ORDER BY 1"
        )
    return found


def _rerun(question: Question) -> str:
    mine = f"project = {quoted(question.project)} AND strategy_fp = {quoted(question.fp_a)}"
    skipped = [0, question.repeat] if question.fp_a == question.fp_b else [0]
    listed = ", ".join(str(index) for index in sorted(set(skipped)))
    return (
        f"{question.pairs()}SELECT count(*) AS n, count(*) FILTER (changed) AS n_changed\n"
        "FROM (\n"
        "    SELECT arg_min(CASE WHEN r.decision <> 'failed' THEN r.label END IS DISTINCT FROM pairs.a, r.repeat_idx)"
        " AS changed\n"
        "    FROM pairs JOIN strategy_answers AS r ON r.item_id = pairs.item_id\n"
        f"    WHERE r.{mine.replace(' AND ', ' AND r.')} AND r.repeat_idx NOT IN ({listed})\n"
        "    GROUP BY pairs.item_id\n)"
    )


def _balance(question: Question) -> str:
    if question.gold_fp is None:
        wanted = "SELECT item_id FROM a UNION SELECT item_id FROM b"
        if question.experiment_id is not None:
            wanted = f"SELECT DISTINCT item_id FROM arm_answers WHERE experiment_id = {quoted(question.experiment_id)}"
    else:
        wanted = (
            f"SELECT item_id FROM current_gold WHERE project = {quoted(question.project)}"
            f" AND gold_fp = {quoted(question.gold_fp)} AND split = {quoted(question.split)}"
        )
    side = (
        "{name} AS (SELECT item_id FROM strategy_answers WHERE project = {project} AND strategy_fp = {fp}"
        " AND repeat_idx = {repeat})"
    )
    project = quoted(question.project)
    a = side.format(name="a", project=project, fp=quoted(question.fp_a), repeat=0)
    b = side.format(name="b", project=project, fp=quoted(question.fp_b), repeat=question.repeat)
    return (
        f"WITH {a},\n{b},\nwanted AS ({wanted})\n"
        "SELECT count(*) AS n_wanted,\n"
        "    count(*) FILTER (a.item_id IS NOT NULL AND b.item_id IS NOT NULL) AS n_both,\n"
        "    count(*) FILTER (a.item_id IS NOT NULL AND b.item_id IS NULL) AS n_only_a,\n"
        "    count(*) FILTER (a.item_id IS NULL AND b.item_id IS NOT NULL) AS n_only_b\n"
        "FROM wanted LEFT JOIN a ON a.item_id = wanted.item_id LEFT JOIN b ON b.item_id = wanted.item_id"
    )
