"""The playbook's entries: what each measured change of strategy did, from comparisons here and from other teams' files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from statistics import NormalDist
from typing import Any

import orjson

from labelproof.report.playbook.kinds import UNKNOWN, kinds_of
from labelproof.report.playbook.reusable import Reusable, reusable
from labelproof.report.playbook.traits import Traits, project_traits, with_strategy
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest, short
from labelproof.spec.metrics import parse_metric
from labelproof.store import TraceStore

HERE = "here"
# One row for each pair of versions, whichever way round it was asked: several looks at one pair are one question, and
# the latest on gold answers it. Without the reports' lists of flips.
COMPARISONS = """
WITH asked AS (
    SELECT *, count(*) OVER pair AS n_looks,
           row_number() OVER (pair ORDER BY split <> 'none' DESC, ts DESC, comparison_id) AS place
    FROM comparisons WHERE fp_a <> fp_b
    WINDOW pair AS (PARTITION BY project, least(fp_a, fp_b), greatest(fp_a, fp_b))
)
SELECT a.comparison_id, a.project, a.experiment_id, a.strategy_a, a.fp_a, a.strategy_b, a.fp_b, a.split, a.gold_fp,
       a.verdict, a.n_items, a.n_looks, a.ts,
       json_extract(a.report_json, '$.rows') AS rows_json,
       json_extract(a.report_json, '$.why.shares') AS shares_json,
       bool_or(r.event = 'promoted') AS shipped
FROM asked AS a LEFT JOIN rollouts AS r ON r.project = a.project AND r.fp_to = a.fp_b
WHERE a.place = 1 GROUP BY ALL ORDER BY a.ts, a.comparison_id
"""
_STRATEGIES = """
SELECT project, strategy_fp, any_value(spec_json) AS spec_json FROM strategies
WHERE strategy_fp IN (SELECT fp_a FROM comparisons UNION SELECT fp_b FROM comparisons) GROUP BY ALL
"""
_POLICIES = "SELECT project, arg_max(json_extract(spec_json, '$.experiments'), ts) AS policy FROM projects GROUP BY ALL"
_IMPORTED = """
SELECT * FROM playbook_entries
QUALIFY row_number() OVER (PARTITION BY entry_id ORDER BY ts DESC NULLS LAST, origin) = 1 ORDER BY ts, entry_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One component's part of the difference (Shapley), and the kind of change that it is the component of."""

    component: str
    delta: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measured change: strategy A became B. ``effect``: B minus A of ``metric``, in its unit.

    ``kinds``: what changed, sorted. ``shipped``: B was promoted; entries are kept whether or not they were, since those
    that shipped were chosen for looking good. ``origin``: `here`, or the file they came from. ``n_looks``: comparisons
    of this pair. ``cost_ratio``: cost of B over A. ``reason``: why it is not pooled (None: it is). ``reusable`` None:
    ``not_reusable`` says why.
    """

    entry_id: str
    project: str
    origin: str
    traits: Traits
    kinds: tuple[str, ...]
    metric: str
    effect: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    n_items: int
    verdict: str
    comparison_id: str
    at: datetime
    strategy_a: str
    strategy_b: str
    shipped: bool = False
    n_looks: int = 1
    cost_ratio: float | None = None
    value_a: float | None = None
    shares: tuple[Share, ...] = ()
    reusable: Reusable | None = None
    not_reusable: str | None = None
    policy: Mapping[str, Any] | None = None
    """The experiment policy it was judged by, as JSON values."""
    reason: str | None = None

    @property
    def kind(self) -> str:
        """The kinds in one word: entries of the same word are pooled."""
        return "+".join(self.kinds) or UNKNOWN

    @property
    def lower_is_better(self) -> bool:
        return parse_metric(self.metric).lower_is_better

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values, whole."""
        names = [name for name in self.__slots__ if name not in ("traits", "reusable", "shares", "at")]
        return {
            **{name: getattr(self, name) for name in names},
            "kind": self.kind,
            "traits": self.traits.to_json(),
            "shares": [asdict(share) for share in self.shares],
            "reusable": None if self.reusable is None else self.reusable.to_json(),
            "ts": self.at.isoformat(),
        }


def entries_of(store: TraceStore) -> tuple[Entry, ...]:
    """Return all entries, the oldest first: one for each pair of versions and metric compared here, and what was imported.

    An imported entry that was measured here is the one of here.
    """
    own = tuple(_own(store))
    known = {entry.entry_id for entry in own}
    imported = [_imported(row) for row in _rows(store, _IMPORTED, ("playbook_entries",))]
    return (*own, *(entry for entry in imported if entry.entry_id not in known))


def find_entry(entries: Sequence[Entry], ref: str) -> Entry:
    """Return the entry of an id or its first digits; ``ConfigError`` when none or several fit."""
    fits = [entry for entry in entries if ref and entry.entry_id.startswith(ref)]
    exact = [entry for entry in fits if entry.entry_id == ref]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    raise ConfigError(
        f"{'several entries' if fits else 'no entry'} of the playbook begin{'' if fits else 's'} with {ref!r}",
        hint="labelproof playbook list --entries shows all",
    )


def entry_id(project: str, fp_a: str, fp_b: str, metric: str) -> str:
    """Return the id of a question: the same one for every look at a pair of versions, either way round."""
    return f"e{digest([project, *sorted((fp_a, fp_b)), metric]).removeprefix(PREFIX)[:11]}"


def _rows(store: TraceStore, sql: str, only: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.query(sql, fresh=True, only=only).to_pylist()
    return found


def _own(store: TraceStore) -> Iterator[Entry]:
    rows = _rows(store, COMPARISONS, ("comparisons", "rollouts"))
    if not rows:
        return
    snapshots = {
        (row["project"], row["strategy_fp"]): orjson.loads(row["spec_json"])
        for row in _rows(store, _STRATEGIES, ("strategies", "comparisons"))
    }
    policies = {
        row["project"]: orjson.loads(row["policy"] or "null")
        for row in _rows(store, _POLICIES, ("projects",))
    }
    traits = project_traits(store, {row["project"] for row in rows})
    for row in rows:
        a, b = (snapshots.get((row["project"], row[side])) for side in ("fp_a", "fp_b"))
        common = _common(row, a, b, traits[row["project"]], policies.get(row["project"]))
        for metric_row in orjson.loads(row["rows_json"] or "[]"):
            yield _measured(common, row, metric_row)


def _common(
    row: Mapping[str, Any],
    a: Mapping[str, Any] | None,
    b: Mapping[str, Any] | None,
    traits: Traits,
    policy: Mapping[str, Any] | None,
) -> Entry:
    """Return what the entries of one comparison share."""
    kinds = kinds_of(a, b) if a is not None and b is not None else (UNKNOWN,)
    found, why = None, "the strategy's snapshot is not stored"
    if b is not None:
        try:
            found, why = reusable(b, keep_routing="routing" in kinds), ""
        except ConfigError as error:
            why = error.message
    return Entry(
        entry_id="",
        project=row["project"],
        origin=HERE,
        traits=with_strategy(traits, b),
        kinds=kinds,
        metric="accuracy",
        effect=None,
        standard_error=None,
        low=None,
        high=None,
        n_items=row["n_items"] or 0,
        verdict=row["verdict"] or "",
        comparison_id=row["comparison_id"],
        at=row["ts"],
        strategy_a=f"{row['strategy_a']}@{short(row['fp_a'])}",
        strategy_b=f"{row['strategy_b']}@{short(row['fp_b'])}",
        shipped=bool(row["shipped"]),
        n_looks=row["n_looks"],
        cost_ratio=_cost_ratio(row),
        shares=_shares(row),
        reusable=found,
        not_reusable=why or None,
        policy=policy,
    )


def _measured(common: Entry, row: Mapping[str, Any], metric_row: Mapping[str, Any]) -> Entry:
    found = metric_row["difference"]
    metric = parse_metric(found["metric"])
    error = standard_error_of(found)
    reason = None
    if found["delta"] is None or error is None:
        reason = found.get("reason") or "no interval"
    elif UNKNOWN in common.kinds:
        reason = "a snapshot of the pair is not stored: what changed is unknown"
    elif not common.kinds:
        reason = "nothing that decides labels differs"
    return replace(
        common,
        entry_id=entry_id(common.project, row["fp_a"], row["fp_b"], metric.text),
        metric=metric.text,
        effect=found["delta"],
        standard_error=error,
        low=found["low"],
        high=found["high"],
        n_items=found["n"],
        value_a=found["value_a"],
        shares=common.shares if metric_row["role"] == "primary" else (),
        reason=reason,
    )


def standard_error_of(found: Mapping[str, Any]) -> float | None:
    """Return the standard error behind a paired difference: from its interval, else from the discordant counts.

    The width of an interval over twice the normal quantile: the interval may be a score or a t interval, so this is
    what a normal interval of the same width would rest on. Counts b, c of n: sqrt(b + c - (b - c)^2 / n) / n.
    """
    low, high = found.get("low"), found.get("high")
    if low is not None and high is not None and high > low:
        wide = NormalDist().inv_cdf(0.5 + (found.get("confidence") or 0.95) / 2)
        return float((high - low) / (2 * wide))
    b, c, n = found.get("n_b_only"), found.get("n_a_only"), found.get("n") or 0
    if b is None or c is None or n < 1 or b + c == 0:
        return None
    inner = b + c - (b - c) ** 2 / n
    return math.sqrt(inner) / n if inner > 0 else None


def _cost_ratio(row: Mapping[str, Any]) -> float | None:
    for one in orjson.loads(row["rows_json"] or "[]"):
        found = one["difference"]
        if found["metric"] == "cost_per_1k_usd" and found["value_a"] and found["value_b"] is not None:
            return float(found["value_b"] / found["value_a"])
    return None


def _shares(row: Mapping[str, Any]) -> tuple[Share, ...]:
    return tuple(
        Share(component=one["component"], delta=one["delta"], low=one["low"], high=one["high"])
        for one in orjson.loads(row["shares_json"] or "[]")
    )


def _imported(row: Mapping[str, Any]) -> Entry:
    change = orjson.loads(row["change_json"] or "{}")
    found, why = None, change.get("not_reusable")
    if change.get("reusable"):
        found = Reusable.from_json(change["reusable"])
    return Entry(
        entry_id=row["entry_id"],
        project=row["project"],
        origin=row["origin"],
        traits=Traits.from_json(orjson.loads(row["traits_json"] or "{}")),
        kinds=tuple(kind for kind in (row["change_kinds"] or "").split("+") if kind),
        metric=row["metric"],
        effect=row["effect"],
        standard_error=row["standard_error"],
        low=row["low"],
        high=row["high"],
        n_items=row["n_items"] or 0,
        verdict=row["verdict"] or "",
        comparison_id=row["comparison_id"] or "",
        at=row["ts"],
        strategy_a=str(change.get("strategy_a", "")),
        strategy_b=str(change.get("strategy_b", "")),
        shipped=bool(change.get("shipped")),
        n_looks=int(change.get("n_looks") or 1),
        cost_ratio=change.get("cost_ratio"),
        value_a=change.get("value_a"),
        reusable=found,
        not_reusable=why,
        policy=change.get("policy"),
        reason=change.get("reason"),
    )
