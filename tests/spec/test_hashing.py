"""One content, one fingerprint; different contents never share one."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelproof.spec.errors import BugError, ConfigError
from labelproof.spec.hashing import (
    PREFIX,
    canonical_bytes,
    digest,
    digest_parts,
    digest_text,
    short,
    verify,
)
from labelproof.spec.items import Item, item_id

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(inner) for key, inner in reversed(value.items())}
    if isinstance(value, list):
        return [reversed_keys(inner) for inner in value]
    return value


@given(value=JSON)
def test_key_order_does_not_matter(value: Any) -> None:
    assert digest(value) == digest(reversed_keys(value))


@given(value=JSON)
def test_a_trip_through_json_does_not_matter(value: Any) -> None:
    assert digest(orjson.loads(canonical_bytes(value))) == digest(value)


@given(a=JSON, b=JSON)
def test_equal_fingerprints_mean_equal_json(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == (canonical_bytes(a) == canonical_bytes(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True),
        (0, False),
        (1, 1.0),
        (1, "1"),
        (None, "null"),
        ([], {}),
        ("", None),
        ([1, [2]], [[1], 2]),
        ({"a": None}, {}),
    ],
)
def test_types_are_kept_apart(a: Any, b: Any) -> None:
    assert digest(a) != digest(b)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [{"a": -math.inf}],
        (1.0, math.nan),
        defaultdict(float, a=math.nan),
        {1: 2},
        {1, 2},
        b"bytes",
        datetime(2026, 1, 1, tzinfo=UTC),
        pytest.param(object(), id="object"),
        2**70,
    ],
    ids=repr,
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(BugError):
        digest(value)


@given(value=JSON)
def test_verify_accepts_only_the_content(value: Any) -> None:
    fingerprint = digest(value)
    verify(value, fingerprint)
    with pytest.raises(ConfigError, match="does not match its fingerprint") as caught:
        verify([value], fingerprint)
    assert fingerprint in str(caught.value)
    assert digest([value]) in str(caught.value)


def test_verify_needs_a_known_algorithm() -> None:
    with pytest.raises(ConfigError, match="expected the prefix 'b2:'"):
        verify(1, "sha256:abc")


@given(text=st.text())
def test_text_hashes_have_a_form_and_a_domain_of_their_own(text: str) -> None:
    found = digest_text(text)
    assert found.startswith(PREFIX)
    assert len(found) == len(PREFIX) + 40
    assert found == found.lower()
    assert short(found) == found[3:9]
    assert found != digest_parts(text)
    assert item_id(text) == Item.of(text).id == Item.of(text).external_id == found


@given(text=TEXT)
def test_a_text_and_the_same_json_string_differ(text: str) -> None:
    assert digest_text(text) != digest(text)


@given(a=st.lists(st.text()), b=st.lists(st.text()))
def test_parts_keep_their_bounds(a: list[str], b: list[str]) -> None:
    assert (digest_parts(*a) == digest_parts(*b)) == (a == b)


def test_the_algorithm_is_pinned() -> None:
    """A change here would make every stored fingerprint unreadable."""
    assert digest({"b": [1, 2.5, None], "a": "ü"}) == PINNED_JSON
    assert digest_text("hello") == PINNED_TEXT


PINNED_JSON = "b2:72966e5bd116d9a367bb8a2f63b8b291022be41c"
PINNED_TEXT = "b2:06d0ed2f48d9545b3e1a448cdc9605426d67beff"
