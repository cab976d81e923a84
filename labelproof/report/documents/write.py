"""Writing a report to files: the page, Markdown, slides; nothing half-written is left under a final name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labelproof.report.documents.model import Document
from labelproof.spec.errors import ConfigError

FOLDER = "reports"
"""Where reports go unless somebody says otherwise, below the working directory; Git is told to leave it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a report."""

    page: Path
    others: tuple[Path, ...]


def write(made: Document, out: Path | None = None, *, markdown: bool = False) -> Written:
    """Write a report and return its files. ``out``: an .html file, or a folder; default ``reports/PROJECT/``.

    Slides go into a folder beside the page when the report has any. ``ConfigError`` for another kind of file.
    """
    if out is not None and out.suffix and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"--out {out}: expected a folder or an .html file",
            hint="--markdown writes Markdown beside the page",
        )
    if out is None:
        base = Path(FOLDER) / made.project
        base.mkdir(parents=True, exist_ok=True)
        ignore = Path(FOLDER) / ".gitignore"
        if not ignore.exists():
            ignore.write_text(
                "# Reports are made again by `labelproof report`; keep them elsewhere if they are records.\n*\n"
            )
    else:
        base = out.parent if out.suffix else out
        base.mkdir(parents=True, exist_ok=True)
    page = out if out is not None and out.suffix else base / f"{made.stem}.html"
    _replace(page, made.html.encode())
    others = []
    if markdown:
        others.append(page.with_suffix(".md"))
        _replace(others[-1], made.markdown.encode())
    if made.pngs:
        folder = base / f"{page.stem}-slides"
        folder.mkdir(exist_ok=True)
        for place, (name, picture) in enumerate(made.pngs.items(), 1):
            others.append(folder / f"{place}-{name}.png")
            _replace(others[-1], picture)
    return Written(page=page, others=tuple(others))


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(content)
    os.replace(draft, path)  # noqa: PTH105 - atomic on the same file system
