"""A training set from the store: chosen, rendered, identified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from labelproof.report.training.choose import choose
from labelproof.report.training.model import LabelRow, Part, Rules, TrainingSet
from labelproof.report.training.read import LABELS, decided_rows, gold_texts
from labelproof.report.training.render import (
    Renderer,
    evaluation_line,
    preference_line,
    renderer_of,
    sft_line,
)
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest, digest_parts
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.spec.strategy import SECRET_VALUE
from labelproof.store import TraceStore

_FEW = 50
"""Lines of a label below which the card warns."""


def training_set(store: TraceStore, folder: ProjectFolder, rules: Rules) -> TrainingSet:
    """Return the set that ``rules`` make of the project's decided labels; the same content has the same ``set_id``.

    ``ConfigError`` when nothing is decided, or the rules leave nothing.
    """
    rules.check()
    renderer = renderer_of(folder, rules.strategy)
    schema = folder.spec.labels
    rows = decided_rows(store, folder.name, rules.group)
    if not rows:
        raise ConfigError(
            f"no label of project {folder.name!r} is decided yet",
            hint=f"labelproof run {folder.name} and labelproof review decide them",
        )
    gold_ids, gold, problem = gold_texts(store, folder)
    known = {row.label for row in rows if _is_label(row.label, schema)}
    chosen = choose(rows, rules, labels=known, gold_ids=gold_ids, gold=gold)
    lines: dict[Part, list[bytes]] = {}
    provenance: dict[Part, list[Mapping[str, Any]]] = {}
    for part, mine in chosen.parts.items():
        made = list(chain.from_iterable(_lines(row, rules, renderer, schema) for row in mine))
        lines[part] = [orjson.dumps(line) for line, _ in made]
        provenance[part] = [said for _, said in made]
    balance = {
        part: dict(Counter(row.label for row in mine).most_common()) for part, mine in chosen.parts.items()
    }
    notes = [*renderer.notes, *_warnings(balance, schema)]
    if problem is not None:
        notes.append(f"the project's gold files could not be read, only stored gold was compared: {problem}")
    if rules.uncertified:
        notes.append("holds auto-accepted labels that no certificate vouches for")
    keys = sum(SECRET_VALUE.search(row.text) is not None for mine in chosen.parts.values() for row in mine)
    if keys:
        notes.append(
            f"{keys:,} texts hold what looks like a key or token: take them out before the files go anywhere"
        )
    if not gold_ids:
        notes.append("no gold is known: nothing could be compared with it")
    return TrainingSet(
        project=folder.name,
        set_id=_identity(folder.name, rules, renderer, lines),
        rules=rules,
        strategy_fp=renderer.strategy_fp,
        prompt=renderer.prompt,
        chosen=chosen,
        lines=lines,
        provenance=provenance,
        balance=balance,
        notes=tuple(notes),
        sql=LABELS,
    )


def _lines(
    row: LabelRow, rules: Rules, renderer: Renderer, schema: LabelSchema
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the lines of an item, each with its provenance."""
    origin = row.provenance()
    for reading in renderer.readings(row):
        asked = {} if reading.asked is None else {"asked": reading.asked}
        right = renderer.answer(row.label, reading)
        if rules.kind == "sft":
            yield sft_line(reading, right), {**origin, **asked}
        elif rules.kind == "evaluation":
            yield evaluation_line(row, reading, right), {**origin, **asked}
        else:
            for label, who in row.rejected:
                wrong = renderer.answer(label, reading) if _is_label(label, schema) else None
                if wrong is not None and wrong != right:
                    said = {**origin, **asked, "rejected": label, "rejected_of": who}
                    yield preference_line(reading, right, wrong), said


def _is_label(label: str, schema: LabelSchema) -> bool:
    try:
        return schema.canonical(label) == label
    except ValueError:
        return False


def _warnings(balance: Mapping[Part, Mapping[str, int]], schema: LabelSchema) -> list[str]:
    main: Part = "evaluation" if "evaluation" in balance else "train"
    counts = Counter[str]()
    for label, n in balance.get(main, {}).items():
        for name in schema.members(label):
            counts[name] += n
    few = [f"{leaf} ({counts[leaf]})" for leaf in schema.leaves if counts[leaf] < _FEW]
    return [f"fewer than {_FEW} items of: {', '.join(few)}"] if few else []


def _identity(project: str, rules: Rules, renderer: Renderer, lines: Mapping[Part, Sequence[bytes]]) -> str:
    content = [digest_parts(part, *(line.decode() for line in mine)) for part, mine in sorted(lines.items())]
    said = {
        "project": project,
        "kind": rules.kind,
        "include": sorted(rules.include),
        "min_confidence": rules.min_confidence,
        "uncertified": rules.uncertified,
        "val_share": rules.val_share,
        "group": rules.group,
        "near": rules.near,
        "seed": rules.seed,
        "strategy_fp": renderer.strategy_fp,
        "content": content,
    }
    return f"t{digest(said).removeprefix(PREFIX)[:15]}"
