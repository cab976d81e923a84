"""The environment and the port that Prefect gets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labelproof.spec.errors import ConfigError
from labelproof.stack.control import find_root
from labelproof.stack.env import choose_port, prefect_env, server_env, service_env
from labelproof.stack.paths import StackPaths
from labelproof.stack.plan import Options, foreign_api_url, make_supervisor


def busy_port() -> tuple[socket.socket, int]:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen()
    return held, held.getsockname()[1]


def test_the_same_root_means_the_same_history_and_no_hidden_server(paths: StackPaths) -> None:
    env = prefect_env(paths.root, "http://127.0.0.1:4200/api")
    assert env["PREFECT_HOME"] == str(paths.root / ".labelproof" / "stack" / "prefect")
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert env["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"
    assert env["DO_NOT_TRACK"] == "1"
    assert "PREFECT_API_URL" not in prefect_env(paths.root, None)


def test_the_users_tuning_wins_but_not_over_analytics(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE", "7")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    env = prefect_env(paths.root, None)
    assert env["PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE"] == "7"
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_services_write_byte_code_and_find_the_checkout_and_the_root(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    env = service_env(paths.root, "http://127.0.0.1:1/api", {"EXTRA": "yes"})
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert env["PYTHONPATH"].split(os.pathsep) == [
        str(paths.root),
        str(Path(__file__).parents[2]),
        "/somewhere/else",
    ]
    assert env["EXTRA"] == "yes"


def test_only_the_servers_own_pages_may_call_its_api() -> None:
    assert server_env(4321)["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == (
        "http://127.0.0.1:4321,http://localhost:4321"
    )


def test_the_port_is_remembered_and_a_busy_one_is_passed_over(paths: StackPaths) -> None:
    held, port = busy_port()
    with held:
        paths.port.write_text(f"{port}\n")
        second = choose_port(paths.root)
        assert second > port
    assert choose_port(paths.root) == second


def test_a_busy_port_that_the_user_named_is_an_error(paths: StackPaths) -> None:
    held, port = busy_port()
    with held, pytest.raises(ConfigError, match=f"port {port} .* in use"):
        choose_port(paths.root, port)
    assert not paths.port.exists()


def test_the_root_is_where_prefect_yaml_is(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = paths.root / "projects" / "one"
    deep.mkdir(parents=True)
    assert find_root(deep) == deep
    (paths.root / "prefect.yaml").touch()
    assert find_root(deep) == paths.root
    monkeypatch.setenv("LABELPROOF_ROOT", str(paths.root / "gone"))
    with pytest.raises(ConfigError, match="LABELPROOF_ROOT"):
        find_root(deep)


def test_up_without_deployments_names_the_file_it_wants(paths: StackPaths) -> None:
    with pytest.raises(ConfigError, match=r"prefect\.yaml"):
        make_supervisor(paths.root, Options())
    (paths.root / "prefect.yaml").write_text("deployments: []\n")
    with pytest.raises(ConfigError, match="expected a list of deployments"):
        make_supervisor(paths.root, Options())
    (paths.root / "prefect.yaml").write_text("deployments: [{entrypoint: 'flows/gone.py:label'}]\n")
    with pytest.raises(ConfigError, match=r"entrypoint.*flows/gone\.py"):
        make_supervisor(paths.root, Options())


def test_a_dead_server_elsewhere_is_an_error_and_one_here_is_the_port_to_use(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, port = busy_port()
    held.close()
    (paths.root / "prefect.yaml").write_text("deployments: [{entrypoint: 'a.py:f'}]\n")
    (paths.root / "a.py").touch()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    assert foreign_api_url(paths.root) is None
    supervisor = make_supervisor(paths.root, Options())
    assert supervisor.api_url == f"http://127.0.0.1:{port}/api"
    assert [service.name for service in supervisor.services] == ["server", "worker"]
    monkeypatch.setenv("PREFECT_API_URL", "http://no-such-host.invalid/api")
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid"):
        make_supervisor(paths.root, Options())


def test_nothing_of_the_stack_imports_prefect_or_http_before_it_is_used() -> None:
    code = (
        "import sys, labelproof.stack, labelproof.cli.stack\n"
        "heavy = {'prefect', 'httpx', 'duckdb', 'langchain', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "labelproof.stack.api_url; assert 'prefect' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
