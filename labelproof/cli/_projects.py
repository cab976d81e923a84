"""Which project a command means when only strategies were named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from labelproof.spec.project import ProjectFolder

ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        help="Project name or folder; default: the one whose strategies are named.",
        envvar="LABELPROOF_PROJECT",
    ),
]


def project_of(
    project: str | None, refs: Sequence[str], *, store: str | None = None, root: Path | None = None
) -> ProjectFolder:
    """Return the project named, else the only one that knows every strategy of ``refs``.

    Without a name: the folder itself if it is a project, else what lies below ``projects/`` of ``root`` (default: cwd).
    A project knows a strategy by its file, or by a version that ``store`` (default: the usual place) holds.
    ``ConfigError`` lists the projects when none or several fit.
    """
    from labelproof.spec.errors import ConfigError
    from labelproof.spec.project import PROJECT_FILE, find_project

    if project is not None:
        return find_project(project, root=root)
    base = root if root is not None else Path.cwd()
    if (base / PROJECT_FILE).is_file():
        return find_project(str(base))
    folders = sorted(path.parent for path in (base / "projects").glob(f"*/{PROJECT_FILE}"))
    if len(folders) == 1:
        return find_project(str(folders[0]))
    found = [find_project(str(folder)) for folder in folders]
    stored = _stored_versions(store) if found else []
    fitting = [folder for folder in found if all(_knows(folder, ref, stored) for ref in refs)]
    if len(fitting) == 1:
        return fitting[0]
    named = " and ".join(repr(ref) for ref in refs)
    several = ", ".join(folder.name for folder in (fitting or found)) or f"none below {base / 'projects'}"
    what = f"{len(fitting)} projects know" if fitting else "no project here knows"
    raise ConfigError(
        f"{what} the strategies {named}; projects: {several}",
        hint="say which with --project NAME, or set LABELPROOF_PROJECT",
    )


def _stored_versions(store: str | None) -> list[tuple[str, str, str]]:
    """Return (project, strategy, fingerprint's digits) of all stored versions; empty when there is no store."""
    from labelproof.spec.errors import StoreError
    from labelproof.spec.hashing import PREFIX
    from labelproof.store import default_store, open_store

    try:
        opened = open_store(store or default_store(), create=False)
    except StoreError:
        if store is not None:
            raise
        return []  # nothing has run here yet: files alone say what there is
    with opened:
        rows = opened.query(
            "SELECT DISTINCT project, strategy, strategy_fp FROM strategies", fresh=True
        ).to_pylist()
    return [(row["project"], row["strategy"], row["strategy_fp"].removeprefix(PREFIX)) for row in rows]


def _knows(folder: ProjectFolder, ref: str, stored: Sequence[tuple[str, str, str]]) -> bool:
    from labelproof.spec.hashing import PREFIX

    name, _, digits = ref.partition("@")
    if not digits and name in folder.strategy_names():
        return True
    mine = [(strategy, fp) for project, strategy, fp in stored if project == folder.name]
    if digits:
        return any(fp.startswith(digits.removeprefix(PREFIX).lower()) for _, fp in mine)
    return any(strategy == name or fp.startswith(name.removeprefix(PREFIX).lower()) for strategy, fp in mine)
