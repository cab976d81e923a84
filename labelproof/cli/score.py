"""`labelproof score`: how right a strategy is on gold, with intervals."""

from __future__ import annotations

from pathlib import Path
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
    plots: Annotated[
        Path | None,
        typer.Option(help="Folder for the reliability and risk-coverage plots (SVG, PNG, HTML)."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure stored decisions against gold: accuracy, per class, confidence, cost, slices; all with n."""
    with user_errors(as_json=as_json):
        from labelproof.report.scoring import score_project

        report = score_project(project, strategy, split=split, store_url=store)
        files: list[Path] = []
        if plots is not None:
            from labelproof.report.score_plots import write_plots

            files = write_plots(report, plots)
        if as_json:
            emit_json({**report.to_json(), "plots": [str(file) for file in files]})
            return
        out = console()
        _show(out, report)
        if files:
            out.print(f"plots: {', '.join(str(file) for file in files)}", soft_wrap=True)


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
    _show_confidence(out, report)
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


def _show_confidence(out: Console, report: ScoreReport) -> None:
    """The calibrators, how to read ECE, and the reliability curve as a table with a bar a row."""
    from rich.markup import escape
    from rich.table import Table

    for used in report.calibrators:
        out.print(f"[dim]Calibrator of {used.n_decisions} items: {escape(used.sentence())}[/]")
    if not report.calibrators and report.reliability:
        out.print("[dim]Confidence is the model's own: no calibrator.[/]")
    if report.ece_floor is not None:
        out.print(f"[dim]ECE: {escape(report.calibration.note)}.[/]")
    if not report.reliability:
        out.print(
            "[dim]No item has a calibrated confidence (a `calibrate` step makes it): reliability unknown.[/]"
        )
        return
    table = Table("confidence", "says", "right", "95 % interval", "n", "", box=None)
    for group in report.reliability:
        right = group.accuracy
        if right.value is None or right.low is None or right.high is None:
            continue
        surprise = group.mean_confidence < right.low or group.mean_confidence > right.high
        table.add_row(
            f"{group.low:.2f} - {group.high:.2f}",
            f"{group.mean_confidence:.3f}",
            f"{right.value:.3f}",
            f"{right.low:.3f} - {right.high:.3f}",
            str(right.n),
            _bar(right.value, group.mean_confidence) + (" [yellow]off[/]" if surprise else ""),
        )
    out.print()
    out.print(table)
    out.print("[dim]Bar: share right; |: what confidence says; off: that lies outside the interval.[/]")


def _bar(right: float, says: float, width: int = 20) -> str:
    """A share as a bar of ``width`` characters with a mark at another share."""
    filled, mark = round(right * width), min(width - 1, int(says * width))
    return "".join("|" if i == mark else "█" if i < filled else "·" for i in range(width))


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
