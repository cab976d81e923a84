"""A real Prefect server that all tests of the flows share: each names projects of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from labelproof.stack import start_server


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API URL of a server that sees nothing of this machine's own Prefect."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "LABELPROOF_ROOT"))]:
            patch.delenv(name)
        with start_server(tmp_path_factory.mktemp("stack")) as server:
            url = server.wait_ready(180)
            assert url is not None
            yield url
