"""`labelproof agreement` and `labelproof alt-test`: do people agree, and may the model replace them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from labelproof.cli._common import EXIT_NO, EXIT_USER, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, StoreOption, StrategyOption

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.intervals import Estimate
    from labelproof.report.agreement import AgreementResult, AltTestResult
    from labelproof.report.vote_source import VoteRequest, VoteSource

MAX_PAIRS_SHOWN = 15
VotesProject = Annotated[
    str | None,
    typer.Argument(help="Project name or folder; may be left out with --votes.", envvar="LABELPROOF_PROJECT"),
]
VotesOption = Annotated[
    str | None,
    typer.Option("--votes", help="File of votes (CSV, JSONL, Parquet); default: the stored reviews."),
]
KindOption = Annotated[
    Literal["audit", "gold", "routed", "disagreement", "appeal"] | None,
    typer.Option(help="Only votes on review tasks of this kind."),
]
LabelsOption = Annotated[
    str | None, typer.Option(help="All labels, in order, with commas; default: the project's.")
]
FormOption = Annotated[
    Literal["auto", "long", "wide", "votes", "counts"],
    typer.Option(
        help="How the file holds votes: a row each, a column per annotator, a mapping annotator -> label, "
        "a mapping label -> number."
    ),
]
ItemColumnOption = Annotated[str | None, typer.Option(help="Column that names the item.")]
FamilyOption = Annotated[
    list[str] | None,
    typer.Option(help="Annotators that are samples of one model: NAME=a,b,c (repeat for more)."),
]
OrdinalOption = Annotated[bool, typer.Option("--ordinal", help="The labels are a scale, in their order.")]


def agreement(
    project: VotesProject = None,
    votes: VotesOption = None,
    kind: KindOption = None,
    labels: LabelsOption = None,
    ordinal: OrdinalOption = False,
    form: FormOption = "auto",
    item_column: ItemColumnOption = None,
    family: FamilyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how far annotators agree: alpha, kappas, per label, per annotator; all with intervals and n."""
    with user_errors(as_json=as_json):
        from labelproof.report.agreement import measure_agreement

        request = _request(project, votes, kind, labels, form, item_column, family or [], store)
        result = measure_agreement(request, ordinal=ordinal)
        if as_json:
            emit_json(result.to_json())
        else:
            _show_agreement(console(), result)


def alt_test(
    project: VotesProject = None,
    votes: VotesOption = None,
    model: Annotated[
        str | None, typer.Option(help="File with item and label, or a strategy; default: the project's.")
    ] = None,
    strategy: StrategyOption = None,
    epsilon: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How much worse a model may be: .2 for experts, .15 skilled, .1 crowd workers."
        ),
    ] = 0.1,
    min_items: Annotated[int, typer.Option(min=2, help="Test annotators with at least so many items.")] = 30,
    exact: Annotated[
        bool, typer.Option("--exact", help="A test that holds at any n, instead of the paper's t-test.")
    ] = False,
    kind: KindOption = None,
    labels: LabelsOption = None,
    ordinal: OrdinalOption = False,
    form: FormOption = "auto",
    item_column: ItemColumnOption = None,
    family: FamilyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test whether the model may replace the annotators (Calderon et al. 2025). Exit 0 yes, 1 no, 2 unknown."""
    with user_errors(as_json=as_json):
        from labelproof.report.agreement import run_alt_test

        result = run_alt_test(
            _request(project, votes, kind, labels, form, item_column, family or [], store),
            model=model,
            strategy=strategy,
            epsilon=epsilon,
            min_items=min_items,
            exact=exact,
            ordinal=ordinal,
        )
        if as_json:
            emit_json(result.to_json())
        else:
            _show_alt_test(console(), result)
        if result.test.passed is None:
            raise typer.Exit(EXIT_USER)
        if not result.test.passed or result.test.constant_passes:
            raise typer.Exit(EXIT_NO)


def _request(
    project: str | None,
    votes: str | None,
    kind: str | None,
    labels: str | None,
    form: Literal["auto", "long", "wide", "votes", "counts"],
    item_column: str | None,
    families: list[str],
    store: str | None,
) -> VoteRequest:
    from labelproof.report.vote_source import VoteRequest
    from labelproof.spec.errors import ConfigError

    members: dict[str, tuple[str, ...]] = {}
    for given in families:
        name, equals, listed = given.partition("=")
        names = tuple(part.strip() for part in listed.split(",") if part.strip())
        if not name.strip() or not equals or not names:
            raise ConfigError(f"--family: expected NAME=a,b,c; found {given!r}")
        members[name.strip()] = names
    return VoteRequest(
        project=project,
        votes=votes,
        kind=kind,
        labels=None if labels is None else tuple(part.strip() for part in labels.split(",") if part.strip()),
        form=form,
        item_column=item_column,
        families=members,
        store_url=store,
    )


def _show_source(out: Console, source: VoteSource) -> None:
    from rich.markup import escape

    notes = [
        f"{number} {what}"
        for number, what in (
            (source.n_replaced, "replaced by a later vote"),
            (source.n_unanswered, "without a label (skipped, flagged, unclear)"),
            (len(source.errors), "unusable"),
        )
        if number
    ]
    if notes:
        out.print(f"[dim]{escape(source.origin)}: {source.n_rows} rows; {'; '.join(notes)}[/]")
    for error in source.errors[:5]:
        out.print(f"  [yellow]{escape(str(error))}[/]")


def _show_agreement(out: Console, result: AgreementResult) -> None:
    from rich.markup import escape
    from rich.table import Table

    report = result.agreement
    who = "unnamed annotators" if report.n_annotators is None else f"{report.n_annotators} annotators"
    out.print(
        f"[bold]{report.n_votes} votes[/] on {report.n_items} items by {who}; "
        f"{report.n_paired} items have two votes or more"
    )
    _show_source(out, result.source)
    table = Table("measure", "of", "value", "95 % interval", "items", box=None)
    pairs = 0
    for row in report.rows():
        pairs += row["metric"] == "cohen_kappa"
        if pairs > MAX_PAIRS_SHOWN:
            continue
        value = "-" if row["value"] is None else f"{row['value']:.3f}"
        interval = (
            f"[dim]{escape(row['reason'])}[/]"
            if row["low"] is None
            else f"{row['low']:.3f} - {row['high']:.3f}"
        )
        table.add_row(row["metric"].replace("_", " "), escape(row["slice"]), value, interval, str(row["n"]))
    out.print(table)
    if pairs > MAX_PAIRS_SHOWN:
        out.print(f"[dim]{pairs - MAX_PAIRS_SHOWN} more pairs: --json lists all[/]")
    _show_dawid_skene(out, result)


def _show_dawid_skene(out: Console, result: AgreementResult) -> None:
    from rich.markup import escape
    from rich.table import Table

    fit = result.dawid_skene
    if fit is None:
        return
    out.print()
    out.print("Judged by the votes together (Dawid-Skene), each annotator is right this often:")
    table = Table("annotator", "right", "", box=None)
    for name, accuracy in zip(fit.annotators, fit.accuracy, strict=True):
        n = fit.collapsed.get(name)
        table.add_row(escape(name), f"{accuracy:.3f}", f"{n} samples of one model count as one" if n else "")
    out.print(table)
    if fit.reason is not None:
        out.print(f"[yellow]{escape(fit.reason)}[/]")
    undecided = sum(answer is None for answer in fit.answer)
    if undecided:
        out.print(f"[dim]{undecided} items stay undecided (tied)[/]")


def _verdict(result: AltTestResult) -> str:
    test = result.test
    if test.passed is None:
        return f"[bold yellow]Cannot say[/] whether the model may replace the annotators: {test.reason}"
    if test.passed and test.constant_passes:
        return (
            f"[bold yellow]No evidence that the model may replace the annotators[/]: it wins against {test.n_won} of "
            f"{test.n_tested} at epsilon {test.epsilon:g}, but a constant answer passes too"
        )
    may = (
        "[bold green]The model may replace the annotators"
        if test.passed
        else ("[bold red]The model may not replace the annotators")
    )
    return (
        f"{may}[/]: it wins against {test.n_won} of {test.n_tested} (winning rate {test.winning_rate:.2f}; "
        f"{test.needed_rate:g} needed) at epsilon {test.epsilon:g}"
    )


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"not measurable: {estimate.reason}"
    if estimate.low is None:
        return f"{estimate.value:.3f} ({estimate.reason})"
    return f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} - {estimate.high:.3f})"


def _show_alt_test(out: Console, result: AltTestResult) -> None:
    from rich.markup import escape
    from rich.table import Table

    test = result.test
    out.print(_verdict(result), soft_wrap=True)
    if test.constant_passes:
        out.print(
            f"[bold yellow]But so would answering {escape(str(test.constant_label))!r} to everything:[/] at this "
            "epsilon the test cannot tell the model from that. Use a smaller --epsilon, or items with more of the "
            "rare labels.",
            soft_wrap=True,
        )
    out.print(
        f"[dim]model {escape(result.model)}; {test.n_items} items with two votes or more and a label of the "
        f"model; it gave none on {test.n_failed} (counted against it); {test.n_dropped} items left out: "
        "nothing known of the model there[/]",
        soft_wrap=True,
    )
    _show_source(out, result.source)
    for error in result.model_errors[:5]:
        out.print(f"  [yellow]{escape(str(error))}[/]")
    table = Table("annotator", "items", "model as good", "annotator as good", "p", "test", "", box=None)
    for row in test.rows:
        if row.p_value is None or row.rho_model is None or row.rho_annotator is None:
            table.add_row(escape(row.annotator), str(row.n), "-", "-", "-", "", f"not tested: {row.reason}")
            continue
        won = "model wins" if row.rejected else "not shown"
        shown = "<.0001" if row.p_value < 0.0001 else f"{row.p_value:.4f}"
        table.add_row(
            escape(row.annotator),
            str(row.n),
            f"{row.rho_model:.3f}",
            f"{row.rho_annotator:.3f}",
            shown,
            str(row.test),
            won,
        )
    out.print(table)
    out.print(f"advantage probability of the model: {_number(test.advantage)}")
    out.print("[dim]Assumed: " + "; ".join(test.assumptions) + ".[/]", soft_wrap=True)
