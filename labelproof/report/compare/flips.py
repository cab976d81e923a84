"""The items that both sides label differently: all counted, the first some thousand read whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from evaluation._arrays import IntArray
from evaluation.paired import NO_ANSWER
from labelproof.report.compare.data import Repeats, SideAnswers
from labelproof.report.compare.model import Flip, Stability
from labelproof.report.compare.pairs import Pairs
from labelproof.report.compare.queries import Question
from labelproof.report.visible_text import excerpt
from labelproof.store import TraceStore

Kind = Literal["fixed", "broke", "both_wrong", "no_gold"]
KINDS: tuple[Kind, ...] = ("broke", "fixed", "both_wrong", "no_gold")
MOST_READ = 1000
"""Of each kind; the others are only counted."""
_CHARS_SHOWN = 160
_CHARS_READ = 4 * _CHARS_SHOWN
_SURE = 0.9
_TEXTS = """
WITH mine AS (
    SELECT i.item_id, arg_max(i.external_id, i.ts) AS external_id, arg_max(i.text_hash, i.ts) AS text_hash
    FROM items AS i SEMI JOIN flipped AS f ON f.item_id = i.item_id WHERE i.project = $project GROUP BY i.item_id
)
SELECT m.item_id, m.external_id, t.text
FROM mine AS m LEFT JOIN (
    SELECT text_hash, left(any_value(text), $chars) AS text FROM texts SEMI JOIN mine USING (text_hash)
    GROUP BY text_hash
) AS t USING (text_hash)
"""
_STEPS = """
SELECT s.item_id, s.run_id, s.seq, arg_max(s.name, s.ts) AS name, arg_max(s.status, s.ts) AS status,
    arg_max(coalesce(s.output_hash, ''), s.ts) AS output_hash
FROM (SELECT * FROM steps WHERE item_id IN (SELECT item_id FROM flipped_runs)) AS s
SEMI JOIN flipped_runs AS f ON f.item_id = s.item_id AND f.run_id = s.run_id
GROUP BY ALL ORDER BY s.item_id, s.run_id, s.seq
"""
_PEOPLE = """
SELECT o.item_id, list(DISTINCT o.state) AS states, list(DISTINCT o.final_label) FILTER (o.final_label <> '') AS labels
FROM task_outcomes AS o SEMI JOIN flipped AS f ON f.item_id = o.item_id
WHERE o.project = $project AND o.kind <> 'check' GROUP BY o.item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """``counts``: all flips by kind. ``shown``: those read, broke first. ``left_out``: how many are only counted."""

    counts: Mapping[Kind, int]
    shown: tuple[Flip, ...]
    left_out: int


def read_flips(
    store: TraceStore,
    question: Question,
    pairs: Pairs,
    a: SideAnswers,
    b: SideAnswers,
    repeats: tuple[Repeats, Repeats],
    *,
    most: int = MOST_READ,
) -> Flips:
    """Return the flips of a comparison; of each kind ``most``, drawn by their hash, are read."""
    answers = pairs.answers
    changed = np.flatnonzero(answers.a != answers.b)
    kinds = _kinds(answers.gold, answers.a, answers.b, changed)
    counts: dict[Kind, int] = {kind: int((kinds == code).sum()) for code, kind in enumerate(KINDS)}
    chosen: list[int] = []
    for code in range(len(KINDS)):
        mine = changed[kinds == code]
        chosen += _some(pairs, mine, most)
    if not chosen:
        return Flips(counts=counts, shown=(), left_out=0)
    kind_of = dict(zip(changed.tolist(), kinds.tolist(), strict=True))
    places = np.array(chosen, dtype=np.int64)
    ids = pairs.item_ids.take(pa.array(pairs.index[places])).to_pylist()
    facts = _Facts(store, question, ids, _runs(pairs, a, b, places))
    said = [_said(repeat) for repeat in repeats]
    shown = []
    for place, item_id in zip(chosen, ids, strict=True):
        gold = None if answers.gold is None else answers.labels[int(answers.gold[place])]
        labels = [_label(answers.labels, codes, place) for codes in (answers.a, answers.b)]
        confidences = [_number(values, place) for values in (pairs.confidence_a, pairs.confidence_b)]
        row = int(pairs.index[place])
        shown.append(
            Flip(
                item_id=item_id,
                external_id=facts.external_id(item_id),
                gold=gold,
                label_a=labels[0],
                label_b=labels[1],
                confidence_a=confidences[0],
                confidence_b=confidences[1],
                decision_a=_decision(labels[0], bool(answers.accepted_a[place])),
                decision_b=_decision(labels[1], bool(answers.accepted_b[place])),
                kind=KINDS[kind_of[place]],
                step=facts.step(item_id),
                stability=_stability([said[0].get(row), said[1].get(row)], labels),
                gold_doubt=_doubt(gold, KINDS[kind_of[place]], confidences, facts.people.get(item_id)),
                excerpt=facts.excerpt(item_id),
            )
        )
    return Flips(counts=counts, shown=tuple(shown), left_out=len(changed) - len(shown))


def one_line(text: str) -> str:
    """Return the beginning of a text on one line, hidden characters written as their code points."""
    line = " ".join(text.split())
    if line.isprintable() and len(line) <= _CHARS_SHOWN:
        return line
    return "".join(
        part.text if part.code is None else f"[{part.code}]" for part in excerpt(text, _CHARS_SHOWN)
    )


def _kinds(gold: IntArray | None, a: IntArray, b: IntArray, places: IntArray) -> IntArray:
    if gold is None:
        return np.full(len(places), KINDS.index("no_gold"), dtype=np.int64)
    right_a, right_b = a[places] == gold[places], b[places] == gold[places]
    return np.where(
        right_a, KINDS.index("broke"), np.where(right_b, KINDS.index("fixed"), KINDS.index("both_wrong"))
    ).astype(np.int64)


def _some(pairs: Pairs, places: IntArray, most: int) -> list[int]:
    """Keys are hashes: the smallest are a random sample, the same every time in any order of the store's rows."""
    order = np.argsort(pairs.keys.hashes[pairs.index[places]])
    return [int(place) for place in places[order[:most]]]


def _runs(pairs: Pairs, a: SideAnswers, b: SideAnswers, places: IntArray) -> tuple[list[str], list[str]]:
    return (
        [a.run_ids[code] for code in pairs.run_a[places].tolist()],
        [b.run_ids[code] for code in pairs.run_b[places].tolist()],
    )


class _Facts:
    """What the store knows of the items that are read whole."""

    def __init__(
        self, store: TraceStore, question: Question, ids: Sequence[str], runs: tuple[list[str], list[str]]
    ) -> None:
        flipped = pa.table({"item_id": pa.array(ids, pa.string())})
        given = {"flipped": flipped}
        params = {"project": question.project}
        self._texts = _by_item(
            store.query(
                _TEXTS,
                {**params, "chars": _CHARS_READ},
                fresh=True,
                only=["items", "texts"],
                given=given,
            )
        )
        tables = ["review_tasks", "votes", "review_events"]
        self.people = _by_item(store.query(_PEOPLE, params, fresh=True, only=tables, given=given))
        pairs = pa.table({"item_id": pa.array([*ids, *ids]), "run_id": pa.array([*runs[0], *runs[1]])})
        steps: dict[tuple[str, str], list[tuple[int, str, str, str]]] = {}
        for row in store.query(_STEPS, fresh=True, only=["steps"], given={"flipped_runs": pairs}).to_pylist():
            step = (row["seq"], row["name"], row["status"], row["output_hash"])
            steps.setdefault((row["item_id"], row["run_id"]), []).append(step)
        self._steps = {
            item_id: _first_difference(steps.get((item_id, one), []), steps.get((item_id, other), []))
            for item_id, one, other in zip(ids, *runs, strict=True)
        }

    def external_id(self, item_id: str) -> str:
        return str(self._texts.get(item_id, {}).get("external_id") or item_id)

    def excerpt(self, item_id: str) -> str:
        return one_line(self._texts.get(item_id, {}).get("text") or "")

    def step(self, item_id: str) -> str | None:
        return self._steps[item_id]


def _by_item(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in table.to_pylist()}


def _first_difference(
    a: Sequence[tuple[int, str, str, str]], b: Sequence[tuple[int, str, str, str]]
) -> str | None:
    """Return the name of the first step that differs (as ``trace.first_divergence``); None when none is stored."""
    if not a or not b:
        return None
    for one, other in zip(a, b, strict=False):
        if one[1:] != other[1:]:
            return other[1]
    longer = b if len(b) > len(a) else a
    return longer[min(len(a), len(b))][1] if len(a) != len(b) else None


def _said(repeats: Repeats) -> dict[int, list[str | None]]:
    found: dict[int, list[str | None]] = {}
    for item, code in zip(repeats.item.tolist(), repeats.label.tolist(), strict=True):
        found.setdefault(item, []).append(None if code == NO_ANSWER else repeats.labels[code])
    return found


def _stability(said: Sequence[Sequence[str | None] | None], labels: Sequence[str | None]) -> Stability:
    """Unstable when a repeat of either side said something else; unknown when neither side was asked again."""
    if all(again is None for again in said):
        return "unknown"
    changed = any(
        one != label for again, label in zip(said, labels, strict=True) if again is not None for one in again
    )
    return "unstable" if changed else "stable"


def _doubt(
    gold: str | None,
    kind: Kind,
    confidences: Sequence[float | None],
    people: Mapping[str, Any] | None,
) -> str | None:
    if gold is None:
        return None
    if people is not None:
        others = sorted(label for label in people["labels"] or () if label != gold)
        if others:
            return f"people decided {' / '.join(others)}"
        if {"disputed", "escalated", "adjudicated"} & set(people["states"]):
            return "people disagreed"
    if kind == "both_wrong" and all(value is not None and value >= _SURE for value in confidences):
        return f"both sides say with confidence >= {_SURE:g} that it is not {gold}"
    return None


def _label(labels: Sequence[str], codes: IntArray, place: int) -> str | None:
    code = int(codes[place])
    return None if code == NO_ANSWER else labels[code]


def _number(values: np.ndarray[tuple[int], np.dtype[np.float64]], place: int) -> float | None:
    value = float(values[place])
    return None if np.isnan(value) else value


def _decision(label: str | None, accepted: bool) -> str:
    return "failed" if label is None else "auto_accept" if accepted else "review"
