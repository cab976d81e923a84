"""Review tasks for Label Studio, its labeling interface, and annotations back as votes.

Formats: `Label Studio JSON` (a list of tasks with ``data`` and ``annotations``) and `JSON-MIN` (a list with one
flat record an annotation), as Label Studio 1.x exports them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4
from xml.etree import ElementTree as ET  # only to write XML; nothing foreign is parsed

import orjson
from pydantic import Field, RootModel

from labelproof.report.review_io import ReviewSheet
from labelproof.report.review_votes import ImportReport, Role, Vote, store_votes
from labelproof.review._labelstudio_answers import ANSWER, JOINER, LABEL, NOT_LABEL, NOTE, Answers, vote_of
from labelproof.spec.errors import ConfigError, StoreError
from labelproof.spec.labels import EMPTY_SET, LabelClass, LabelSchema
from labelproof.spec.project import ProjectFolder
from labelproof.spec.yamlio import load_yaml
from labelproof.store import TraceStore
from labelproof.store.interchange.rows import RawRow
from labelproof.store.interchange.sources import public_name

_CONTENT = "content"
_NOTHING = "-"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Annotators(RootModel[dict[int | str, Annotated[str, Field(min_length=1, max_length=200)]]]):
    """A file of `--annotators`."""


def tasks_json(sheet: ReviewSheet) -> list[dict[str, Any]]:
    """Return the tasks of a sheet as Label Studio imports them: blind, without predictions."""
    return [
        {
            "data": {
                "task_id": row["task_id"],
                "item_id": row["item_id"],
                "kind": row["kind"],
                # PostgreSQL's JSON, where Label Studio keeps tasks, refuses the null character.
                "text": (row["text"] or "").replace("\x00", "\u2400"),
                "hidden": row["hidden"] or _NOTHING,
                "meta": row["meta"] or _NOTHING,
            },
            "meta": {"labelproof": {"project": sheet.project, "task_id": row["task_id"]}},
        }
        for row in sheet.rows
    ]


def labeling_config(schema: LabelSchema) -> str:
    """Return the XML of a labeling interface for these labels, with skip, flag, unclear and a note.

    The text is shown as plain text. Neither a label nor another answer is required by itself, since either
    will do; an annotation with none or both is listed when it is read back.
    """
    view = ET.Element("View")
    _tag(view, "Text", name=_CONTENT, value="$text", valueType="text", granularity="word")
    _tag(view, "Header", value="Hidden characters: $hidden", size="5")
    _tag(view, "Header", value="About the item: $meta", size="5")
    _tag(view, "Header", value="Label", size="4")
    if schema.kind == "taxonomy":
        tree = _tag(view, "Taxonomy", name=LABEL, toName=_CONTENT, leafsOnly="true", showFullPath="true")
        tree.set("maxUsages", "1")
        for parent in schema.classes:
            branch = _choice(tree, parent)
            for child in parent.children:
                _choice(branch, child)
    else:
        several = schema.kind == "multi"
        group = _tag(view, "Choices", name=LABEL, toName=_CONTENT, choice="multiple" if several else "single")
        for leaf in schema.classes:
            _choice(group, leaf)
        if several:
            _tag(group, "Choice", value=EMPTY_SET, hint="no label applies")
    _tag(view, "Header", value="Or, instead of a label", size="4")
    group = _tag(view, "Choices", name=ANSWER, toName=_CONTENT, choice="single", showInline="true")
    hints = {
        "skip": "leave it to somebody else",
        "flag": "something is wrong with the item",
        "unclear": "the guideline does not say",
    }
    for answer in NOT_LABEL:
        _tag(group, "Choice", value=answer, hint=hints[answer])
    _tag(view, "TextArea", name=NOTE, toName=_CONTENT, placeholder="Note", rows="2", maxSubmissions="1")
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def write_label_studio(
    sheet: ReviewSheet,
    schema: LabelSchema,
    path: Path,
    config: Path | None = None,
    *,
    overwrite: bool = False,
) -> int:
    """Write the tasks of a sheet, and the labeling interface if ``config`` names a file; return their number.

    Both are written whole or not at all. Existing files are a ``ConfigError`` unless ``overwrite``.
    """
    files = {path: orjson.dumps(tasks_json(sheet), option=orjson.OPT_INDENT_2)}
    if config is not None:
        if config.absolute() == path.absolute():
            raise ConfigError("tasks and labeling interface are two files", path=path, hint="--config X.xml")
        files[config] = labeling_config(schema).encode()
    for file in files:
        if file.exists() and not overwrite:
            raise ConfigError("the file exists", path=file, hint="choose another name or add --overwrite")
    for file, content in files.items():
        _write(file, content)
    return len(sheet.rows)


def is_label_studio(source: str) -> bool:
    """Whether a file is a JSON list, as Label Studio exports; sheets are CSV, Parquet or JSON lines."""
    if "://" in source:
        return False
    try:
        with Path(source).expanduser().open("rb") as stream:
            return stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError:
        return False


def read_annotators(path: Path) -> dict[str, str]:
    """Return the mapping of a YAML or JSON file: Label Studio's user id or e-mail -> name here."""
    return {str(key): name for key, name in load_yaml(path, _Annotators, what="annotators").root.items()}


def import_label_studio(
    store: TraceStore,
    folder: ProjectFolder,
    source: str,
    *,
    now: datetime,
    annotator: str | None = None,
    annotators: Mapping[str, str] | None = None,
    role: Role = "reviewer",
) -> ImportReport:
    """Store the annotations of an export as votes and return what they changed.

    ``annotators``: from Label Studio's user id (as text) or e-mail to a name here; without one the e-mail counts, or
    ``ls-7`` for user 7. ``annotator``: who annotated, where the export does not say. A cancelled annotation is
    a skip; an answer counts from the time it was last changed, so an edited annotation replaces what it said
    before. The same export twice stores nothing twice. Places in messages are positions in the list, from 1.
    """
    people = {str(key).casefold(): name for key, name in (annotators or {}).items()}
    name = public_name(source)
    rows: list[tuple[RawRow, Vote | str | None]] = []
    for position, (record, form) in enumerate(_records(_load(source), name), start=1):
        if form == "min":
            found = [(record, Answers.of_min(record))]
            data: Any = record
        else:
            data = record.get("data")
            found = [(a, Answers.of_result(a)) for a in _annotations(record)]
        row = RawRow(name, position, record, None, None)
        if not found:
            rows.append((row, None))
        for annotation, answers in found:
            task_id = data.get("task_id") if isinstance(data, Mapping) else None
            made = vote_of(annotation, answers, task_id, folder.spec.labels, people, annotator, now)
            which = annotation.get("annotation_id" if form == "min" else "id")
            if isinstance(made, str) and which is not None:
                made = f"annotation {str(which)[:40]}: {made}"
            rows.append((row, made))
    return store_votes(store, folder, rows, source, now=now, role=role)


def _load(source: str) -> list[Any]:
    path = Path(source).expanduser()
    try:
        found = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}", path=path) from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"not valid JSON: {error.msg}", path=path, line=error.lineno) from error
    if not isinstance(found, list):
        raise ConfigError(f"expected a list, found {type(found).__name__}", path=path)
    return found


def _records(found: Sequence[Any], name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each record with its form: ``full`` or ``min``."""
    for position, record in enumerate(found, start=1):
        if isinstance(record, Mapping) and isinstance(record.get("data"), Mapping):
            yield record, "full"
        elif isinstance(record, Mapping) and ("annotation_id" in record or "annotator" in record):
            yield record, "min"
        else:
            keys = ", ".join(map(str, record))[:80] if isinstance(record, Mapping) else type(record).__name__
            raise ConfigError(
                f"{name}: entry {position} is no task of a Label Studio export: expected the keys data and "
                f"annotations (JSON) or annotation_id (JSON-MIN), found {keys}",
                hint="in Label Studio: Export, format JSON or JSON-MIN",
            )


def _annotations(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = record.get("annotations", record.get("completions")) or []
    return [a for a in found if isinstance(a, Mapping)] if isinstance(found, list) else []


def _tag(parent: ET.Element, kind: str, /, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, kind, attributes)


def _choice(parent: ET.Element, label: LabelClass) -> ET.Element:
    tag = _tag(parent, "Choice", value=_literal(label.name))
    if label.description:
        tag.set("hint", _literal(" ".join(label.description.split())))
    return tag


def _literal(text: str) -> str:
    """Return ``text`` without the characters that XML cannot hold, and with no `$name` to be filled in."""
    return _NOT_XML.sub("", text).replace("$", f"${JOINER}")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
