"""Bytes on the wire: a served app keeps no endless request in memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from labelproof.review.web.serve import WebSettings, listen, server_config
from tests.review.browser_helpers import until
from tests.review.web_helpers import Site

HEAD = b"GET /login HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    site, settings = Site(tmp_path), WebSettings(port=0)
    listener = listen(settings)
    server = uvicorn.Server(server_config(site.app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()
    site.close()


def answer_to(port: int, *parts: bytes) -> tuple[bytes, int]:
    """Send until the server hangs up; return the beginning of its answer and how many bytes it took."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        taken = 0
        try:
            for part in parts:
                raw.sendall(part)
                taken += len(part)
            said = raw.recv(15)
        except (ConnectionError, BrokenPipeError):
            said = b"hung up"
    return said, taken


def test_an_ordinary_request_is_answered(port: int) -> None:
    assert answer_to(port, HEAD, b"X: " + b"a" * 20_000, b"\r\n\r\n")[0] == b"HTTP/1.1 200 OK"
    body = b"2\r\nab\r\n" * 1_000 + b"0\r\n\r\n"
    assert answer_to(port, POST, body)[0].startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "start",
    [b"GET /" + b"a" * 100, HEAD + b"X: ", HEAD, b"", POST + b"0\r\nX: ", POST + b"1;x=", POST],
    ids=["address", "header", "headers", "garbage", "trailer", "chunk extension", "trailers"],
)
def test_what_never_ends_is_cut_off(port: int, start: bytes) -> None:
    line = b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
    filler = line * (MIB // len(line)) if start == HEAD else b"a" * MIB
    if start == POST:
        start, filler = POST + b"0\r\n", line * (MIB // len(line))
    said, taken = answer_to(port, start, *[filler] * 64)
    assert said[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"hung up", b""), said
    assert taken < 32 * MIB
