"""A private PostgreSQL server for one test session: a Unix socket in a temporary folder, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres_server() -> Iterator[str]:
    """Give the connection string of a fresh server's database; skips the test when there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    # PostgreSQL refuses to run as root; the package's own user may run it.
    user = "postgres" if os.getuid() == 0 else None
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        shutil.chown(base, user)
    data = base / "data"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(base / "log")]

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, cwd=base, stdout=subprocess.DEVNULL)

    run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "lake", "--no-sync")
    run(*control, "-o", f"-k {base} -c listen_addresses='' -c fsync=off", "start")
    try:
        yield f"dbname=postgres user=lake host={base}"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(base)


def _programs() -> Path | None:
    """Return the folder with initdb and pg_ctl: on PATH, or where Debian puts them."""
    found = [
        Path(path).resolve().parent for path in [shutil.which("initdb"), shutil.which("postgres")] if path
    ]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)
