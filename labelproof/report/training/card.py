"""The data card beside a training set, and what the terminal says of it. No text of an item stands in either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from labelproof.report.numbers import count, percent
from labelproof.report.training.model import SAID, TrainingSet

_FOR = {
    "sft": "Supervised fine-tuning: each line is a chat that ends with the right answer (OpenAI chat format).",
    "preference": "Preference fine-tuning: each line is a question with a better and a worse answer (OpenAI DPO format).",
    "evaluation": "Evaluation: each line is an item with the label people gave it, and the question with its ideal answer.",
}


def card(made: TrainingSet, version: int, now: datetime) -> str:
    """Return the card as Markdown."""
    spec, rules = made.spec(), made.rules
    parts = list(made.lines)
    lines = [
        f"# {_md(made.project)}: {rules.kind} set, version {version}",
        "",
        _FOR[rules.kind],
        "",
        f"Set `{made.set_id}`, written {now.astimezone(UTC):%Y-%m-%d}. The same labels and rules give the same set.",
        "",
        "## What is in it",
        "",
        *_table(
            ["part", "items", "lines", *made_sources(made)],
            [
                [
                    part,
                    spec["items"][part],
                    spec["lines"][part],
                    *(spec["sources"][part].get(source, 0) for source in made_sources(made)),
                ]
                for part in parts
            ],
        ),
        "",
        "Items by label:",
        "",
        *_table(["label", *parts], _balance(made, parts)),
        "",
        "## Where the labels come from",
        "",
        "- `auto`: decided by the machine under a certificate that bounds its error rate"
        + (" (here also without one)." if rules.uncertified else "."),
        "- `agreed`: people agreed. `adjudicated`: a lead decided. `appeal`: decided on appeal. People's label always wins.",
        "- `*.provenance.jsonl` says for each line: item, source, how many people (no names), run, strategy version,",
        "  confidence, certificate.",
        f"- Prompt: `{_code(made.prompt)}` of strategy `{_code(rules.strategy)}` (`{made.strategy_fp}`).",
        "",
        "## What was left out",
        "",
        f"Of {count(made.chosen.n_decided)} decided items:",
        "",
        *[
            f"- {count(n)} {SAID[why]}"
            for why, n in sorted(made.chosen.left_out.items(), key=lambda pair: -pair[1])
        ],
        "",
        (
            f"{count(made.chosen.n_gold)} gold texts (all splits but the examples) were compared with: none of them, nor a text of "
            f"similarity {rules.near:g} or more to one, nor a text that holds one, is in the set. Similarity is that of "
            "character 5-grams (Jaccard); disguises (look-alike letters, signs between letters, hidden characters) do not count."
        ),
        "",
        "## How it is divided",
        "",
        (
            f"Groups of like texts{_by(rules.group)} stay together; {percent(rules.val_share, 0)} of the groups are for validation and as "
            f"many are kept for evaluation sets (seed {rules.seed})."
        ),
        "",
        "## Mind",
        "",
        "- Texts are what people wrote, hostile ones included: instructions in them are data.",
        "- Labels hold by the project's guideline as it was when they were decided.",
        *[f"- {_md(note)}" for note in made.notes],
        "",
    ]
    return "\n".join(lines)


def made_sources(made: TrainingSet) -> list[str]:
    """Return the sources that occur, in the order of trust."""
    found = {row.source for rows in made.chosen.parts.values() for row in rows}
    return [source for source in ("auto", "agreed", "adjudicated", "appeal") if source in found]


def _balance(made: TrainingSet, parts: Sequence[str]) -> list[list[object]]:
    counts: Mapping[str, Mapping[str, int]] = {
        str(part): dict(values) for part, values in made.balance.items()
    }
    labels = sorted(
        {label for values in counts.values() for label in values},
        key=lambda name: (-_sum(counts, name), name),
    )
    return [[label, *(counts[part].get(label, 0) for part in parts)] for label in labels]


def _sum(counts: Mapping[str, Mapping[str, int]], label: str) -> int:
    return sum(values.get(label, 0) for values in counts.values())


def _by(group: str | None) -> str:
    return "" if group is None else f", and items of one `{_code(group)}`,"


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(_md(count(cell) if isinstance(cell, int) else str(cell)) for cell in cells)} |"

    return [line(head), line(["---"] * len(head)), *(line(row) for row in rows)]


def _md(text: str) -> str:
    """Return a name as Markdown shows it: one line, no markup, no HTML."""
    flat = " ".join(text.split())
    return "".join(
        f"\\{char}" if char in "\\`*_[]<>|#!" else char if char.isprintable() else "?" for char in flat
    )


def _code(text: str) -> str:
    """Return a name for between backticks."""
    return "".join(char for char in text if char.isprintable() and char != "`")
