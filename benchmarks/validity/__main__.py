"""Run the simulations and write one table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from importlib import import_module
from pathlib import Path

from benchmarks.validity.harness import Row

MODULES = (
    "certificates",
    "audits",
    "monitors",
    "promises",
    "confidence",
    "agreement",
    "experiments",
    "root_causes",
    "meta_analysis",
    "drift",
)
"""One module each with ``simulate(replicates, seed) -> rows``."""
OUT = Path(__file__).parent / "results"


def run_module(name: str, replicates: int, seed: int) -> tuple[str, list[Row], float]:
    """Return the rows of one module and its seconds."""
    begun = time.monotonic()
    rows = list(import_module(f"benchmarks.validity.{name}").simulate(replicates, seed))
    return name, rows, time.monotonic() - begun


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for people: one line a number, failures in bold."""
    lines = [
        "| section | check | case | measure | found | must be | page | runs | holds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        must = "" if row.bound is None or row.relation == "shown" else f"{row.relation} {row.bound:.4g}"
        verdict = {True: "yes", False: "**NO**", None: "shown"}[row.holds]
        note = f" ({row.note})" if row.note else ""
        lines.append(
            f"| {row.section} | {row.check} | {row.cell} | {row.measure} | {row.value:.4g} | {must} | {row.page} "
            f"| {row.replicates} | {verdict}{note} |"
        )
    return "\n".join(lines) + "\n"


def merged(path: Path, new: Sequence[Row]) -> list[Row]:
    """Return the stored rows with the checks of ``new`` in their place, new checks at the end."""
    stored = json.loads(path.read_text()) if path.exists() else []
    names = {field.name for field in fields(Row)}
    old = [Row(**{key: value for key, value in row.items() if key in names}) for row in stored]
    fresh = {(row.section, row.check) for row in new}
    return [row for row in old if (row.section, row.check) not in fresh] + list(new)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validity", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--replicates", type=int, default=2000, help="simulated data sets per case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        help="folder for validity.json and validity.md; with --only, rows of other modules stay",
    )
    options = parser.parse_args()
    found: dict[str, list[Row]] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(run_module, name, options.replicates, options.seed) for name in options.only]
        for job in jobs:
            name, rows, seconds = job.result()
            found[name] = rows
            failed = sum(row.holds is False for row in rows)
            print(f"{name}: {len(rows)} rows, {failed} failed, {seconds:.0f} s", file=sys.stderr, flush=True)
    rows = merged(options.out / "validity.json", [row for name in options.only for row in found[name]])
    options.out.mkdir(parents=True, exist_ok=True)
    listed = [{**asdict(row), "holds": row.holds} for row in rows]
    (options.out / "validity.json").write_text(json.dumps(listed, indent=1) + "\n")
    (options.out / "validity.md").write_text(markdown(rows))
    print(markdown(rows))
    return int(any(row.holds is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
