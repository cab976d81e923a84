"""Where a store is: reading its URL, and the folders that belong to it.

``/dir`` or ``dir``                              a DuckDB file ``dir/trace.duckdb``
``/dir/name.duckdb``, ``duckdb:///dir``          the same, as a file or a URL (absolute after ``//``)
``ducklake:sqlite:/dir/catalog.sqlite?data=DIR`` DuckLake with its catalog in SQLite
``ducklake:postgres:dbname=lake host=db?data=s3://bucket/prefix``  the same for many machines
A DuckLake URL may name ``outbox=DIR``: the local folder for what is not yet in the lake.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from labelproof.spec.errors import StoreError
from labelproof.spec.hashing import digest_text

FORMS = (
    "a folder, a .duckdb file, duckdb:///dir, ducklake:sqlite:/dir/catalog.sqlite?data=DIR "
    "or ducklake:postgres:dbname=NAME?data=DIR"
)
DEFAULT_FILE = "trace.duckdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A store's address: ``target`` is the database file, or what follows ``ducklake:``."""

    kind: Literal["duckdb", "ducklake"]
    target: str
    root: Path
    outbox: Path
    data: str | None = None

    @property
    def shown(self) -> str:
        """The address for messages; passwords are masked."""
        shown = self.target if self.kind == "duckdb" else f"ducklake:{self.target}"
        return masked(shown)

    @property
    def catalog(self) -> Literal["file", "sqlite", "postgres"]:
        """Who keeps the catalog: the DuckDB file itself, SQLite, or PostgreSQL."""
        if self.kind == "duckdb":
            return "file"
        return "postgres" if self.target.startswith("postgres:") else "sqlite"


def masked(text: str) -> str:
    """Return ``text`` without the passwords of connection strings in it."""
    text = re.sub(r"(password\s*=\s*)('[^']*'|[^\s'\"&?]+)", r"\1***", text, flags=re.IGNORECASE)
    return re.sub(r"(://[^:/@\s]+:)[^@\s]+@", r"\1***@", text)


def default_store() -> str:
    """Return the store to use when none is named: LABELPROOF_STORE, else ``.labelproof/store`` here."""
    return os.environ.get("LABELPROOF_STORE") or str(Path.cwd() / ".labelproof" / "store")


def parse_location(url: str | Path) -> Location:
    """Return the parsed address; ``StoreError`` lists the accepted forms."""
    text = os.fspath(url)
    if not text.strip():
        raise StoreError(f"a store URL is empty; expected {FORMS}")
    if text.startswith("ducklake:"):
        return _lake(text)
    if text.startswith("duckdb:"):
        text = re.sub(r"^duckdb:(//)?", "", text)
    elif re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]+:", text):
        raise StoreError(f"{text.split(':', 1)[0]!r} is not a kind of store; expected {FORMS}")
    path = Path(text).expanduser().absolute()
    if path.suffix != ".duckdb":
        return Location(kind="duckdb", target=str(path / DEFAULT_FILE), root=path, outbox=path / "outbox")
    outbox = "outbox" if path.name == DEFAULT_FILE else f"{path.stem}.outbox"
    return Location(kind="duckdb", target=str(path), root=path.parent, outbox=path.parent / outbox)


def _lake(text: str) -> Location:
    address, _, query = text.partition("?")
    kind, _, rest = address.removeprefix("ducklake:").partition(":")
    options = dict(parse_qsl(query))
    unknown = set(options) - {"data", "outbox"}
    if kind not in ("sqlite", "postgres") or not rest or unknown:
        wrong = f"unknown option {sorted(unknown)}" if unknown else f"catalog {kind!r}"
        raise StoreError(f"a DuckLake URL has an {wrong}; expected {FORMS}")
    if kind == "sqlite":
        catalog = Path(rest).expanduser().absolute()
        rest = str(catalog)
        root = catalog.parent
        data = options.get("data", str(root / "data"))
    else:
        # The outbox is local whatever the lake is: an acknowledgement must not need the network.
        mark = digest_text(rest).removeprefix("b2:")[:12]
        root = Path.cwd() / ".labelproof" / f"lake-{mark}"
        if "data" not in options:
            raise StoreError(
                "a DuckLake on PostgreSQL needs a place for its data files",
                hint="add ?data=s3://bucket/prefix (or a folder every machine sees) to the URL",
            )
        data = options["data"]
    if "://" not in data:
        data = str(Path(data).expanduser().absolute())
    outbox = Path(options["outbox"]).expanduser().absolute() if "outbox" in options else None
    return Location(
        kind="ducklake",
        target=f"{kind}:{rest}",
        root=outbox or root,
        outbox=(outbox or root) / "outbox",
        data=data,
    )
