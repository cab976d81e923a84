"""The review app against curious reviewers, hostile labels, schemas that changed, and a store that fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agents.review_tasks import (
    audit_task_id,
    check_task_id,
    gold_task_id,
    routed_task_id,
)
from labelproof.review.desk import Desk
from labelproof.review.web._answers import local_path
from labelproof.spec.errors import StoreError
from labelproof.spec.project import find_project
from tests.report.review_rows import add_items
from tests.review.desk_helpers import NO_CHECKS, T0
from tests.review.pages_helpers import HOME, Pages, Parsed, Task, ballot
from tests.review.test_review_lead_pages import decided_by_machine
from tests.review.web_helpers import Site, sign_in

Make = Callable[..., Pages]
GOLD = "checks: {first: 1, rate_prob: 0, splits: [test]}"
AS_FORM = {"csrf": "x"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Pages] = []

    def build(*args: Any, **how: Any) -> Pages:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Pages(folder, *args, **how))
        return made[-1]

    yield build
    for site in made:
        site.close()


def add_gold(site: Pages, texts: list[str], label: str = "threat") -> list[str]:
    place = site.place
    ids = add_items(place.store, texts)
    n = len(ids)
    rows = {"gold_set": ["g"] * n, "gold_fp": ["b2:g"] * n, "project": ["mini"] * n, "item_id": ids}
    place.store.append("gold", {**rows, "label": [label] * n, "split": ["test"] * n, "ts": [T0] * n})
    place.desk._rooms["mini"].load_checks()
    return ids


# --- what a task is ------------------------------------------------------------------------------


def test_no_page_names_a_task_by_an_id_that_can_be_computed(make: Make) -> None:
    for kind in ("routed", "audit", "gold"):
        site = make(["one", "two"], kind=kind, review=GOLD)
        add_gold(site, ["gold a"])
        for name in ("ann", "bob"):
            page = site.get(name, "/task") + site.get(name, "/task/next")
            for item in [*site.place.ids, *add_items(site.place.store, ["gold a"])]:
                for make_id in (audit_task_id, gold_task_id, routed_task_id):
                    assert make_id("mini", item) not in page
                for who in ("ann", "bob"):
                    assert check_task_id("mini", item, who) not in page


def test_a_real_id_is_no_handle_anywhere(make: Make) -> None:
    site = make(["one", "two"])
    task = site.take("ann")
    real = Task(task.task_id, task.token, handle=task.task_id)
    assert site.answer("ann", real).json() == site.answer("ann", Task("x", "x", handle="x")).json()
    assert site.post("ann", "/leases", {real.handle: real.token}).json() == {real.handle: False}
    form = {"csrf": "x", "task_id": real.handle, "token": real.token}
    assert site.post("ann", "/task/release", data=form).status_code == 204
    assert [lease.task_id for lease in site.place.office.leases.held("mini", T0)] == [task.task_id]
    again = site.get("ann", f"/task/next?after={real.handle}")
    assert site.task_in("ann", again).task_id == task.task_id


def test_a_handle_works_for_its_person_alone(make: Make) -> None:
    site = make(["one"])
    task = site.take("ann")
    signer = site.place.office.signer
    assert signer.unseal("ann", task.handle) == task.task_id
    assert signer.unseal("bob", task.handle) is None
    assert signer.seal("bob", task.task_id) != task.handle
    for broken in ("", "A", task.handle[:-1], task.handle + "AAAA", "é" * 20, "=" * 9, "A" * 68):
        assert signer.unseal("ann", broken) is None
    for text in ("", "b2:x", "a\0b", "ü" * 300):
        assert signer.unseal("ann", signer.seal("ann", text)) == text


def test_an_answered_item_of_hidden_gold_looks_like_any_other(make: Make) -> None:
    site = make(["same text"], review=GOLD, kind="audit")
    (gold,) = add_gold(site, ["gold text"])
    for item in (*site.place.ids, gold):
        decided_by_machine(site.place.store, item, "hate", "RATIONALE")
    pages = []
    for key in ("key-0001", "key-0002"):
        task = site.take("ann")
        item = site.place.desk.task("mini", task.task_id).item_id
        site.answer("ann", task, "safe", key=key)
        page = site.get("ann", f"/item/{item}").replace(item[3:], "").replace(item[3:12], "")
        assert "RATIONALE" not in page
        pages.append(re.sub(r"(same|gold) text|m0", "", page))
    assert pages[0] == pages[1]
    assert "Your answer: <strong>safe</strong>" in pages[0]
    assert "/appeal" in pages[0]


def test_what_the_machine_said_waits_until_an_answer_stands(make: Make) -> None:
    site = make(["one"])
    (item,) = site.place.ids
    decided_by_machine(site.place.store, item, "threat", "RATIONALE-77")
    site.answer("ann", site.take("ann"), "safe")
    assert "RATIONALE-77" not in site.get("ann", f"/item/{item}")
    site.place.clock.forward(minutes=31)
    assert "RATIONALE-77" in site.get("ann", f"/item/{item}")


def test_the_start_and_queue_pages_do_not_count_single_tasks_beside_hidden_gold(make: Make) -> None:
    site = make([f"text {i}" for i in range(25)], review=GOLD)
    add_gold(site, ["gold a"])
    seen = set()
    for i in range(4):
        start, queue = site.client("ann").get("/").text, site.get("ann", "")
        progress = site.post("ann", "/task/vote", ballot(site.take("ann"), key=f"key-000{i}")).json()[
            "progress"
        ]
        for text in (start, queue, progress):
            seen.update(re.findall(r"\b2[0-9]\b(?! h)", re.sub(r"\d+ answered|20\d\d", "", text)))
    assert seen == set()
    assert "about 30 open for you" in queue


# --- a store that fails ----------------------------------------------------------------------------


def test_a_full_disk_is_a_reason_to_send_again_and_tells_no_paths(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make(["one"])
    task = site.take("ann")

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("/srv/secret/outbox: no space left", hint="see /srv/secret")

    monkeypatch.setattr(site.place.store, "append_many", refuse)
    answers = [
        site.answer("ann", task),
        site.post("ann", f"/item/{site.place.ids[0]}/appeal", data={"reason": "because", "csrf": "x"}),
    ]
    monkeypatch.setattr(site.place.store, "query", refuse)
    answers.append(site.client("ann").get(HOME + "/items"))
    answers.append(site.client("ann").get(HOME + "/items", headers={"Accept": "text/html"}))
    monkeypatch.undo()
    assert [answer.status_code for answer in answers][:1] == [503]
    assert answers[2].status_code == answers[3].status_code == 503
    assert not [answer.text for answer in answers if "/srv" in answer.text]
    assert site.answer("ann", task).json()["saved"] is True


# --- schemas ---------------------------------------------------------------------------------------

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"quoted' & 'single\"",
    "emoji 🏳️‍🌈 \u202ertl",
    "{{7*7}}",
    "none of it",
)
SCHEMAS = {
    "single": "kind: single, classes: [%s]",
    "multi": "kind: multi, classes: [%s]",
    "taxonomy": 'kind: taxonomy, classes: [{name: "<b>", children: [%s]}, {name: plain}]',
}


def labels_of(kind: str) -> list[str]:
    named = [name.replace("/", "") for name in HOSTILE]
    return [f"<b>/{name}" for name in named] if kind == "taxonomy" else named


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_every_page_works_with_hostile_labels(make: Make, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    classes = ", ".join(f"{{name: {json.dumps(name, ensure_ascii=False)}}}" for name in HOSTILE)
    schema = SCHEMAS[kind] % classes
    monkeypatch.setattr(
        "tests.review.desk_helpers.PROJECT", f"name: mini\nlabels: {{{schema}}}\nitems: {{path: i.jsonl}}\n"
    )
    labels = labels_of(kind)
    site = make(["one", "two"], kind="audit", labels=labels[:2])
    item = site.place.desk.task("mini", (first := site.take("ann")).task_id).item_id
    sent = [labels[:2], labels[1:4]] if kind == "multi" else labels[:2]
    assert site.answer("ann", first, sent[0]).json()["saved"] is True
    assert site.answer("bob", site.take("bob"), sent[1]).json()["saved"] is True
    pages = [
        *(site.get("ann", path) for path in ("", "/task", "/items", f"/item/{item}")),
        *(
            site.get("lea", path)
            for path in ("", "/task", "/lead", "/reviewers", "/dashboard", f"/item/{item}")
        ),
        site.get("lea", f"/lead/{first.task_id}"),
    ]
    for page in pages:
        tags = [tag for tag, _ in Parsed.of(page).tags]
        assert "img" not in tags
        assert "b" not in tags
        assert "{{7*7}}" in page or "7*7" not in page
    site.place.clock.forward(minutes=11)  # lea's page is gone
    undone = site.post("ann", "/task/undo")
    assert undone.text.count(" checked") == (2 if kind == "multi" else 1)
    again = site.task_in("ann", undone.text)
    assert site.answer("ann", again, sent[1], key="another-key").json()["saved"] is True
    assert site.place.desk.outcome("mini", first.task_id).state == "agreed"


def test_a_schema_that_changed_under_the_votes_breaks_no_page(make: Make) -> None:
    site = make(["one", "two", "three"], kind="audit", labels=["threat"] * 3)
    tasks = {name: site.take(name) for name in ("ann",)}
    site.answer("ann", tasks["ann"], "hate")
    site.answer("bob", site.take("bob"), "threat")
    site.answer("ann", site.take("ann"), "threat", key="another-key")
    file = site.place.folder.folder / "project.yaml"
    for classes in (
        "kind: multi\n  classes: [{name: new}, {name: other}]",
        "classes: [{name: new}, {name: other}]",
    ):
        file.write_text(
            f"name: mini\nlabels:\n  {classes}\nitems: {{path: i.jsonl}}\nreview: {{{NO_CHECKS}}}\n"
        )
        folder = find_project(str(file.parent))
        place = site.place
        place.desk.close()
        place.desk = Desk.open(place.store, place.office, {"mini": folder}, clock=place.clock, seed=1)
        site.app.state.desk = place.desk
        item = place.desk.task("mini", tasks["ann"].task_id).item_id
        for path in ("", "/task", "/items", f"/item/{item}"):
            assert site.get("ann", path)
        for path in ("/lead", f"/lead/{tasks['ann'].task_id}", "/reviewers", "/dashboard", f"/item/{item}"):
            assert site.get("lea", path)
        assert site.client("ann").get("/").status_code == 200
    undone = site.post("ann", "/task/undo")
    assert undone.status_code == 200
    assert " checked" not in undone.text


def test_every_page_works_without_tasks_and_items(make: Make) -> None:
    site = make([])
    for path in ("", "/task", "/task/next", "/items", "/items?q=x", "/guideline"):
        assert site.get("ann", path)
    for path in ("/lead", "/reviewers", "/dashboard"):
        assert site.get("lea", path)


# --- content ---------------------------------------------------------------------------------------


def test_names_of_items_change_nothing_outside_their_box(make: Make) -> None:
    site = make(["one"])
    site.place.store.append(
        "items",
        {
            "item_id": site.place.ids,
            "external_id": ["\u202e<b>" + "x" * 5_000],
            "project": ["mini"],
            "text_hash": [None],
            "meta_json": [None],
            "ts": [T0 + timedelta(seconds=1)],
        },
    )
    for path in ("/items", f"/item/{site.place.ids[0]}"):
        page = site.get("ann", path)
        assert "\u202e" not in re.sub(r"<bdi[^>]*>.*?</bdi>", "", page, flags=re.DOTALL)
        assert page.count("x" * 1_000) <= 1


@pytest.mark.parametrize("note", ["a\0b", "\u202e", "=1+1", "x" * 4_000, "🏳️‍🌈", "\x1b[2J"])
def test_a_note_is_stored_and_signed_as_it_was_written(make: Make, note: str) -> None:
    site = make(["one"])
    assert site.answer("ann", site.take("ann"), note=note).json()["saved"] is True
    (row,) = site.place.store.query("SELECT * FROM votes", fresh=True).to_pylist()
    assert row["note"] == note
    again = site.place.reopen()
    (stored,) = again.outcome("mini", row["task_id"]).votes
    again.close()
    assert site.place.office.signer.verdict(stored) == "valid"


# --- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["//[", "http://[", "/[::1", "//[::1]evil", "//\uff0fevil.example"])
def test_odd_addresses_to_go_on_to_are_not_followed(make: Make, address: str) -> None:
    site = make([])
    client = site.client("ann")
    assert local_path(address) in ("/", address)
    del client.headers["authorization"]
    answer = client.get("/login", params={"next": address})
    assert answer.status_code == 200
    assert f'value="{address}"' not in answer.text or address.startswith("/[")
    asked = client.get(HOME, headers={"HX-Request": "true", "HX-Current-URL": quote(address, safe=":/[")})
    assert asked.status_code == 401


def test_a_burst_of_guesses_learns_no_more_than_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    site.add("ann")
    accounts, attempts = site.office.accounts, site.office.attempts
    verify = accounts.verify_password

    def meanwhile(name: str, password: str) -> Any:
        for _ in range(5):  # guesses that began at the same moment and were counted first
            attempts.failed(name, "192.0.2.8", site.now)
        return verify(name, password)

    monkeypatch.setattr(accounts, "verify_password", meanwhile)
    answer = sign_in(site.client(), "ann")
    assert (answer.status_code, site.session_cookie() in answer.cookies) == (429, False)
    site.close()
