"""The automations that `labelproof up` writes into a server: dead runs are seen, and people are told."""

from __future__ import annotations

from typing import Any

from labelproof.stack.api import PrefectApi

ZOMBIE_AUTOMATION = "labelproof: mark dead runs as crashed"
ALARM_AUTOMATION = "labelproof: tell the webhook what happened"
FAILED_AUTOMATION = "labelproof: tell the webhook of failed runs"
TAG = "labelproof"
"""Every deployment of ours has it."""
EVENT_PREFIX = "labelproof."
"""All our events begin with it, and so do the ids of what they are about."""

_NO_ZOMBIE = (
    "heartbeat",
    "Completed",
    "Failed",
    "Cancelled",
    "Crashed",
    "Suspended",
    "Paused",
)


def zombie_automation(within_s: float) -> dict[str, Any]:
    """Return the automation that marks a run Crashed when its heartbeats stop without an end.

    A heartbeat arms it; another heartbeat, an end, or a suspension that waits for a person satisfies
    it; silence for ``within_s`` fires it. An end under a name of its own is safe too: Prefect refuses
    to crash a run that has ended.
    """
    trigger = {
        **_trigger("prefect.flow-run.*", [f"prefect.flow-run.{name}" for name in _NO_ZOMBIE]),
        "after": ["prefect.flow-run.heartbeat"],
        "posture": "Proactive",
        "within": within_s,
    }
    action = {
        "type": "change-flow-run-state",
        "name": "Crashed",
        "state": "CRASHED",
        "message": f"No heartbeat for {within_s:.0f} s: its process is gone.",
    }
    return _automation(ZOMBIE_AUTOMATION, "A run whose process died without saying so.", trigger, action)


def alarm_automation(block_id: str, link: str | None) -> dict[str, Any]:
    """Return the automation that sends every event of ours to the webhook ``block_id``.

    ``link``: address of the review app, told with each message.
    """
    about = "A target breached, escalated or recovered; drift; a sentinel set that changed; a run given up."
    return _automation(
        ALARM_AUTOMATION,
        about,
        _trigger(f"{EVENT_PREFIX}*", [f"{EVENT_PREFIX}*"]),
        {"type": "call-webhook", "block_document_id": block_id, "payload": alarm_payload(link)},
    )


def failed_automation(block_id: str) -> dict[str, Any]:
    """Return the automation that tells the webhook ``block_id`` of runs that failed for good."""
    trigger = {
        **_trigger("prefect.flow-run.*", ["prefect.flow-run.Failed", "prefect.flow-run.TimedOut"]),
        "match_related": {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
    }
    return _automation(
        FAILED_AUTOMATION,
        "A run that failed after its last retry. One that crashed is resumed first.",
        trigger,
        {"type": "call-webhook", "block_document_id": block_id, "payload": FAILED_PAYLOAD},
    )


_WORDS = (
    "(event.payload.project | default('labelproof', true))",
    "': '",
    "(event.payload.subject | default(event.event, true))",
    "' '",
    "(event.payload.event | default('', true))",
    "' ('",
    "(event.payload.level | default('info', true))",
    "'). '",
    "(event.payload.reason | default('', true))",
    "(' For: ' ~ event.payload.contact if event.payload.contact else '')",
)


def alarm_payload(link: str | None) -> str:
    """Return the Jinja template of the message: JSON whatever the event's words are.

    ``text`` is what chat programs show; the other fields are for programs. What an event lacks is null.
    """
    fields = ("project", "kind", "subject", "event", "level", "role", "contact", "value", "bound")
    more = ("change_from", "reason", "alarm_id", "at")
    lines = [
        f'"{name}": {{{{ event.payload.{name} | default(none) | tojson }}}}' for name in (*fields, *more)
    ]
    head = [f'"text": {{{{ ({" ~ ".join(_WORDS)}) | tojson }}}}', '"name": {{ event.event | tojson }}']
    address = "none"
    if link is not None:
        page = f"({_quoted(link + '/p/')} ~ (event.payload.project | urlencode) ~ '/monitor')"
        address = f"({page} if event.payload.project else {_quoted(link)})"
    return "{" + ",\n ".join([*head, *lines, f'"link": {{{{ {address} | tojson }}}}']) + "}"


FAILED_PAYLOAD = """{"text": {{ ("labelproof: the run " ~ flow_run.name ~ " failed (" ~ flow_run.state.name ~ ")") | tojson }},
 "name": {{ event.event | tojson }},
 "flow": {{ flow.name | tojson }},
 "run": {{ flow_run.name | tojson }},
 "flow_run_id": {{ flow_run.id | string | tojson }},
 "at": {{ event.occurred | string | tojson }},
 "link": {{ flow_run | ui_url | tojson }}}"""
"""Without the run's error: it may quote what it worked on. The link leads to it."""


def ensure_automation(api: PrefectApi, wanted: dict[str, Any]) -> bool:
    """Write the automation unless it is there; True if something had to be written.

    One that a person has switched off in the UI stays off.
    """
    same_name = find_automations(api, [wanted["name"]])
    for extra in same_name[1:]:
        api.call("DELETE", f"/automations/{extra['id']}")
    if not same_name:
        api.call("POST", "/automations/", wanted)
        return True
    found = same_name[0]
    if _holds(found["trigger"], wanted["trigger"]) and _holds(found["actions"], wanted["actions"]):
        return False
    api.call("PUT", f"/automations/{found['id']}", {**wanted, "enabled": found.get("enabled", True)})
    return True


def remove_automations(api: PrefectApi, names: list[str]) -> int:
    """Remove the automations of these names; returns how many there were."""
    found = find_automations(api, names)
    for one in found:
        api.call("DELETE", f"/automations/{one['id']}")
    return len(found)


def find_automations(api: PrefectApi, names: list[str]) -> list[dict[str, Any]]:
    """Return the automations of these names as the API gives them."""
    body = {"automations": {"name": {"any_": names}}}
    found: list[dict[str, Any]] = api.call("POST", "/automations/filter", body)
    return found


def _holds(found: Any, wanted: Any) -> bool:
    """Whether ``found`` is ``wanted``, whatever defaults the server has added; sets come back in any order."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if all(isinstance(one, str) for one in wanted):
            return sorted(found or []) == sorted(wanted)
        return len(found or []) == len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted)


def _trigger(resource: str, expect: list[str]) -> dict[str, Any]:
    return {
        "type": "event",
        "match": {"prefect.resource.id": resource},
        "match_related": {},
        "after": [],
        "expect": expect,
        "for_each": ["prefect.resource.id"],
        "posture": "Reactive",
        "threshold": 1,
        "within": 0.0,
    }


def _automation(name: str, about: str, trigger: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Written by `labelproof up`. {about}",
        "enabled": True,
        "trigger": trigger,
        "actions": [action],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }


def _quoted(text: str) -> str:
    """Return ``text`` as a Jinja string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
