"""Numbered SQL migrations, each in one transaction with its checksum in ``ledger_migrations``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.resources import files

from labelproof.spec.errors import StoreError
from labelproof.spec.hashing import digest_text
from labelproof.store.engine import Cursor, Engine
from labelproof.store.location import Location

_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
WRITE_WAIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Hash of the SQL; a released migration must never change."""
        return digest_text(self.sql)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One row of ``ledger_migrations``."""

    version: int
    name: str
    checksum: str


@cache
def known_migrations() -> tuple[Migration, ...]:
    """Return this release's migrations in order; their versions are 1, 2, 3 and so on."""
    found = []
    for entry in files("labelproof.store").joinpath("migrations").iterdir():
        match = _NAME.match(entry.name)
        if match:
            sql = entry.read_text(encoding="utf-8")
            found.append(Migration(version=int(match[1]), name=match[2], sql=sql))
    return tuple(sorted(found, key=lambda migration: migration.version))


def ensure_schema(
    engine: Engine,
    location: Location,
    *,
    create: bool,
    migrations: Sequence[Migration] | None = None,
) -> None:
    """Bring the database to this release's schema, making it first if ``create``.

    ``StoreError`` when there is none, when it is not ours, when it is newer than this release, or
    when a migration that ran there is not the one of the same number here.
    """
    steps = known_migrations() if migrations is None else tuple(migrations)
    if not engine.exists():
        if not create:
            raise StoreError(
                f"there is no trace store at {location.shown}",
                hint="run `labelproof run` first, or name another with --store or LABELPROOF_STORE",
            )
        engine.create(lambda cursor: _create(cursor, steps, location))
    applied = engine.read(lambda cursor: read_applied(cursor, location))
    for migration in pending(applied, steps, location):
        step = partial(_apply_if_pending, migration=migration, location=location)
        engine.write(step, wait_s=WRITE_WAIT_S)


def pending(
    applied: Sequence[Applied], migrations: Sequence[Migration], location: Location
) -> list[Migration]:
    """Return the migrations still to run; ``StoreError`` when the ledger contradicts them."""
    known = {migration.version: migration for migration in migrations}
    for row in applied:
        migration = known.get(row.version)
        if migration is None:
            raise StoreError(
                f"{location.shown} is at schema version {max(r.version for r in applied)}, this "
                f"Labelproof knows up to {max(known)}",
                hint="upgrade Labelproof; an older one must not write to a newer store",
            )
        if migration.checksum != row.checksum:
            raise StoreError(
                f"{location.shown} went through migration {row.version} ({row.name}) with checksum "
                f"{row.checksum}, this Labelproof has {migration.checksum}",
                hint="use the release that made the store, or export its rows into a new one",
            )
    done = {row.version for row in applied}
    return [migration for migration in migrations if migration.version not in done]


def read_applied(cursor: Cursor, location: Location) -> list[Applied]:
    """Return the ledger in order; empty for an empty database, ``StoreError`` for a foreign one."""
    names = {
        name
        for (name,) in cursor.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'trace' AND NOT internal"
        ).fetchall()
    }
    if "ledger_migrations" not in names:
        if names:
            raise StoreError(
                f"{location.shown} is not a trace store: it has tables {sorted(names)[:5]} and no "
                "ledger_migrations",
                hint="name another place with --store",
            )
        return []
    rows = cursor.execute("SELECT version, name, checksum FROM ledger_migrations ORDER BY version").fetchall()
    return [Applied(version=v, name=name, checksum=checksum) for v, name, checksum in rows]


def _create(cursor: Cursor, migrations: Sequence[Migration], location: Location) -> None:
    for migration in migrations:
        cursor.execute("BEGIN")
        try:
            _apply_if_pending(cursor, migration, location)
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


def _apply_if_pending(cursor: Cursor, migration: Migration, location: Location) -> None:
    """Look again inside the transaction: another process may have been faster."""
    if migration.version in {row.version for row in read_applied(cursor, location)}:
        return
    cursor.execute(migration.sql)
    cursor.execute(
        "INSERT INTO ledger_migrations SELECT ?::BIGINT, ?, ?, ?::TIMESTAMPTZ",
        [migration.version, migration.name, migration.checksum, datetime.now(UTC)],
    )
