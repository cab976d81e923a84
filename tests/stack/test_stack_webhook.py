"""The webhook's address stays a secret, and its message is JSON whatever an alarm says."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from labelproof.spec.errors import ConfigError
from labelproof.stack.api import PrefectApi, StackError
from labelproof.stack.automations import FAILED_PAYLOAD, alarm_payload
from labelproof.stack.control import _outer_env
from labelproof.stack.env import service_env
from labelproof.stack.paths import StackPaths
from labelproof.stack.webhook import OFF, VARIABLE, checked_url, ensure_webhook, send_test, wanted_url
from tests.stack.test_stack_api import FakePrefect, serve

URL = "https://hooks.example.com/services/T0/s3cret"
FIELDS = ("project", "kind", "subject", "event", "level", "role", "contact", "reason", "alarm_id")


@pytest.fixture
def fake(paths: StackPaths) -> Iterator[FakePrefect]:
    with serve(FakePrefect()) as started:
        started.answers["GET", "/block_types/slug/webhook"] = {"id": "t1"}
        started.answers["POST", "/block_schemas/filter"] = [{"id": "s1"}]
        started.answers["POST", "/block_documents/filter"] = []
        started.answers["POST", "/block_documents/"] = {"id": "b1"}
        started.answers["POST", "/automations/filter"] = []
        yield started


def rendered(template: str, **context: Any) -> Any:
    environment = ImmutableSandboxedEnvironment()
    environment.filters["ui_url"] = lambda run: f"http://ui/{run.id}"
    return json.loads(environment.from_string(template).render(**context))


@given(st.dictionaries(st.sampled_from(FIELDS), st.text() | st.none()))
def test_the_message_is_json_that_says_what_the_event_said(payload: dict[str, str | None]) -> None:
    event = SimpleNamespace(event="labelproof.target.breached", payload=payload)
    message = rendered(alarm_payload("https://review.example.com/it's"), event=event)
    assert {name: message[name] for name in FIELDS} == {name: payload.get(name) for name in FIELDS}
    name = payload.get("project")
    page = f"/p/{quote(name)}/monitor" if name else ""
    assert message["link"] == f"https://review.example.com/it's{page}"
    assert (payload.get("reason") or "") in message["text"]


def test_a_failed_run_is_told_with_a_link_and_without_its_error() -> None:
    flow_run = SimpleNamespace(id=UUID(int=1), name='a "run"', state=SimpleNamespace(name="Failed"))
    event = SimpleNamespace(event="prefect.flow-run.Failed", occurred=datetime(2026, 3, 2, tzinfo=UTC))
    message = rendered(FAILED_PAYLOAD, event=event, flow=SimpleNamespace(name="label"), flow_run=flow_run)
    assert message["text"] == 'labelproof: the run a "run" failed (Failed)'
    assert message["link"] == f"http://ui/{UUID(int=1)}"


def test_it_is_written_once_kept_without_an_address_and_removed_by_a_word(fake: FakePrefect) -> None:
    with PrefectApi(fake.url) as api:
        assert not ensure_webhook(api, None, link=None)
        assert fake.changes() == []
        assert ensure_webhook(api, URL, link="https://review")
        block, alarms, failed = fake.changes()
        assert block[2]["data"]["url"] == URL
        assert "s3cret" not in json.dumps([alarms, failed]), "only the block holds it"
        fake.answers["POST", "/block_documents/filter"] = [{"id": "b1"}]
        fake.asked.clear()
        assert ensure_webhook(api, None, link="https://review"), "the next `up` needs no address"
        assert [one[1] for one in fake.changes()] == ["/automations/", "/automations/"]
        fake.asked.clear()
        fake.answers["POST", "/automations/filter"] = [{"id": "a1"}, {"id": "a2"}]
        for path in ("/automations/a1", "/automations/a2", "/block_documents/b1"):
            fake.answers["DELETE", path] = {}
        assert not ensure_webhook(api, OFF, link=None)
        assert [one[:2] for one in fake.changes()] == [
            ("DELETE", "/automations/a1"),
            ("DELETE", "/automations/a2"),
            ("DELETE", "/block_documents/b1"),
        ]


def test_the_address_reaches_the_supervisor_and_no_other_process(
    paths: StackPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fake: FakePrefect
) -> None:
    monkeypatch.setenv(VARIABLE, URL)
    assert wanted_url() == URL
    assert VARIABLE not in service_env(paths.root, "http://x", {})
    assert _outer_env(paths.root)[VARIABLE] == URL
    with caplog.at_level(logging.DEBUG), PrefectApi(fake.url) as api:
        ensure_webhook(api, wanted_url(), link=None)
    assert "s3cret" not in caplog.text
    assert os.environ[VARIABLE] == URL


@pytest.mark.parametrize(
    "text", ["hooks.example.com/s3cret", "ftp://x/s3cret", "http://", "https://a b/s3cret"]
)
def test_what_is_no_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="address of a webhook") as caught:
        checked_url(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("event", "payload", "good", "words"),
    [
        ("executed", {"status_code": 200}, True, "the receiver answered 200"),
        ("executed", {"status_code": 404}, False, "the receiver answered 404"),
        (
            "failed",
            {"reason": "Webhook call failed: ConnectError"},
            False,
            "Webhook call failed: ConnectError",
        ),
    ],
)
def test_a_test_message_says_what_became_of_it(
    fake: FakePrefect, event: str, payload: dict[str, Any], good: bool, words: str
) -> None:
    told = {"event": f"prefect.automation.action.{event}", "payload": payload}
    fake.answers["POST", "/events/filter"] = {"events": [told]}
    with PrefectApi(fake.url) as api:
        with pytest.raises(StackError, match="no webhook is set"):
            send_test(api)
        fake.answers["POST", "/block_documents/filter"] = [{"id": "b1"}]
        fake.answers["POST", "/automations/filter"] = [{"id": "a1", "enabled": True}]
        assert send_test(api) == (good, words)
        fake.answers["POST", "/automations/filter"] = [{"id": "a1", "enabled": False}]
        assert not send_test(api)[0]
