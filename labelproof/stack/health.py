"""What `labelproof status` looks at beyond the processes: runs, automations, store, disk; and what is wrong with it.

Everything is read, nothing is changed. What cannot be read is a problem of its own, not an error.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from labelproof.spec.errors import LabelproofError
from labelproof.stack.api import POOL, PrefectApi
from labelproof.stack.automations import (
    ALARM_AUTOMATION,
    FAILED_AUTOMATION,
    ZOMBIE_AUTOMATION,
    find_automations,
)
from labelproof.stack.caretaker import RESUMES, read_crashed
from labelproof.stack.env import HEARTBEAT_S
from labelproof.stack.paths import StackPaths
from labelproof.stack.webhook import is_set

LATE = timedelta(minutes=10)
"""A run that is due for so long, while nothing of its deployment is at work, is late."""
SILENT_S = 3.0 * HEARTBEAT_S
LOW_SPACE_BYTES = 3_000_000_000
MANY_WAITING = 1000
LONG_WAITING_S = 3600.0
_UNFINISHED = """
    SELECT run_id, project, strategy, coalesce(repeat_idx, 0) AS repeat_idx, ts FROM (
        SELECT run_id, project, strategy, repeat_idx, event, ts, params_json,
               max(ts) OVER (PARTITION BY project, strategy) AS newest
        FROM runs QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY ts DESC) = 1)
    WHERE event IN ('started', 'resumed') AND ts = newest AND ts > $since
      AND json_extract(params_json, '$.purpose') IS NULL AND json_extract(params_json, '$.arm') IS NULL
    ORDER BY ts
"""


def deployments_health(
    api: PrefectApi, deployments: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, Any]:
    """Return each deployment's last and next run, what is late, and which runs show no sign of life."""
    listed, late = [], []
    next_runs = _first_of_each(api, deployments, states=("SCHEDULED",), sort="EXPECTED_START_TIME_ASC")
    last_runs = _first_of_each(api, deployments, states=_BEGUN, sort="START_TIME_DESC")
    for one in deployments:
        planned, last = next_runs[one["id"]], last_runs[one["id"]]
        name = f"{one['flow_name']}/{one['name']}"
        due = _time(planned[0]["expected_start_time"]) if planned else None
        busy = bool(last) and last[0]["state_type"] in ("RUNNING", "PENDING", "CANCELLING")
        if due is not None and now - due > LATE and not busy and not one.get("paused"):
            late.append({"deployment": name, "due": due.isoformat()})
        listed.append(
            {
                "deployment": name,
                "tags": sorted(one.get("tags") or []),
                "paused": bool(one.get("paused")),
                "next": None if due is None else due.isoformat(),
                "last": None
                if not last
                else {
                    "id": last[0]["id"],
                    "state": last[0]["state_name"],
                    "at": last[0]["start_time"] or last[0]["expected_start_time"],
                },
            }
        )
    crashed = [{**one.to_json(), "resumes": RESUMES in one.run["tags"]} for one in read_crashed(api, now)]
    pool = api.call("GET", f"/work_pools/{POOL}")
    return {
        "pool_paused": bool(pool.get("is_paused")),
        "deployments": listed,
        "late": late,
        "silent": _silent(api, now),
        "crashed": crashed,
    }


def automations_health(api: PrefectApi) -> dict[str, Any]:
    """Return which automations of ours are there and on, and whether a webhook is set."""
    names = [ZOMBIE_AUTOMATION, ALARM_AUTOMATION, FAILED_AUTOMATION]
    found = {one["name"]: bool(one.get("enabled", True)) for one in find_automations(api, names)}
    return {
        "automations": [
            {"name": name, "present": name in found, "enabled": found.get(name, False)} for name in names
        ],
        "webhook": is_set(api),
    }


def disk_health(paths: StackPaths, store: Path | None) -> dict[str, Any]:
    """Return free space and what the store, Prefect's history and the logs take, in bytes."""
    nearest = next(folder for folder in (paths.base, *paths.base.parents) if folder.exists())
    return {
        "free_bytes": shutil.disk_usage(nearest).free,
        "store_bytes": None if store is None else _size(store),
        "prefect_bytes": _size(paths.home),
        "logs_bytes": _size(paths.logs),
    }


def store_health(root: Path, now: datetime) -> dict[str, Any]:
    """Return the trace store's backlog, its last drain, runs that nobody goes on with, and stopped lines.

    The store is that of the environment, else the root's own: the one that the worker's runs write.
    """
    from labelproof.store.location import parse_location
    from labelproof.store.outbox import Outbox

    named = os.environ.get("LABELPROOF_STORE") or str(root / ".labelproof" / "store")
    answer: dict[str, Any] = {"where": None, "exists": False, "waiting": 0, "oldest_waiting_s": None}
    answer |= {"last_drain": None, "interrupted": [], "lines": [], "error": None, "folder": None}
    try:
        where = parse_location(named)
        answer |= {"where": where.shown, "folder": str(where.root)}
        waiting = Outbox(where.outbox).waiting()
        answer["waiting"] = len(waiting)
        if waiting:
            answer["oldest_waiting_s"] = max(
                0.0, round(time.time() - int(waiting[0].batch_id[:16], 16) / 1e9, 1)
            )
        if where.kind == "ducklake" or Path(where.target).exists():
            answer |= {"exists": True, **_read_store(named, where.root, now)}
    except (LabelproofError, OSError, ValueError) as error:
        answer["error"] = error.message if isinstance(error, LabelproofError) else str(error)
    return answer


def _read_store(named: str, folder: Path, now: datetime) -> dict[str, Any]:
    from agents.line import stopped_lines
    from agents.run.lock import RunLock
    from labelproof.store import open_store

    with open_store(named, create=False) as store:
        drained = store.query("SELECT max(ts) AS ts FROM ledger_batches").to_pylist()[0]["ts"]
        rows = store.query(
            _UNFINISHED, {"since": now - timedelta(days=7)}, fresh=True, only=("runs",)
        ).to_pylist()
        lines = [line.to_json() for line in stopped_lines(store).values()]
    interrupted = []
    for row in rows:
        lock = RunLock(folder / "runs" / f"{row['run_id']}.lock")
        if lock.acquire():  # nobody works on it
            lock.release()
            interrupted.append({**row, "ts": row["ts"].isoformat()})
    return {
        "last_drain": None if drained is None else drained.isoformat(),
        "interrupted": interrupted,
        "lines": [{**line, "since": line["since"].isoformat()} for line in lines],
    }


def problems(answer: Mapping[str, Any]) -> list[str]:
    """Return what is wrong, in words that say what to do; empty when all is well. Pure."""
    found = [
        f"{one['name']} is not running; its log: {one['log']}"
        for one in answer["services"]
        if not one["alive"] and answer["phase"] == "ready"
    ]
    found += [
        f"{one['deployment']} is due since {_minute(one['due'])} and nobody runs it" for one in answer["late"]
    ]
    found += [
        f"the run {one['name']} shows no sign of life since {one['since'][:19]}" for one in answer["silent"]
    ]
    for one in answer["crashed"]:
        if one["fate"] == "given up":
            found.append(
                f"the run {one['name']} crashed {one['attempt']} times and is given up: see why, start it again"
            )
        elif not one["resumes"] or not answer["resume"]:
            found.append(f"the run {one['name']} crashed and is not started again by itself")
    for one in answer["automations"]:
        needed = one["name"] == ZOMBIE_AUTOMATION or answer["webhook"]
        if needed and not one["present"]:
            found.append(f"the automation {one['name']!r} is gone; labelproof down, then up writes it")
        elif needed and not one["enabled"]:
            found.append(f"the automation {one['name']!r} is switched off in the Prefect UI")
    store = answer["store"]
    if store["error"]:
        found.append(f"the trace store cannot be read: {store['error']}")
    if store["waiting"] > MANY_WAITING or (store["oldest_waiting_s"] or 0.0) > LONG_WAITING_S:
        found.append(f"{store['waiting']} segments wait in the outbox and nobody drains them; any run does")
    found += [
        f"run {one['run_id']} broke off: {_again(one)} goes on with it"
        for one in store["interrupted"]
        if not any(other["fate"] in ("resume", "wait") and other["resumes"] for other in answer["crashed"])
    ]
    free = answer["disk"]["free_bytes"]
    if free < LOW_SPACE_BYTES:
        found.append(f"{free / 1e9:.1f} GB are free on the disk")
    return found


def _again(run: Mapping[str, Any]) -> str:
    repeat = f" --repeat {run['repeat_idx']}" if run["repeat_idx"] else ""
    return f"labelproof run {run['project']} --strategy {run['strategy']}{repeat}"


def notes(answer: Mapping[str, Any]) -> list[str]:
    """Return what is as somebody wanted it, and should not be forgotten. Pure."""
    found = [
        f"{one['project']}: the line is stopped since {_minute(one['since'])}, by {one['by']}: {one['why']}"
        for one in answer["store"]["lines"]
    ]
    if answer["pool_paused"]:
        found.append("the work pool is paused: no run is started; prefect work-pool resume labelproof")
    found += [f"{one['deployment']} is paused" for one in answer["deployments"] if one["paused"]]
    found += [
        f"{one['name']} crashed and goes on by itself, attempt {one['attempt']} of {one['attempts']}, {_minute(one['due'])}"
        for one in answer["crashed"]
        if one["fate"] != "given up" and one["resumes"] and answer["resume"]
    ]
    if answer["api_healthy"] and not answer["webhook"] and any(one["active"] for one in answer["schedules"]):
        found.append("no webhook is set: alarms are stored, and nobody is told")
    return found


_BEGUN = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED", "RUNNING", "PENDING", "CANCELLING", "PAUSED")
_MANY = 200
"""As many runs as the server gives in one answer."""


def _first_of_each(
    api: PrefectApi, deployments: Sequence[Mapping[str, Any]], *, states: Sequence[str], sort: str
) -> dict[str, list[dict[str, Any]]]:
    """Return deployment id → its first run in that order, in a list that may be empty.

    One request finds most of them; those it leaves out (frequent ones fill it) are asked for one by one.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    runs = api.runs(states=states, limit=_MANY, sort=sort)
    for run in runs:
        found.setdefault(run["deployment_id"] or "", [run])
    for one in deployments:
        if one["id"] not in found:
            mine = {"deployment_id": {"any_": [one["id"]]}}
            more = api.runs(states=states, limit=1, sort=sort, flow_runs=mine) if len(runs) == _MANY else []
            found[one["id"]] = more
    return found


def _silent(api: PrefectApi, now: datetime) -> list[dict[str, Any]]:
    """Return the runs that are called running and sent no heartbeat for three times their rhythm."""
    found = []
    for run in api.runs(states=["RUNNING"], pool=None, limit=50):
        begun = _time(run["start_time"] or run["expected_start_time"])
        if run.get("parent_task_run_id") or (now - begun).total_seconds() < SILENT_S:
            continue  # a sub-flow lives and dies with its parent
        since = (now - timedelta(seconds=SILENT_S)).isoformat()
        wanted = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run['id']}"]},
            "occurred": {"since": since},
        }
        if not api.call("POST", "/events/filter", {"filter": wanted, "limit": 1})["total"]:
            found.append({"id": run["id"], "name": run["name"], "since": since})
    return found


def _size(folder: Path) -> int:
    """Return the bytes of all files below; those that vanish meanwhile count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  # 100 000s of files
            except OSError:
                continue
    return total


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _minute(text: str) -> str:
    return _time(text).strftime("%Y-%m-%d %H:%MZ")
