"""Prefect's REST API, the few calls the stack needs: .3 s each where its CLI takes 4-6 s."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import httpx

from labelproof.spec.errors import LabelproofError

POOL = "labelproof"
BUSY_S = 30.0


class StackError(LabelproofError):
    """A service of the local stack did not do its part; the message names its log."""


def credentials() -> dict[str, Any]:
    """Return httpx options for the credentials Prefect itself would use; empty without any."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"headers": {"Authorization": f"Bearer {key}"}}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        name, _, password = pair.partition(":")
        return {"auth": (name, password)}
    return {}


def is_loopback(url: str) -> bool:
    """Return whether ``url`` is on this machine: then no proxy of the environment may see it."""
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")


def _connection(url: str) -> dict[str, Any]:
    """Return httpx options for ``url``: credentials, proxies, and certificates only where TLS reads them.

    To load the certificates of the system takes 45 ms CPU, and whoever waits for a server asks many times.
    """
    encrypted = httpx.URL(url).scheme != "http"
    return {"trust_env": not is_loopback(url), "verify": encrypted, **credentials()}


def is_healthy(url: str, *, timeout_s: float = 0.3) -> bool:
    """Return whether a Prefect API answers at ``url`` within ``timeout_s``."""
    try:
        answer = httpx.get(
            f"{url}/health",
            timeout=timeout_s,
            **_connection(url),
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == httpx.codes.OK and answer.text.strip() == "true"


class PrefectApi:
    """A client of one server; use as a context manager. Methods raise StackError with the answer."""

    def __init__(self, url: str, *, timeout_s: float = 15.0) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_s,
            **_connection(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the decoded answer; None for an empty one. A refusal or a lost server: StackError.

        Prefect answers 503 while its SQLite database is locked and has then changed nothing: such a
        request is sent again for up to ``BUSY_S`` seconds.
        """
        patience_ends = time.monotonic() + BUSY_S
        while True:
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.HTTPError as error:
                raise StackError(
                    f"Prefect at {self.url} does not answer ({type(error).__name__}: {error})",
                    hint="labelproof status",
                ) from error
            busy = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not busy or time.monotonic() > patience_ends:
                break
            time.sleep(0.5)
        if answer.is_error:
            raise StackError(
                f"Prefect at {self.url} refused {method} {path}: {answer.status_code} {answer.text[:300]}"
            )
        return answer.json() if answer.content else None

    # -- what `up` puts into a new server ------------------------------------------------------
    def ensure_pool(self, name: str = POOL) -> None:
        """Create the process work pool unless it is there; its worker fills in the job template."""
        pools = self.call("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": [name]}}})
        if not pools:
            self.call("POST", "/work_pools/", {"name": name, "type": "process"})

    # -- deployments and schedules -------------------------------------------------------------
    def deployments(self, pool: str = POOL) -> list[dict[str, Any]]:
        """Return the pool's deployments as the API gives them, plus ``flow_name``; ordered by name."""
        found: list[dict[str, Any]] = self.call(
            "POST",
            "/deployments/filter",
            {"work_pools": {"name": {"any_": [pool]}}, "sort": "NAME_ASC"},
        )
        wanted = sorted({deployment["flow_id"] for deployment in found})
        flows = self.call("POST", "/flows/filter", {"flows": {"id": {"any_": wanted}}}) if wanted else []
        names = {flow["id"]: flow["name"] for flow in flows}
        for deployment in found:
            deployment["flow_name"] = names[deployment["flow_id"]]
        return sorted(found, key=lambda one: (one["flow_name"], one["name"]))

    def set_schedules(self, active: dict[tuple[str, str], bool], *, pool: str = POOL) -> None:
        """Switch schedules by (``flow/deployment``, slug); those not named stay as they are."""
        for deployment in self.deployments(pool):
            name = f"{deployment['flow_name']}/{deployment['name']}"
            for schedule in deployment["schedules"]:
                wanted = active.get((name, schedule["slug"] or ""))
                if wanted is not None and wanted != schedule["active"]:
                    self.call(
                        "PATCH",
                        f"/deployments/{deployment['id']}/schedules/{schedule['id']}",
                        {"active": wanted},
                    )

    def schedules(self, *, pool: str = POOL) -> dict[tuple[str, str], bool]:
        """Return whether each schedule is active, by (``flow/deployment``, slug)."""
        return {
            (
                f"{deployment['flow_name']}/{deployment['name']}",
                schedule["slug"] or "",
            ): bool(schedule["active"])
            for deployment in self.deployments(pool)
            for schedule in deployment["schedules"]
        }

    # -- runs ----------------------------------------------------------------------------------
    def runs(
        self,
        *,
        states: Iterable[str] | None = None,
        pool: str | None = POOL,
        **query: Any,
    ) -> list[dict[str, Any]]:
        """Return flow runs (newest start first unless ``sort`` says else), of ``pool`` or of all."""
        body: dict[str, Any] = {"sort": "START_TIME_DESC", "limit": 50, **query}
        if states is not None:
            body.setdefault("flow_runs", {})["state"] = {"type": {"any_": list(states)}}
        if pool is not None:
            body["work_pools"] = {"name": {"any_": [pool]}}
        found: list[dict[str, Any]] = self.call("POST", "/flow_runs/filter", body)
        return found

    def crash(self, run_id: str, message: str) -> None:
        """Mark a run whose process was stopped as Crashed, so that it does not look alive forever."""
        self._end(run_id, "CRASHED", "Crashed", message)

    def cancel(self, run_id: str, message: str) -> None:
        """Mark a run that somebody was cancelling as Cancelled: its process is gone, as they wanted."""
        self._end(run_id, "CANCELLED", "Cancelled", message)

    def _end(self, run_id: str, kind: str, name: str, message: str) -> None:
        state = {"type": kind, "name": name, "message": message}
        self.call("POST", f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})

    def emit(self, event: str, resource_id: str, payload: dict[str, Any], *, id_: str | None = None) -> None:
        """Record an event that automations can react to. ``id_``: a UUID that the same happening always has."""
        from datetime import UTC, datetime
        from uuid import uuid4

        body = {
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": resource_id},
            "payload": payload,
            "id": id_ or str(uuid4()),
        }
        self.call("POST", "/events", [body])

    def is_worker_online(self, name: str, *, since: float, pool: str = POOL) -> bool:
        """Return whether worker ``name`` sent a heartbeat after ``since`` (seconds of the epoch)."""
        from datetime import datetime

        workers = self.call("POST", f"/work_pools/{pool}/workers/filter", {})
        return any(
            worker["name"] == name
            and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= since
            for worker in workers
        )

    def other_workers_online(self, name: str, *, pool: str = POOL) -> bool:
        """Return whether workers besides ``name`` serve the pool."""
        workers = self.call("POST", f"/work_pools/{pool}/workers/filter", {})
        return any(worker["name"] != name and worker["status"] == "ONLINE" for worker in workers)

    def drain(self, *, timeout_s: float = 10.0, quiet_s: float = 2.5) -> bool:
        """Wait until the server has written what it queued; False if ``timeout_s`` was not enough.

        Task states and events pass through queues in memory that are flushed once a second, and a
        server stopped too early loses them. Quiet = the stored counts did not change for ``quiet_s``.
        """
        deadline = time.monotonic() + timeout_s
        seen = self._stored()
        changed = time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = self._stored()
            if now != seen:
                seen, changed = now, time.monotonic()
            elif time.monotonic() - changed >= quiet_s:
                return True
        return False

    def _stored(self) -> tuple[int, int, int]:
        terminal = ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]
        done = {"task_runs": {"state": {"type": {"any_": terminal}}}}
        return (
            int(self.call("POST", "/task_runs/count", {})),
            int(self.call("POST", "/task_runs/count", done)),
            int(self.call("POST", "/events/filter", {"limit": 1})["total"]),
        )
