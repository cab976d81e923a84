"""The local Prefect stack: server, worker and their supervisor. Never imports Prefect.

Everything below loads on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelproof.stack.api import PrefectApi, StackError
    from labelproof.stack.control import find_root
    from labelproof.stack.env import prefect_env
    from labelproof.stack.handle import ServerHandle, api_url, start_server

__all__ = [
    "PrefectApi",
    "ServerHandle",
    "StackError",
    "api_url",
    "find_root",
    "prefect_env",
    "start_server",
]

_HOMES = {
    "PrefectApi": "api",
    "StackError": "api",
    "find_root": "control",
    "prefect_env": "env",
    "ServerHandle": "handle",
    "api_url": "handle",
    "start_server": "handle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
