"""Errors in project and strategy files name file, line, key, what was meant and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.spec.errors import ConfigError
from labelproof.spec.project import Project, find_project
from labelproof.spec.strategy import LabelStep, Strategy, load_strategy
from labelproof.spec.yamlio import load_yaml

STRATEGY = """\
name: champion
models:
  main:
    provider: embedded
steps:
  - kind: normalize
  - kind: label
    method: json
  - kind: route
"""
PROJECT = """\
name: mine
labels:
  classes:
    - name: ok
    - name: bad
items:
  path: data/items.jsonl
"""


def strategy(folder: Path, text: str) -> Strategy:
    path = folder / "champion.yaml"
    path.write_text(text, encoding="utf-8")
    return load_strategy(path)


def test_defaults_and_names_of_steps(tmp_path: Path) -> None:
    found = strategy(tmp_path, STRATEGY.replace("  - kind: route", "  - kind: label\n  - kind: route"))
    assert [step.name for step in found.steps] == ["normalize", "label", "label2", "route"]
    assert isinstance(found.steps[1], LabelStep)
    assert found.steps[1].max_retries == 2


@pytest.mark.parametrize(
    ("change", "line", "key", "says"),
    [
        (("method: json", "metod: json"), 8, "steps.1.metod", "unknown key; did you mean 'method'?"),
        (("kind: normalize", "kind: normalise"), 6, "steps.0", "did you mean 'normalize'?"),
        (("  - kind: normalize", "  - method: json"), 6, "steps.0", "kind"),
        (("method: json", "method: jsn"), 8, "steps.1.method", "did you mean 'json'?"),
        (("method: json", "max_retries: 99"), 8, "steps.1.max_retries", "less than or equal to 10; found 99"),
        (("provider: embedded", "temprature: 1"), 4, "models.main.temprature", "did you mean 'temperature'?"),
        (("method: json", "when: confidnce < 1"), 8, "steps.1.when", "unknown signal 'confidnce'"),
        (("method: json", "model: other"), 1, None, "uses model 'other', which `models` does not define"),
        (("  - kind: route\n", ""), 1, None, "must end with exactly one `route`"),
        (("name: champion\n", ""), 1, "name", "required, but not there"),
        (("name: champion", "name: 1st"), 1, "name", "should match pattern"),
        (
            ("provider: embedded", "provider: embedded\n    provider: langchain"),
            5,
            None,
            "key 'provider' appears twice",
        ),
        (("name: champion", "name: [unclosed"), 2, None, "not valid YAML"),
        (("name: champion", "name: a\n? [b]\n: c"), 2, None, "key"),
        (("name: champion", "name: \x01"), 1, None, "not valid YAML"),
        (("name: champion", "name: !!python/name:os.system x"), 1, None, "not valid YAML"),
    ],
)
def test_mistakes_are_located(
    tmp_path: Path, change: tuple[str, str], line: int, key: str | None, says: str
) -> None:
    assert change[0] in STRATEGY
    with pytest.raises(ConfigError) as caught:
        strategy(tmp_path, STRATEGY.replace(change[0], change[1], 1))
    error = caught.value
    assert says in error.message
    assert (error.line, error.key) == (line, key)
    assert error.message.startswith(f"{tmp_path / 'champion.yaml'}:{line}:")


def test_all_problems_are_listed_in_the_order_of_lines(tmp_path: Path) -> None:
    text = STRATEGY.replace("method: json", "metod: json").replace("provider: embedded", "provider: x")
    with pytest.raises(ConfigError) as caught:
        strategy(tmp_path, text)
    first, second, *_ = caught.value.message.splitlines()
    assert ":4: models.main.provider:" in first
    assert ":8: steps.1.metod:" in second
    assert caught.value.hint == "fix the strategy file and try again"


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such strategy file"), (b"\xff\xfe", "expected UTF-8"), (b"", "found NoneType"), (b"- a", "found list"),
     (b"a: 1\n---\nb: 2\n", "not valid YAML"), (b"a: " + b"[" * 5000, "not valid YAML")],
)  # fmt: skip
def test_files_that_are_no_mapping(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_strategy(path)


@pytest.mark.parametrize(
    "line",
    [
        "params: {extra_headers: {X-Api-Key: SECRET}}", "params: {extra_body: [{auth: {token: SECRET}}]}",
        "params: {hf_token: SECRET}", "params: {user: sk-proj-SECRETSECRETSECRET}",
        "params: {extra_headers: {X: Bearer SECRET}}", "params: {deep: [[AKIASECRETSECRETSEC]]}",
        "base_url: 'https://host/v1?api-key=SECRET'", "base_url: 'https://host/v1?x=1&key=SECRET'",
        "base_url: 'https://u:SECRET@host/v1'", "base_url: https://host/sk-SECRETSECRETSECRET/v1",
        "api_key_env: sk-SECRETSECRETSECRET",
    ],
)  # fmt: skip
def test_a_key_in_a_strategy_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"environment|looks like a secret") as caught:
        strategy(tmp_path, STRATEGY.replace("    provider: embedded", f"    provider: embedded\n    {line}"))
    assert "SECRET" not in str(caught.value)


def test_parameters_that_are_no_keys_are_taken(tmp_path: Path) -> None:
    line = "params: {top_p: 0.9, max_tokens: 5, prompt_cache_key: a, stop_token_ids: [1], extra_body: {key: v, sketch: task-list}}"
    found = strategy(
        tmp_path,
        STRATEGY.replace(
            "    provider: embedded",
            f"    provider: embedded\n    {line}\n    base_url: 'https://host/v1?api-version=2'",
        ),
    )
    assert found.models["main"].params["max_tokens"] == 5


def test_aliases_that_multiply_are_refused_and_others_are_read(tmp_path: Path) -> None:
    more = "\n".join(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    with pytest.raises(ConfigError, match=r"champion.yaml:1\d: not valid YAML: its aliases stand for"):
        strategy(tmp_path, f"{STRATEGY}a: &a0 [x]\n{more}\n")
    with pytest.raises(ConfigError, match="an alias stands inside what it names"):
        strategy(tmp_path, f"{STRATEGY}a: &a {{b: *a}}\n")
    shared = STRATEGY.replace("kind: label", "kind: label\n    name: &n first").replace(
        "name: champion", "name: &c champion"
    )
    assert strategy(tmp_path, f"{shared}description: *c\n").description == "champion"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_strategy(tmp_path)


@given(text=st.text(max_size=80) | st.text("name: stepkind-labl{}[],&*!?|>'\"#\n ", max_size=80))
def test_any_text_is_a_strategy_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load_yaml(path, Strategy, what="strategy")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("path: data/items.jsonl", "path: a\n  query: SELECT 1"), "exactly one of `path` and `query`"),
        (
            ("name: mine", "name: mine\nrouting: {always_review: [bda]}"),
            "routing names label 'bda'; expected one of bad, ok",
        ),
        (("name: mine", "name: mine\ngold: {path: g, design: active}"), "needs inclusion_prob_column"),
        (("name: mine", "name: mine\ngold: {path: g, fractions: {test: 0.9}}"), "must sum to 1"),
        (("labels:", "labels:\n  knd: multi"), "did you mean 'kind'?"),
        (("items:", "itms:"), "did you mean 'items'?"),
        (("    - name: bad\n", "    - {name: bad, sevrity: low}\n"), "did you mean 'severity'?"),
    ],
)
def test_project_mistakes(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in PROJECT
    path = tmp_path / "project.yaml"
    path.write_text(PROJECT.replace(change[0], change[1], 1))
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Project, what="project")
    assert says in caught.value.message


def test_projects_are_found_by_name_folder_or_file(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "mine"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT)
    for name in ("mine", "projects/mine", str(folder), str(folder / "project.yaml")):
        assert find_project(name, root=tmp_path).name == "mine"
    with pytest.raises(ConfigError, match="no project 'yours'") as caught:
        find_project("yours", root=tmp_path)
    assert "projects here: mine; `labelproof init yours`" in str(caught.value)


def test_missing_strategy_lists_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text(PROJECT)
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "champion.yaml").write_text(STRATEGY)
    folder = find_project(str(tmp_path))
    assert folder.strategy("champion").name == "champion"
    with pytest.raises(ConfigError, match=r"no strategy 'best' in this project; found: champion"):
        folder.strategy("best")
    with pytest.raises(ConfigError, match="no such file"):
        folder.guideline()
    assert folder.guideline_short() == "- ok: ok\n- bad: bad"
