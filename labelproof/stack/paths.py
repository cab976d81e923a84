"""Where one project root keeps the pieces of its local stack."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPaths:
    """File names below ``<root>/.labelproof/stack``; nothing is created by asking for a name."""

    root: Path

    @property
    def base(self) -> Path:
        return self.root / ".labelproof" / "stack"

    @property
    def home(self) -> Path:
        """PREFECT_HOME: the same folder is the same history."""
        return self.base / "prefect"

    @property
    def logs(self) -> Path:
        return self.base / "logs"

    @property
    def state(self) -> Path:
        """What the supervisor last wrote about itself."""
        return self.base / "state.json"

    @property
    def port(self) -> Path:
        return self.base / "port"

    @property
    def supervisor_lock(self) -> Path:
        return self.base / "supervisor.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the one process that may run a server on this root's database."""
        return self.base / "server.lock"

    @property
    def clients_lock(self) -> Path:
        """Held shared by every run that borrows a server it did not find running."""
        return self.base / "clients.lock"

    def record(self, service: str) -> Path:
        """Return the file where the guard of ``service`` writes its pids and start times."""
        return self.base / "services" / f"{service}.json"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def ensure(self) -> None:
        """Create the folders, readable by their owner only: logs may hold what flows print."""
        self.base.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.home, self.logs, self.base / "services"):
            folder.mkdir(exist_ok=True, mode=0o700)


def stack_paths(root: Path | str) -> StackPaths:
    """Return the names for ``root``, resolved: two spellings of one folder are one stack."""
    return StackPaths(root=Path(root).resolve())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace ``path`` in one step, so that a reader never sees half a file."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in ``path``; empty when the file is missing or is not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
