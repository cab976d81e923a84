"""`labelproof score`: how right a strategy is on gold, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption, StrategyOption

if TYPE_CHECKING:
    from rich.console import Console

    from labelproof.report.scoring import ScoreReport


def score(
    project: ProjectArgument,
    strategy: StrategyOption = None,
    split: Annotated[
        Literal["examples", "calibration", "certify", "test"], typer.Option(help="Gold split to score on.")
    ] = "test",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure stored decisions against gold: accuracy, per class, confidence, cost, slices; all with n."""
    with user_errors(as_json=as_json):
        from labelproof.report.scoring import score_project

        report = score_project(project, strategy, split=split, store_url=store)
        if as_json:
            emit_json(report.to_json())
        else:
            _show(console(), report)


def _show(out: Console, report: ScoreReport) -> None:
    from rich.table import Table

    from labelproof.spec.hashing import short

    out.print(
        f"[bold]{report.project}[/] · {report.strategy}@{short(report.strategy_fp)} · gold split {report.split}: "
        f"{report.card.n} of {report.n_gold} items scored, {report.card.n_failed} failed (counted as wrong)"
    )
    table = Table("metric", "slice", "value", "95 % interval", "n", "method", box=None)
    for row in report.rows():
        if row["value"] is None:
            table.add_row(
                row["metric"], row["slice"], "-", f"not measurable: {row['reason']}", str(row["n"]), ""
            )
            continue
        digits = 6 if "cost" in row["metric"] else 1 if "latency" in row["metric"] else 3
        interval = "" if row["low"] is None else f"{row['low']:.{digits}f} - {row['high']:.{digits}f}"
        table.add_row(
            row["metric"], row["slice"], f"{row['value']:.{digits}f}", interval, str(row["n"]), row["method"]
        )
    out.print(table)
    if report.ece_floor is not None:
        out.print(
            f"[dim]A perfectly calibrated confidence would show ECE {report.ece_floor:.3f} at this n.[/]"
        )
    _show_confusion(out, report)
    thresholds = Table("confidence at least", "coverage", "accuracy there", "95 % interval", "n", box=None)
    for at in report.thresholds:
        accuracy = at.accuracy
        thresholds.add_row(
            f"{at.threshold_prob:.2f}",
            f"{at.coverage.value:.2f}" if at.coverage.value is not None else "-",
            f"{accuracy.value:.3f}" if accuracy.value is not None else "-",
            f"{accuracy.low:.3f} - {accuracy.high:.3f}" if accuracy.low is not None else str(accuracy.reason),
            str(accuracy.n),
        )
    out.print()
    out.print(thresholds)
    out.print("[dim]Each row holds by itself; picking the best one afterwards is not a certificate.[/]")


def _show_confusion(out: Console, report: ScoreReport) -> None:
    from rich.table import Table

    if report.card.kind == "multi" or len(report.card.classes) > 15:
        return
    for matrix in report.card.confusion:
        columns = [
            c for i, c in enumerate(matrix.columns) if not c.startswith("__") or matrix.counts[:, i].any()
        ]
        keep = [matrix.columns.index(c) for c in columns]
        table = Table("gold \\ answer", *columns, box=None)
        for name, counts in zip(matrix.rows, matrix.counts, strict=True):
            table.add_row(
                name,
                *(f"[bold]{counts[i]}[/]" if matrix.columns[i] == name else str(counts[i]) for i in keep),
            )
        out.print()
        out.print(table)
