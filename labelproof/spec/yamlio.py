"""YAML files into pydantic models, with errors that name file, line, key, expected and found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from labelproof.spec.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


_MOST_WRITTEN_OUT = 10_000
_MOST_TIMES = 10
"""Values that aliases may stand for, at the most: so many, or so many times the characters of the text."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML lets a repeated key win silently; here it is an error."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    seen: dict[Hashable, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, f"a list or mapping cannot be a key: {key!r}", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} appears twice", key_node.start_mark
            )
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_yaml(path: Path, model: type[M], *, what: str) -> M:
    """Return the validated ``model`` of a YAML file.

    ``what`` names the kind of file in messages ("project", "strategy"). Raises ``ConfigError`` listing
    every problem, each with line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"no such {what} file", path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected UTF-8 text: {error.reason}", path=path) from error
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}", path=path) from error
    root, data = parse_yaml(text, path)
    if not isinstance(data, dict):
        raise ConfigError(f"expected a mapping of keys, found {type(data).__name__}", path=path)
    try:
        return model.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        raise _config_error(error, path, root, model, what) from error


def parse_yaml(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    """Return the node tree, which knows lines, and the data of a YAML text; ``ConfigError`` when it is none, and for
    aliases that multiply: a page of them can stand for more than a machine holds.
    """
    try:
        loader = _StrictLoader(text)
        try:
            root = loader.get_single_node()
            if root is not None:
                _check_aliases(root, path)
            data = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(
            f"not valid YAML: {error.problem}", path=path, line=mark.line + 1 if mark else None
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"not valid YAML: character {error.character!r} is not allowed", path=path, line=line
        ) from error
    except RecursionError as error:
        raise ConfigError("not valid YAML: nested too deeply", path=path) from error
    return root, data


def _check_aliases(root: yaml.Node, path: Path) -> None:
    """Refuse a tree that holds itself, or that written out without aliases is far larger than it is."""
    sizes: dict[int, int] = {}
    most = max(_MOST_WRITTEN_OUT, _MOST_TIMES * (root.end_mark.index - root.start_mark.index))

    def size(node: yaml.Node) -> int:
        if not isinstance(node, yaml.CollectionNode):
            return 1
        found = sizes.get(id(node))
        if found == 0:
            raise ConfigError(
                "not valid YAML: an alias stands inside what it names", path=path, line=_line_of(node)
            )
        if found is None:
            sizes[id(node)] = 0  # being counted
            parts = (
                [part for pair in node.value for part in pair]
                if isinstance(node, yaml.MappingNode)
                else node.value
            )
            found = sizes[id(node)] = 1 + sum(map(size, parts))
            if found > most:
                raise ConfigError(
                    f"not valid YAML: its aliases stand for {found:,} values", path=path, line=_line_of(node)
                )
        return found

    size(root)


def _line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _config_error(
    error: ValidationError, path: Path, root: yaml.Node | None, model: type[BaseModel], what: str
) -> ConfigError:
    problems = []
    for detail in error.errors():
        keys, line = _locate(detail["loc"], root)
        problems.append((line, ".".join(map(str, keys)), _say(detail, model)))
    problems.sort(key=lambda problem: problem[0])
    line, key, message = problems[0]
    more = "".join(f"\n  {path}:{ln}: {k}: {m}" for ln, k, m in problems[1:])
    return ConfigError(
        message + more, path=path, line=line, key=key or None, hint=f"fix the {what} file and try again"
    )


def _locate(loc: tuple[int | str, ...], root: yaml.Node | None) -> tuple[list[int | str], int]:
    """Return the keys of ``loc`` that exist in the file (union tags do not) and the closest line."""
    node, line, keys = root, 1, []
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == part:
                    node, line = value_node, key_node.start_mark.line + 1
                    keys.append(part)
                    break
            else:
                if part == loc[-1]:
                    keys.append(part)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
                keys.append(part)
        elif part == loc[-1] and isinstance(part, str) and "[" not in part:
            break
    return keys, line


def _say(detail: ErrorDetails, model: type[BaseModel]) -> str:
    found = detail.get("input")
    shown = repr(found)
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    match detail["type"]:
        case "extra_forbidden":
            known = sorted(_fields_at(model, detail["loc"][:-1]))
            close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            return f"unknown key{meant} Expected one of: {', '.join(known)}" if known else "unknown key"
        case "missing":
            return "required, but not there"
        case "literal_error":
            return f"{detail['msg']}; found {shown}{_meant(found, detail['ctx']['expected'])}"
        case "union_tag_invalid":
            context = detail["ctx"]
            return (
                f"unknown {context['discriminator'].strip(chr(39))} {context['tag']!r}"
                f"{_meant(context['tag'], context['expected_tags'])} Expected one of: {context['expected_tags']}"
            )
        case "union_tag_not_found":
            return (
                f"{detail['ctx']['discriminator'].strip(chr(39))} is required, but not there; found {shown}"
            )
        case "value_error":
            return str(detail["ctx"]["error"])
        case _:
            return f"{detail['msg']}; found {shown}"


def _meant(found: Any, expected: str) -> str:
    """Return the choice that ``found`` comes close to; pydantic lists choices as ``'a', 'b' or 'c'``."""
    choices = re.findall(r"'([^']*)'", expected)
    close = difflib.get_close_matches(str(found), choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """Return the field names admitted where ``loc`` points, following unions and lists."""
    current: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        tagged = [c for c in current if _tag(c) == part]
        if tagged:
            current = tagged
            continue
        following = [
            inner
            for candidate in current
            if part in candidate.model_fields
            for inner in _models_in(candidate.model_fields[part].annotation)
        ]
        current = following or current
    return {name for candidate in current for name in candidate.model_fields}


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    values = get_args(field.annotation) if field is not None else ()
    return str(values[0]) if len(values) == 1 else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in get_args(annotation) for inner in _models_in(argument)]
