"""`labelproof gold`: draw gold where it helps, build a new version, see how worn it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import command_name, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption, StrategyOption

if TYPE_CHECKING:
    from agents.run.workload import Workload

app = typer.Typer(
    no_args_is_help=True, help="Draw gold where it helps, build versions, see how worn they are."
)


@app.command("sample")
def sample(
    project: ProjectArgument,
    budget: Annotated[int, typer.Option(min=1, help="How many items people shall label.")],
    strategy: StrategyOption = None,
    design: Annotated[
        Literal["region", "random"],
        typer.Option(
            help="region: uniformly where a threshold could end up, good for this version of the strategy; random: uniformly from everything, good for every version."
        ),
    ] = "region",
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="The promise aimed at.")] = None,
    at_least: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Lower end of the region; default: from the calibration split."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other items.")] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the most useful items for a certificate and write a blind review task for each, with its probability."""
    with user_errors(as_json=as_json):
        from agents.run.workload import load_workload
        from labelproof.cli.run import _progress
        from labelproof.report.gold import sample_gold
        from labelproof.store import default_store, open_store

        work = load_workload(project, strategy)
        with open_store(store or default_store()) as opened, _progress(quiet=as_json) as listen:
            draw = sample_gold(
                opened,
                work,
                budget,
                now=datetime.now(UTC),
                design="simple_random" if design == "random" else "region",
                alpha=alpha,
                at_least=at_least,
                seed=seed,
                listen=listen,
            )
        if as_json:
            emit_json(draw.to_json())
            return
        where = "items that are not gold yet"
        if draw.region_low is not None:
            where += f" and have a confidence >= {draw.region_low:.3f}"
        out = console()
        out.print(
            f"Drawn [bold]{draw.n}[/] of {draw.pool_n} {where} (each with probability {draw.inclusion_prob:.3f}); "
            f"sample {draw.sample_id}"
        )
        name = command_name()
        out.print(
            f"\n[bold]Next[/], by two people:\n"
            f"  {name} review export {project} --kind gold --annotator NAME --to NAME.csv   [dim]fill in[/]\n"
            f"  {name} review import {project} NAME.csv\n"
            f"then\n  {name} gold build {project} --to {_next_file(work)}   [dim]says what project.yaml needs[/]\n"
            f"  {name} certify {project}"
        )


def _next_file(work: Workload) -> str:
    """Return a name for the next gold file that is not taken."""
    from itertools import count

    spec = work.folder.spec.gold
    place = Path(spec.path).parent if spec is not None else Path("data")
    names = (place / f"gold_v{n}.jsonl" for n in count(2))
    return str(next(name for name in names if not (work.folder.folder / name).exists()))


@app.command("build")
def build(
    project: ProjectArgument,
    to: Annotated[Path, typer.Option(help="New gold file (.jsonl), relative to the project folder.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Build although drawn items still wait for votes.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a new, immutable gold version: the old rows and every drawn item that people have decided."""
    with user_errors(as_json=as_json):
        from agents.run.workload import load_workload
        from labelproof.report.gold import build_gold
        from labelproof.store import default_store, open_store

        work = load_workload(project, None)
        with open_store(store or default_store()) as opened:
            built = build_gold(opened, work, work.folder.folder / to, partial=partial)
        if as_json:
            emit_json(built)
            return
        out = console()
        out.print(
            f"[bold]{built.path}[/]: {built.n_old} old and {built.n_new} new items; {built.n_waiting} drawn items wait for "
            f"votes, {built.n_disputed} for an adjudicator",
            soft_wrap=True,
        )
        out.print("\nTo use it, in project.yaml:\n\ngold:\n  path: " + str(to))
        for key, value in built.fields.items():
            out.print(f"  {key}: {value}")


@app.command("list")
def list_versions(project: ProjectArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List gold versions: size, design and wear (how many strategies were judged on each split)."""
    with user_errors(as_json=as_json):
        from rich.table import Table

        from labelproof.report.gold import gold_versions
        from labelproof.spec.hashing import short
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        with open_store(store or default_store()) as opened:
            versions = gold_versions(opened, find_project(project).name)
        if as_json:
            emit_json(versions)
            return
        table = Table("gold", "stored", "split", "items", "drawn", "judgements", "results opened", box=None)
        for version in versions:
            for name, split in version["splits"].items():
                drawn = ", ".join(f"{n} {design}" for design, n in split["designs"].items())
                table.add_row(
                    f"{version['gold_set']}@{short(version['gold_fp'])}",
                    f"{version['ts']:%Y-%m-%d %H:%M}",
                    name,
                    str(split["n"]),
                    drawn,
                    str(split["n_looks"]),
                    "yes" if split["opened"] else "no",
                )
        console().print(table if versions else "No gold is stored yet: a run stores the version it uses.")


@app.command("used")
def used(
    project: ProjectArgument,
    why: Annotated[str, typer.Option(help="What it was used for.")],
    split: Annotated[
        Literal["certify", "test"], typer.Option(help="The split whose labels or results were looked at.")
    ] = "certify",
    since: Annotated[
        datetime | None, typer.Option(help="When it was first looked at; default: now. UTC.")
    ] = None,
    strategy: StrategyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that gold was used for tuning: strategies made since are not certified on it, certificates are voided."""
    with user_errors(as_json=as_json):
        from agents.run.workload import load_workload
        from labelproof.report.gold_use import declare_used
        from labelproof.store import default_store, open_store

        work = load_workload(project, strategy)
        now = datetime.now(UTC)
        with open_store(store or default_store()) as opened:
            voided = declare_used(
                opened, work, split, why, since=since.replace(tzinfo=UTC) if since else now, now=now
            )
        if as_json:
            emit_json({"voided": voided})
            return
        console().print(
            f"Noted. Certificates voided: {', '.join(voided) or 'none, all stand for versions made before that'}. "
            "Versions made after that need fresh gold."
        )
