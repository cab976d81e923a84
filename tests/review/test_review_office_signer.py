"""Signatures: nothing of a vote can change unnoticed, and they outlive a round trip through the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.review.model import Vote
from labelproof.review.office import Office, Signer
from labelproof.spec.errors import BugError
from labelproof.store import open_store
from tests.review.office_helpers import T0, VOTE, cheap_office, signed

KEY = bytes(range(32))
PINNED = "hs1:065ca3c1:48f07ebbe26f5dcf8bc41d393e26bb932642d0ed462136b3d78e81c34bb79890"
CHANGES: dict[str, Any] = {
    "vote_id": "v2",
    "project": "q",
    "task_id": "u",
    "item_id": "j",
    "annotator": "bob",
    "role": "adjudicator",
    "answer": "withdrawn",
    "label": "safe",
    "note": None,
    "source": "import",
    "seconds": 4.5,
    "at": VOTE.at + timedelta(microseconds=1),
}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with cheap_office(tmp_path) as office:
        yield office


def test_a_signature_is_pinned_so_that_stored_ones_stay_valid() -> None:
    assert Signer(KEY).sign(VOTE) == PINNED


def test_a_signed_vote_is_valid_and_an_unsigned_one_is_not() -> None:
    signer = Signer(KEY)
    vote = signed(signer)
    assert vote.signature is not None
    assert vote.signature.startswith("hs1:")
    assert signer.is_valid(vote)
    assert signer.sign(vote) == vote.signature, "the signature is no part of what is signed"
    assert not signer.is_valid(VOTE)
    assert signer.verdict(VOTE) == "unsigned"


def test_every_column_is_signed() -> None:
    assert set(CHANGES) == {field.name for field in fields(Vote)} - {"signature"}
    signer = Signer(KEY)
    vote = signed(signer)
    for column, other in CHANGES.items():
        assert signer.verdict(replace(vote, **{column: other})) == "altered", column


@pytest.mark.parametrize("signature", ["hs1:", "hs1:x", "hs2:aa", "nonsense", "hs1:é:é", "hs1:\ud800"])
def test_a_damaged_signature_is_noticed(signature: str) -> None:
    assert Signer(KEY).verdict(replace(VOTE, signature=signature)) == "altered"


def test_another_offices_signature_is_told_from_an_altered_vote() -> None:
    ours, theirs = Signer(KEY), Signer(KEY[::-1])
    assert theirs.verdict(signed(ours)) == "other key"
    assert not theirs.is_valid(signed(ours))


def test_the_same_instant_in_another_zone_and_whole_seconds_are_the_same_vote() -> None:
    signer = Signer(KEY)
    vote = signed(signer)
    assert signer.is_valid(replace(vote, at=VOTE.at.astimezone(timezone(timedelta(hours=5, minutes=30)))))
    assert signer.is_valid(replace(vote, seconds=4))
    assert signer.is_valid(replace(signed(signer, replace(VOTE, note=None)), note=""))


def test_what_cannot_be_stored_cannot_be_signed_and_is_not_valid() -> None:
    signer = Signer(KEY)
    for wrong in (replace(VOTE, seconds=float("nan")), replace(VOTE, note="\ud800")):
        with pytest.raises(BugError):
            signer.sign(wrong)
        assert signer.verdict(replace(wrong, signature=signer.sign(VOTE))) == "altered"


@given(note=st.text(), seconds=st.none() | st.floats(0, 1e6), at=st.datetimes(timezones=st.just(UTC)))
def test_whatever_was_signed_is_valid_and_one_character_more_is_not(
    note: str, seconds: float | None, at: datetime
) -> None:
    signer = Signer(KEY)
    vote = signed(signer, replace(VOTE, note=note, seconds=seconds, at=at))
    assert signer.is_valid(vote)
    assert not signer.is_valid(replace(vote, note=note + " "))


def test_a_vote_is_still_valid_when_it_comes_back_from_the_store(office: Office, tmp_path: Path) -> None:
    votes = [
        signed(
            office.signer, replace(VOTE, vote_id="a", note="tab\t\u202e\u200b and \U0001f600", seconds=1 / 3)
        ),
        signed(office.signer, replace(VOTE, vote_id="b", answer="skip", label=None, note=None, seconds=None)),
    ]
    with open_store(tmp_path / "store") as store:
        columns = {field.name: [getattr(vote, field.name) for vote in votes] for field in fields(Vote)}
        columns["ts"] = columns.pop("at")
        store.append("votes", columns)
        for drained in (False, True):
            if drained:
                store.drain_all(30)
            rows = store.query("SELECT * FROM votes ORDER BY vote_id", fresh=True).to_pylist()
            read = [Vote(at=row.pop("ts"), **row) for row in rows]
            assert read == votes
            assert all(map(office.signer.is_valid, read))


def test_each_use_of_the_office_key_has_its_own_key(office: Office) -> None:
    assert len(office.signer.cookie_key()) == 32
    assert office.signer.cookie_key() != Signer(KEY).cookie_key()
    made = [office.signer.csrf_token("x"), office.signer.pseudonym("x"), office.signer.cookie_key().hex()]
    assert len(set(made)) == 3
    assert office.signer.is_valid(signed(office.signer, replace(VOTE, at=T0)))
