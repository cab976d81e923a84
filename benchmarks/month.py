"""A month of production replayed over real answers, with planted incidents: what monitoring finds, how late, and why.

    python -m benchmarks.month [--months 20] [--days 30] [--items-per-day 400] [--only-null] [--json FILE] [--keep DIR]

Traffic is drawn from texts of the shared set surge_toxicity ($LABELPROOF_SHARED_DATA, default ../shared/data); the
answers are stored ones of the embedded model (`benchmarks.month_labels`), with confidences from the model alone (plain) or
weighed against a text classifier (encoder). 28 ordinary days come before day 1. For each
seed there is a month without incident, one month per incident (provider change day 9 announced and silent, Spanish
traffic day 14, a reviewer going bad day 18, a guideline edit day 22, an injection wave day 26) and one with all five.
They share traffic, audits and reviewers up to the incident. With even seeds somebody repairs an incident after 4 days.

Each evening the product's monitor runs as in production; new alarms are analysed by its root-cause analysis. The rules
of scoring are fixed in `_month_plan`: an alarm is an incident's when it comes between its first day and 7 days after its
repair and is about something that the incident changes; every other alarm is false.

A seed takes about 8 minutes of CPU; put $TMPDIR on a memory disk, each month's store is copied. ``--json`` is written after
every seed, and ``--tables FILE`` prints the tables of such files.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
import orjson

from benchmarks._month_data import Method, Pool, load_pool
from benchmarks._month_plan import FOLLOWED_DAYS, PLANTED, WARMUP_DAYS, IncidentKind, planted
from benchmarks._month_replay import Month, Replay, months_of
from benchmarks._month_score import false_alarm_lines, incident_table, outcomes
from labelproof.spec.errors import LabelproofError

ALL: tuple[IncidentKind, ...] = tuple(PLANTED)


def replay_seed(
    pool: Pool,
    place: Path,
    seed: int,
    *,
    days: int = 30,
    items_per_day: int = 400,
    warmup: int = WARMUP_DAYS,
    kinds: Sequence[IncidentKind] = get_args(IncidentKind),
    together: bool = True,
) -> dict[str, Month]:
    """Return the months of a seed by name: `none`, each incident, `all`. Work is shared up to each incident's day."""
    repaired = seed % 2 == 0
    base = Replay.start(place / "none", pool, seed=seed, items_per_day=items_per_day, warmup=warmup)
    months: dict[str, Month] = {}
    single = sorted((planted(kind, repaired=repaired, days=days) for kind in kinds), key=lambda i: i.first)
    forks = [(one.kind, [one]) for one in single]
    if together:
        every = [planted(kind, repaired=repaired, days=days) for kind in ALL]
        forks.insert(0, ("all", every))  # type: ignore[arg-type]
    forks.sort(key=lambda fork: min(one.first for one in fork[1]))
    for name, incidents in forks:
        base.until(min(one.first for one in incidents) - 1, ())
        branch = base.fork(place / name)
        branch.until(
            days if len(incidents) > 1 else min(days, incidents[0].first + FOLLOWED_DAYS - 1), incidents
        )
        months[name] = branch.month(incidents)
        shutil.rmtree(place / name)
    base.until(days, ())
    months["none"] = base.month(())
    return months


def _work(given: tuple[str, int, int, int, bool, Method]) -> dict[str, Month]:
    place, seed, days, items, only_null, method = given
    return replay_seed(
        load_pool(method),
        Path(place) / f"seed-{seed}",
        seed,
        days=days,
        items_per_day=items,
        kinds=() if only_null else get_args(IncidentKind),
        together=not only_null,
    )


def report(found: Sequence[dict[str, Month]]) -> list[str]:
    """Return the tables as Markdown lines."""
    singles = [
        (kind, [months[kind] for months in found if kind in months]) for kind in get_args(IncidentKind)
    ]
    alone = [outcome for _, months in singles for month in months for outcome in outcomes(month)]
    together = [outcome for months in found if "all" in months for outcome in outcomes(months["all"])]
    lines: list[str] = []
    if alone:
        lines += ["One incident a month:", "", *incident_table(alone), ""]
    if together:
        order = {kind: place for place, kind in enumerate(ALL)}
        together.sort(key=lambda one: order[one.incident.kind])
        lines += ["All five in one month:", "", *incident_table(together), ""]
    lines += ["False alarms:", ""]
    lines += false_alarm_lines("no incident", [months["none"] for months in found])
    if alone:
        lines += false_alarm_lines("one incident", [month for _, months in singles for month in months])
        lines += false_alarm_lines("all five", [months["all"] for months in found if "all" in months])
    passes = [s for months in found for month in months.values() for s in month.pass_seconds]
    if passes:
        p50, p99 = np.percentile(passes, [50, 99])
        lines += ["", f"A monitor pass took {p50:.2f} s of CPU (median), {p99:.2f} s (99th percentile)."]
    return lines


def simulate(given: argparse.Namespace, place: str) -> Iterator[dict[str, Month]]:
    """Yield the months of each seed."""
    seeds = range(given.first_seed, given.first_seed + given.months)
    work = [
        (str(given.keep or place), seed, given.days, given.items_per_day, given.only_null, given.method)
        for seed in seeds
    ]
    begun = time.monotonic()
    with ProcessPoolExecutor(given.jobs) as processes:
        for seed, months in zip(seeds, processes.map(_work, work), strict=True):
            print(f"seed {seed} done after {time.monotonic() - begun:.0f} s", file=sys.stderr)
            yield months


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--months", type=int, default=20, help="how many seeds")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--items-per-day", type=int, default=400)
    parser.add_argument("--only-null", action="store_true", help="only the months without incident")
    parser.add_argument(
        "--method", choices=get_args(Method), default="plain", help="how confidences are made"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="where all alarms, causes and findings are written")
    parser.add_argument(
        "--keep", type=Path, help="folder in which the stores of months without incident stay"
    )
    parser.add_argument("--tables", type=Path, nargs="+", help="only print the tables of such JSON files")
    given = parser.parse_args()
    found: list[dict[str, Month]] = []
    if given.tables:
        for path in given.tables:
            found += [months_of(row) for row in orjson.loads(path.read_bytes())]
        print("\n".join(report(found)))
        return 0
    try:
        load_pool()
    except LabelproofError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="labelproof-month-") as place:
        for months in simulate(given, place):
            found.append(months)
            if given.json:
                rows = [{name: asdict(month) for name, month in one.items()} for one in found]
                given.json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    print("\n".join(report(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
