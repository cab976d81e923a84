"""What `labelproof up` writes into the server: pool, deployments, schedules, automation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelproof.spec.errors import ConfigError
from labelproof.stack.api import PrefectApi
from labelproof.stack.automations import ensure_automation, zombie_automation
from labelproof.stack.caretaker import LOST_MESSAGE, close_stopped_runs, resume_due
from labelproof.stack.env import HEARTBEAT_S, ROOT_VARIABLE, service_env
from labelproof.stack.services import Context, worker_name
from labelproof.stack.supervisor import Supervisor
from labelproof.stack.webhook import ensure_webhook

PREFECT_YAML = "prefect.yaml"


def read_deployments(root: Path) -> list[dict[str, Any]]:
    """Return the deployments of ``root/prefect.yaml``; ConfigError when there is nothing to deploy."""
    import yaml

    path = root / PREFECT_YAML
    hint = "run this in the folder that holds prefect.yaml"
    if not path.exists():
        raise ConfigError(
            "expected the deployments of this project, found no file",
            path=path,
            hint=hint,
        )
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"not readable as YAML: {error}", path=path) from error
    deployments = value.get("deployments") if isinstance(value, dict) else None
    if not isinstance(deployments, list) or not deployments:
        raise ConfigError("expected a list of deployments, found none", path=path, key="deployments")
    for one in deployments:
        file, _, function = str(one.get("entrypoint", "") if isinstance(one, dict) else "").partition(":")
        if not function or not (root / file).is_file():
            raise ConfigError(
                f"expected FILE.py:FUNCTION of a flow in {root}, found {file or one!r}",
                path=path,
                key="deployments.entrypoint",
            )
    return deployments


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSetup:
    """Callable for `Supervisor.setup`. ``schedules``: True on, False off, None as they were.

    With ``own_server`` False (another machine's server), deployments are only written when that
    server has none of ours: that machine's own `labelproof up` is in charge of them.
    """

    schedules: bool | None
    own_server: bool
    with_worker: bool
    webhook: str | None = field(default=None, repr=False)
    """Address for alarms, a secret; None = as it was, "off" = none."""
    review_url: str | None = None

    def __call__(self, context: Context, supervisor: Supervisor) -> None:
        with PrefectApi(context.api_url) as api:
            supervisor.tell("preparing the work pool")
            api.ensure_pool()
            before = api.schedules()
            if self.own_server:
                ensure_automation(api, zombie_automation(3.0 * HEARTBEAT_S))
                ensure_webhook(api, self.webhook, link=self.review_url)
                close_stopped_runs(api, worker_name(context.root))
            if self.with_worker:
                supervisor.start_early("worker")
            if self.own_server or not api.deployments():
                self._deploy(context, supervisor)
            apply_schedules(api, before, self.schedules)

    def _deploy(self, context: Context, supervisor: Supervisor) -> None:
        read_deployments(context.root)
        supervisor.tell("deploying prefect.yaml")
        env = service_env(context.root, context.api_url, {})
        # Unset, the placeholder in the pull step is stored as it is, and each worker puts in its own
        # checkout; set, this machine's path would be written into the deployment.
        del env[ROOT_VARIABLE]
        supervisor.command(
            "deploy",
            [
                *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
                *("--prefect-file", PREFECT_YAML),
            ],
            env,
            timeout_s=300.0,
        )


def apply_schedules(
    api: PrefectApi, before: dict[tuple[str, str], bool], wanted: bool | None
) -> dict[tuple[str, str], bool]:
    """Switch every schedule on or off, or back to ``before`` (a deploy resets it); returns the result."""
    target = {key: before.get(key, now) if wanted is None else wanted for key, now in api.schedules().items()}
    api.set_schedules(target)
    return target


def look_after(context: Context, supervisor: Supervisor) -> None:
    """Close the runs that died with this machine's worker, and start again what crashed and is due."""
    from datetime import UTC, datetime

    with PrefectApi(context.api_url) as api:
        begun = supervisor.started_at("worker")
        if begun is not None:
            close_stopped_runs(api, worker_name(context.root), LOST_MESSAGE, before=begun)
        for line in resume_due(api, datetime.now(UTC)):
            supervisor.report(line)


def drain(context: Context) -> None:
    """Close the runs the worker left, then wait until the server has written its queues."""
    with PrefectApi(context.api_url) as api:
        close_stopped_runs(api, worker_name(context.root))
        if _something_ran(api):
            api.drain()


def _something_ran(api: PrefectApi) -> bool:
    """Whether a run changed in the last half minute: only then is anything queued."""
    from datetime import UTC, datetime, timedelta

    since = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    recent = {
        "operator": "or_",
        "end_time": {"after_": since},
        "start_time": {"after_": since},
    }
    return bool(api.runs(pool=None, limit=1, flow_runs=recent))


def schedule_lines(deployments: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield name, slug, cron, timezone and activity of each schedule of the API's deployments."""
    for deployment in deployments:
        for schedule in deployment["schedules"]:
            timing = schedule["schedule"]
            yield {
                "deployment": f"{deployment['flow_name']}/{deployment['name']}",
                "slug": schedule["slug"],
                "cron": timing.get("cron") or timing.get("interval") or timing.get("rrule"),
                "timezone": timing.get("timezone"),
                "active": schedule["active"],
            }
