"""What kind of project an effect was measured in, and how alike two projects are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import orjson

from labelproof.report.playbook.kinds import model_size
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

_SAMPLE = 400
_LANGUAGE_SHARE = 0.05
_ITEMS = """
WITH known AS (
    SELECT project, item_id, any_value(text_hash) AS text_hash, any_value(meta_json) AS meta_json
    FROM items WHERE project IN (SELECT unnest($projects)) GROUP BY project, item_id
    QUALIFY row_number() OVER (PARTITION BY project ORDER BY item_id) <= $most
)
SELECT k.project, k.meta_json, left(t.text, 400) AS text, length(t.text) AS n_chars
FROM known AS k JOIN text_by_hash AS t USING (text_hash)
"""
"""Item ids are hashes of the texts: the first ones in order are a random sample, and the same one every time."""
_PROJECTS = """
SELECT project, arg_max(spec_json, ts) AS spec_json FROM projects
WHERE project IN (SELECT unnest($projects)) GROUP BY project
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What kind of project. None: not known. ``languages``: those of 5 % of its texts or more, sorted.

    ``text_chars``: median length. ``model_b``: billions of parameters, if the model's name tells.
    """

    label_kind: str | None = None
    n_labels: int | None = None
    languages: tuple[str, ...] = ()
    text_chars: int | None = None
    provider: str | None = None
    model: str | None = None
    model_b: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "languages": list(self.languages)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Traits:
        known: dict[str, Any] = {field.name: value.get(field.name) for field in fields(cls)}
        return cls(**{**known, "languages": tuple(value.get("languages") or ())})

    @property
    def says(self) -> str:
        """The traits in a few words."""
        parts = [
            None if self.n_labels is None else f"{self.n_labels} labels ({self.label_kind or 'single'})",
            ", ".join(self.languages) or None,
            None if self.text_chars is None else f"texts of {self.text_chars} characters",
            self.model,
        ]
        return " · ".join(part for part in parts if part) or "nothing known"

    def groups(self) -> dict[str, str]:
        """Return the group that the project falls into for each trait that is known."""
        found: dict[str, str] = {}
        if self.label_kind is not None:
            found["kind of labels"] = self.label_kind
        if self.n_labels is not None:
            found["number of labels"] = (
                "2" if self.n_labels <= 2 else "3 to 10" if self.n_labels <= 10 else "many"
            )
        if self.languages:
            found["languages"] = (
                "English"
                if self.languages == ("en",)
                else "several"
                if len(self.languages) > 1
                else "another"
            )
        if self.text_chars is not None:
            found["length"] = (
                "short" if self.text_chars < 280 else "long" if self.text_chars > 2000 else "medium"
            )
        if self.provider is not None:
            small = self.provider == "embedded" or (self.model_b is not None and self.model_b < 14)
            found["model"] = "small" if small else "hosted or large"
        return found


def alike(a: Traits, b: Traits) -> tuple[int, int]:
    """Return in how many traits two projects fall into the same group, and in how many both are known."""
    one, other = a.groups(), b.groups()
    both = [name for name in one if name in other]
    return sum(one[name] == other[name] for name in both), len(both)


def is_similar(a: Traits, b: Traits) -> bool:
    """Whether at most one of the traits that both tell differs, and at least three are told."""
    same, both = alike(a, b)
    return both >= 3 and both - same <= 1


def project_traits(store: TraceStore, projects: Collection[str]) -> dict[str, Traits]:
    """Return for each project what its stored items and project file tell: labels, languages, lengths."""
    given = {"projects": sorted(projects)}
    specs = {
        row["project"]: orjson.loads(row["spec_json"])
        for row in store.query(_PROJECTS, given, fresh=True, only=("projects",)).to_pylist()
    }
    items: dict[str, list[dict[str, Any]]] = {project: [] for project in projects}
    for row in store.query(
        _ITEMS, {**given, "most": _SAMPLE}, fresh=True, only=("items", "texts")
    ).to_pylist():
        items[row["project"]].append(row)
    return {project: _stored_traits(specs.get(project, {}), items[project]) for project in projects}


def _stored_traits(spec: Mapping[str, Any], items: list[dict[str, Any]]) -> Traits:
    column = (spec.get("monitoring") or {}).get("language_column") or "language"
    lengths = sorted(row["n_chars"] for row in items)
    labels = spec.get("labels") or {}
    leaves = [child for one in labels.get("classes", ()) for child in (one.get("children") or [one])]
    return Traits(
        label_kind=labels.get("kind"),
        n_labels=len(leaves) or None,
        languages=_languages(items, column),
        text_chars=lengths[len(lengths) // 2] if lengths else None,
    )


def with_strategy(traits: Traits, snapshot: Mapping[str, Any] | None) -> Traits:
    """Return the traits with labels and first model as a strategy's snapshot says them."""
    if snapshot is None:
        return traits
    steps = [step["components"] for step in snapshot["steps"]]
    labels = next((parts["labels"] for parts in steps if "labels" in parts), None)
    models = [model for parts in steps for model in parts.get("models", ())]
    data = traits.to_json()
    if labels is not None:
        data |= {"label_kind": labels["kind"], "n_labels": len(labels["classes"])}
    if models:
        name = str(models[0]["model"])
        data |= {"provider": models[0]["provider"], "model": name, "model_b": model_size(name)}
    return Traits.from_json(data)


def _languages(items: list[dict[str, Any]], column: str) -> tuple[str, ...]:
    """Return the languages of at least 5 % of the items, by their column, else guessed from the texts."""
    from evaluation.text_drift import guess_language

    said = [orjson.loads(row["meta_json"] or "{}").get(column) for row in items]
    if not any(said):
        said = [guess_language(row["text"]) for row in items]
    counts = Counter(str(one)[:12].casefold() for one in said if one and one != "unknown")
    total = sum(counts.values())
    return tuple(sorted(name for name, n in counts.items() if n >= _LANGUAGE_SHARE * total))


def traits_of_folder(store: TraceStore, folder: ProjectFolder) -> Traits:
    """Return a project's traits from its files; languages and lengths from stored items, else from its source's first ones."""
    from labelproof.store.interchange import iter_items

    known = project_traits(store, [folder.name])[folder.name]
    leaves = folder.spec.labels.leaves
    texts: list[str] = []
    if known.text_chars is None:
        batch = next(iter_items(folder.spec.items, folder.folder), None)
        items = () if batch is None else batch.items[:_SAMPLE]
        column = folder.spec.monitoring.language_column
        rows = [
            {"meta_json": orjson.dumps({column: item.meta.get(column)}).decode(), "text": item.text}
            for item in items
        ]
        texts = sorted((item.text for item in items), key=len)
        known = replace(known, languages=_languages(rows, column) if rows else ())
    spec = None
    if folder.spec.default_strategy in folder.strategy_names():
        models = folder.strategy(folder.spec.default_strategy).models
        spec = models.get("main") or next(iter(models.values()))
    return replace(
        known,
        label_kind=folder.spec.labels.kind,
        n_labels=len(leaves),
        text_chars=len(texts[len(texts) // 2]) if texts else known.text_chars,
        provider=None if spec is None else spec.provider,
        model=None if spec is None else spec.model,
        model_b=None if spec is None else model_size(spec.model),
    )
