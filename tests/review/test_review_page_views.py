"""What pages make of texts, guidelines, images and numbers, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.report.visible_text import excerpt, segments
from labelproof.review.model import Outcome, Progress, Reviewer, Task, TaskState, Vote, VoteAnswer, VoteRole
from labelproof.review.web._view_guideline import guideline_sections, marked
from labelproof.review.web._view_image import MOST_BYTES, picture_type, read_image
from labelproof.review.web._view_item import sees_machine
from labelproof.review.web._view_lead import after, may_see_machine, vote_views, wanted, why
from labelproof.review.web._view_task import choices
from labelproof.review.web._view_words import break_line, due, progress_line, span
from labelproof.spec.labels import LabelClass, LabelSchema
from labelproof.spec.review import Checks, ReviewPolicy, TaskKind

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


# --- text ------------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=200))
def test_segments_joined_are_the_text(text: str) -> None:
    found = segments(text)
    assert "".join(one.text for one in found) == text
    assert all(len(one.text) == 1 for one in found if one.code is not None)


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\u200b", "U+200B ZERO WIDTH SPACE"),
        ("\x1b", "U+001B control character"),
        ("\u2028", "U+2028 LINE SEPARATOR"),
        ("\ue000", "U+E000 control character"),
        ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"),
    ],
)
def test_hidden_characters_are_named(mark: str, name: str) -> None:
    before, hidden, behind = segments(f"a{mark}b")
    assert (before.text, hidden.text, behind.text) == ("a", mark, "b")
    assert (before.code, hidden.name, behind.code) == (None, name, None)


def test_line_breaks_tabs_and_joined_emoji_are_no_marks() -> None:
    text = "a\n\tb\r\n👩‍👧 👩🏽‍💻 ❤️‍🔥"
    assert [one.code for one in segments(text)] == [None]


@pytest.mark.parametrize("text", ["a\u200db", "\u200d", "👩\u200d", "\u200d👩", "👩\u200dx"])
def test_a_joiner_that_joins_no_pictures_is_a_mark(text: str) -> None:
    assert "U+200D" in {one.code for one in segments(text)}


def test_a_page_cannot_hold_nul() -> None:
    (hidden,) = segments("\0")
    assert (hidden.text, hidden.raw, hidden.code) == ("\0", "", "U+0000")


def test_excerpts_are_one_short_line() -> None:
    assert "".join(one.text for one in excerpt("a\n  b " * 400, 20)) == "a b a b a b a b a b…"
    assert "".join(one.text for one in excerpt("short")) == "short"
    assert excerpt("") == ()


# --- guideline -------------------------------------------------------------------------------------

RULES = """# Rules

General words.

## H: hate

- **H-1** Slurs count.
- **H-2** Criticism of `states` does not count.

1. first
2. second slur
3. third

## S: spam

| a | b |
|---|---|
| bulk | wording |
"""


def test_a_guideline_becomes_sections() -> None:
    found = guideline_sections(RULES)
    assert [(one.title, one.level) for one in found] == [("Rules", 1), ("H: hate", 2), ("S: spam", 2)]
    assert "<strong>H-1</strong> Slurs count." in found[1].html
    assert "<table>" in found[2].html
    assert found[1].html.count("<ul>") == 1


def test_a_search_shows_only_what_holds_every_word_and_marks_it() -> None:
    (found,) = guideline_sections(RULES, "SLUR")
    assert found.title == "H: hate"
    assert "<mark>Slur</mark>s count" in found.html
    assert "Criticism" not in found.html
    assert '<ol start="2">\n<li>second <mark>slur</mark></li>' in found.html
    assert [one.title for one in guideline_sections(RULES, "bulk wording")] == ["S: spam"]
    assert guideline_sections(RULES, "slur wording") == ()
    assert "<code><mark>states</mark></code>" in guideline_sections(RULES, "states")[0].html


def test_a_heading_that_is_found_brings_its_whole_section() -> None:
    (found,) = guideline_sections(RULES, "hate")
    assert "Criticism" in found.html


@pytest.mark.parametrize("query", ["", "x", "alert", "<script>", "&amp;", ".*", "(", "\\"])
def test_nothing_in_a_guideline_is_live(query: str) -> None:
    hostile = (
        "# <img src=x onerror=alert(1)> x\n\n<script>alert(1)</script> x .* ( \\ &amp;\n\n"
        "[x](javascript:alert(1)) ![x](http://evil.example/x.png) [x](data:text/html,x)\n\n"
        '- <b onclick="alert(1)">x</b>\n'
    )
    for one in guideline_sections(hostile, query):
        assert "<script" not in one.html
        assert "<img" not in one.html
        assert "<b " not in one.html
        assert 'href="javascript' not in one.html
        assert 'href="data' not in one.html


def test_links_out_of_a_guideline_give_no_hold_on_the_page() -> None:
    (found,) = guideline_sections("see [this](https://example.org/a?b=c&d)")
    assert 'href="https://example.org/a?b=c&amp;d" rel="noopener noreferrer" target="_blank"' in found.html


def test_marked_text_is_escaped_around_its_marks() -> None:
    assert marked("<b>&x", "b") == "&lt;<mark>b</mark>&gt;&amp;x"
    assert marked("<b>", "") == "&lt;b&gt;"


# --- images ----------------------------------------------------------------------------------------


def test_only_pictures_of_the_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    (folder / "b.svg").write_text("<svg onload=alert(1)>")
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert read_image(folder, "a.png") == (PNG, "image/png")
    for name in (
        "b.svg",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "none.png",
        ".",
        "a\0.png",
        "",
    ):
        assert read_image(folder, name) is None, name


def test_a_picture_may_be_large_but_not_larger(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG.ljust(MOST_BYTES, b"\0"))
    (tmp_path / "b.png").write_bytes(PNG.ljust(MOST_BYTES + 1, b"\0"))
    assert read_image(tmp_path, "a.png") is not None
    assert read_image(tmp_path, "b.png") is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<!doctype html>", None),
        (b"", None),
    ],
)
def test_pictures_are_known_by_their_bytes(body: bytes, kind: str | None) -> None:
    assert picture_type(body) == kind


# --- labels to choose ------------------------------------------------------------------------------


def schema(kind: str, n: int) -> LabelSchema:
    classes = tuple(LabelClass(name=f"c{i}", description=f"About {i}") for i in range(n))
    return LabelSchema.model_validate({"kind": kind, "classes": classes})


def test_nine_labels_have_digits_and_the_rest_are_found_by_words() -> None:
    found = choices(schema("single", 12), "c10")
    assert [one.digit for one in found] == [*range(1, 10), None, None, None]
    assert [one.value for one in found if one.chosen] == ["c10"]


def test_several_labels_may_be_ticked_and_none_is_an_answer() -> None:
    found = choices(schema("multi", 3), "c0+c2")
    assert [(one.value, one.digit, one.chosen) for one in found] == [
        ("c0", 1, True),
        ("c1", 2, False),
        ("c2", 3, True),
        ("none", 0, False),
    ]
    assert [one.value for one in choices(schema("multi", 3), "none") if one.chosen] == ["none"]


def test_an_answer_under_an_older_schema_ticks_nothing() -> None:
    assert not any(one.chosen for one in choices(schema("single", 3), "gone"))


def test_a_taxonomy_is_grouped_by_parent() -> None:
    made = LabelSchema.model_validate(
        {
            "kind": "taxonomy",
            "classes": [{"name": "a", "children": [{"name": "x"}, {"name": "y"}]}, {"name": "b"}],
        }
    )
    found = [(one.value, one.group, one.name) for one in choices(made, None)]
    assert found == [("a/x", "a", "x"), ("a/y", "a", "y"), ("b", None, "b")]


# --- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (720, "12 min"), (5_400, "1.5 h"), (5 * 3_600, "5 h"), (72 * 3_600, "3 days")],
)
def test_time_is_said_in_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_due_says_how_late() -> None:
    assert due(T0 + timedelta(hours=3), T0) == "in 3 h"
    assert due(T0 - timedelta(hours=3), T0) == "3 h late"


def test_progress_compares_nobody_and_counts_nothing_down() -> None:
    def line(answered: int, n_open: int, hours: float | None) -> str:
        return progress_line(Progress(answered=answered, n_open_for_me=n_open, hours_left=hours))

    assert line(12, 400, 3.0) == "12 answered today · about 3 h left at your pace"
    assert line(2, 400, None) == "2 answered today · 400 open for you"
    assert line(2, 0, None) == "2 answered today · nothing else is open for you"


def test_a_break_is_suggested_only_when_it_is_due() -> None:
    rested = Progress(answered=1, n_open_for_me=1, hours_left=None, minutes_at_work=20)
    assert break_line(rested) is None
    tired = Progress(answered=1, n_open_for_me=1, hours_left=None, minutes_at_work=63, break_due=True)
    assert "63 minutes" in str(break_line(tired))


# --- who sees what ---------------------------------------------------------------------------------


def task(task_id: str = "t", kind: TaskKind = "audit", *, blind: bool = True) -> Task:
    return Task(
        task_id=task_id,
        project="p",
        kind=kind,
        item_id="b2:item",
        label="hate",
        confidence=0.5,
        severity=None,
        language=None,
        skills=frozenset(),
        blind=blind,
        votes_wanted=2,
        reason="",
        made_at=T0,
        due_at=T0,
        rank=0.0,
    )


def said(
    who: str,
    label: str | None = "safe",
    *,
    answer: VoteAnswer = "label",
    role: VoteRole = "reviewer",
    minute: int = 0,
) -> Vote:
    return Vote(
        vote_id=f"{who}{minute}",
        project="p",
        task_id="t",
        item_id="b2:item",
        annotator=who,
        role=role,
        answer=answer,
        label=label,
        note=None,
        source="web",
        seconds=1.0,
        at=T0 + timedelta(minutes=minute),
    )


def outcome(state: TaskState, *votes: Vote, task_id: str = "t") -> Outcome:
    return Outcome(task_id=task_id, state=state, final_label=None, votes=votes)


ANN, LEA = Reviewer(name="ann"), Reviewer(name="lea", role="lead")
NO_GOLD = ReviewPolicy(checks=Checks(first=0, rate_prob=0))


@pytest.mark.parametrize(
    ("user", "pairs", "is_gold", "sees"),
    [
        (LEA, [(task(), outcome("open"))], True, True),
        (ANN, [(task(), outcome("open"))], False, False),
        (ANN, [(task(), outcome("open", said("bob")))], False, False),
        (ANN, [(task(), outcome("disputed", said("bob"), said("cyd", "hate")))], False, False),
        (ANN, [(task(), outcome("open", said("ann")))], False, True),
        (ANN, [(task(), outcome("open", said("ann"))), (task("u"), outcome("open"))], False, False),
        (ANN, [(task(), outcome("agreed", said("bob"), said("cyd")))], False, True),
        (ANN, [(task(), outcome("agreed", said("bob"), said("cyd")))], True, False),
        (ANN, [(task(), outcome("agreed", said("ann"), said("cyd")))], True, True),
        (ANN, [(task(blind=False), outcome("open"))], False, True),
        (ANN, [], False, True),
        (ANN, [], True, False),
    ],
)
def test_the_machines_part_waits_for_the_vote(
    user: Reviewer, pairs: list[tuple[Task, Outcome]], is_gold: bool, sees: bool
) -> None:
    later = T0 + timedelta(hours=1)
    assert sees_machine(user, pairs, is_gold=is_gold, policy=NO_GOLD, now=later) is sees
    answered = any(vote.annotator == "ann" for _, outcome in pairs for vote in outcome.votes)
    soon = T0 + timedelta(minutes=30)  # an answer that can be taken back
    assert sees_machine(user, pairs, is_gold=is_gold, policy=NO_GOLD, now=soon) is (sees and not answered)
    planted = sees_machine(user, pairs, is_gold=is_gold, policy=ReviewPolicy(), now=later)
    assert planted is user.leads  # hidden gold: what became of an item would tell what it was


def test_votes_have_no_names_until_the_task_is_decided() -> None:
    votes = (said("zoe", "hate", minute=1), said("ann", minute=2))
    before = vote_views(outcome("disputed", *votes), named=True)
    assert [(one.who, one.label) for one in before] == [("Reviewer 1", "hate"), ("Reviewer 2", "safe")]
    decided = outcome("adjudicated", *votes, said("lea", role="adjudicator", minute=3))
    assert [one.who for one in vote_views(decided, named=True)] == ["zoe", "ann", "lea"]
    assert [one.who for one in vote_views(decided, named=False)] == ["Reviewer 1", "Reviewer 2", "Lead"]


def test_audits_and_gold_hide_the_machine_from_the_adjudicator_until_decided() -> None:
    kinds: tuple[TaskKind, ...] = ("audit", "gold", "check", "routed", "disagreement", "appeal")
    assert [kind for kind in kinds if may_see_machine(task(kind=kind), outcome("disputed"))] == [
        "routed",
        "disagreement",
        "appeal",
    ]
    assert all(may_see_machine(task(kind=kind), outcome("adjudicated")) for kind in kinds)


def test_the_list_says_why_and_filters_by_it() -> None:
    disputed = outcome("disputed", said("ann", "safe"), said("bob", "hate"))
    raised = outcome("escalated", said("ann", None, answer="unclear"), said("bob", None, answer="skip"))
    assert why(disputed) == "labels differ: hate, safe"
    assert why(raised) == "1 guideline unclear, 1 skipped"
    assert [wanted(disputed, "disputed"), wanted(disputed, "unclear")] == [True, False]
    assert [wanted(raised, "disputed"), wanted(raised, "unclear"), wanted(raised, "flag")] == [
        False,
        True,
        False,
    ]


def test_the_next_on_the_list_is_one_that_this_lead_may_decide() -> None:
    pairs = [
        (task("a"), outcome("disputed", said("ann"))),
        (task("b"), outcome("disputed", said("lea"))),
        (task("c"), outcome("disputed", said("ann"))),
    ]
    assert after(pairs, "a", "lea") == "c"
    assert after(pairs, "c", "lea") is None
    assert after(pairs, "gone", "lea") == "a"
    assert after([], "a", "lea") is None
