"""The trace store: every step of every item, durable at once, and readable with SQL.

Writers append to an outbox and never wait; whoever finds the database free drains it; readers use
short shared connections. See ``docs/schema.md`` for the tables.
"""

from __future__ import annotations

from labelproof.store.drain import BackgroundDrain, DrainReport
from labelproof.store.engine import StoreBusy
from labelproof.store.journal import CallJournal, JournalPart
from labelproof.store.location import default_store
from labelproof.store.trace_store import TraceStore, open_store

__all__ = [
    "BackgroundDrain",
    "CallJournal",
    "DrainReport",
    "JournalPart",
    "StoreBusy",
    "TraceStore",
    "default_store",
    "open_store",
]
