"""What the store holds about each row: its text, its steps, the provider's marks, the votes, other answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from labelproof.report.rca import queries as sql
from labelproof.report.rca.data import JudgedRow
from labelproof.report.rca.periods import Period
from labelproof.spec.errors import LabelproofError
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

CHARS = 4000
"""Of each text are read."""
MOST_EXAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts:
    """An item: its text (the first ``CHARS`` characters), length and metadata."""

    external_id: str
    text: str
    n_chars: int
    meta: Mapping[str, Any]
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run's steps say of an item; ``marks``: model and provider fingerprint of the calls behind its answer."""

    step_failed: bool = False
    error: str | None = None
    failed_step: str | None = None
    script: str | None = None
    cut_chars: int = 0
    manipulation: tuple[str, ...] = ()
    similarity: float | None = None
    critic: str | None = None
    consensus: str | None = None
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFacts:
    """The answers to a task: (annotator, role, answer, label), in order."""

    votes: tuple[tuple[str, str, str, str | None], ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """Different labels that reviewers gave."""
        return frozenset(
            label
            for _, role, answer, label in self.votes
            if role == "reviewer" and answer == "label" and label
        )

    @property
    def raised(self) -> int:
        """How many could not say."""
        return sum(answer in ("unclear", "flag") for _, _, answer, _ in self.votes)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """A strategy version in the store: decisions before and in the later period."""

    fp: str
    strategy: str
    project_fp: str | None
    n_before: int
    n_after: int
    first_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything known of the rows. Maps are by item id, by (item id, run id), by task id."""

    items: Mapping[str, ItemFacts]
    runs: Mapping[tuple[str, str], RunFacts]
    votes: Mapping[str, VoteFacts]
    other_answers: Mapping[str, tuple[tuple[str, str], ...]]
    """Item -> (strategy version, label) of all its stored answers."""
    marks_before: Mapping[str, int]
    marks_after: Mapping[str, int]
    versions: tuple[VersionFacts, ...]
    snapshots: Mapping[str, Mapping[str, Any]]
    examples: tuple[str, ...]
    """Texts that the strategy may learn from (gold splits examples and calibration)."""
    examples_from: str | None

    def item(self, row: JudgedRow) -> ItemFacts:
        return self.items.get(row.item_id, _NO_ITEM)

    def run(self, row: JudgedRow) -> RunFacts:
        return self.runs.get((row.item_id, row.run_id), _NO_RUN)

    def of_task(self, row: JudgedRow) -> VoteFacts:
        return self.votes.get(row.task_id or "", _NO_VOTES)


_NO_ITEM = ItemFacts(external_id="", text="", n_chars=0, meta={}, source=None)
_NO_RUN = RunFacts()
_NO_VOTES = VoteFacts()


def read_facts(store: TraceStore, folder: ProjectFolder, rows: Sequence[JudgedRow], later: Period) -> Facts:
    """Return what the store knows of ``rows``, and of the models and versions behind all decisions up to ``later``."""
    project = folder.name
    mine = {"project": project}
    window = {**mine, "start": later.start, "end": later.end}
    ids = list(dict.fromkeys(row.item_id for row in rows))
    given = {
        "wanted": pa.table(
            {
                "item_id": pa.array([row.item_id for row in rows], pa.string()),
                "run_id": pa.array([row.run_id for row in rows], pa.string()),
            }
        ),
        "wanted_tasks": pa.table(
            {"task_id": pa.array(sorted({row.task_id for row in rows if row.task_id}), pa.string())}
        ),
    }

    def ask(statement: str, params: Mapping[str, Any], only: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = store.query(
            statement, params, fresh=True, only=only, given=given
        ).to_pylist()
        return found

    items = ask(sql.TEXTS, {**mine, "chars": CHARS}, ("items", "texts"))
    steps = {(row["item_id"], row["run_id"]): row for row in ask(sql.STEPS, {}, ("steps",))}
    marks = {(row["item_id"], row["run_id"]): row["marks"] for row in ask(sql.MARKS, {}, ("steps", "calls"))}
    votes: dict[str, list[tuple[str, str, str, str | None]]] = {}
    for row in ask(sql.VOTES, mine, ("votes",)):
        votes.setdefault(row["task_id"], []).append(
            (row["annotator"], row["role"], row["answer"], row["label"])
        )
    others: dict[str, list[tuple[str, str]]] = {}
    for row in ask(sql.OTHERS, mine, ("decisions", "arm_answers", "runs")):
        others.setdefault(row["item_id"], []).append((row["strategy_fp"], row["label"]))
    providers = ask(sql.PROVIDERS, window, ("calls", "decisions", "runs"))
    versions = ask(sql.VERSIONS, window, ("decisions", "runs"))
    snapshots = ask(sql.SNAPSHOTS, mine, ("strategies",))
    examples, source = _examples(store, project)
    return Facts(
        items={row["item_id"]: _item(row) for row in items},
        runs={key: _run(steps.get(key), marks.get(key)) for key in {*steps, *marks}},
        votes={task: VoteFacts(votes=tuple(found)) for task, found in votes.items()},
        other_answers={item: tuple(others.get(item, ())) for item in ids},
        marks_before={row["mark"]: row["n_before"] for row in providers if row["n_before"]},
        marks_after={row["mark"]: row["n_after"] for row in providers if row["n_after"]},
        versions=tuple(
            VersionFacts(
                fp=row["strategy_fp"],
                strategy=row["strategy"] or "",
                project_fp=row["project_fp"],
                n_before=row["n_before"],
                n_after=row["n_after"],
                first_seen=row["first_seen"],
            )
            for row in versions
        ),
        snapshots={row["strategy_fp"]: _json(row["spec"]) for row in snapshots},
        examples=examples,
        examples_from=source,
    )


def guideline_of(folder: ProjectFolder) -> str:
    """Return the project's guideline; empty when there is no such file (an analysis needs none)."""
    try:
        return folder.guideline()
    except LabelproofError:
        return ""


def _examples(store: TraceStore, project: str) -> tuple[tuple[str, ...], str | None]:
    versions = store.query(sql.GOLD_VERSIONS, {"project": project}, fresh=True, only=["gold"]).to_pylist()
    if not versions:
        return (), None
    params = {"project": project, "gold_fp": versions[-1]["gold_fp"], "chars": CHARS, "most": MOST_EXAMPLES}
    rows = store.query(sql.EXAMPLES, params, fresh=True, only=["gold", "items", "texts"]).to_pylist()
    return tuple(row["text"] or "" for row in rows), "gold"


def _item(row: Mapping[str, Any]) -> ItemFacts:
    return ItemFacts(
        external_id=str(row["external_id"] or row["item_id"]),
        text=row["text"] or "",
        n_chars=int(row["n_chars"] or 0),
        meta=_json(row["meta"]),
        source=row["source"],
    )


def _run(step: Mapping[str, Any] | None, marks: Sequence[str] | None) -> RunFacts:
    if step is None:
        return RunFacts(marks=frozenset(marks or ()))
    return RunFacts(
        step_failed=bool(step["failed"]),
        error=step["error"],
        failed_step=step["failed_step"],
        script=step["language"],
        cut_chars=int(step["cut_chars"] or 0),
        manipulation=_signals(step["manipulation"]),
        similarity=step["similarity"],
        critic=step["critic"],
        consensus=step["consensus"],
        marks=frozenset(marks or ()),
    )


def _signals(text: str | None) -> tuple[str, ...]:
    """Return the names in a row of JSON lists: '["a"] ["a","b"]'."""
    names: dict[str, None] = {}
    for part in (text or "").split("] ["):
        try:
            found = orjson.loads("[" + part.strip("[] ") + "]")
        except orjson.JSONDecodeError:
            continue
        names |= dict.fromkeys(str(name) for name in found)
    return tuple(sorted(names))


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
