"""From the ``path`` of a source to the files it means."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast
from urllib.parse import urlsplit, urlunsplit

import duckdb

from labelproof.spec.errors import ConfigError
from labelproof.store.interchange._duck import download, expand_remote, is_remote

FileFormat = Literal["jsonl", "csv", "parquet"]
_SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_WILDCARDS = "*?["


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """One file or URL to read; ``name`` is how reports call it (no credentials, no signed query)."""

    path: str
    name: str
    format: FileFormat
    remote: bool


def locate(path: str, declared: str, folder: Path) -> list[Located]:
    """Return the files that ``path`` means, wildcards expanded and sorted.

    Relative paths start at ``folder``. Raises ``ConfigError`` if there is no such file, or if its
    format can neither be read off the name nor was ``declared``.
    """
    if is_remote(path):
        has_wildcard = any(mark in urlsplit(path)._replace(query="").geturl() for mark in _WILDCARDS)
        try:
            found = expand_remote(path) if has_wildcard else [path]
        except duckdb.Error as error:
            raise ConfigError(f"cannot list {public_name(path)}: {reason(error, path)}") from error
        names = {url: public_name(url) for url in found}
    else:
        pattern = str(Path(path).expanduser())
        if (folder / pattern).is_file():
            found = [str(folder / pattern)]
        else:  # root_dir: the folder's own name may hold wildcards; Path.glob refuses absolute patterns
            matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
            found = [str(folder / match) for match in matches if (folder / match).is_file()]
        names = {file: _shown(file, folder) for file in found}
    if not found:
        raise ConfigError(
            f"no such file: {path}",
            key="path",
            hint=f"relative paths start at {folder}; looked for {folder / path}",
        )
    return [Located(path=f, name=names[f], format=_format(f, declared), remote=is_remote(f)) for f in found]


@contextmanager
def local_copy(located: Located) -> Iterator[Path]:
    """Yield a local path with the file's bytes; a remote file is spooled and removed again."""
    if not located.remote:
        yield Path(located.path)
        return
    suffix = ".gz" if urlsplit(located.path).path.endswith(".gz") else ""
    with TemporaryDirectory(prefix="labelproof-") as temporary:
        target = Path(temporary) / f"download{suffix}"
        try:
            download(located.path, target)
        except duckdb.Error as error:
            raise ConfigError(f"cannot read {located.name}: {reason(error, located.path)}") from error
        yield target


def public_name(url: str) -> str:
    """Return ``url`` without user, password, query and fragment: what may be stored and shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _format(path: str, declared: str) -> FileFormat:
    if declared != "auto":
        return cast(FileFormat, declared)
    name = urlsplit(path).path if is_remote(path) else path
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"cannot tell the format of {public_name(path) if is_remote(path) else path}: expected "
            f"one of {', '.join(_SUFFIXES)} (text formats also with .gz)",
            key="format",
            hint="set format: jsonl, csv or parquet, or write a `query` for anything else DuckDB reads",
        )
    return _SUFFIXES[suffix]


def _shown(file: str, folder: Path) -> str:
    try:
        return str(Path(file).relative_to(folder))
    except ValueError:
        return file


def reason(error: Exception, path: str) -> str:
    """Return DuckDB's message in one line, with the public name in place of a URL's secrets."""
    return str(error).splitlines()[0].replace(path, public_name(path) if is_remote(path) else path)
