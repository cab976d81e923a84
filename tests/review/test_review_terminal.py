"""The terminal app: keys, blur, blindness, and what it tells the desk."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from labelproof.review._terminal_text import Choice, Stopwatch, covered, facts, guideline, inert
from labelproof.review.model import (
    Assignment,
    Ballot,
    Lease,
    LeaseLost,
    NothingToDo,
    Progress,
    Receipt,
    Reviewer,
    ReviewError,
    Task,
    Vote,
)
from labelproof.review.signatures import verify_votes
from labelproof.review.terminal import ReviewApp
from labelproof.spec.errors import StoreError
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.project import ProjectFolder
from tests.report.review_rows import T0, project
from tests.review.desk_helpers import make_place

if TYPE_CHECKING:
    from labelproof.review.desk import Desk

ANN = Reviewer(name="ann")
HOSTILE = "\x1b[2J\x1b]0;owned\x07red\x1b[31m \u202etxt.exe\u202c z\u200bw\x00 [bold]x[/bold]\r\nnext\x08\tend\x9b31m"


def task(n: int) -> Task:
    """A blind task whose machine label must never be seen."""
    return Task(
        task_id=f"t{n}",
        project="mini",
        kind="check" if n == 2 else "routed",
        item_id=f"i{n}",
        label="spam",
        confidence=0.9731,
        severity="high",
        language=None,
        skills=frozenset(),
        blind=True,
        votes_wanted=1,
        reason="secret reason",
        made_at=T0,
        due_at=T0,
        rank=0.0,
    )


class FakeDesk:
    """Hands out ``texts`` one after the other, as the desk would."""

    def __init__(self, folder: ProjectFolder, texts: list[str], *, blurred: bool = True) -> None:
        self.projects = {"mini": folder}
        self.waiting = [self._assignment(n, text, blurred) for n, text in enumerate(texts)]
        self.given: list[str] = []
        self.ballots: list[Ballot] = []
        self.released: list[str] = []
        self.renewed: list[Mapping[str, str]] = []
        self.errors: list[Exception] = []
        self.held = True

    def _assignment(self, n: int, text: str, blurred: bool) -> Assignment:
        lease = Lease(task_id=f"t{n}", reviewer="ann", token=f"token{n}", until=T0 + timedelta(minutes=10))
        meta = {"lang": "en", "bad\x1b[1m": "[red]x[/red]\n\x1b[31m"}
        return Assignment(task=task(n), lease=lease, text=text, meta=meta, hidden=None, blurred=blurred)

    def next(self, reviewer: Reviewer, project: str, **_: Any) -> Assignment | NothingToDo:
        if not self.waiting:
            return NothingToDo(reason="empty", message="Everything is answered.", n_open=0)
        self.given.append(self.waiting[0].task.task_id)
        return self.waiting[0]

    def cast(self, reviewer: Reviewer, project: str, ballot: Ballot, *, source: str) -> Receipt:
        self.ballots.append(ballot)
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, LeaseLost):
                self.waiting.pop(0)
            raise error
        assert self.waiting[0].task.task_id == ballot.task_id
        self.done = self.waiting.pop(0)
        assert source == "terminal"
        return Receipt(vote=self.vote(ballot), state="agreed", machine_label="spam")

    def vote(self, ballot: Ballot) -> Vote:
        return Vote(
            vote_id=ballot.key,
            project="mini",
            task_id=ballot.task_id,
            item_id="i",
            annotator="ann",
            role="reviewer",
            answer=ballot.answer,
            label=ballot.label,
            note=ballot.note,
            source="terminal",
            seconds=ballot.seconds,
            at=T0,
        )

    def undo(self, reviewer: Reviewer, project: str) -> Assignment:
        if not self.ballots:
            raise ReviewError("There is no answer of yours to take back.")
        again = replace(self.done, previous=self.vote(self.ballots.pop()))
        self.waiting.insert(0, again)
        return again

    def renew(self, reviewer: Reviewer, leases: Mapping[str, str]) -> dict[str, bool]:
        self.renewed.append(dict(leases))
        return dict.fromkeys(leases, self.held)

    def release(self, reviewer: Reviewer, task_id: str, token: str) -> None:
        self.released.append(f"{task_id} {token}")

    def progress(self, reviewer: Reviewer, project: str) -> Progress:
        minutes = 61.0 if len(self.ballots) > 1 else 0.0
        n = len(self.waiting)
        return Progress(
            answered=len(self.ballots), n_open_for_me=n, hours_left=n / 60, minutes_at_work=minutes,
            break_due=minutes > 60,
        )  # fmt: skip


class Screen:
    """The app under a pilot, as a person sees it."""

    def __init__(self, app: ReviewApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def settle(self) -> None:
        await self.app.workers.wait_for_complete()
        await self.pilot.pause()

    def text(self, name: str) -> str:
        shown = self.app.query_one(f"#{name}", Static).visual
        return str(getattr(shown, "plain", shown))

    @property
    def everything(self) -> str:
        return "\n".join(self.text(str(one.id)) for one in self.app.query(Static) if one.id)


def review(desk: FakeDesk, steps: Callable[[Screen], Awaitable[None]], **more: Any) -> int | None:
    """Run the app, do ``steps``, and return what it returns."""

    async def run() -> int | None:
        app = ReviewApp(cast("Desk", desk), ANN, "mini", **more)
        async with app.run_test(size=(110, 40)) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await steps(screen)
        return app.return_value

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    made = project(tmp_path / "mini")
    (made.folder / "guideline.md").write_text(
        "Intro.\n\n# Hate\nAttacks a group.\n\n# Spam\nSells \x1b[31m something.\n"
    )
    return made


def test_keys_choose_and_enter_sends(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two", "three", "four", "five"])

    async def steps(screen: Screen) -> None:
        await screen.press("r", "2", "enter")
        await screen.press("s", "enter")
        await screen.press("r", "f", "enter")
        await screen.press("r", "1", "x", "enter")
        await screen.press("r", "x", "3", "enter")
        assert screen.text("content") == "Everything is answered."
        assert screen.text("labels") == ""
        await screen.press("1", "r", "enter", "n", "q")

    assert review(desk, steps) == 5
    assert [(b.task_id, b.token, b.answer, b.label) for b in desk.ballots] == [
        ("t0", "token0", "label", "hate"),
        ("t1", "token1", "skip", None),
        ("t2", "token2", "flag", None),
        ("t3", "token3", "unclear", None),
        ("t4", "token4", "label", "spam"),
    ]
    assert len({b.key for b in desk.ballots}) == 5
    assert desk.released == []


def test_nothing_is_sent_before_the_text_was_shown(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["the very words"])

    async def steps(screen: Screen) -> None:
        assert screen.text("content") == "░░░ ░░░░ ░░░░░"
        assert "lang" not in screen.everything
        for key in ("1", "f", "x", "enter"):
            await screen.press(key)
            assert screen.text("status") == "r shows the text"
        await screen.press("enter")
        assert desk.ballots == []
        await screen.press("r")
        assert screen.text("content") == "the very words"
        await screen.press("enter")
        assert "choose a label first" in screen.text("status")
        await screen.press("r")
        assert "words" not in screen.everything

    review(desk, steps)
    assert desk.ballots == []


def test_blind_tasks_tell_nothing_of_the_machine_or_of_the_kind(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two", "three", "four"])

    async def steps(screen: Screen) -> None:
        for _ in range(4):
            await screen.press("r")
            seen = screen.everything
            assert not any(word in seen for word in ("0.97", "secret", "machine", "routed", "check", "high"))
            assert seen.count("spam") == 1  # the label to choose from
            await screen.press("1", "enter")
            assert screen.text("status") == "saved"

    review(desk, steps)


def test_a_task_that_is_not_blind_shows_the_machines_answer(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one"], blurred=False)
    desk.waiting[0] = replace(
        desk.waiting[0], shown_label="spam", shown_confidence=0.973, shown_rationale="sells\x1b[31m"
    )

    async def steps(screen: Screen) -> None:
        assert "the machine says: spam (confidence 0.97): sells[U+001B][31m" in screen.text("facts")

    review(desk, steps)


def test_hostile_text_is_inert(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, [HOSTILE, "x" * 20_000])

    async def steps(screen: Screen) -> None:
        await screen.press("r")
        shown = screen.text("content")
        assert "[U+001B][2J" in shown
        assert "[bold]x[/bold]" in shown
        assert "[U+202E]txt.exe[U+202C]" in shown
        assert "[red]x[/red] [U+001B][31m" in screen.text("facts")
        for line in screen.app.screen._compositor.render_strips():
            for segment in line:
                assert not any(unicodedata.category(mark) in ("Cc", "Cf") for mark in segment.text)
        await screen.press("s", "enter", "r")
        assert screen.text("content") == "x" * 20_000

    review(desk, steps)


def test_a_note_goes_with_the_answer(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two"])

    async def steps(screen: Screen) -> None:
        await screen.press("r", "1", "n")
        await screen.press(*"sq", "space", *"r1")
        await screen.press("enter", "enter", "r", "1", "enter")

    review(desk, steps)
    assert [(b.label, b.note) for b in desk.ballots] == [("safe", "sq r1"), ("safe", None)]


def test_undo_brings_the_answer_back(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two"])

    async def steps(screen: Screen) -> None:
        await screen.press("u")
        assert screen.text("status") == "There is no answer of yours to take back."
        await screen.press("r", "2", "n", *"why", "enter", "enter", "u")
        assert screen.text("status") == "taken back"
        assert "●2 hate" in screen.text("labels")
        assert screen.app.query_one("#note", Input).value == "why"
        await screen.press("r", "1", "enter", "q")

    assert review(desk, steps) == 1
    assert [(b.task_id, b.label, b.note) for b in desk.ballots] == [("t0", "safe", "why")]
    assert desk.released == ["t1 token1"]


def test_an_answer_that_could_not_be_saved_is_sent_again_under_its_key(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two"])
    desk.errors = [StoreError("the disk is full"), StoreError("the disk is full")]

    async def steps(screen: Screen) -> None:
        await screen.press("r", "1", "enter")
        assert screen.text("status") == "not saved: the disk is full Enter tries again."
        assert screen.text("content") == "one"
        await screen.press("enter", "2", "enter")
        assert screen.text("status") == "saved"

    review(desk, steps)
    first, again, changed = desk.ballots
    assert first.key == again.key
    assert (changed.label, changed.key == first.key) == ("hate", False)


def test_a_task_that_was_lost_is_said_and_the_next_one_comes(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two"])
    desk.errors = [LeaseLost("This task has gone to a colleague.")]

    async def steps(screen: Screen) -> None:
        await screen.press("r", "1", "enter")
        assert screen.text("status") == "This task has gone to a colleague."
        assert screen.text("content") == "░░░"
        await screen.press("q")

    assert review(desk, steps) == 0
    assert desk.given == ["t0", "t1"]


def test_a_sign_of_life_keeps_the_task_and_tells_when_it_is_gone(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two"])

    async def steps(screen: Screen) -> None:
        screen.app._renew()
        await screen.settle()
        assert desk.renewed == [{"t0": "token0"}]
        assert desk.given == ["t0"]
        desk.held = False
        desk.waiting.pop(0)
        screen.app._renew()
        await screen.settle()
        assert screen.text("status") == "that task has gone to a colleague; here is another"

    review(desk, steps)
    assert desk.given == ["t0", "t1"]


def test_new_work_is_noticed(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, [])
    more = FakeDesk(folder, ["late"])

    async def steps(screen: Screen) -> None:
        assert screen.text("content") == "Everything is answered."
        desk.waiting = more.waiting
        await screen.press("enter", "r")
        assert screen.text("content") == "late"

    review(desk, steps)


def test_guideline_and_its_search(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one"])

    async def steps(screen: Screen) -> None:
        panel = screen.app.query_one("#panel")
        assert not panel.display
        await screen.press("g")
        assert panel.display
        assert "Intro." in screen.text("guideline")
        await screen.press(*"GROUP")
        assert screen.text("guideline") == "# Hate\nAttacks a group."
        await screen.press(*"zz")
        assert screen.text("guideline") == "Nothing in the guideline holds: GROUPzz"
        await screen.press("escape", "r", "1")
        assert "●1 safe" in screen.text("labels")
        await screen.press("escape")
        assert not panel.display
        (folder.folder / "guideline.md").unlink()
        await screen.press("g")
        assert screen.text("guideline").endswith("no such file")

    review(desk, steps)


def test_help_closes_and_sends_nothing(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one"])

    async def steps(screen: Screen) -> None:
        await screen.press("r", "1", "question_mark")
        assert len(screen.app.screen_stack) == 2
        await screen.press("enter")
        assert len(screen.app.screen_stack) == 1
        assert desk.ballots == []
        await screen.press("question_mark", "2", "q")
        assert len(screen.app.screen_stack) == 1
        assert "●1 safe" in screen.text("labels")

    review(desk, steps)


def test_progress_is_said_without_pressing(folder: ProjectFolder) -> None:
    desk = FakeDesk(folder, ["one", "two", "three"])

    async def steps(screen: Screen) -> None:
        assert screen.text("progress").startswith("0 answered today · about 3 min left at your pace")
        await screen.press("s", "enter", "s", "enter")
        assert "2 answered today" in screen.text("progress")
        assert "A break is a good idea." in screen.text("progress")

    review(desk, steps)


def test_seconds_are_those_before_the_reviewers_eyes(folder: ProjectFolder) -> None:
    times = iter([100.0, 110.0, 150.0, 153.0, 153.0])
    desk = FakeDesk(folder, ["one"])

    async def steps(screen: Screen) -> None:  # shown at 100; away from 110 to 150; sent at 153
        screen.app.on_app_blur(cast(Any, None))
        screen.app.on_app_focus(cast(Any, None))
        await screen.press("s", "enter")

    review(desk, steps, clock=lambda: next(times, 153.0))
    assert [b.seconds for b in desk.ballots] == [13.0]


def test_several_labels_and_many_labels(tmp_path: Path) -> None:
    place = tmp_path / "mini"
    place.mkdir()
    names = ", ".join(f"{{name: label{n}}}" for n in range(1, 13))
    (place / "project.yaml").write_text(
        f"name: mini\nlabels: {{kind: multi, classes: [{names}]}}\nitems: {{path: i.jsonl}}\n"
    )
    desk = FakeDesk(project_at(place), ["one", "two", "three", "four"], blurred=False)

    async def steps(screen: Screen) -> None:
        await screen.press("1", "3", "1", "2", "enter")
        await screen.press("0", "enter")
        await screen.press("slash", *"12", "enter", "slash", *"nothing", "enter", "1", "enter")
        await screen.press("1", "1", "enter")
        assert "choose a label first" in screen.text("status")
        await screen.press("0", "2", "enter")

    review(desk, steps)
    assert [b.label for b in desk.ballots] == ["label2+label3", "none", "label1+label12", "label2"]


def project_at(place: Path) -> ProjectFolder:
    from labelproof.spec.project import find_project

    return find_project(str(place))


def test_inert_keeps_words_and_marks_everything_else() -> None:
    assert inert("plain text\nnext").plain == "plain text\nnext"
    shown = inert(HOSTILE)
    assert all(mark == "\n" or unicodedata.category(mark)[0] != "C" for mark in shown.plain)
    assert "next[U+0008]" in shown.plain
    assert inert("a\u0301" + "\u0301" * 100).plain == "a" + "\u0301" * 4
    assert inert("\udc9b").plain == "[U+DC9B]"
    assert set(covered(HOSTILE).plain) <= set("░ \n")


def test_facts_and_guideline_are_text() -> None:
    found = facts({"a\nb": "c\nd", "n": 3}, "U+200B ZERO WIDTH SPACE")
    assert found.plain == "a b: c d\nn: 3\nhidden characters: U+200B ZERO WIDTH SPACE"
    text = "# One\n```\n# no heading\n```\nalpha\n# Two\nbeta Alpha\n# Three\n"
    assert guideline(text).plain.count("#") == 4
    found = guideline(text, "ALPHA beta")
    assert found.plain == "# Two\nbeta Alpha"
    marked = [found.plain[span.start : span.end] for span in found.spans if "underline" in str(span.style)]
    assert sorted(marked) == ["Alpha", "beta"]


def test_choice_takes_an_old_answer_as_far_as_it_is_known() -> None:
    single = LabelSchema(classes=(LabelClass(name="a"), LabelClass(name="b")))
    choice = Choice(single)
    choice.take("label", "gone")
    assert (choice.answer, choice.label) == (None, None)
    choice.take("label", "b")
    assert (choice.answer, choice.label) == ("label", "b")
    choice.take("flag", None)
    assert (choice.answer, choice.label) == ("flag", None)
    multi = Choice(LabelSchema(kind="multi", classes=single.classes))
    multi.take("label", "none")
    assert multi.label == "none"
    multi.take("label", "a+b")
    assert multi.label == "a+b"


def test_a_stopwatch_counts_only_what_was_seen() -> None:
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    assert watch.seconds == 0
    watch.start()
    now[0] = 3
    watch.pause()
    now[0] = 10
    assert watch.seconds == 3
    watch.resume()
    watch.resume()
    now[0] = 12
    assert watch.seconds == 5


def test_votes_reach_the_store_signed_and_the_last_task_goes_back(tmp_path: Path) -> None:
    place = make_place(tmp_path, ["one", "two", "three"])

    async def steps(screen: Screen) -> None:
        await screen.press("r", "2", "enter", "s", "enter", "r")

    async def run() -> int | None:
        app = ReviewApp(place.desk, ANN, "mini")
        async with app.run_test(size=(110, 40)) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await steps(screen)
            assert len(place.office.leases.held("mini", place.clock())) == 1
            await screen.press("q")
        return app.return_value

    try:
        assert asyncio.run(run()) == 2
        assert place.office.leases.held("mini", place.clock()) == []
        rows = place.store.query("SELECT * FROM votes ORDER BY ts, answer", fresh=True).to_pylist()
        assert [(row["annotator"], row["answer"], row["label"], row["source"]) for row in rows] == [
            ("ann", "label", "hate", "terminal"),
            ("ann", "skip", None, "terminal"),
        ]
        report = verify_votes(place.store, place.office.signer, "mini")
        assert (report.n_valid, report.n_unsigned, report.invalid) == (2, 0, ())
    finally:
        place.close()
