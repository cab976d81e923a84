"""The ``labelproof`` command: one table of commands, each imported only when it is invoked.

The overview and ``--version`` are printed without importing Typer, Rich or any command, so that they
feel instant; everything else is Typer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

EXIT_USER = 2
EXIT_BUG = 70
"""Ours to fix: EX_SOFTWARE, so that no script takes a crash for the answer "no"."""
EXIT_INTERRUPTED = 130


class Row(NamedTuple):
    """A command: ``attribute`` of ``module`` is a Typer app (a group) or a function (one command)."""

    name: str
    module: str
    attribute: str
    help: str
    panel: str


COMMANDS: tuple[Row, ...] = (
    Row("demo", "labelproof.cli.run", "demo", "Run the main job on the bundled project", "Run"),
    Row("plan", "labelproof.cli.run", "plan", "Say what a run would do and cost, and spend nothing", "Run"),
    Row(
        "run",
        "labelproof.cli.run",
        "run",
        "Label a project's items with a strategy; resumes by itself",
        "Run",
    ),
    Row("score", "labelproof.cli.score", "score", "Measure a run against gold, with intervals", "Run"),
    Row(
        "certify",
        "labelproof.cli.certify",
        "certify",
        "Prove above which confidence a strategy may decide alone",
        "Prove",
    ),
    Row(
        "certificates",
        "labelproof.cli.certify",
        "certificates",
        "List certificates, and why some do not count",
        "Prove",
    ),
    Row(
        "quality",
        "labelproof.cli.quality",
        "quality",
        "Say how right auto-decisions were, from audits",
        "Prove",
    ),
    Row("gold", "labelproof.cli.gold", "app", "Draw gold, build versions, see how worn they are", "Prove"),
    Row(
        "experiment",
        "labelproof.cli.experiment",
        "app",
        "Run strategies against each other by a plan written first",
        "Change",
    ),
    Row(
        "compare",
        "labelproof.cli.compare",
        "compare",
        "Say whether B is better than A, where, and if it is luck",
        "Change",
    ),
    Row(
        "explain",
        "labelproof.cli.explain",
        "explain",
        "Divide a difference among the changes that made it",
        "Change",
    ),
    Row(
        "suite",
        "labelproof.cli.suite",
        "app",
        "Test behaviour: robustness, bias, injection, functional cases",
        "Change",
    ),
    Row(
        "optimize",
        "labelproof.cli.optimize",
        "optimize",
        "Search for a better strategy on tuning gold, confirm it on fresh",
        "Change",
    ),
    Row("rollout", "labelproof.cli.promote", "app", "Try a candidate on production traffic", "Change"),
    Row("promote", "labelproof.cli.promote", "promote", "Make a candidate the champion", "Change"),
    Row("rollback", "labelproof.cli.promote", "rollback", "Take the last promotion back", "Change"),
    Row(
        "overview",
        "labelproof.cli.playbook",
        "overview",
        "Show all projects: quality against promises, cost, findings",
        "Watch",
    ),
    Row("line", "labelproof.cli.line", "app", "Send everything to people at once, and back", "Watch"),
    Row(
        "monitor",
        "labelproof.cli.monitor",
        "monitor",
        "Measure production against its targets, raise and escalate alarms",
        "Watch",
    ),
    Row(
        "rca", "labelproof.cli.rca", "rca", "Say why a rate changed, what was ruled out, what to do", "Watch"
    ),
    Row(
        "findings",
        "labelproof.cli.findings",
        "app",
        "Drive problems to verified closure; risk register, change log",
        "Watch",
    ),
    Row(
        "report",
        "labelproof.cli.report",
        "app",
        "Write a report for leadership, a model card or a data card",
        "Watch",
    ),
    Row(
        "playbook",
        "labelproof.cli.playbook",
        "app",
        "Say which kinds of change helped on which kinds of project",
        "Watch",
    ),
    Row(
        "training-data",
        "labelproof.cli.training_data",
        "training_data",
        "Write decided labels as data sets to train and judge models with",
        "Watch",
    ),
    Row(
        "review", "labelproof.cli.review", "app", "Hand review tasks to people and take votes back", "People"
    ),
    Row("serve", "labelproof.cli.serve", "serve", "Open the review queue in the browser", "People"),
    Row(
        "reviewers",
        "labelproof.cli.reviewers",
        "app",
        "Add reviewers and leads, give them passwords",
        "People",
    ),
    Row("agreement", "labelproof.cli.agreement", "agreement", "Measure how far annotators agree", "People"),
    Row(
        "alt-test",
        "labelproof.cli.agreement",
        "alt_test",
        "Test whether the model may replace the annotators",
        "People",
    ),
    Row(
        "export",
        "labelproof.cli.export",
        "export",
        "Write labels, confidence and provenance to a file",
        "Run",
    ),
    Row("trace", "labelproof.cli.trace", "trace", "Show every step behind one item's label", "Look"),
    Row("sql", "labelproof.cli.sql", "sql", "Query the trace store, read-only", "Look"),
    Row("init", "labelproof.cli.init", "init", "Make a new project that runs at once", "Project"),
    Row(
        "items",
        "labelproof.cli.items",
        "app",
        "Check what a project reads: items, gold, malformed rows",
        "Project",
    ),
    Row("strategy", "labelproof.cli.strategy", "app", "Show, fingerprint and compare strategies", "Project"),
    Row("model", "labelproof.cli.model", "app", "List, fetch and verify models", "Operate"),
    Row(
        "up", "labelproof.cli.stack", "up", "Start the local Prefect server, worker and schedules", "Operate"
    ),
    Row("down", "labelproof.cli.stack", "down", "Stop them", "Operate"),
    Row("status", "labelproof.cli.stack", "status", "Say what is running", "Operate"),
    Row(
        "doctor", "labelproof.cli.doctor", "doctor", "Check this installation and say what to fix", "Operate"
    ),
)
PANELS = ("Run", "Prove", "Change", "Watch", "People", "Look", "Project", "Operate")
_USAGE = "labelproof COMMAND [OPTIONS]"
_ABOUT = "Label content with LLM agents, send people only what needs them, and prove how right it is."
_OPTIONS = (
    ("-h, --help", "This overview; after a command, all it takes"),
    ("--version", "Print the version"),
    ("--install-completion", "Complete commands and options in this shell"),
)


def main() -> None:
    """Run the command of ``sys.argv`` and exit: 0 ok, 1 the answer is "no", 2 the user must fix
    something, 70 a bug of ours, 130 interrupted.
    """
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Run ``arguments`` and return the exit code."""
    try:
        return _dispatch(list(arguments))
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:
            return _interrupted()
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:  # noqa: BLE001  # the last frame: report, then exit
        from labelproof.spec.errors import BugError, LabelproofError

        if isinstance(error, LabelproofError) and not isinstance(error, BugError):
            sys.stderr.write(f"error {error}\n")
            return EXIT_USER
        from traceback import print_exc

        print_exc()
        sys.stderr.write("this is a bug in Labelproof; please report it with the lines above\n")
        return EXIT_BUG


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if os.environ.get("_LABELPROOF_COMPLETE") or first.endswith("-completion"):
        overview_group().main(args=arguments, prog_name="labelproof")
        return 0
    if first in ("-h", "--help", "help"):
        sys.stdout.write(overview(color=_is_colorful()))
        return 0
    if first == "--version":
        from labelproof import __version__

        sys.stdout.write(f"labelproof {__version__}\n")
        return 0
    row = next((row for row in COMMANDS if row.name == first), None)
    if row is None:
        sys.stderr.write(_unknown(first))
        return EXIT_USER
    names = ["-h", "--help"]
    load(row).main(args=arguments[1:], prog_name=f"labelproof {row.name}", help_option_names=names)
    return 0


def load(row: Row) -> TyperCommand | TyperGroup:
    """Import the module of ``row`` and return its command, ready to run."""
    from importlib import import_module
    from typing import cast

    import typer
    from typer.main import get_command

    found = getattr(import_module(row.module), row.attribute)
    if isinstance(found, typer.Typer):
        app = found
        app._add_completion = False
    else:
        app = typer.Typer(add_completion=False)
        app.command(row.name)(found)
    command = get_command(app)
    command.name = row.name
    return cast("TyperCommand | TyperGroup", command)


def overview_group() -> TyperGroup:
    """Return all commands as one Typer group; shells complete from it. Commands load when asked for."""
    import typer
    from typer._click import Command, Context  # their only home since Typer carries its own Click
    from typer._click.shell_completion import CompletionItem
    from typer.core import TyperGroup
    from typer.main import get_command

    class _Lazy(TyperGroup):
        def list_commands(self, ctx: Context) -> list[str]:
            return [row.name for row in COMMANDS]

        def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
            row = next((row for row in COMMANDS if row.name == cmd_name), None)
            return None if row is None else load(row)

        def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
            names = [(row.name, row.help) for row in COMMANDS] + [("--help", ""), ("--version", "")]
            return [CompletionItem(n, help=h) for n, h in names if n.startswith(incomplete)]

    app = typer.Typer(cls=_Lazy, name="labelproof", help=_ABOUT)
    app.callback()(lambda: None)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def overview(*, color: bool) -> str:
    """Return the list of commands, by panel."""
    bold, dim, cyan, off = ("\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m") if color else ("",) * 4
    width = max(len(name) for name, _ in _OPTIONS) + 2
    lines = [f"{bold}Usage:{off} {_USAGE}", "", _ABOUT]
    for panel in PANELS:
        lines += ["", f"{bold}{panel}{off}"]
        lines += [f"  {cyan}{row.name:<{width}}{off}{row.help}" for row in COMMANDS if row.panel == panel]
    lines += ["", f"{bold}Options{off}"]
    lines += [f"  {cyan}{name:<{width}}{off}{text}" for name, text in _OPTIONS]
    lines += ["", f"{dim}labelproof COMMAND --help says what a command takes.{off}", ""]
    return "\n".join(lines)


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if name.startswith("-"):
        return f"error: no such option: {name}\n  -> labelproof --help lists what there is\n"
    close = get_close_matches(name, [row.name for row in COMMANDS], n=1, cutoff=0.5)
    meant = f"; did you mean `{close[0]}`?" if close else ""
    return f"error: no such command: {name}{meant}\n  -> labelproof --help lists what there is\n"


def _interrupted() -> int:
    sys.stderr.write("\ninterrupted\n")
    return EXIT_INTERRUPTED


def _is_colorful() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


if __name__ == "__main__":
    main()
