"""Content identity: a hash of canonical JSON, with the algorithm in its prefix.

``b2:`` stands for BLAKE2b with a 160-bit digest, written in hexadecimal (40 characters). 80 bits of
collision resistance keep hostile content from sharing an identity; half the length of a
hex SHA-256 keeps step rows small.
"""

from __future__ import annotations

from hashlib import blake2b
from math import isfinite
from typing import Any

import orjson

from labelproof.spec.errors import BugError, ConfigError

PREFIX = "b2:"
# orjson would write dates, dataclasses and subclasses too; two types could then share one hash.
_JSON = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
_TEXT = b"lp.text"
_VALUE = b"lp.json"


def canonical_bytes(value: Any) -> bytes:
    """Return ``value`` as canonical JSON: sorted keys, no spaces, UTF-8.

    Only JSON types are admitted. NaN and infinities raise ``BugError``: two unequal values
    would otherwise share ``null``.
    """
    _refuse_non_finite(value)
    try:
        return orjson.dumps(value, option=_JSON)
    except TypeError as error:
        raise BugError(f"only JSON values can be hashed: {error}") from error


def digest(value: Any) -> str:
    """Return the fingerprint of a JSON value, ``b2:`` + 40 hexadecimal characters."""
    return _encode(blake2b(canonical_bytes(value), digest_size=20, person=_VALUE).digest())


def digest_text(text: str) -> str:
    """Return the content hash of a text; never equal to the ``digest`` of the same string."""
    data = text.encode("utf-8", "surrogatepass")
    return _encode(blake2b(data, digest_size=20, person=_TEXT).digest())


def digest_parts(*parts: str) -> str:
    """Return the hash of an ordered list of strings; the hot path of step keys.

    Parts are length-prefixed, so no two different lists share their bytes.
    """
    data = b"".join(b"%d:%s" % (len(raw), raw) for raw in map(_utf8, parts))
    return _encode(blake2b(data, digest_size=20, person=b"lp.parts").digest())


def verify(value: Any, fingerprint: str) -> None:
    """Raise ``ConfigError`` unless ``fingerprint`` is the one of ``value`` under its named algorithm."""
    if not fingerprint.startswith(PREFIX):
        raise ConfigError(
            f"fingerprint {fingerprint!r} names no known algorithm (expected the prefix {PREFIX!r})"
        )
    actual = digest(value)
    if actual != fingerprint:
        raise ConfigError(
            f"content does not match its fingerprint: expected {fingerprint}, found {actual}",
            hint="the stored content was altered, or the fingerprint belongs to something else",
        )


def short(fingerprint: str) -> str:
    """Return the first six characters after the prefix, for people."""
    return fingerprint.removeprefix(PREFIX)[:6]


def _encode(raw: bytes) -> str:
    return PREFIX + raw.hex()


def _utf8(part: str) -> bytes:
    return part.encode("utf-8", "surrogatepass")


def _refuse_non_finite(value: Any) -> None:
    kind = type(value)
    if kind is float:
        if not isfinite(value):
            raise BugError("NaN and infinities have no canonical form")
    elif kind is dict:
        for inner in value.values():
            _refuse_non_finite(inner)
    elif kind is list or kind is tuple:
        for inner in value:
            _refuse_non_finite(inner)
