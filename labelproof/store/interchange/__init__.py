"""Items, gold and votes in, labels out: JSONL, CSV, Parquet, DuckDB queries; local files, http(s), S3."""

from labelproof.store.interchange._duck import extension_problem
from labelproof.store.interchange.gold import Assign, GoldRow, GoldSet, read_gold
from labelproof.store.interchange.items import (
    Duplicate,
    ItemBatch,
    ReadReport,
    RowError,
    iter_items,
    read_items,
)
from labelproof.store.interchange.labels_out import FORMATS, format_of, write_labels
from labelproof.store.interchange.votes import (
    CountRow,
    LabelFile,
    VoteForm,
    VoteRow,
    Votes,
    read_labels,
    read_votes,
)

__all__ = [
    "FORMATS",
    "Assign",
    "CountRow",
    "Duplicate",
    "GoldRow",
    "GoldSet",
    "ItemBatch",
    "LabelFile",
    "ReadReport",
    "RowError",
    "VoteForm",
    "VoteRow",
    "Votes",
    "extension_problem",
    "format_of",
    "iter_items",
    "read_gold",
    "read_items",
    "read_labels",
    "read_votes",
    "write_labels",
]
