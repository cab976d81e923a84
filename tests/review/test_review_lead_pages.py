"""Pages of leads and pages to look things up: votes side by side, people's numbers, items and appeals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from labelproof.store import TraceStore
from tests.review.desk_helpers import T0
from tests.review.pages_helpers import HOME, Pages, Task, ballot

Make = Callable[..., Pages]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of sites, each in a folder of its own."""
    made: list[Pages] = []

    def build(*args: Any, **how: Any) -> Pages:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Pages(folder, *args, **how))
        return made[-1]

    yield build
    for site in made:
        site.close()


def dispute(site: Pages, first: str = "hate", second: str = "safe", note: str | None = "rule H-1") -> Task:
    """Let ann and bob give different labels to the next task; returns it."""
    task = site.take("ann")
    assert site.answer("ann", task, first, note=note).json()["saved"] is True
    assert site.place.desk.outcome("mini", task.task_id).state == "open"
    site.place.clock.forward(seconds=1)
    assert site.answer("bob", site.take("bob"), second).json()["saved"] is True
    assert site.place.desk.outcome("mini", task.task_id).state == "disputed"
    return task


def decide(site: Pages, who: str, task: Task, label: str, **more: Any) -> Any:
    return site.post(who, f"/lead/{task.task_id}/vote", ballot(task, label, **more))


def decided_by_machine(store: TraceStore, item: str, label: str, rationale: str) -> None:
    """Store a run that labelled one item, with its step."""
    store.append_many(
        {
            "runs": {
                "run_id": ["run-1"],
                "event": ["finished"],
                "project": ["mini"],
                "strategy": ["champion"],
                "strategy_fp": ["b2:fp"],
                "ts": [T0],
            },
            "decisions": {
                "run_id": ["run-1"],
                "item_id": [item],
                "strategy_fp": ["b2:fp"],
                "label": [label],
                "confidence": [0.98765],
                "decision": ["auto_accept"],
                "ts": [T0],
            },
            "steps": {
                "run_id": ["run-1"],
                "item_id": [item],
                "seq": [1],
                "kind": ["label"],
                "name": ["label"],
                "step_key": ["k"],
                "status": ["ok"],
                "cache_hit": [False],
                "output_json": [orjson.dumps({"label": label, "rationale": rationale}).decode()],
                "ts": [T0],
            },
        }
    )


# --- adjudication ----------------------------------------------------------------------------------


def test_a_dispute_is_listed_decided_without_names_and_named_afterwards(make: Make) -> None:
    site = make(["one"], kind="audit", labels=["threat"], confidences=[0.4321])
    task = dispute(site)
    listed = site.get("lea", "/lead")
    assert "labels differ: hate, safe" in listed
    assert "rule H-1" in listed
    assert f'href="{HOME}/lead/{task.task_id}"' in listed.replace("%3A", ":")
    page = site.get("lea", f"/lead/{task.task_id}")
    assert re.findall(r'class="who">([^<]+)<', page) == ["Reviewer 1", "Reviewer 2"]
    assert re.findall(r'class="said-label">([^<]+)<', page) == ["hate", "safe"]
    assert not re.search(r">\s*(ann|bob)\b", page)
    assert "0.43" not in page
    assert "this task measures the machine" in page
    held = site.task_in("lea", page)
    answer = decide(site, "lea", held, "hate", note="a slur after all")
    assert answer.json() == {"saved": True, "state": "adjudicated", "machine_label": None}
    page = site.get("lea", f"/lead/{task.task_id}")
    assert re.findall(r'class="who">([^<]+?)\s*<', page) == ["ann", "bob", "lea"]
    assert "Final label: <strong>hate</strong>" in page
    assert "It says <strong>threat</strong>" in page
    assert "Nothing waits for a lead." in site.get("lea", "/lead")


def test_nobody_decides_their_own_task(make: Make) -> None:
    site = make(["one"], kind="audit")
    task = site.take("lea")
    site.answer("lea", task, "hate")
    site.answer("bob", site.take("bob"), "safe")
    assert "you reviewed this one" in site.get("lea", "/lead")
    page = site.get("lea", f"/lead/{task.task_id}")
    assert "data-token" not in page
    assert "problem" in page
    assert decide(site, "lea", task, "hate").status_code == 409


def test_the_machines_answer_is_folded_away_where_it_measures_nothing(make: Make) -> None:
    site = make(["one"], labels=["threat"], confidences=[0.4321])
    task = site.take("ann")
    site.answer("ann", task, answer="flag", note="<b>look</b>")
    page = site.get("lea", f"/lead/{task.task_id}")
    assert '<details class="machine">' in page
    assert "It says <strong>threat</strong>, confidence 0.43" in page
    assert "&lt;b&gt;look&lt;/b&gt;" in page


def test_filters_and_the_way_to_the_next_one(make: Make) -> None:
    site = make(["one", "two", "three"])
    tasks = []
    for answer, key in (("unclear", "a" * 8), ("flag", "b" * 8), ("unclear", "c" * 8)):
        tasks.append(site.take("ann"))
        site.answer("ann", tasks[-1], answer=answer, key=key)
    page = site.get("lea", "/lead?only=unclear")
    assert re.findall(r"(\w[\w ]+) <span class=\"n\">(\d)</span>", page) == [
        ("All", "3"),
        ("Guideline unclear", "2"),
        ("Flagged", "1"),
    ]
    found = re.findall(r'href="/p/mini/lead/([^"?]+)\?only=unclear"', page)
    assert len(found) == 2
    first = site.get("lea", f"/lead/{found[0]}?only=unclear")
    assert f'data-next-url="/p/mini/lead/{found[1]}?only=unclear"'.replace("%3A", ":") in first.replace(
        "%3A", ":"
    )
    assert 'data-next-url="/p/mini/lead?only=unclear"' in site.get("lea", f"/lead/{found[1]}?only=unclear")
    assert site.status("lea", "/lead?only=nonsense") == 422


def test_a_lead_closes_and_reopens_with_a_reason(make: Make) -> None:
    site = make(["one"])
    task = site.take("ann")
    site.answer("ann", task, answer="skip")
    for act, state in (("close", "closed"), ("reopen", "open")):
        path = f"/lead/{task.task_id}/{act}"
        assert site.post("lea", path, data={"reason": "  ", "csrf": "x"}).status_code == 422
        answer = site.post("lea", path, data={"reason": "a duplicate", "csrf": "x"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/lead")
        assert site.place.desk.outcome("mini", task.task_id).state == state


def test_a_decision_belongs_to_the_task_of_its_address(make: Make) -> None:
    site = make(["one", "two"], kind="audit")
    task, other = dispute(site), site.take("ann")
    body = ballot(other, "hate")
    assert site.post("lea", f"/lead/{task.task_id}/vote", body).status_code == 422


# --- people and the project ------------------------------------------------------------------------


def test_reviewers_stand_in_alphabetical_order_with_reasons_for_what_is_missing(make: Make) -> None:
    site = make([f"text {i}" for i in range(6)])
    for i, name in enumerate(("cyd", "ann", "bob", "cyd")):
        site.answer(name, site.take(name), "safe", key=f"key-00{i}xx")
    site.place.clock.forward(minutes=1)
    page = site.get("lea", "/reviewers")
    assert re.findall(r"<h2>(\w+)", page) == ["ann", "bob", "cyd"]
    assert "no hidden gold answered in this period" in page
    assert not re.search(r"rank|best|worst|top|leader", page, re.IGNORECASE)


def test_every_number_of_the_dashboard_shows_its_query(make: Make) -> None:
    site = make(["one", "two"], kind="audit")
    dispute(site)
    page = site.get("lea", "/dashboard?people=1&hours=6")
    panels = re.findall(r'id="panel-(\w+)"', page)
    assert panels == ["coverage", "quality", "queue", "sla", "votes", "agreement", "outcomes", "certificates"]
    assert page.count("<summary>Query</summary>") == len(panels)
    assert "1 open, 0 overdue" in page
    assert "2 on 1 open tasks" in page
    assert page.count("<rect ") == 14
    assert site.status("lea", "/dashboard?people=-1") == 422
    assert site.get("lea", "/dashboard?people=0")


# --- items -----------------------------------------------------------------------------------------


def test_an_items_machine_part_waits_for_the_reviewers_answer(make: Make) -> None:
    site = make(["one"], labels=["threat"], confidences=[0.98765])
    (item,) = site.place.ids
    decided_by_machine(site.place.store, item, "threat", "RATIONALE-77")
    telling = ("0.98", "RATIONALE-77", "auto-accept", "threat", "champion")
    page = site.get("ann", f"/item/{item}")
    assert not [word for word in telling if word in page]
    assert "is shown after you have answered" in page
    assert not [word for word in telling if word in site.get("ann", "/items?q=one")]
    page = site.get("lea", f"/item/{item}")
    assert not [word for word in telling if word not in page]
    site.answer("ann", site.take("ann"), "safe")
    page = site.get("ann", f"/item/{item}")
    assert not [word for word in telling if word in page]
    assert "cannot be taken back any more" in page
    site.place.clock.forward(minutes=31)
    page = site.get("ann", f"/item/{item}")
    assert not [word for word in telling if word not in page]
    assert "Your answer: <strong>safe</strong>" in page
    assert '<p class="big">safe</p>' in page


def test_gold_is_shown_to_leads_alone(make: Make) -> None:
    site = make(["one"], labels=["threat"])
    (item,) = site.place.ids
    site.place.store.append(
        "gold", {"project": ["mini"], "item_id": [item], "label": ["spam"], "split": ["test"], "ts": [T0]}
    )
    assert "Gold: <strong>spam</strong>" in site.get("lea", f"/item/{item}")
    assert "Gold:" not in site.get("ann", f"/item/{item}")
    site.answer("bob", site.take("bob"), "safe")
    assert "is shown after you have answered" in site.get("ann", f"/item/{item}")


def test_reviewers_see_no_names_and_no_open_votes_on_an_item(make: Make) -> None:
    site = make(["one"], kind="audit")
    (item,) = site.place.ids
    site.answer("ann", site.take("ann"), "hate")
    assert "Reviewer 1" not in site.get("ann", f"/item/{item}")
    site.answer("bob", site.take("bob"), "hate")
    site.place.clock.forward(minutes=31)
    page = site.get("ann", f"/item/{item}")
    assert "Reviewer 1" in page
    assert "bob" not in page
    assert "bob" in site.get("lea", f"/item/{item}")


def test_items_are_found_by_id_and_words(make: Make) -> None:
    site = make(["Buy <b>now</b>", "hello 100% sure", "other"])
    assert "&lt;b&gt;now" in site.get("ann", "/items?q=buy")
    assert re.findall(r'class="id"[^>]*><bdi>(\w+)<', site.get("ann", "/items?q=m1")) == ["m1"]
    assert re.findall(r'class="id"[^>]*><bdi>(\w+)<', site.get("ann", "/items?q=100%25")) == ["m1"]
    assert len(re.findall(r'class="id"', site.get("ann", "/items"))) == 3
    assert "No item has this id" in site.get("ann", "/items?q=_zebra")
    fragment = site.get("ann", "/items?q=buy", **{"HX-Request": "true"})
    assert "<html" not in fragment
    assert site.place.ids[1] in site.get("ann", "/item/m1")


def test_an_appeal_asks_people_again(make: Make) -> None:
    site = make(["one"], labels=["threat"])
    (item,) = site.place.ids
    site.answer("ann", site.take("ann"), "safe")
    path = f"/item/{item}/appeal"
    assert site.post("ann", path, data={"reason": " ", "csrf": "x"}).status_code == 422
    answer = site.post("ann", path, data={"reason": "the <i>joke</i> is plain", "csrf": "x"})
    assert answer.status_code == 303, answer.text
    assert "People are asked again" in site.client("ann").get(answer.headers["location"]).text
    kinds = [task.kind for task, _ in site.place.desk.tasks_of_item("mini", item)]
    assert kinds == ["routed", "appeal"]
    assert site.post("ann", "/item/none/appeal", data={"reason": "x", "csrf": "x"}).status_code == 404


def test_the_text_of_a_prompt_is_inert_on_the_items_page(make: Make) -> None:
    site = make(["one"])
    (item,) = site.place.ids
    decided_by_machine(site.place.store, item, "safe", "<script>alert(1)</script>\u202e")
    page = site.get("lea", f"/item/{item}")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'data-code="202E"' in page


def test_a_reviewer_with_an_open_blind_task_cannot_appeal_their_way_to_the_label(make: Make) -> None:
    site = make(["one", "two"], labels=["threat", "threat"])
    item = site.place.ids[0]
    assert "/appeal" not in site.get("ann", f"/item/{item}")
    answer = site.post("ann", f"/item/{item}/appeal", data={"reason": "because", "csrf": "x"})
    assert answer.status_code == 403
    assert "threat" not in answer.text
