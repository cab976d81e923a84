"""What a flow tries again by itself, and what it does not."""

from __future__ import annotations

import pytest

from agents.models import ProviderDown
from agents.run.lock import RunUnderWayError
from labelproof.spec.errors import (
    BudgetError,
    BugError,
    ConfigError,
    StoreError,
    TerminalProviderError,
    TransientProviderError,
)

PASSES = [
    ProviderDown("gone", kind="outage"),
    TransientProviderError("slow down"),
    StoreError("busy"),
    RunUnderWayError("another process works on it"),
    ConnectionResetError("cut"),
]
STAYS = [
    ProviderDown("key refused", kind="auth"),
    ProviderDown("used up", kind="quota"),
    TerminalProviderError("no"),
    BudgetError("spent"),
    ConfigError("a typo"),
    BugError("ours"),
]


@pytest.mark.parametrize(
    ("error", "passes"), [*((e, True) for e in PASSES), *((e, False) for e in STAYS)], ids=repr
)
def test_only_what_may_pass_is_tried_again(error: Exception, passes: bool) -> None:
    from flows.retries import may_pass

    assert may_pass(error) is passes


@pytest.mark.parametrize("passes", [True, False])
def test_a_stopped_run_says_itself_whether_trying_again_helps(passes: bool) -> None:
    from flows.label_flow import RunStoppedError
    from flows.retries import may_pass

    assert may_pass(RunStoppedError("stopped", may_pass=passes)) is passes
