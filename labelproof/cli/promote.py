"""`labelproof promote`, `rollback` and `rollout`: how strategies come into use and go out of it, and who decided so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from labelproof.cli._common import EXIT_NO, command_name, console, emit_json, user_errors
from labelproof.cli.run import JsonOption, ProjectArgument, StoreOption

if TYPE_CHECKING:
    from labelproof.report.rollouts.pair import Pair

app = typer.Typer(help="Try a candidate on production traffic: in the shadow, or as a canary.")

CandidateArgument = Annotated[
    str, typer.Argument(help="The candidate: a strategy's name, NAME@VERSION to insist on a version.")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit trail.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who decides; default: your user name.", envvar="LABELPROOF_BY")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]


def promote(
    project: ProjectArgument,
    candidate: CandidateArgument,
    why: WhyOption,
    by: ByOption = None,
    evidence: Annotated[
        str, typer.Option("--evidence", help="Id of the comparison it rests on, or `latest`.")
    ] = "latest",
    force: Annotated[
        bool, typer.Option("--force", help="Go ahead without a comparison that says ship; recorded as such.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for approval in the Prefect UI: starts the flow `promote`.")
    ] = False,
    yes: YesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a candidate the champion: its content goes into the champion's file, under the champion's name.

    Needs a comparison of exactly these two versions on today's gold that says ship. Who, why and the evidence are kept,
    and so is the old file: `labelproof rollback` restores it. Exit code 0: promoted; 1: not approved; 2: refused.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.rollouts.pair import load_pair
        from labelproof.report.rollouts.promote import promote as carry_out
        from labelproof.report.rollouts.text import outcome_lines, pair_lines
        from labelproof.store import default_store, open_store

        person = _person(by)
        if ask:
            _ask(project, candidate, why, person, evidence, force=force, store=store, as_json=as_json)
            return
        with open_store(store or default_store()) as opened:
            pair = load_pair(opened, project, candidate, evidence=evidence, now=datetime.now(UTC))
            if not yes:
                _confirm(pair, pair_lines(pair), force=force)
            done = carry_out(opened, pair, why=why, by=person, now=datetime.now(UTC), force=force)
        if as_json:
            emit_json(done.to_json())
            return
        _print(f"Promoted: {done.state.ref} is the champion of {done.state.project}", outcome_lines(done))
        console().print(
            f"\n[dim]{command_name()} rollback {project} --why ... restores the old file[/]", soft_wrap=True
        )


def rollback(
    project: ProjectArgument,
    why: WhyOption,
    by: ByOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also when the file was edited since; its text is kept.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the last promotion back: restore the champion's file byte for byte; again, the one before that.

    What prompts and guideline say today is not part of that file: if they changed, the answer says what is different.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.rollouts.rollback import rollback as carry_out
        from labelproof.report.rollouts.text import outcome_lines
        from labelproof.store import default_store, open_store

        with open_store(store or default_store()) as opened:
            done = carry_out(opened, project, why=why, by=_person(by), now=datetime.now(UTC), force=force)
        if as_json:
            emit_json(done.to_json())
            return
        _print(f"Rolled back: {done.state.ref} in {done.state.project}", outcome_lines(done))


@app.command()
def start(
    project: ProjectArgument,
    candidate: CandidateArgument,
    why: WhyOption,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="It answers beside the champion and decides nothing.")
    ] = False,
    canary: Annotated[
        float | None, typer.Option("--canary", help="It decides this share of the traffic, e.g. 0.1.")
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", help="Metadata column whose values stay together, e.g. author; default: items."
        ),
    ] = None,
    max_cost_usd: Annotated[
        float | None,
        typer.Option("--shadow-max-cost-usd", min=0, help="What the shadow may spend in each run."),
    ] = None,
    watch_days: Annotated[
        int,
        typer.Option("--watch-days", min=0, help="Days after promotion in which alarms propose a rollback."),
    ] = 14,
    auto_rollback: Annotated[
        bool,
        typer.Option("--auto-rollback", help="After promotion, an alarm restores the old file by itself."),
    ] = False,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let production runs try a candidate: in the shadow, or as a canary with a share of the traffic.

    From the next `labelproof run` of the project's strategy on. The same command with a higher share goes on with the
    same roll-out: units only move from the champion to the candidate. A canary in breach is rolled back by itself.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.rollouts.model import Terms
        from labelproof.report.rollouts.pair import load_pair
        from labelproof.report.rollouts.text import phase_text
        from labelproof.report.rollouts.traffic import start as begin
        from labelproof.spec.errors import ConfigError
        from labelproof.store import default_store, open_store

        if shadow == (canary is not None):
            raise ConfigError("expected exactly one of --shadow and --canary SHARE")
        terms = Terms(
            unit=unit, shadow_max_cost_usd=max_cost_usd, watch_days=watch_days, auto_rollback=auto_rollback
        )
        with open_store(store or default_store()) as opened:
            now = datetime.now(UTC)
            pair = load_pair(opened, project, candidate, now=now)
            state = begin(opened, pair, share_prob=canary, terms=terms, why=why, by=_person(by), now=now)
        if as_json:
            emit_json({"rollout_id": state.rollout_id, "phase": state.phase, "share_prob": state.share_prob})
            return
        lines = [("State", phase_text(state)), ("Certificate", pair.certificate.sentence)]
        _print(f"{state.ref} from the next run of {state.project} on ({state.rollout_id})", lines)


@app.command()
def status(project: ProjectArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Look at the roll-out under way, else at the last promotion; a canary in breach is rolled back.

    Exit code 0: nothing to see to; 1: an alarm, a rollback, or a change that was interrupted.
    """
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.rollouts.text import watch_lines
        from labelproof.report.rollouts.watch import watch
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store()) as opened:
            seen = watch(opened, folder, now=datetime.now(UTC))
        if as_json:
            emit_json(None if seen is None else seen.to_json())
        elif seen is None:
            console().print(
                f"No roll-out yet. {command_name()} rollout start {project} CANDIDATE --shadow --why ..."
            )
        else:
            _print(f"{seen.state.ref} in {folder.name} ({seen.state.rollout_id})", watch_lines(seen))
        if seen is not None and seen.exit_code:
            raise typer.Exit(EXIT_NO)


@app.command(name="list")
def list_(project: ProjectArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show the audit trail: every roll-out with who, when, why and on which evidence."""
    with user_errors(as_json=as_json):
        from labelproof.report.rollouts.events import read_rollouts
        from labelproof.report.rollouts.text import phase_text, trail_lines
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store()) as opened:
            states = read_rollouts(opened, folder.name)
        if as_json:
            emit_json([_trail(state) for state in states])
            return
        for state in states:
            _print(f"{state.ref}: {phase_text(state)} ({state.rollout_id})", trail_lines(state))
        if not states:
            console().print("No roll-out yet.")


@app.command()
def stop(
    project: ProjectArgument,
    why: WhyOption,
    by: ByOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the traffic away from the candidate: the champion decides everything again."""
    with user_errors(as_json=as_json):
        from datetime import UTC, datetime

        from labelproof.report.rollouts.traffic import stop as end
        from labelproof.spec.project import find_project
        from labelproof.store import default_store, open_store

        folder = find_project(project)
        with open_store(store or default_store()) as opened:
            state = end(opened, folder.name, why=why, by=_person(by), now=datetime.now(UTC), folder=folder)
        if as_json:
            emit_json({"rollout_id": state.rollout_id, "phase": state.phase})
        else:
            console().print(f"Stopped: {state.ref} ({state.rollout_id})")


def _trail(state: object) -> dict[str, object]:
    from labelproof.report.rollouts.model import RolloutState

    assert isinstance(state, RolloutState)
    events = [
        {
            "event": event.event,
            "ts": event.ts.isoformat(),
            "by": event.actor,
            "why": event.reason,
            "share_prob": event.share_prob,
            "flow_run_id": event.flow_run_id,
            "evidence": {k: v for k, v in event.evidence.items() if k not in ("before", "after")},
        }
        for event in state.events
    ]
    return {
        "rollout_id": state.rollout_id,
        "strategy": state.strategy,
        "fp_from": state.fp_from,
        "fp_to": state.fp_to,
        "phase": state.phase,
        "events": events,
    }


def _person(by: str | None) -> str:
    """Return who decides; a login name when nobody was named."""
    from getpass import getuser

    from labelproof.spec.errors import ConfigError

    if by:
        return by
    try:
        return getuser()
    except (KeyError, OSError) as error:
        raise ConfigError(
            "who decides is not known: this account has no name", hint="name them with --by"
        ) from error


def _confirm(pair: Pair, lines: Sequence[tuple[str, str]], *, force: bool) -> None:
    """Show a person what they approve; refuse without a terminal."""
    from labelproof.spec.errors import ConfigError

    if pair.evidence.missing and not force:
        return  # refused below, with the reason
    if not sys.stdin.isatty():
        raise ConfigError("nobody to ask: this is no terminal", hint="--yes promotes without asking")
    _print(f"Promote in {pair.project}?", lines)
    if not typer.confirm("Make it the champion"):
        raise typer.Exit(EXIT_NO)


def _ask(
    project: str,
    candidate: str,
    why: str,
    by: str,
    evidence: str,
    *,
    force: bool,
    store: str | None,
    as_json: bool,
) -> None:
    import os

    from labelproof.spec.errors import ConfigError
    from labelproof.stack import api_url, find_root, prefect_env

    root = find_root()
    url = api_url(root)
    if url is None:
        raise ConfigError(
            "no Prefect server is up to ask through",
            hint=f"{command_name()} up starts one; without --ask the question comes here",
        )
    os.environ.update(prefect_env(root, url))
    from agents.run.drive import new_loop_run
    from flows.params import PromoteParams
    from flows.promote_flow import start as start_flow

    params = PromoteParams(
        project=project, strategy=candidate, why=why, by=by, evidence=evidence, force=force, store=store
    )
    flow_run_id = str(new_loop_run(start_flow(params)))
    page = f"{url.removesuffix('/api')}/runs/flow-run/{flow_run_id}"
    if as_json:
        emit_json({"flow_run_id": flow_run_id, "page": page})
    else:
        console().print(
            f"Asked: {page}\nIt waits there; Resume opens the form (approve, who, why).", soft_wrap=True
        )


def _print(title: str, lines: Sequence[tuple[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for heading, text in lines:
        table.add_row(escape(heading), escape(text))
    out.print(table)
