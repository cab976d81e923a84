"""`labelproof certify` and `certificates`: prove a threshold, list what is proven, void what no longer holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli.run import CostOption, JsonOption, ProjectArgument, StoreOption, StrategyOption

if TYPE_CHECKING:
    from rich.console import Console

    from agents.certificates import Standing
    from labelproof.report.certify_report import CertifyReport


def certify(
    project: ProjectArgument,
    strategy: StrategyOption = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Highest error rate promised; default: routing.alpha of the project."
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(min=0, max=1, help="Probability that the promise may be wrong.")
    ] = 0.05,
    per_class: Annotated[
        list[str] | None,
        typer.Option(
            "--per-class",
            help="Stricter promise for one label, LABEL=ALPHA; may be repeated: delta is divided among all promises.",
        ),
    ] = None,
    pool: Annotated[
        int, typer.Option(min=1, help="Items of the pool whose confidences choose the candidate thresholds.")
    ] = 2000,
    finite_pool: Annotated[
        bool,
        typer.Option(
            "--finite-pool", help="Promise for the items present now only (exact, reaches further)."
        ),
    ] = False,
    valid_days: Annotated[int, typer.Option(min=1, help="Days until the certificate expires.")] = 30,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for the plots; default: beside the store.")
    ] = None,
    max_cost_usd: CostOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test on gold above which confidence a strategy may decide alone, and issue a certificate if it holds.

    Runs the strategy on the certify split and a sample of the pool where that is missing; fits the calibrator on its
    own split. Exit code 0: certificate issued; 1: no certificate, with the reason and how much gold would do.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.run.workload import load_workload
        from labelproof.cli.run import _progress
        from labelproof.report.certification import CertifyRequest, certify_strategy
        from labelproof.report.certify_report import plot_folder, write_plots
        from labelproof.store import default_store, open_store

        work = load_workload(project, strategy)
        request = CertifyRequest(
            alpha=alpha,
            delta=delta,
            per_class=_pairs(per_class) if per_class else None,
            pool=pool,
            finite_pool=finite_pool,
            valid_days=valid_days,
            max_cost_usd=max_cost_usd,
        )
        with open_store(store or default_store()) as opened:
            with _progress(quiet=as_json) as listen:
                report = certify_strategy(opened, work, request, now=datetime.now(UTC), listen=listen)
            paths = write_plots(report, plots or plot_folder(opened.location.root, report))
        if as_json:
            emit_json({**report.to_json(), "plots": [str(path) for path in paths]})
        else:
            _show(console(), report, paths)
        if report.certificate is None:
            raise typer.Exit(EXIT_NO)


def certificates(
    project: ProjectArgument,
    void: Annotated[str | None, typer.Option(help="Void this certificate for good; give --why.")] = None,
    why: Annotated[str | None, typer.Option(help="Why it is voided.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a project's certificates with their state, and why those that do not count do not."""
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from agents.certificates import void as void_certificate
        from labelproof.report.certificate_list import certificate_list
        from labelproof.spec.errors import ConfigError
        from labelproof.store import default_store, open_store

        now = datetime.now(UTC)
        with open_store(store or default_store()) as opened:
            if void is not None:
                if not why:
                    raise ConfigError("voiding a certificate needs a reason", hint="--why '...'")
                known = {s.certificate.certificate_id for s in certificate_list(opened, project, now)}
                if void not in known:
                    raise ConfigError(
                        f"no certificate {void!r} in this project",
                        hint=f"known: {', '.join(sorted(known)) or 'none'}",
                    )
                void_certificate(opened, void, why, now)
            found = certificate_list(opened, project, now)
        if as_json:
            emit_json([_plain(standing) for standing in found])
        else:
            _show_list(console(), project, found)


def _pairs(given: list[str]) -> dict[str, float]:
    from labelproof.spec.errors import ConfigError

    found = {}
    for pair in given:
        label, _, value = pair.rpartition("=")
        try:
            found[label] = float(value)
        except ValueError as error:
            raise ConfigError(
                f"--per-class takes LABEL=ALPHA, found {pair!r}", hint="--per-class minor_safety=.01"
            ) from error
    return found


def _show(out: Console, report: CertifyReport, paths: list[Path]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.certify_report import group_name
    from labelproof.spec.hashing import short

    out.print(
        f"[bold]{report.project}[/] · {report.strategy}@{short(report.strategy_fp)} · {report.n_gold} gold items to certify "
        f"on, {report.pool_n} items of the pool"
    )
    colour = "green" if report.certificate else "yellow"
    out.print(f"\n[bold {colour}]{escape(report.sentence)}[/]\n")
    table = Table(
        "labels",
        "promise",
        "threshold",
        "gold accepted",
        "wrong",
        "error at most",
        "coverage",
        "naive rule",
        box=None,
    )
    for group, found in report.results.items():
        naive = found.naive
        table.add_row(
            group_name(group, alone=len(report.results) == 1),
            f"error ≤ {found.alpha:.1%}, δ {found.delta:.3g}",
            "none" if found.threshold is None else f"≥ {found.threshold:.3f}",
            f"{found.n_accepted} of {found.n_gold}",
            str(found.n_errors),
            "-" if found.upper is None else f"{found.upper:.1%}",
            "-" if found.coverage is None else f"{found.coverage:.0%}",
            "none" if naive.threshold is None else f"≥ {naive.threshold:.3f} ({naive.coverage:.0%})",
        )
    out.print(table)
    out.print(
        "[dim]The naive rule (laxest threshold that looks right on this gold) breaks its promise about half of the time.[/]"
    )
    for note in report.notes:
        out.print(f"- {escape(note)}")
    for group, found in report.results.items():
        if found.more_gold is not None:
            out.print(
                f"- {escape(group_name(group, alone=len(report.results) == 1))}: {escape(found.more_gold.why)}"
            )
    if report.certificate is not None:
        out.print(
            f"\nCertificate [bold]{report.certificate.certificate_id}[/], valid until {report.certificate.expires_at[:10]}; "
            "runs with `routing: {mode: certified}` rely on it from now on."
        )
    for path in paths:
        if path.suffix == ".html":
            out.print(f"Plot  {escape(str(path))} (also .svg, .png)", soft_wrap=True)
    name = command_name()
    for line in _next_steps(name, report):
        out.print(line)


def _next_steps(name: str, report: CertifyReport) -> list[str]:
    """Return the commands that would bring a certificate, for the cheapest of the groups that lack one."""
    if report.certificate is not None:
        return []
    draw = f"{name} gold sample {report.project} --strategy {report.strategy}"
    needs = [found.more_gold for found in report.results.values() if found.more_gold is not None]
    reachable = [need for need in needs if need.n_accepted_more]
    if reachable:
        need = min(reachable, key=lambda one: one.n_accepted_more or 0)
        how = f"--budget {need.n_accepted_more} --at-least {need.confidence_at_least:.4g}"
        return [f"\n[bold]Next[/]\n  {draw} {how}"]
    if needs and report.n_gold:
        return [
            f"\n[bold]Next[/]\n  {name} score {report.project} --strategy {report.strategy}   [dim]where it is wrong[/]"
        ]
    return [f"\n[bold]Next[/]\n  {draw} --budget 200"]


def _show_list(out: Console, project: str, found: list[Standing]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from labelproof.report.certify_report import group_name
    from labelproof.spec.hashing import short

    if not found:
        out.print(f"No certificate was issued for {project}. Next: {command_name()} certify {project}")
        return
    table = Table("certificate", "strategy", "promise", "coverage", "issued", "state", box=None)
    for standing in found:
        one = standing.certificate
        promises = [
            f"{group_name(p.group, alone=len(one.groups) == 1)}: ≤ {p.alpha:.1%} at ≥ {p.threshold:.3f}"
            for p in one.groups
            if p.certified
        ]
        state = {"valid": "[green]valid[/]", "void": "[red]void[/]"}.get(
            standing.state, f"[yellow]{standing.state}[/]"
        )
        until = (
            f" until {one.expires_at[:10]}"
            if standing.state == "valid"
            else f": {escape(standing.reason or '')}"
        )
        table.add_row(
            one.certificate_id,
            f"{one.strategy}@{short(one.strategy_fp)}",
            escape("; ".join(promises)),
            f"{one.coverage:.0%}",
            one.issued_at[:16].replace("T", " "),
            state + until,
        )
    out.print(table)


def _plain(standing: Standing) -> dict[str, Any]:
    return {"state": standing.state, "reason": standing.reason, **standing.certificate.to_json()}
