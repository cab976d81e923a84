"""The files of a new project, rendered from the templates beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import orjson
import yaml
from jinja2 import Environment, StrictUndefined

from labelproof.spec.labels import LabelClass, LabelSchema

Kind = Literal["single", "multi", "taxonomy"]
_TEMPLATES = {
    "project.yaml": "project.yaml.j2",
    "guideline.md": "guideline.md.j2",
    "strategies/champion.yaml": "strategies/champion.yaml.j2",
    "strategies/cheap-then-strong.yaml": "strategies/cheap-then-strong.yaml.j2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProject:
    """What a new project is made of. ``items_path`` None: sample messages come with it, and their
    gold labels too if ``schema`` is one of the sample's own.
    """

    name: str
    schema: LabelSchema
    description: str
    items_path: str | None = None
    text_column: str = "text"
    id_column: str | None = None

    @property
    def has_gold(self) -> bool:
        return self.items_path is None and self.schema == sample_schema(self.schema.kind)[0]


@cache
def sample_schema(kind: Kind) -> tuple[LabelSchema, str]:
    """Return the label schema of the sample messages for ``kind``, and what they are."""
    described: dict[str, Any] = yaml.safe_load(_read("labels.yaml"))[kind]
    text = str(described.pop("description"))
    return LabelSchema.model_validate(described), text


def schema_of(labels: list[str], kind: Kind) -> LabelSchema:
    """Return a schema of plain names, for a taxonomy ``parent/child``; ``ValueError`` if they cannot be."""
    if kind != "taxonomy":
        return LabelSchema(kind=kind, classes=tuple(LabelClass(name=name) for name in labels))
    children: dict[str, list[str]] = {}
    for label in labels:
        parent, slash, child = label.partition("/")
        known = children.setdefault(parent.strip(), [])
        if slash:
            known.append(child.strip())
    classes = (
        LabelClass(name=parent, children=tuple(LabelClass(name=name) for name in names))
        for parent, names in children.items()
    )
    return LabelSchema(kind=kind, classes=tuple(classes))


def render(project: NewProject) -> dict[str, str]:
    """Return path inside the project folder → text of the file."""
    env = Environment(  # noqa: S701  # YAML and Markdown, not HTML; values go through tojson
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    env.filters["tojson"] = _json  # Jinja's own escapes for HTML: & would become \u0026
    schema = project.schema
    values = {
        "name": project.name,
        "title": project.name.replace("_", " ").replace("-", " ").capitalize(),
        "description": project.description,
        "kind": schema.kind,
        "classes": schema.classes,
        "leaves": [{"name": n, "description": c.description} for n, c in schema.leaf_classes.items()],
        "items_path": project.items_path or "data/items.jsonl",
        "text_column": project.text_column,
        "id_column": "id" if project.items_path is None else project.id_column,
        "has_gold": project.has_gold,
        "example_label": _json([schema.leaves[0]] if schema.kind == "multi" else schema.leaves[0]),
    }
    rendered = {
        path: env.from_string(_read(template)).render(values) for path, template in _TEMPLATES.items()
    }
    if project.items_path is None:
        rendered |= _sample_data(schema.kind, project.has_gold)
    return rendered


def _sample_data(kind: Kind, has_gold: bool) -> dict[str, str]:
    messages = [orjson.loads(line) for line in _read("messages.jsonl").splitlines()]
    data = {"data/items.jsonl": _lines([{k: m[k] for k in ("id", "text", "channel")} for m in messages])}
    if has_gold:
        gold = [{"id": m["id"], "label": m[kind], "split": m["split"]} for m in messages]
        data["data/gold.jsonl"] = _lines(gold)
    return data


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{_json(row)}\n" for row in rows)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
