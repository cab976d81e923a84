"""`labelproof training-data`: decided labels as files to fine-tune and evaluate models with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import EXIT_NO, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption
from labelproof.report.numbers import count

if TYPE_CHECKING:
    from labelproof.report.training.model import Source, TrainingSet
    from labelproof.report.training.write import Written


class SetKind(StrEnum):
    """What the file is for."""

    SFT = "sft"
    PREFERENCE = "preference"
    EVALUATION = "evaluation"


def training_data(
    project: ProjectArgument,
    *,
    kind: Annotated[
        SetKind,
        typer.Option(
            "--kind", help="Chats that end with the label; better and worse answers; held-out items."
        ),
    ] = SetKind.SFT,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write.", show_default="training/PROJECT-KIND-vN"),
    ] = None,
    include: Annotated[
        str,
        typer.Option(
            "--include", help="Sources of labels, commas between: auto, agreed, adjudicated, appeal."
        ),
    ] = "auto,agreed,adjudicated,appeal",
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Of auto-accepted labels, 0 to 1.")
    ] = 0.0,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Take auto-accepted labels without a certificate too.")
    ] = False,
    val_share: Annotated[
        float,
        typer.Option(
            "--val-share", help="Share for validation, and as much again for evaluation sets; below .5."
        ),
    ] = 0.1,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="COLUMN",
            help="Metadata column whose values stay together.",
            show_default="the project's `experiments: cluster`",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", help="Whose prompt is written.", show_default="the project's default"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the division into parts.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what stands in the folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be in it; write nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write decided labels to train or judge a model with: no duplicate, nothing near gold, with provenance and a data card.

    Exit 1: the rules leave no line.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.training.build import training_set
        from labelproof.report.training.model import Rules
        from labelproof.report.training.write import write_set
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        rules = Rules(
            kind=kind.value,
            strategy=strategy or folder.spec.default_strategy,
            include=_sources(include),
            min_confidence=min_confidence,
            uncertified=uncertified,
            val_share=val_share,
            group=group or folder.spec.experiments.cluster,
            seed=seed,
        )
        with open_store(store or default_store(), create=False) as opened:
            with console(stderr=True).status("reading and comparing texts"):
                made = training_set(opened, folder, rules)
            written = None
            if made.n_lines and not dry_run:
                written = write_set(opened, made, out, now=datetime.now(UTC), overwrite=overwrite)
        if as_json:
            emit_json({**made.spec(), "written": None if written is None else written.to_json()})
        else:
            _show(made, written)
        if not made.n_lines:
            raise typer.Exit(EXIT_NO)


def _sources(text: str) -> tuple[Source, ...]:
    """Return the sources named; ``Rules.check`` refuses unknown ones."""
    from typing import cast

    return cast(
        "tuple[Source, ...]", tuple(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    )


def _show(made: TrainingSet, written: Written | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from labelproof.report.compare.text import one_text
    from labelproof.report.training.model import SAID

    out = console()
    if written is not None:
        again = ", the same content as before" if written.known else ""
        out.print(
            Text(f"{written.folder}: version {written.version}{again} ({written.set_id})"), soft_wrap=True
        )
    elif made.n_lines:
        out.print(f"nothing written; it would be set {made.set_id}")
    else:
        out.print("the rules leave nothing to write")
    parts = list(made.lines)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("label", *parts):
        table.add_column(name, justify="left" if name == "label" else "right")
    for label in sorted({label for counts in made.balance.values() for label in counts}):
        table.add_row(Text(one_text(label)), *(count(made.balance[part].get(label, 0)) for part in parts))
    table.add_row("items", *(count(len(made.chosen.parts[part])) for part in parts), style="bold")
    out.print(table)
    if made.chosen.left_out:
        out.print(f"left out of {count(made.chosen.n_decided)} decided items:")
        for why, n in sorted(made.chosen.left_out.items(), key=lambda pair: -pair[1]):
            out.print(f"  {count(n)} {SAID[why]}")
    for note in made.notes:
        out.print(Text(one_text(f"mind: {note}")), soft_wrap=True, style="dim")
