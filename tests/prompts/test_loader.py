"""Templates account for every variable, and items never speak with the system's voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import digest_text
from prompts import ITEM_VARIABLES, bundled_templates, load_template

TEMPLATE = """\
---
name: mine
version: 3
variables: [task, item]
changed: For a test.
---
# System
{{ task }}

# User
{{ item }}
"""


def load(folder: Path, text: str, reference: str = "mine") -> Any:
    (folder / "mine.md").write_bytes(text.encode())
    return load_template(reference, [folder])


def test_a_template_renders_its_two_sections(tmp_path: Path) -> None:
    found = load(tmp_path, TEMPLATE)
    assert found.reference == "mine@3"
    assert found.fingerprint == digest_text(TEMPLATE)
    assert found.render_system({"task": " Judge. "}) == "Judge."
    assert found.render_user({"item": "text"}) == "text"


@pytest.mark.parametrize("template", bundled_templates(), ids=lambda template: template.name)
def test_bundled_templates_keep_items_out_of_the_system_text(template: Any) -> None:
    option = {"code": "A", "name": "ok", "description": "fine"}
    example = {"text": "EXAMPLE", "label": "ok", "code": "A"}
    values: dict[str, Any] = {name: f"<{name}>" for name in template.variables}
    values |= {"options": [option], "fixed_examples": [example], "near_examples": [example], "multi": False}
    values = {name: values[name] for name in template.variables}
    shared = {name: value for name, value in values.items() if name not in ITEM_VARIABLES}
    system = template.render_system(shared)
    assert "<task>" in system
    assert "never obey" in system.lower() or "never obeyed" in system.lower()
    user = template.render_user(values)
    assert user.index("<fence>") < user.index("<item>") < user.rindex("<fence>")
    assert template.changed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("{{ item }}", "{{ item }} {{ extra }}"), "undeclared ['extra'], declared but unused []"),
        (("[task, item]", "[task, item, extra]"), "undeclared [], declared but unused ['extra']"),
        (
            ("{{ task }}", "{{ task }} {{ item }}"),
            "'item' belongs to one item and may stand only in the user",
        ),
        (("{{ task }}", "{{ task }}{% set x = item %}"), "'item' belongs to one item"),
        (("{{ task }}", "{{ task }}{% for c in item %}{{ c }}{% endfor %}"), "'item' belongs to one item"),
        (("name: mine", "name: other"), "front matter says name: other, the file is mine.md"),
        (("version: 3", "version: 0"), "greater than or equal to 1"),
        (("version: 3", "version: 3\nauthor: me"), "Extra inputs are not permitted"),
        (("changed: For a test.\n", ""), "changed"),
        (("# System\n", ""), "expected a `# System` and then a `# User` section"),
        (("# User\n", ""), "expected a `# System` and then a `# User` section"),
        (("{{ item }}", "{{ item"), "not valid Jinja"),
        (("{{ item }}", "{{ item }}{% include 'x' %}"), "other templates"),
        (("---\nname", "name"), "expected front matter"),
        (("name: mine", "name: [mine"), "mine.md:3: not valid YAML"),
    ],
)
def test_mistakes_are_named_with_the_file(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in TEMPLATE
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TEMPLATE.replace(change[0], change[1], 1))
    assert says in caught.value.message
    assert str(tmp_path / "mine.md") in caught.value.message


@pytest.mark.parametrize("name", sorted(ITEM_VARIABLES))
def test_every_item_variable_is_refused_in_the_system_section(tmp_path: Path, name: str) -> None:
    text = TEMPLATE.replace("[task, item]", f"[task, item, {name}]").replace(
        "{{ task }}", f"{{{{ task }}}}{{{{ {name} }}}}"
    )
    with pytest.raises(ConfigError, match=f"'{name}' belongs to one item"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("item", {}),
        ("item.missing", {"item": "x"}),
        ("item + 1", {"item": "x"}),
        ("1 / item", {"item": 0}),
        ("item.__class__.__mro__", {"item": "x"}),
        ("item.append(1)", {"item": [1]}),
        ("item | nofilter", {"item": "x"}),
    ],
)
def test_what_cannot_be_rendered_is_the_templates_error(
    tmp_path: Path, expression: str, values: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"mine\.md"):
        load(tmp_path, TEMPLATE.replace("{{ item }}", f"{{{{ {expression} }}}}")).render_user(values)


def test_version_in_the_reference_must_be_the_files(tmp_path: Path) -> None:
    assert load(tmp_path, TEMPLATE, "mine@3").version == 3
    with pytest.raises(ConfigError, match="asks for mine@2, the file holds version 3") as caught:
        load_template("mine@2", [tmp_path])
    assert "write mine@3 in the strategy" in str(caught.value)


def test_a_project_template_hides_the_bundled_one(tmp_path: Path) -> None:
    (tmp_path / "label_json.md").write_text(TEMPLATE.replace("name: mine", "name: label_json"))
    assert load_template("label_json", [tmp_path]).version == 3
    assert load_template("label_json").path.parent != tmp_path


def test_unknown_template_lists_places_and_the_bundled(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_template("label_jsn", [tmp_path])
    assert str(tmp_path / "label_jsn.md") in str(caught.value)
    assert "label_json@1" in str(caught.value)


@pytest.mark.parametrize("reference", ["../secret", "/etc/passwd", "a/b", ""])
def test_a_reference_is_a_name_not_a_path(tmp_path: Path, reference: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.md").write_text(TEMPLATE.replace("name: mine", "name: secret"))
    with pytest.raises(ConfigError, match="template"):
        load_template(reference, [tmp_path / "inner"])


@given(item=st.text())
def test_an_item_is_rendered_as_it_is_and_never_as_a_template(
    tmp_path_factory: pytest.TempPathFactory, item: str
) -> None:
    template = load(tmp_path_factory.mktemp("t"), TEMPLATE.replace("{{ item }}", "<{{ item }}>"))
    assert template.render_user({"item": item}) == f"<{item}>"
    hostile = "{{ 7 * 7 }}{% raw %}" + item
    assert template.render_user({"item": hostile}) == f"<{hostile}>"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("changed: For a test.", "changed: [*none]"), "undefined alias"),
        (("changed: For a test.", "changed: &a [*a, *a]"), "alias stands inside"),
        (
            (
                "changed: For a test.",
                "changed: &a0 [x]\n"
                + "\n".join(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)),
            ),
            "aliases stand for",
        ),
        (("changed: For a test.", f"changed: {'[' * 3000}{']' * 3000}"), "nested too deeply"),
        (("{{ item }}", f"{{{{ {'(' * 3000}item{')' * 3000} }}}}"), "nested too deeply"),
        (("{{ item }}", "{{ item }}" + "{% if 1 %}" * 3000 + "{% endif %}" * 3000), "nested too deeply"),
        (("{{ item }}", "{% for i in range(99999) %}{{ item }}{% endfor %}"), r"undeclared \['range'\]"),
        (("{{ item }}", "{{ item }}" + "x" * 100_000), "at most 100,000 characters"),
    ],
    ids=["no alias", "cycle", "multiplied", "deep yaml", "deep expression", "deep blocks", "loop", "long"],
)
def test_a_template_made_to_exhaust_the_machine_is_refused(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, TEMPLATE.replace(*change))


@pytest.mark.parametrize(
    "text", ["{{ 9**9**9**9 }}", "{{ 'a' * 10**13 }}", "{{ [item] * 3 }}", "{{ 'a'|center(2**70) }}"]
)
def test_loading_runs_nothing_and_rendering_makes_no_text_of_any_size(tmp_path: Path, text: str) -> None:
    found = load(tmp_path, TEMPLATE.replace("{{ item }}", "{{ item }}" + text))
    with pytest.raises(ConfigError, match="takes numbers"):
        found.render_user({"task": "t", "item": "i"})


def test_a_product_of_numbers_is_computed(tmp_path: Path) -> None:
    found = load(tmp_path, TEMPLATE.replace("{{ item }}", "{{ item }} {{ 6 * 7 }}"))
    assert found.render_user({"task": "t", "item": "i"}) == "i 42"
