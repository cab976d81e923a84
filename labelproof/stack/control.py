"""What the commands `up`, `down` and `status` do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labelproof.spec.errors import ConfigError
from labelproof.stack.api import PrefectApi, StackError, is_healthy
from labelproof.stack.env import ROOT_VARIABLE, service_env
from labelproof.stack.guarded import is_guarded, is_running, log_tail, stop_leftover
from labelproof.stack.health import (
    automations_health,
    deployments_health,
    disk_health,
    notes,
    problems,
    store_health,
)
from labelproof.stack.paths import StackPaths, read_json, stack_paths
from labelproof.stack.plan import Options, make_supervisor
from labelproof.stack.procs import is_alive, send, wait_until
from labelproof.stack.setup import PREFECT_YAML, apply_schedules, schedule_lines
from labelproof.stack.webhook import VARIABLE, ensure_webhook, wanted_url

Report = Callable[[str], None]


def find_root(start: Path | None = None) -> Path:
    """Return the folder of the project: LABELPROOF_ROOT, else the nearest parent with prefect.yaml.

    Without either it is the current folder: a run without deployments keeps its history there.
    """
    if named := os.environ.get(ROOT_VARIABLE):
        path = Path(named)
        if not path.is_dir():
            raise ConfigError(f"names {path}, which is no folder", key=ROOT_VARIABLE)
        return path.resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PREFECT_YAML).is_file():
            return folder
    return here


def is_up(state: dict[str, Any]) -> bool:
    """Return whether the supervisor that wrote ``state`` lives and has not ended its work."""
    alive = is_alive(int(state.get("pid") or 0), state.get("identity"))
    return alive and state.get("phase") in ("starting", "ready")


def _is_supervised(state: dict[str, Any]) -> bool:
    return is_alive(int(state.get("pid") or 0), state.get("identity"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What `up` did: the state of the stack, and whether it was running before."""

    state: dict[str, Any]
    was_running: bool


def up(root: Path, options: Options, *, report: Report) -> Started:
    """Start the stack as a daemon and return once it is ready; StackError if it does not get there.

    If it runs already, only schedules are switched. An interrupt (Ctrl-C) during the start stops
    what was started.
    """
    paths = stack_paths(root)
    state = read_json(paths.state)
    if _is_supervised(state) and state.get("phase") == "ready":
        webhook = wanted_url()
        if options.schedules is not None or webhook is not None:
            with PrefectApi(state["api_url"]) as api:
                if options.schedules is not None:
                    apply_schedules(api, {}, options.schedules)
                if webhook is not None:
                    ensure_webhook(api, webhook, link=state.get("review_url"))
        return Started(state=state, was_running=True)
    # Errors of the user show here, before a process without a terminal would meet them.
    process = None
    if not is_up(state):
        if not wait_until(lambda: not _is_supervised(read_json(paths.state)), timeout_s=60.0):
            raise StackError("the stack that is stopping does not end", hint="labelproof down")
        make_supervisor(root, options)
        process = _start_daemon(paths, options)
    try:
        return Started(state=_follow(paths, process, report), was_running=process is None)
    except KeyboardInterrupt:
        if process is not None:
            report("interrupted: stopping what was started")
            down(root, report=report)
        raise


def _start_daemon(paths: StackPaths, options: Options) -> subprocess.Popen[bytes]:
    paths.ensure()
    with paths.log("supervisor").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own command line, no shell
            [
                sys.executable,
                "-m",
                "labelproof.stack.daemon",
                str(paths.root),
                json.dumps(options.to_dict()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=paths.root,
            env=_outer_env(paths.root),
            start_new_session=True,
        )


def _outer_env(root: Path) -> dict[str, str]:
    env = service_env(root, "", {})
    if named := os.environ.get("PREFECT_API_URL"):
        env["PREFECT_API_URL"] = named
    else:
        del env["PREFECT_API_URL"]
    if webhook := os.environ.get(VARIABLE):
        env[VARIABLE] = webhook
    return env


def _follow(paths: StackPaths, process: subprocess.Popen[bytes] | None, report: Report) -> dict[str, Any]:
    """Report the daemon's steps until it is ready; the daemon gives up by itself if a service fails."""
    shown = ""
    while True:
        ended = process is not None and process.poll() is not None
        state = read_json(paths.state)
        mine = process is None or state.get("pid") == process.pid
        if mine and state.get("step") and state["step"] != shown:
            shown = str(state["step"])
            report(shown)
        if mine and state.get("phase") == "ready":
            return state
        if ended or (process is None and not is_up(state)):
            error = state.get("error") if mine else None
            raise StackError(
                str(error or f"the supervisor ended:\n{log_tail(paths.log('supervisor'))}"),
                hint=None if error else f"the whole log: {paths.log('supervisor')}",
            )
        time.sleep(0.1)


def down(root: Path, *, report: Report, timeout_s: float = 90.0) -> bool:
    """Stop worker, drain, stop server; True if something ran. Nothing is left when it returns.

    A server that a `labelproof run` started for itself is not touched: it ends with that run.
    """
    paths = stack_paths(root)
    state = read_json(paths.state)
    ran = False
    if _is_supervised(state):
        ran = True
        pid, known = int(state["pid"]), state["identity"]
        send([pid], signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        shown = ""
        while is_alive(pid, known):
            step = str(read_json(paths.state).get("step"))
            if step != shown:
                report(step)
                shown = step
            if time.monotonic() > deadline:
                report("the supervisor does not end: killing it, its guards stop the services")
                send([pid], signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.1)
    for record in _records(paths):
        if record.get("owner") == "run" and is_guarded(record):
            continue
        if stop_leftover(record):
            report(f"stopped {record.get('name')}, which had no supervisor any more")
            ran = True
    return ran


def _records(paths: StackPaths) -> list[dict[str, Any]]:
    folder = paths.base / "services"
    return [read_json(path) for path in sorted(folder.glob("*.json"), reverse=True)]


def run_foreground(root: Path, options: Options, *, report: Report) -> None:
    """Run the stack in this terminal until Ctrl-C; StackError if it fails."""
    supervisor = make_supervisor(root, options, report=report)
    supervisor.handle_signals()
    if not supervisor.run():
        raise StackError(str(read_json(stack_paths(root).state).get("error")))


def status(root: Path) -> dict[str, Any]:
    """Return what runs and how it is; ``running``: the stack is up. ``healthy``: and nothing is wrong (``problems``)."""
    paths = stack_paths(root)
    state = read_json(paths.state)
    up_now = is_up(state)
    url = str(state.get("api_url") or "")
    healthy = bool(up_now and url and is_healthy(url, timeout_s=2.0))
    services = [_service_status(paths, entry, up_now=up_now) for entry in state.get("services", [])]
    borrowed = read_json(paths.record("server"))
    answer: dict[str, Any] = {
        "running": healthy and state.get("phase") == "ready" and all(one["alive"] for one in services),
        "phase": state.get("phase", "stopped") if up_now or state.get("error") else "stopped",
        "step": state.get("step") if up_now else None,
        "error": state.get("error"),
        "root": str(paths.root),
        "api_url": url if up_now else None,
        "ui_url": state.get("ui_url") if up_now else None,
        "api_healthy": healthy,
        "services": services,
        "temporary_server": borrowed.get("api_url")
        if borrowed.get("owner") == "run" and is_running(borrowed)
        else None,
        "schedules": [],
        "last_scheduled_run": None,
        "next_scheduled_run": None,
        "active_runs": None,
        "logs": str(paths.logs),
        "resume": bool(state.get("resume", True)),
        **_NOT_ASKED,
    }
    if healthy:
        with PrefectApi(url, timeout_s=5.0) as api:
            answer.update(_runs_status(api))
    answer["store"] = store_health(paths.root, datetime.now(UTC))
    folder = answer["store"]["folder"]
    answer["disk"] = disk_health(paths, None if folder is None else Path(folder))
    answer["problems"] = problems(answer)
    answer["notes"] = notes(answer)
    answer["healthy"] = answer["running"] and not answer["problems"]
    return answer


_NOT_ASKED: dict[str, Any] = {
    "deployments": [],
    "late": [],
    "silent": [],
    "crashed": [],
    "automations": [],
    "webhook": None,
    "pool_paused": False,
}
"""What only a server that answers can tell."""


def _service_status(paths: StackPaths, entry: dict[str, Any], *, up_now: bool) -> dict[str, Any]:
    record = read_json(paths.record(entry["name"]))
    alive = up_now and record.get("marker") == entry["marker"] and is_running(record)
    return {
        "name": entry["name"],
        "alive": alive,
        "ready": alive and bool(entry["ready"]),
        "pid": record.get("pid") if alive else None,
        "uptime_s": round(time.time() - float(record["started_at"]), 1) if alive else None,
        "restarts": entry["restarts"],
        "url": entry.get("url") if alive else None,
        "log": str(paths.log(entry["name"])),
    }


def _runs_status(api: PrefectApi) -> dict[str, Any]:
    deployments = api.deployments()
    names = {one["id"]: f"{one['flow_name']}/{one['name']}" for one in deployments}
    automatic = {"tags": {"all_": ["auto-scheduled"]}}
    done = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED", "RUNNING", "PENDING"]
    last = api.runs(states=done, limit=1, flow_runs=dict(automatic))
    upcoming = api.runs(
        states=["SCHEDULED"],
        limit=1,
        flow_runs=dict(automatic),
        sort="EXPECTED_START_TIME_ASC",
    )
    return {
        "schedules": list(schedule_lines(deployments)),
        "last_scheduled_run": _run_line(last, names),
        "next_scheduled_run": _run_line(upcoming, names),
        "active_runs": len(api.runs(states=["RUNNING", "PENDING", "CANCELLING"], limit=200)),
        **deployments_health(api, deployments, datetime.now(UTC)),
        **automations_health(api),
    }


def _run_line(runs: list[dict[str, Any]], names: dict[str, str]) -> dict[str, Any] | None:
    if not runs:
        return None
    run = runs[0]
    return {
        "id": run["id"],
        "name": run["name"],
        "deployment": names.get(run.get("deployment_id") or ""),
        "state": run["state_name"],
        "expected_start": run["expected_start_time"],
        "started_at": run["start_time"],
        "ended_at": run["end_time"],
    }
