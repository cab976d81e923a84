"""http and S3 sources through DuckDB's httpfs, loaded offline, against a server on loopback."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelproof.spec.errors import ConfigError
from labelproof.spec.project import SourceSpec
from labelproof.store.interchange import read_items


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    (folder / "bucket").mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()
        thread.join()


def test_http_text_and_parquet(served: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = served
    (folder / "rows.jsonl").write_text('{"id": "a", "text": "hello"}\n{"id": "b"\n')
    pq.write_table(pa.table({"id": ["a"], "text": ["hello"]}), folder / "rows.parquet")
    report = read_items(SourceSpec(path=f"{url}/rows.jsonl?token=secret"), tmp_path)
    assert report.items == read_items(SourceSpec(path=f"{url}/rows.parquet"), tmp_path).items
    assert [(e.source, e.line) for e in report.errors] == [(f"{url}/rows.jsonl", 2)]


def test_a_missing_url_is_the_users_error_and_hides_its_query(
    served: tuple[str, Path], tmp_path: Path
) -> None:
    url, _ = served
    with pytest.raises(ConfigError, match="404") as caught:
        read_items(SourceSpec(path=f"{url}/none.jsonl?sig=secret"), tmp_path)
    assert "secret" not in str(caught.value)


def test_s3_endpoint_from_the_environment(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = served
    (folder / "bucket" / "rows.csv").write_text("id,text\n1,hello\n")
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)
    report = read_items(SourceSpec(path="s3://bucket/rows.csv"), tmp_path)
    assert [item.text for item in report.items] == ["hello"]
