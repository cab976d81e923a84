"""`labelproof compare`: is strategy B better than A, where, by how much, and is it luck?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import console, emit_json, user_errors, write_page
from labelproof.cli._projects import ProjectOption, project_of
from labelproof.cli.run import JsonOption, StoreOption

if TYPE_CHECKING:
    from labelproof.report.compare.model import CompareReport
    from labelproof.spec.experiment import ExperimentPolicy
    from labelproof.spec.project import ProjectFolder
    from labelproof.store import TraceStore

_REF = "NAME, NAME@FINGERPRINT, @FINGERPRINT, or an experiment's arm."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The strategy in use: {_REF}")],
    b: Annotated[str, typer.Argument(metavar="B", help=f"The one that is judged: {_REF}")],
    project: ProjectOption = None,
    gold: Annotated[
        str,
        typer.Option(
            "--gold",
            metavar="SPLIT[@FP]",
            help="Gold split, of a stored version if one is named; none: all items both answered, without gold.",
        ),
    ] = "test",
    primary: Annotated[
        str | None,
        typer.Option(help="What must get better, in place of the project's `experiments: primary`."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Judge by this experiment's plan: its rule, its gold, its items.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=0, help="Which repeat of B; A = B with 1 is an A/A comparison.")
    ] = 0,
    flips: Annotated[int, typer.Option(min=0, help="How many items with another label are listed.")] = 5,
    slices: Annotated[bool, typer.Option("--slices", help="Show the difference by metadata.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a comment or a job summary.")
    ] = False,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="With --markdown: the beginning of item texts too.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Write the whole report as one page.")] = None,
    no_record: Annotated[
        bool,
        typer.Option("--no-record", help="Do not store the comparison (the look at the gold is stored)."),
    ] = False,
    no_why: Annotated[
        bool, typer.Option("--no-why", help="Do not replay stored answers to tell which change did it.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two strategies on the same items from what is stored: verdict, differences, flips, causes.

    Asks no model. Exit code 0: ship; 1: regression; 2: inconclusive (or an error: --json has the key "error" then).
    """
    with user_errors(as_json=as_json):
        from labelproof.store import default_store, open_store

        folder = project_of(project, (a, b), store=store)
        with open_store(store or default_store(), create=False) as opened:
            report = _compare(opened, folder, a, b, gold, primary, experiment, repeat)
            if not no_why:
                from labelproof.report.compare.replayed import with_shares

                report = with_shares(opened, folder, report)
            if not no_record:
                from labelproof.report.compare.build import record

                record(opened, report)
            if html is not None:
                from labelproof.report.compare.page import page_html

                write_page(html, page_html(report, store=opened))
        _show(report, flips=flips, slices=slices, markdown=markdown, with_text=with_text, as_json=as_json)
        if html is not None and not (as_json or markdown):
            console().print(f"page: {html}", soft_wrap=True, markup=False)
    raise typer.Exit(report.exit_code)


def _compare(
    store: TraceStore,
    folder: ProjectFolder,
    a: str,
    b: str,
    gold: str,
    primary: str | None,
    experiment: str | None,
    repeat: int,
) -> CompareReport:
    from datetime import UTC, datetime

    from labelproof.report.compare.build import compare as build
    from labelproof.report.experiments.plan import load_plan
    from labelproof.spec.errors import ConfigError

    split, _, gold_fp = gold.partition("@")
    plan = None if experiment is None else load_plan(store, experiment)
    if plan is not None and primary is not None:
        raise ConfigError(
            f"experiment {plan.experiment_id} was planned with the primary metric {plan.policy.primary}: --primary "
            "cannot change it afterwards",
            hint="leave out --experiment to look at another metric; that verdict is not the planned one",
        )
    if plan is not None and plan.project != folder.name:
        raise ConfigError(
            f"experiment {plan.experiment_id} belongs to project {plan.project!r}, not to {folder.name!r}"
        )
    if plan is not None:
        from labelproof.report.experiments.run import compare_one
        from labelproof.report.experiments.state import check_complete

        check_complete(store, plan)
        return compare_one(store, folder, plan, a, b, repeat=repeat, now=datetime.now(UTC))
    return build(
        store,
        folder,
        a,
        b,
        split=split,
        gold_fp=gold_fp or None,
        policy=_policy(folder, primary),
        repeat=repeat,
        now=datetime.now(UTC),
    )


def _policy(folder: ProjectFolder, primary: str | None) -> ExperimentPolicy:
    from labelproof.spec.errors import ConfigError
    from labelproof.spec.experiment import ExperimentPolicy
    from labelproof.spec.metrics import parse_metric

    policy = folder.spec.experiments
    if primary is None:
        return policy
    if parse_metric(primary).name == "suite":
        raise ConfigError("--primary: a suite can be a guardrail, not what must get better")
    return ExperimentPolicy.model_validate({**policy.model_dump(), "primary": primary})


def _show(
    report: CompareReport, *, flips: int, slices: bool, markdown: bool, with_text: bool, as_json: bool
) -> None:
    if as_json:
        emit_json(report.to_json())
        return
    from labelproof.report.compare.text import markdown as to_markdown
    from labelproof.report.compare.text import render

    if markdown:
        typer.echo(to_markdown(report, flips=flips, with_text=with_text), nl=False)
    else:
        console().print(render(report, flips=flips, slices=slices))
