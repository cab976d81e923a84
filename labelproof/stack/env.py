"""The environment Prefect gets from us: loopback, no analytics, history in the project root."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from labelproof.spec.errors import ConfigError
from labelproof.stack.paths import stack_paths

HOST = "127.0.0.1"
DEFAULT_PORT = 4200
HEARTBEAT_S = 30
"""Prefect's minimum; the automation that finds dead runs waits three of them."""
ROOT_VARIABLE = "LABELPROOF_ROOT"

_TUNABLE = {
    # One task run costs the server 53-61 ms CPU when each is written alone, 11-16 ms in batches.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    "PREFECT_CLI_COLORS": "false",
}
"""Defaults of ours that the user's own environment overrides."""

_NOT_PASSED_ON = ("PYTHONDONTWRITEBYTECODE", "LABELPROOF_WEBHOOK_URL")

_FIXED = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # An ephemeral server costs 16 s per command and fails under load: no server is an error instead.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
}


def prefect_env(root: Path | str, api_url: str | None) -> dict[str, str]:
    """Return what to put into ``os.environ`` before the first ``import prefect``.

    ``api_url`` None leaves the address unset: then every API call fails instead of starting a hidden
    server. Settings of the user's own environment win over our tuning, not over the fixed ones.
    """
    paths = stack_paths(root)
    env = {name: os.environ.get(name, value) for name, value in _TUNABLE.items()}
    env.update(_FIXED)
    env["PREFECT_HOME"] = str(paths.home)
    env[ROOT_VARIABLE] = str(paths.root)
    if api_url is not None:
        env["PREFECT_API_URL"] = api_url
    return env


def service_env(root: Path | str, api_url: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a service process, ``extra`` last.

    Byte code is written even if the caller's shell forbids it: Prefect imports twice as fast with it.
    The checkout that runs now is first on PYTHONPATH, so that flows import the same Labelproof. The webhook's address
    is for the server's encrypted store only.
    """
    env = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    env.update(prefect_env(root, api_url))
    checkout = str(Path(__file__).resolve().parents[2])
    others = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part]
    env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(Path(root).resolve()), checkout, *others]))
    env["PYTHONUNBUFFERED"] = "1"
    env.update(extra)
    return env


def server_env(port: int) -> dict[str, str]:
    """Return what only the server needs.

    Prefect allows requests from every web page by default; on a workstation any open page could then
    start processes through the API. Only the server's own UI may call it.
    """
    origins = ",".join(f"http://{name}:{port}" for name in (HOST, "localhost"))
    return {
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
    }


def local_api_url(port: int) -> str:
    return f"http://{HOST}:{port}/api"


def is_port_free(port: int) -> bool:
    """Return whether a server could listen on ``port`` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(root: Path | str, wanted: int | None = None) -> int:
    """Return ``wanted``, else the port used last, else 4200; the next free one if that is busy.

    The choice is remembered, so links into the UI stay valid over restarts. A port that the user
    named and that is busy is an error: a silent other one would surprise.
    """
    memory = stack_paths(root).port
    if wanted is not None:
        if not is_port_free(wanted):
            raise ConfigError(
                f"port {wanted} on {HOST} is in use by another program",
                key="--port",
                hint="name another port, or leave --port out: the next free one is taken",
            )
        first = wanted
    else:
        text = memory.read_text(encoding="ascii").strip() if memory.exists() else ""
        first = int(text) if text.isdigit() else DEFAULT_PORT
    port = free_port(first)
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory.write_text(f"{port}\n", encoding="ascii")
    return port


def free_port(first: int) -> int:
    """Return the first free port of ``first`` and the next 99 on loopback."""
    for port in range(first, min(first + 100, 65_536)):
        if is_port_free(port):
            return port
    raise ConfigError(
        f"no free port on {HOST} between {first} and {first + 99}",
        hint="labelproof up --port N",
    )
