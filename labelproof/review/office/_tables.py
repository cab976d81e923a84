"""The office's tables, and how an empty database gets them.

Names are hashed or short, instants are microseconds, secrets are only here as hashes (the office key apart), and
lists are JSON: nothing needs more than what SQLite and PostgreSQL both know.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
    text,
)

from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from labelproof.review.office._db import Database

SCHEMA_VERSION = 1
_POSTGRES_LOCK = 0x1ABE1  # one process at a time makes tables; the number only has to be ours

meta = MetaData()
settings = Table(
    "office_settings",
    meta,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
leases = Table(
    "office_leases",
    meta,
    Column("task_id", String(255), primary_key=True),
    Column("project", String(255), nullable=False),
    Column("reviewer", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("token", String(64), nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Index("office_leases_project", "project", "until_us"),
)
answers = Table(  # who answered a task, until every process has read that from the store
    "office_answers",
    meta,
    Column("task_id", String(255), primary_key=True),
    Column("person", String(255), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("decided", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True),
)
accounts = Table(
    "office_accounts",
    meta,
    Column("key", String(255), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("languages", Text, nullable=False),
    Column("skills", Text, nullable=False),
    Column("projects", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("created_us", BigInteger, nullable=False),
)
tokens = Table(
    "office_tokens",
    meta,
    Column("hash", String(64), primary_key=True),
    Column("id", String(16), nullable=False),
    Column("account", String(255), nullable=False, index=True),
    Column("label", String(100), nullable=False),
    Column("created_us", BigInteger, nullable=False),
)
links = Table(
    "office_links",
    meta,
    Column("hash", String(64), primary_key=True),
    Column("purpose", String(16), nullable=False),
    Column("account", String(255)),
    Column("name", String(64)),
    Column("role", String(16), nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
sessions = Table(
    "office_sessions",
    meta,
    Column("hash", String(64), primary_key=True),
    Column("account", String(255), nullable=False, index=True),
    Column("expires_us", BigInteger, nullable=False, index=True),
    Column("idle_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)
attempts = Table(
    "office_attempts",
    meta,
    Column("hash", String(64), primary_key=True),
    Column("recent", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("free_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False, index=True),
)


def prepare(db: Database) -> bytes:
    """Make what is missing and return the office key, 32 bytes; an unknown schema raises ``ConfigError``."""
    with db.read() as connection:
        key = _key(connection, db.shown)
    if key is None:
        with db.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _POSTGRES_LOCK})
            key = _key(connection, db.shown) or _make(connection)
    return key


def _key(connection: Connection, shown: str) -> bytes | None:
    """Return the key of a database that is an office, None when it is not one yet."""
    if not inspect(connection).has_table(settings.name):
        return None
    query = select(settings.c.name, settings.c.value)
    found = {name: value for name, value in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy
    version = found.get("schema_version")
    if version != str(SCHEMA_VERSION):
        raise ConfigError(
            f"the office {shown} has schema version {version}, and this program knows {SCHEMA_VERSION}",
            hint="upgrade labelproof, or name another office with LABELPROOF_OFFICE (accounts are then new)",
        )
    return bytes.fromhex(found["key"])


def _make(connection: Connection) -> bytes:
    key = secrets.token_bytes(32)
    meta.create_all(connection)
    rows = {"schema_version": str(SCHEMA_VERSION), "key": key.hex()}
    connection.execute(settings.insert(), [{"name": name, "value": value} for name, value in rows.items()])
    return key
