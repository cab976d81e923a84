"""A command line in a process of its own that a test may kill, without paying for its imports each time."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from labelproof.cli.main import main

_PRELOADED = [
    "agents.encoder",
    "agents.models.lean",
    "agents.run.drive",
    "agents.run.session",
    "labelproof.cli.experiment",
    "labelproof.cli.main",
    "labelproof.cli.run",
    "labelproof.report.rollouts.production",
    "labelproof.report.run_report",
    "labelproof.stack.guarded",
    "labelproof.stack.services",
    "labelproof.stack.supervisor",
    "labelproof.store",
    "agents.run.register",
    "agents.run.rollout",
    "httpx",
    "pandas",
    "pyarrow.dataset",
    "rich.progress",
    "uvloop",
]
"""What every `labelproof run` imports before it reads its project."""


@dataclass(frozen=True, kw_only=True)
class Killable:
    """A command under way. Its output goes to files, so that nobody needs to read while it runs."""

    process: BaseProcess
    out: Path
    err: Path

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.join()

    def end(self, timeout_s: float) -> int:
        """Return the exit code of a command that ends by itself; kills it after ``timeout_s``."""
        self.process.join(timeout_s)
        if self.is_running:
            self.kill()
        assert self.process.exitcode is not None
        return self.process.exitcode


def start_killable(arguments: Sequence[str], *, cwd: Path, output: Path) -> Killable:
    """Start `labelproof ARGUMENTS` in ``cwd``, forked from a process that has imported it and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    out, err = output.with_suffix(".out"), output.with_suffix(".err")
    process = context.Process(target=_command, args=(list(arguments), dict(os.environ), cwd, out, err))
    process.start()
    return Killable(process=process, out=out, err=err)


def _command(arguments: list[str], env: dict[str, str], cwd: Path, out: Path, err: Path) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["labelproof", *arguments]
    main()
