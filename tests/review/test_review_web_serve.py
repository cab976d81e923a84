"""Where the app may listen, what it says when it may not, and how it starts and stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from labelproof.review.office import Office, open_office
from labelproof.review.web.serve import (
    DEFAULT_PORT,
    WebSettings,
    listen,
    refusal,
    server_config,
    setup_link,
)
from labelproof.spec.errors import ConfigError
from tests.review.office_helpers import CHEAP
from tests.review.web_helpers import PASSWORD, T0

URL = "https://review.example.org"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = open_office(tmp_path / "office.db", hasher=CHEAP)
    yield opened
    opened.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3"])
def test_loopback_needs_nothing(office: Office, host: str) -> None:
    assert refusal(WebSettings(host=host), office) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "review.example.org", "0", "128.0.0.1"])
def test_another_address_needs_tls_and_an_account(office: Office, host: str) -> None:
    said = refusal(WebSettings(host=host), office) or ""
    assert "--public-url" in said
    assert "--trusted-proxy" in said
    behind = WebSettings(host=host, public_url=URL, trusted_proxy="10.0.0.1")
    assert "labelproof reviewers add" in (refusal(behind, office) or "")
    office.accounts.add("invited", role="admin", password=None, now=T0)
    assert "labelproof reviewers add" in (refusal(behind, office) or "")
    office.accounts.add("ann", role="admin", password=PASSWORD, now=T0)
    assert refusal(behind, office) is None


@pytest.mark.parametrize(
    ("url", "proxy", "words"),
    [
        (URL, None, "--trusted-proxy"),
        (None, "10.0.0.1", "--public-url"),
        ("http://review.example.org", "10.0.0.1", "https"),
        ("review.example.org", "10.0.0.1", "https"),
        ("https://", "10.0.0.1", "https"),
        (f"{URL}/below", "10.0.0.1", "path"),
        (URL, "*", "IP address"),
        (URL, "proxy.example.org", "IP address"),
        (URL, "10.0.0.1, ", "IP address"),
        (URL, "0.0.0.0/0", "everybody"),
        (URL, "::/0", "everybody"),
    ],
)
def test_half_a_proxy_is_refused_also_on_loopback(
    office: Office, url: str | None, proxy: str | None, words: str
) -> None:
    assert words in (refusal(WebSettings(public_url=url, trusted_proxy=proxy), office) or "")


@pytest.mark.parametrize("proxy", ["10.0.0.1", "10.0.0.0/24", "10.0.0.1,fd00::1"])
def test_a_proxy_is_an_address_or_a_network(office: Office, proxy: str) -> None:
    assert refusal(WebSettings(public_url=URL, trusted_proxy=proxy), office) is None


def test_without_a_port_the_first_free_one_is_taken() -> None:
    first = listen(WebSettings())
    second = listen(WebSettings())
    try:
        taken = [one.getsockname()[1] for one in (first, second)]
        assert DEFAULT_PORT <= taken[0] < taken[1] < DEFAULT_PORT + 20
        with pytest.raises(ConfigError, match=f"port {taken[0]}") as refused:
            listen(WebSettings(port=taken[0]))
        assert "--port" in str(refused.value)
    finally:
        first.close()
        second.close()


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen(WebSettings(host="192.0.2.1", port=0))
    with pytest.raises(ConfigError, match="not-a-host"):
        listen(WebSettings(host="not-a-host.invalid", port=0))


def test_the_setup_link_is_made_until_somebody_is_admin(office: Office) -> None:
    base = "http://127.0.0.1:8700"
    link = setup_link(WebSettings(), office, base, now=T0) or ""
    assert link.startswith(f"{base}/setup?token=")
    public = WebSettings(public_url=URL + "/", trusted_proxy="127.0.0.1")
    assert (setup_link(public, office, base, now=T0) or "").startswith(f"{URL}/setup?token=")
    office.accounts.add("ann", role="lead", password=PASSWORD, now=T0)
    assert setup_link(WebSettings(), office, base, now=T0) is not None
    office.accounts.add("root", role="admin", password=PASSWORD, now=T0)
    assert setup_link(WebSettings(), office, base, now=T0) is None


def test_the_server_trusts_only_the_proxy_and_writes_no_access_log() -> None:
    async def app(*_: object) -> None: ...

    plain = server_config(app, WebSettings())
    assert plain.proxy_headers is False
    behind = server_config(app, WebSettings(public_url=URL, trusted_proxy="10.0.0.1"))
    assert behind.proxy_headers is True
    assert behind.forwarded_allow_ips == "10.0.0.1"
    for config in (plain, behind):
        assert config.access_log is False
        assert config.server_header is False
        assert config.workers == 1


SERVER = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from labelproof.review.office import open_office
from labelproof.review.web.serve import WebSettings, run_server
office = open_office(Path(sys.argv[1]))
desk = SimpleNamespace(projects={}, office=office)
run_server(desk, office, WebSettings(port=0), announce=lambda line: print(json.dumps(line), flush=True))
office.close()
print(json.dumps("stopped cleanly"), flush=True)
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_real_server_starts_answers_and_stops(tmp_path: Path, stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "office.db")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    ) as process:
        timer = threading.Timer(60, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline()).split()[-1]
            link = json.loads(process.stdout.readline()).split()[-1]
            look_around(url, link)
            process.send_signal(stop)
            out, err = process.communicate(timeout=30)
        finally:
            timer.cancel()
            process.kill()
    assert json.loads(out) == "stopped cleanly"
    assert err in (
        "",
        "Invalid HTTP request received.\n",
    )  # two Host headers, above: the app's refusal or the parser's
    assert process.returncode == 0


def look_around(url: str, link: str) -> None:
    with httpx.Client(trust_env=False) as client:
        answer = client.get(url + "/login")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert "The first account" in client.get(link).text
        rebound = client.get(url + "/login", headers={"Host": "evil.example"})
        assert rebound.status_code == 400
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 400"
