"""Playbook entries as a file for other teams, and such files read back with nothing taken on trust.

What leaves: effects, kinds of change, traits, strategy files and own prompts. What stays: labels, guideline, items, server
addresses. What comes in is another team's text: each part is checked, and no address in it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from labelproof.report.playbook.entries import HERE, Entry, entries_of
from labelproof.report.playbook.reusable import Reusable, without_addresses
from labelproof.report.playbook.traits import Traits
from labelproof.spec.errors import ConfigError, LabelproofError
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import PREFIX, digest
from labelproof.spec.metrics import OPEN_ENDED, parse_metric
from labelproof.store import TraceStore

FORMAT = "labelproof-playbook-1"
_MOST_BYTES = 32_000_000
_Name = Annotated[str, Field(max_length=100)]
_Kind = Annotated[str, Field(pattern=r"^[a-z][a-z ]{0,39}$")]
_MOST_PART_BYTES = 64_000
_Count = Annotated[int, Field(ge=1, le=10**12)]
_Amount = Annotated[float, Field(ge=-1e9, le=1e9)]
"""Bounds far from what is measured and from where sums and squares of numbers overflow."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TraitsIn(_Part):
    """Traits as they stand in a file."""

    label_kind: Literal["single", "multi", "taxonomy"] | None = None
    n_labels: int | None = Field(default=None, ge=1, le=100_000)
    languages: tuple[Annotated[str, Field(max_length=12)], ...] = Field(default=(), max_length=50)
    text_chars: int | None = Field(default=None, ge=0, le=10**9)
    provider: Literal["embedded", "openai_compatible", "langchain"] | None = None
    model: _Name | None = None
    model_b: float | None = Field(default=None, gt=0, le=1e6)


class ReusableIn(_Part):
    """A strategy as it stands in a file; what it says is checked when it is read."""

    strategy: dict[str, Any]
    prompts: dict[str, str] = Field(default={}, max_length=20)
    notes: tuple[Annotated[str, Field(max_length=400)], ...] = Field(default=(), max_length=40)


class EntryIn(_Part):
    """One entry as it stands in a file."""

    entry_id: str = Field(pattern=r"^e[0-9a-f]{11}$")
    project: _Name
    traits: TraitsIn
    kinds: tuple[_Kind, ...] = Field(min_length=1, max_length=20)
    metric: _Name
    effect: _Amount
    standard_error: float = Field(ge=1e-9, le=1e9)
    low: _Amount | None = None
    high: _Amount | None = None
    n_items: _Count
    verdict: Literal["ship", "regression", "inconclusive", ""] = ""
    comparison_id: _Name = ""
    ts: datetime
    strategy_a: _Name = ""
    strategy_b: _Name = ""
    shipped: bool = False
    n_looks: _Count = 1
    cost_ratio: float | None = Field(default=None, ge=0, le=1e9)
    value_a: _Amount | None = None
    reusable: dict[str, Any] | None = None
    not_reusable: Annotated[str, Field(max_length=400)] | None = None
    policy: dict[str, Any] | None = None

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        try:
            return parse_metric(metric).text
        except ConfigError as error:
            raise ValueError(error.message) from error

    @field_validator("ts")
    @classmethod
    def _with_zone(cls, ts: datetime) -> datetime:
        return ts if ts.tzinfo is not None else ts.replace(tzinfo=UTC)

    @model_validator(mode="after")
    def _ordered(self) -> EntryIn:
        if self.low is not None and self.high is not None and not self.low <= self.effect <= self.high:
            raise ValueError("expected low <= effect <= high")
        if parse_metric(self.metric).name not in OPEN_ENDED and abs(self.effect) > 1:
            raise ValueError(f"expected an effect on {self.metric} from -1 to 1")
        return self


class PlaybookFile(_Part):
    """A file of entries."""

    format: Literal["labelproof-playbook-1"]
    origin: _Name = ""
    entries: tuple[EntryIn, ...] = Field(max_length=20_000)


def export_json(entries: Sequence[Entry], *, origin: str, anonymous: bool = False) -> bytes:
    """Return the entries measured here as a file for others: those that are pooled and whose metric names no label.

    ``anonymous``: projects, strategies and comparisons get numbers for names.
    """
    kept = [
        _outgoing(entry, anonymous=anonymous)
        for entry in entries
        if entry.origin == HERE and entry.reason is None and parse_metric(entry.metric).of is None
    ]
    if not kept:
        raise ConfigError(
            "nothing to export: no comparison is stored here whose effect can be pooled",
            hint="labelproof compare A B, or labelproof experiment run, measures one",
        )
    value = {"format": FORMAT, "origin": origin, "entries": kept}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def _outgoing(entry: Entry, *, anonymous: bool) -> dict[str, Any]:
    traits = entry.traits.to_json()
    if traits["provider"] is not None and traits["provider"] != "embedded":
        traits["model"] = None if traits["model"] is None else traits["model"].rpartition("/")[2]
    names = {"project": entry.project, "strategy_a": entry.strategy_a, "strategy_b": entry.strategy_b}
    names["comparison_id"] = entry.comparison_id
    if anonymous:
        names = {"project": f"p{digest(entry.project).removeprefix(PREFIX)[:8]}"}
    return {
        "entry_id": entry.entry_id,
        **names,
        "traits": traits,
        "kinds": list(entry.kinds),
        "metric": entry.metric,
        "effect": entry.effect,
        "standard_error": entry.standard_error,
        "low": entry.low,
        "high": entry.high,
        "n_items": entry.n_items,
        "verdict": entry.verdict,
        "ts": entry.at.isoformat(),
        "shipped": entry.shipped,
        "n_looks": entry.n_looks,
        "cost_ratio": entry.cost_ratio,
        "value_a": entry.value_a,
        "reusable": None if entry.reusable is None else _bare(entry.reusable, anonymous=anonymous),
        "not_reusable": None if entry.not_reusable is None else entry.not_reusable[:400],
        "policy": _without_labels(entry.policy),
    }


def _bare(found: Reusable, *, anonymous: bool) -> dict[str, Any]:
    value = without_addresses(found).to_json()
    if anonymous:
        value["strategy"] |= {"name": "strategy", "description": ""}
    return value


def _without_labels(policy: Any) -> dict[str, Any] | None:
    """Return a policy without what names labels, suites or columns of the project."""
    if not policy:
        return None
    data = ExperimentPolicy.model_validate(policy).model_dump(mode="json", exclude_defaults=True)
    for key in ("cluster", "slices"):
        data.pop(key, None)
    if "primary" in data and parse_metric(data["primary"]).of is not None:
        del data["primary"]
    if "guardrails" in data:
        data["guardrails"] = [one for one in data["guardrails"] if parse_metric(one["metric"]).of is None]
    if "secondary" in data:
        data["secondary"] = [one for one in data["secondary"] if parse_metric(one).of is None]
    return data


def read_playbook(path: Path) -> tuple[str, tuple[Entry, ...], list[str]]:
    """Return the file's origin, its entries, and why others were refused; ``ConfigError`` when it is no such file."""
    try:
        file = PlaybookFile.model_validate_json(_content(path))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise ConfigError(
            f"no playbook file: {place}: {problem['msg']}",
            path=path,
            hint="it must come from `labelproof playbook export`",
        ) from error
    entries: list[Entry] = []
    refused: list[str] = []
    origin = _origin(file.origin) or _origin(path.stem) or "a file"
    for one in file.entries:
        try:
            entries.append(_incoming(one, origin))
        except (LabelproofError, ValidationError, ValueError, KeyError, TypeError) as error:
            refused.append(f"{one.entry_id}: {_said(error)}")
    return origin, tuple(entries), refused


def _content(path: Path) -> bytes:
    """Return a file's bytes; ``ConfigError`` for what is no file (a device never ends) or too large."""
    if not path.exists():
        raise ConfigError("no such file", path=path)
    if not path.is_file():
        raise ConfigError("expected a file", path=path)
    with path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ConfigError(
            f"expected at most {_MOST_BYTES // 1_000_000} MB, found {path.stat().st_size:,} bytes", path=path
        )
    return raw


def _origin(name: str) -> str:
    """Return whom a file says it is from, empty when it says nothing, or that it was measured here."""
    shown = " ".join("".join(char for char in name if char.isprintable()).split())
    return "" if shown.casefold() == HERE else shown


def _said(error: Exception) -> str:
    """Return an error in one line without what the file holds."""
    if isinstance(error, LabelproofError):
        return error.message
    if isinstance(error, ValidationError):
        problem = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc'])) or 'the strategy'}: {problem['msg']}"
    return str(error).splitlines()[0]


def _incoming(one: EntryIn, origin: str) -> Entry:
    found = None
    for name, part in (
        ("strategy", (one.reusable or {}).get("strategy")),
        ("policy", one.policy),
    ):
        if len(orjson.dumps(part)) > _MOST_PART_BYTES:
            raise ConfigError(f"{name}: expected at most {_MOST_PART_BYTES // 1000} kB of JSON")
    if one.reusable is not None:
        sound = ReusableIn.model_validate(one.reusable)
        found = without_addresses(Reusable.from_json(sound.model_dump(mode="json")))
    policy = None if one.policy is None else _without_labels(one.policy)
    return Entry(
        entry_id=one.entry_id,
        project=one.project,
        origin=origin,
        traits=Traits.from_json(one.traits.model_dump(mode="json")),
        kinds=tuple(sorted(set(one.kinds))),
        metric=one.metric,
        effect=one.effect,
        standard_error=one.standard_error,
        low=one.low,
        high=one.high,
        n_items=one.n_items,
        verdict=one.verdict,
        comparison_id=one.comparison_id,
        at=one.ts,
        strategy_a=one.strategy_a,
        strategy_b=one.strategy_b,
        shipped=one.shipped,
        n_looks=one.n_looks,
        cost_ratio=one.cost_ratio,
        value_a=one.value_a,
        reusable=found,
        not_reusable=one.not_reusable,
        policy=policy,
    )


def import_entries(store: TraceStore, entries: Sequence[Entry]) -> tuple[int, int]:
    """Store entries that are new here, or newer than what the same origin sent; return how many were stored and how many
    were known. Nobody's file replaces what was measured here or what others sent.
    """
    known = {entry.entry_id: entry for entry in entries_of(store)}
    new = [
        entry
        for entry in {entry.entry_id: entry for entry in entries}.values()
        if entry.entry_id not in known
        or (known[entry.entry_id].origin == entry.origin != HERE and known[entry.entry_id].at < entry.at)
    ]
    if new:
        store.append("playbook_entries", entry_rows(new))
    return len(new), len(entries) - len(new)


def entry_rows(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """Return the rows of `playbook_entries`."""
    rows: dict[str, list[Any]] = {
        name: [getattr(entry, name) for entry in entries]
        for name in (
            "entry_id",
            "project",
            "metric",
            "effect",
            "standard_error",
            "low",
            "high",
            "n_items",
            "verdict",
            "comparison_id",
            "origin",
        )
    }
    return {
        **rows,
        "traits_json": [orjson.dumps(entry.traits.to_json()).decode() for entry in entries],
        "change_kinds": ["+".join(entry.kinds) for entry in entries],
        "change_json": [orjson.dumps(_change(entry)).decode() for entry in entries],
        "ts": [entry.at for entry in entries],
    }


def _change(entry: Entry) -> dict[str, Any]:
    return {
        "strategy_a": entry.strategy_a,
        "strategy_b": entry.strategy_b,
        "shipped": entry.shipped,
        "n_looks": entry.n_looks,
        "cost_ratio": entry.cost_ratio,
        "value_a": entry.value_a,
        "reusable": None if entry.reusable is None else entry.reusable.to_json(),
        "not_reusable": entry.not_reusable,
        "policy": entry.policy,
    }
