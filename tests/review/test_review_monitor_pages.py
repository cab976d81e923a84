"""The page of promises: for leads, as the last pass stored it, numbers equal to the store's, hostile words as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from labelproof.report.monitor.alarms import alarms_of, step
from labelproof.report.monitor.model import Measurement, measurement_rows
from labelproof.spec.monitoring import Contact, Target
from tests.review.pages_helpers import Pages

HOSTILE = "</bdi><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pages]:
    made = Pages(tmp_path, ["a first text", "a second text"])
    folder = made.place.desk.projects["mini"]
    spec = folder.spec.model_copy(
        update={
            "targets": (
                Target(metric="auto_accuracy", at_least=0.95, level="critical", owner="Dee <b>"),
                Target(metric="cost_per_1000", at_most=3),
                Target(metric="coverage", at_least=0.5),
            ),
            "contacts": (Contact(role="QA lead", name="Ann"), Contact(role="policy", name="Bob")),
        }
    )
    made.place.desk.projects["mini"] = replace(folder, spec=spec)
    yield made
    made.close()


def passes(site: Pages, n: int = 30, *, bad_from: int = 25) -> None:
    """Store ``n`` passes, six hours apart, ending now; accuracy breaks at pass ``bad_from``."""
    store, folder, now = site.place.store, site.place.desk.projects["mini"], site.place.clock()
    for i in range(n):
        at = now - timedelta(hours=6 * (n - 1 - i))
        is_bad = i >= bad_from
        value = 0.91 if is_bad else 0.97
        accuracy = Measurement(
            kind="target",
            subject="auto_accuracy",
            state="breached" if is_bad else "met",
            value=value,
            low=value - 0.02,
            high=value + 0.015,
            n=600,
            bound=0.95,
            side="at_least",
            evidence=50.0 if is_bad else 0.3,
            evidence_needed=20.0,
            reason=f"{value:.0%} {HOSTILE}",
            sql="SELECT 'auto' AS metric",
            level="critical",
        )
        cost = replace(
            accuracy,
            subject="cost_per_1000",
            state="unknown",
            value=None,
            low=None,
            high=None,
            bound=3.0,
            side="at_most",
            reason="no price",
            evidence=None,
        )
        drift = replace(
            accuracy, kind="drift", subject="text", state="quiet", bound=None, side=None, value=0.51
        )
        store.append("measurements", measurement_rows("mini", [accuracy, cost, drift], at))
        step(store, folder, [accuracy, cost, drift], now=at)


def test_the_page_is_for_leads(site: Pages) -> None:
    assert site.status("lea", "/monitor") == 200
    assert site.status("ann", "/monitor") == 403
    assert site.client("lea").get("/monitor/mini").headers["location"] == "/p/mini/monitor"
    assert site.client("ann").get("/monitor/mini").status_code == 403
    assert site.client("lea").get("/monitor/other").status_code == 404
    assert 'href="/p/mini/monitor"' in site.get("lea", "/lead")
    assert 'href="/p/mini/monitor"' not in site.get("ann", "")


def test_before_the_first_pass_it_says_what_to_do(site: Pages) -> None:
    page = site.get("lea", "/monitor")
    assert "labelproof monitor mini" in page
    assert "Not measured yet: auto_accuracy, cost_per_1000, coverage." in page


def test_it_shows_value_interval_promise_state_and_query(site: Pages) -> None:
    passes(site)
    page = site.get("lea", "/monitor")
    (row,) = site.place.store.query(
        "SELECT value, low, high, state FROM current_measurements WHERE subject = 'auto_accuracy'", fresh=True
    ).to_pylist()
    assert (row["value"], row["state"]) == (0.91, "breached")
    for words in ("91 %", "95 % interval 89.0-92.5", "≥ 95 %", "breached", "SELECT &#39;auto&#39; AS metric"):
        assert words in page, words
    assert "Broken: auto_accuracy." in page
    assert "Not measured yet: coverage." in page
    assert page.count('class="bad" d="M') == 5
    assert "an alarm was on in 5" in page
    assert "cannot be told" not in page
    assert "no price" in page


def test_hostile_words_stay_text(site: Pages) -> None:
    passes(site)
    page = site.get("lea", "/monitor")
    assert "<script>alert" not in page
    assert "onerror=alert(2)>" not in page.replace("&gt;", "")
    assert "Dee <b>" not in page
    assert "Dee &lt;b&gt;" in page
    assert not re.search(r'style="', page)


def test_a_lead_takes_an_alarm_on(site: Pages) -> None:
    passes(site)
    (alarm,) = alarms_of(site.place.store, "mini")
    page = site.get("lea", "/monitor")
    assert "policy Bob told" in page
    answer = site.client("lea").post(
        f"/p/mini/monitor/{alarm.alarm_id}/ack", data={"reason": "asked the vendor"}
    )
    assert answer.status_code == 303
    (after,) = alarms_of(site.place.store, "mini")
    assert (after.state, after.acknowledged_by) == ("acknowledged", "lea")
    page = site.get("lea", "/monitor")
    assert "taken on by lea: asked the vendor" in page
    assert "Take it on" not in page
    refused = site.client("ann").post(f"/p/mini/monitor/{alarm.alarm_id}/ack", data={"reason": "x"})
    assert refused.status_code == 403
    unknown = site.client("lea").post("/p/mini/monitor/A-no/ack", data={"reason": "x"})
    assert unknown.status_code in (400, 404, 409, 422)


def test_an_alarm_that_is_over_stays_on_the_page(site: Pages) -> None:
    passes(site, 12, bad_from=6)
    store, folder, now = site.place.store, site.place.desk.projects["mini"], site.place.clock()
    good = Measurement(
        kind="target", subject="auto_accuracy", state="met", value=0.98, reason="98 %", level="critical"
    )
    step(store, folder, [good], now=now)
    page = site.get("lea", "/monitor")
    assert "that are over" in page
    assert "recovered: 98 %" in page
    assert "Open alarms" not in page
