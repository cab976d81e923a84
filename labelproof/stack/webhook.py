"""The webhook that alarms go to: a block on the Prefect server, its address a secret of that server.

The address often is the password (chat programs give out such links). It reaches us by the environment, is handed to the
server once, which keeps it encrypted, and is never written to a file, a log or the trace store.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from labelproof.spec.errors import ConfigError
from labelproof.stack.api import PrefectApi, StackError
from labelproof.stack.automations import (
    ALARM_AUTOMATION,
    FAILED_AUTOMATION,
    alarm_automation,
    ensure_automation,
    failed_automation,
    find_automations,
    remove_automations,
)

VARIABLE = "LABELPROOF_WEBHOOK_URL"
"""Environment variable that may hold the address."""
OFF = "off"
"""In place of an address: forget the webhook."""
BLOCK = "labelproof"
TEST_EVENT = "labelproof.webhook.test"


def checked_url(text: str) -> str:
    """Return the address, or ``off``; ``ConfigError`` for what is none, without repeating it."""
    url = text.strip()
    if url == OFF:
        return url
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not any(map(str.isspace, url))
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            "expected the address of a webhook, http:// or https://, found something else",
            key=VARIABLE,
            hint="the word off removes the webhook",
        )
    return url


def wanted_url() -> str | None:
    """Return what the environment asks for; None when it says nothing: then all stays as it is."""
    named = os.environ.get(VARIABLE)
    return None if not named else checked_url(named)


def ensure_webhook(api: PrefectApi, url: str | None, *, link: str | None) -> bool:
    """Make the server tell ``url`` of alarms and failed runs; True if a webhook is set afterwards.

    ``url`` None: as it was (the automations are brought up to date); ``off``: remove it. ``link``: address of the
    review app, told with each message.
    """
    known = _document(api)
    if url == OFF:
        remove_automations(api, [ALARM_AUTOMATION, FAILED_AUTOMATION])
        if known is not None:
            api.call("DELETE", f"/block_documents/{known['id']}")
        return False
    if url is None:
        if known is None:
            return False
        block_id = str(known["id"])
    else:
        block_id = _write(api, url, known)
    ensure_automation(api, alarm_automation(block_id, link))
    ensure_automation(api, failed_automation(block_id))
    return True


def is_set(api: PrefectApi) -> bool:
    """Whether the server knows a webhook."""
    return _document(api) is not None


def send_test(api: PrefectApi, *, timeout_s: float = 30.0) -> tuple[bool, str]:
    """Send a test message through the server; returns whether the receiver took it, and what happened.

    ``StackError`` when no webhook is set.
    """
    found = find_automations(api, [ALARM_AUTOMATION])
    if not is_set(api) or not found:
        raise StackError("no webhook is set", hint=f"{VARIABLE}=https://... labelproof up")
    if not found[0].get("enabled", True):
        return False, f"the automation {ALARM_AUTOMATION!r} is switched off in the Prefect UI"
    begun = datetime.now(UTC)
    word = uuid4().hex[:8]
    api.emit(
        TEST_EVENT,
        "labelproof.webhook",
        {
            "subject": "webhook",
            "event": "test",
            "level": "info",
            "reason": f"A test by `labelproof up --test-webhook` ({word}); nothing happened.",
        },
    )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (told := _outcome(api, str(found[0]["id"]), begun)) is not None:
            return told
        time.sleep(0.5)
    return False, f"the server did not try within {timeout_s:.0f} s; look at its log"


def _outcome(api: PrefectApi, automation_id: str, since: datetime) -> tuple[bool, str] | None:
    """Return what became of the automation's action since then; None while nothing is known."""
    wanted = {
        "event": {"name": ["prefect.automation.action.executed", "prefect.automation.action.failed"]},
        "resource": {"id": [f"prefect.automation.{automation_id}"]},
        "occurred": {"since": since.isoformat()},
    }
    events = api.call("POST", "/events/filter", {"filter": wanted, "limit": 5})["events"]
    if not events:
        return None
    event = events[0]
    if event["event"].endswith("failed"):
        return False, str(event["payload"].get("reason") or "the call failed")
    code = event["payload"].get("status_code")
    return isinstance(code, int) and code < 300, f"the receiver answered {code}"


def _document(api: PrefectApi) -> dict[str, Any] | None:
    found = api.call(
        "POST",
        "/block_documents/filter",
        {
            "block_documents": {"name": {"any_": [BLOCK]}},
            "block_types": {"slug": {"any_": ["webhook"]}},
            "include_secrets": False,
        },
    )
    return found[0] if found else None


def _write(api: PrefectApi, url: str, known: dict[str, Any] | None) -> str:
    """Store the address; httpx logs no body, and the server masks the field wherever it shows the block."""
    data = {"url": url, "method": "POST", "headers": {"content-type": "application/json"}}
    kind = api.call("GET", "/block_types/slug/webhook")
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}, "limit": 1}
    schemas = api.call("POST", "/block_schemas/filter", wanted)
    if not schemas:
        raise StackError("the Prefect server knows no webhooks", hint="labelproof down, then labelproof up")
    if known is not None:
        body = {"data": data, "block_schema_id": schemas[0]["id"], "merge_existing_data": False}
        api.call("PATCH", f"/block_documents/{known['id']}", body)
        return str(known["id"])
    made = api.call(
        "POST",
        "/block_documents/",
        {"name": BLOCK, "data": data, "block_type_id": kind["id"], "block_schema_id": schemas[0]["id"]},
    )
    return str(made["id"])
