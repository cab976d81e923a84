"""What `labelproof doctor` looks at. Each check returns findings and changes nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

State = Literal["ok", "warn", "fail"]
ROOTS = ("labelproof", "agents", "prompts", "evaluation", "flows")
_DUCKDB = "1.5.5"
_EXTENSIONS = ("httpfs", "ducklake", "sqlite_scanner", "postgres_scanner")
_LOW_SPACE_BYTES = 3_000_000_000
_KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. ``do``: what to type or change, empty when all is well."""

    name: str
    state: State
    found: str
    do: str = ""


def checkout() -> Path:
    """Return the folder that holds the packages in use."""
    return Path(__file__).resolve().parents[2]


def check_python() -> Iterator[Check]:
    """Whether this Python is one we support."""
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        yield Check(name="python", state="ok", found=found)
    else:
        yield Check(name="python", state="fail", found=found, do="use Python 3.11 or 3.12: uv sync")


def check_environment(root: Path | None = None) -> Iterator[Check]:
    """Whether the installed packages are those of uv.lock."""
    import tomllib

    lock = (root or checkout()) / "uv.lock"
    if not lock.is_file():
        yield Check(name="environment", state="warn", found=f"no {lock}", do="run from a checkout")
        return
    locked: dict[str, set[str]] = {}
    for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
        locked.setdefault(_canonical(package["name"]), set()).add(package.get("version", ""))
    installed = {_canonical(d.metadata["Name"]): d.version for d in metadata.distributions()}
    other = sorted(
        f"{name} {version} (locked: {', '.join(sorted(locked[name]))})"
        for name, version in installed.items()
        if name in locked and version not in locked[name] and name != "labelproof"
    )
    extra = sorted(name for name in installed if name not in locked)
    if other:
        found = f"{len(other)} packages differ from uv.lock: {'; '.join(other[:3])}"
        yield Check(name="environment", state="fail", found=found, do="uv sync --locked")
    elif extra:
        found = f"{len(extra)} packages are not in uv.lock: {', '.join(extra[:5])}"
        yield Check(name="environment", state="warn", found=found, do="uv sync --locked")
    else:
        yield Check(name="environment", state="ok", found=f"{len(installed)} packages as in uv.lock")


def check_roots(root: Path | None = None) -> Iterator[Check]:
    """Whether our packages with generic names are ours and not another project's."""
    here = root or checkout()
    foreign = []
    for name in ROOTS:
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not any(Path(place).resolve() == here / name for place in places):
            foreign.append(f"{name} comes from {places[0] if places else 'nowhere'}")
    if foreign:
        yield Check(
            name="packages",
            state="fail",
            found="; ".join(foreign),
            do=f"run from {here} in its own environment; look at PYTHONPATH and sys.path",
        )
    else:
        yield Check(name="packages", state="ok", found=f"{', '.join(ROOTS)} from {here}")


def check_duckdb() -> Iterator[Check]:
    """Whether DuckDB and its extensions are of the one version that works together."""
    found = metadata.version("duckdb")
    if found != _DUCKDB:
        yield Check(name="duckdb", state="fail", found=f"{found}, expected {_DUCKDB}", do="uv sync --locked")
        return
    from labelproof.store.interchange import extension_problem

    bad = [f"{name}: {why}" for name in _EXTENSIONS if (why := extension_problem(name))]
    if bad:
        yield Check(name="duckdb", state="fail", found="; ".join(bad), do="uv sync --locked")
    else:
        yield Check(name="duckdb", state="ok", found=f"{found} with {', '.join(_EXTENSIONS)}")


def check_llama() -> Iterator[Check]:
    """Whether llama.cpp loads here; in its own process, since a missing CPU feature would kill ours."""
    run = subprocess.run(  # our own interpreter, fixed arguments
        [sys.executable, "-c", "import xllamacpp"], capture_output=True, text=True, timeout=60, check=False
    )
    if run.returncode == 0:
        version = metadata.version("xllamacpp")
        yield Check(name="llama.cpp", state="ok", found=f"xllamacpp {version} imports")
        return
    lines = run.stderr.strip().splitlines()
    why = lines[-1] if lines else f"ended with code {run.returncode}"
    yield Check(
        name="llama.cpp",
        state="warn",
        found=why,
        do="uv sync --locked; without it set provider: openai_compatible in the strategy",
    )


def check_models() -> Iterator[Check]:
    """Whether the default weights and the encoder are here and were verified."""
    from agents.models.download import installed, models_folder
    from agents.models.weights import DEFAULT_WEIGHTS, ENCODER_MODEL, ENCODER_TOKENIZER, known

    for title, names in (("weights", (DEFAULT_WEIGHTS,)), ("encoder", (ENCODER_MODEL, ENCODER_TOKENIZER))):
        absent = [name for name in names if installed(known(name).artifact) is None]
        if not absent:
            yield Check(name=title, state="ok", found=f"{', '.join(names)} in {models_folder()}, verified")
            continue
        size_gb = sum(known(name).artifact.size for name in absent) / 1e9
        yield Check(
            name=title,
            state="warn",
            found=f"{', '.join(absent)} not in {models_folder()} yet",
            do=f"labelproof model pull ({size_gb:.2f} GB); the first run does it by itself",
        )


def check_store(url: str | None) -> Iterator[Check]:
    """Whether the trace store opens, is up to date and not far behind."""
    from labelproof.store import default_store, open_store
    from labelproof.store.location import parse_location
    from labelproof.store.outbox import Outbox

    where = parse_location(url or default_store())
    nearest = next(p for p in (where.root, *where.root.parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Check(
            name="store",
            state="fail",
            found=f"{where.shown}: no permission to write in {nearest}",
            do="choose another place with LABELPROOF_STORE",
        )
        return
    if where.kind == "duckdb" and not Path(where.target).exists():
        yield Check(name="store", state="ok", found=f"none yet; the first run makes {where.shown}")
        return
    with open_store(url or default_store(), create=False) as store:
        sql = "SELECT max(version) AS version FROM ledger_migrations"
        version = store.query(sql).to_pylist()[0]["version"]
    waiting = len(Outbox(where.outbox).waiting())
    found = f"{where.shown}, schema {version}, {waiting} segments waiting"
    if waiting > 1000:
        yield Check(
            name="store", state="warn", found=found, do="nobody drains it: end what holds the file, then run"
        )
    else:
        yield Check(name="store", state="ok", found=found)


def check_prefect() -> Iterator[Check]:
    """Whether a Prefect server answers; only schedules and the Prefect UI need one."""
    from labelproof.stack import api_url, find_root

    url = api_url(find_root())
    named = os.environ.get("PREFECT_API_URL")
    if url is not None:
        yield Check(name="prefect", state="ok", found=f"{_shown(url)} answers")
    elif named:
        yield Check(
            name="prefect",
            state="warn",
            found=f"PREFECT_API_URL names {_shown(named)}, which does not answer",
            do="start that server, or unset PREFECT_API_URL and run labelproof up",
        )
    else:
        found = "no server is up: runs work without one but are not in its history"
        yield Check(name="prefect", state="ok", found=found, do="labelproof up")


def check_keys() -> Iterator[Check]:
    """Which settings of OpenAI-compatible servers are there; never their values."""
    found = ", ".join(f"{key} {'set' if os.environ.get(key) else 'not set'}" for key in _KEYS)
    missing = not os.environ.get(_KEYS[0])
    yield Check(
        name="keys",
        state="ok",
        found=found,
        do="only needed for provider: openai_compatible" if missing else "",
    )


def check_space(folder: Path | None = None) -> Iterator[Check]:
    """Whether there is room for weights and traces."""
    free = shutil.disk_usage(folder or Path.cwd()).free
    found = f"{free / 1e9:.1f} GB free"
    if free < _LOW_SPACE_BYTES:
        yield Check(name="disk", state="warn", found=found, do="weights take 1.2 GB; make room")
    else:
        yield Check(name="disk", state="ok", found=found)


def run_checks(store: str | None) -> Iterator[Check]:
    """Yield every finding; a check that breaks is a finding of its own."""
    checks: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("python", check_python),
        ("environment", check_environment),
        ("packages", check_roots),
        ("duckdb", check_duckdb),
        ("llama.cpp", check_llama),
        ("weights", check_models),
        ("store", lambda: check_store(store)),
        ("prefect", check_prefect),
        ("keys", check_keys),
        ("disk", check_space),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001  # whatever is broken is what doctor is here to tell
            found = f"{type(error).__name__}: {error}".replace("\n", " ")
            yield Check(name=name, state="fail", found=found, do="uv sync --locked, then look again")


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
