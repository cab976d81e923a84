"""Load a template, check its front matter, render it with every variable accounted for.

A template file has YAML front matter and two sections, ``# System`` and ``# User``. What belongs to one
item may appear only in the user section: the system text is then the same for all items of a run (its
tokens stay cached by the server), and hostile content never speaks with the system's voice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest_text
from labelproof.spec.yamlio import parse_yaml

BUNDLED = Path(__file__).parent
ITEM_VARIABLES = frozenset(
    ("item", "fence", "near_examples", "error", "label", "rationale", "signals", "transcript", "asked")
)
"""Variables that differ from item to item; admitted in the user section only."""
_MOST_CHARS = 100_000
"""Characters of a template's file: more is no prompt."""
_NAME = r"^[a-z][a-z0-9_]*$"
_FILE = re.compile(r"\A---\n(?P<head>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_SECTIONS = re.compile(r"\A\s*# System\n(?P<system>.*?)^# User\n(?P<user>.*)\Z", re.DOTALL | re.MULTILINE)


@pass_context
def _as_is(_context: Context, value: Any) -> Any:
    """Return an output's value. That it asks for the context keeps Jinja from working out constants while it compiles:
    a template of others is loaded without running any of it.
    """
    return value


class _Sandbox(ImmutableSandboxedEnvironment):
    """Templates are other people's programs: they reach no attribute of Python's, and make no number or text of any size."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not all(isinstance(one, int | float) for one in (left, right)):
            raise SecurityError(f"`{operator}` takes numbers, and powers are not computed")
        return super().call_binop(context, operator, left, right)


class _FrontMatter(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_NAME)
    version: int = Field(ge=1)
    variables: tuple[str, ...]
    changed: str = Field(min_length=3)
    """What changed in this version, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """A checked template; ``fingerprint`` is the hash of the file's whole text."""

    name: str
    version: int
    changed: str
    variables: tuple[str, ...]
    text: str
    path: Path
    fingerprint: str
    _system: Template = field(repr=False)
    _user: Template = field(repr=False)

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    def render_system(self, variables: Mapping[str, Any]) -> str:
        """Return the system text; the same for every item of a run."""
        return self._render(self._system, variables)

    def render_user(self, variables: Mapping[str, Any]) -> str:
        """Return the user text of one item."""
        return self._render(self._user, variables)

    def _render(self, template: Template, variables: Mapping[str, Any]) -> str:
        try:
            return template.render(variables).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise ConfigError(f"template {self.reference}: {error}", path=self.path) from error


def load_template(reference: str, folders: Iterable[Path] = ()) -> PromptTemplate:
    """Return the template called ``name`` or ``name@version``.

    ``folders`` (a project's own prompts) are searched before the bundled ones. A version that
    differs from the file's is a ``ConfigError``: the strategy was written for another text.
    """
    name, _, version = reference.partition("@")
    if not re.fullmatch(_NAME, name):
        raise ConfigError(
            f"{reference!r} is no template name; expected e.g. label_json or label_json@1", key="prompt"
        )
    tried = [folder / f"{name}.md" for folder in (*folders, BUNDLED)]
    for path in tried:
        if path.is_file():
            template = _parse(path, path.read_text(encoding="utf-8"))
            if version and version != str(template.version):
                raise ConfigError(
                    f"strategy asks for {reference}, the file holds version {template.version} "
                    f"({template.changed})",
                    path=path,
                    hint=f"write {template.reference} in the strategy if the new text is meant",
                )
            return template
    known = ", ".join(template.reference for template in bundled_templates())
    raise ConfigError(
        f"no template {name!r}: looked for {', '.join(map(str, tried))}", hint=f"bundled: {known}"
    )


def stored_template(reference: str, text: str) -> PromptTemplate:
    """Return the template of a text that was stored under ``name@version``; ``ConfigError`` if they do not fit."""
    template = _parse(Path(f"{reference.partition('@')[0]}.md"), text)
    if template.reference != reference:
        raise ConfigError(f"stored as template {reference}, the text says {template.reference}", key="prompt")
    return template


def bundled_templates() -> list[PromptTemplate]:
    """Return the templates that come with Labelproof, by name."""
    return [_parse(p, p.read_text(encoding="utf-8")) for p in sorted(BUNDLED.glob("*.md"))]


@lru_cache(maxsize=64)
def _parse(path: Path, text: str) -> PromptTemplate:
    whole = _FILE.match(text)
    if whole is None:
        raise ConfigError("expected front matter between two lines of ---", path=path, line=1)
    if len(text) > _MOST_CHARS:
        raise ConfigError(f"expected at most {_MOST_CHARS:,} characters, found {len(text):,}", path=path)
    try:
        head = _FrontMatter.model_validate(parse_yaml(f"\n{whole['head']}", path)[1])
    except ValidationError as error:
        raise ConfigError(f"front matter: {error}", path=path, line=2) from error
    sections = _SECTIONS.match(whole["body"])
    if sections is None:
        raise ConfigError("expected a `# System` and then a `# User` section", path=path)
    if head.name != path.stem:
        raise ConfigError(f"front matter says name: {head.name}, the file is {path.name}", path=path)
    env = _Sandbox(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        optimized=False,
        finalize=_as_is,
    )
    for name in ("range", "lipsum"):  # work without end; loops go over what a template is given
        del env.globals[name]
    try:
        trees = env.parse(sections["system"]), env.parse(sections["user"])
        used_system, used_user = (meta.find_undeclared_variables(tree) for tree in trees)
        system, user = env.from_string(sections["system"]), env.from_string(sections["user"])
    except TemplateError as error:
        raise ConfigError(f"not valid Jinja: {error}", path=path) from error
    except (RecursionError, SyntaxError) as error:  # Python's own limits on nesting
        raise ConfigError("not valid Jinja: nested too deeply", path=path) from error
    if any(list(meta.find_referenced_templates(tree)) for tree in trees):
        raise ConfigError(
            "a template may not include, import or extend other templates: its text is its version",
            path=path,
        )
    _check_variables(path, head, used_system, used_user)
    return PromptTemplate(
        name=head.name,
        version=head.version,
        changed=head.changed,
        variables=head.variables,
        text=text,
        path=path,
        fingerprint=digest_text(text),
        _system=system,
        _user=user,
    )


def _check_variables(path: Path, head: _FrontMatter, used_system: set[str], used_user: set[str]) -> None:
    used = used_system | used_user
    declared = set(head.variables)
    if used != declared:
        undeclared, unused = sorted(used - declared), sorted(declared - used)
        raise ConfigError(
            f"variables in the text and in the front matter differ: undeclared {undeclared}, "
            f"declared but unused {unused}",
            path=path,
            key="variables",
        )
    leaked = sorted(used_system & ITEM_VARIABLES)
    if leaked:
        raise ConfigError(
            f"{leaked[0]!r} belongs to one item and may stand only in the user section",
            path=path,
            hint="item content in the system role would be obeyed, and would empty the prompt cache",
        )
