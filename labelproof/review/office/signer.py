"""Signatures: who answered what and when, so that a vote written around the app is noticed.

A signature is ``hs1:`` + 8 hexadecimal characters that name the key + ``:`` + HMAC-SHA256 in hexadecimal, over the
canonical JSON of all columns but ``signature``. It holds against whoever can write to the trace store and cannot
read the office; whoever reads the office can sign.
"""

from __future__ import annotations

import base64
import hmac
from datetime import UTC
from hashlib import sha256, shake_256
from typing import Literal

from labelproof.review.model import Vote
from labelproof.spec.errors import BugError
from labelproof.spec.hashing import canonical_bytes

PREFIX = "hs1:"
_MARK = 16
Verdict = Literal["valid", "unsigned", "other key", "altered"]


class Signer:
    """Everything made from the office key; each use has a key of its own. Never shows a key."""

    def __init__(self, key: bytes) -> None:
        self._votes = _derived(key, b"votes")
        self._cookies = _derived(key, b"cookies")
        self._csrf = _derived(key, b"csrf")
        self._names = _derived(key, b"attempts")
        self._handles = _derived(key, b"handles")
        self._key_id = sha256(_derived(key, b"id")).hexdigest()[:8]

    def sign(self, vote: Vote) -> str:
        """Return the signature; a NaN or a broken Unicode character in the vote raises ``BugError``."""
        return f"{PREFIX}{self._key_id}:{hmac.new(self._votes, signed_bytes(vote), sha256).hexdigest()}"

    def is_valid(self, vote: Vote) -> bool:
        """Return whether the vote carries a signature of this office and nothing was changed since."""
        return self.verdict(vote) == "valid"

    def verdict(self, vote: Vote) -> Verdict:
        """Return what its signature says: ``unsigned`` has none (from a file), ``other key``: of another office."""
        if not vote.signature:
            return "unsigned"
        kind, _, rest = vote.signature.partition(":")
        key_id, _, _ = rest.partition(":")
        if kind + ":" == PREFIX and key_id != self._key_id and _is_key_id(key_id):
            return "other key"
        try:
            expected = self.sign(vote)
        except BugError:
            return "altered"
        right = hmac.compare_digest(expected.encode(), vote.signature.encode("utf-8", "surrogatepass"))
        return "valid" if right else "altered"

    def cookie_key(self) -> bytes:
        """Return the key for signed cookies (itsdangerous)."""
        return self._cookies

    def csrf_token(self, session_id: str) -> str:
        """Return the token that forms of this session carry."""
        return hmac.new(self._csrf, session_id.encode("utf-8", "surrogatepass"), sha256).hexdigest()

    def seal(self, person: str, text: str) -> str:
        """Return a handle that stands for a text and tells nothing of it, for one person; always the same.

        Encrypted under a keyed hash of person and text, which is also what ``unseal`` checks.
        """
        raw = text.encode()
        mark = self._mark(person, raw)
        return base64.urlsafe_b64encode(mark + self._masked(mark, raw)).decode().rstrip("=")

    def unseal(self, person: str, handle: str) -> str | None:
        """Return the text behind a handle of this person; None for anything else."""
        try:
            sealed = base64.b64decode(handle + "=" * (-len(handle) % 4), b"-_", validate=True)
        except ValueError:
            return None
        mark, raw = sealed[:_MARK], self._masked(sealed[:_MARK], sealed[_MARK:])
        if len(mark) < _MARK or not hmac.compare_digest(mark, self._mark(person, raw)):
            return None
        return raw.decode()

    def _mark(self, person: str, raw: bytes) -> bytes:
        return hmac.new(self._handles, person.encode() + b"\0" + raw, sha256).digest()[:_MARK]

    def _masked(self, mark: bytes, raw: bytes) -> bytes:
        pad = shake_256(self._handles + mark).digest(len(raw))
        return bytes(a ^ b for a, b in zip(raw, pad, strict=True))

    def pseudonym(self, text: str) -> str:
        """Return a hash that tells nothing without the office key (people type passwords into name fields)."""
        return hmac.new(self._names, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def signed_bytes(vote: Vote) -> bytes:
    """Return what is signed: the stored columns as canonical JSON; an empty label or note counts as none."""
    return canonical_bytes(
        {
            "vote_id": vote.vote_id,
            "project": vote.project,
            "task_id": vote.task_id,
            "item_id": vote.item_id,
            "annotator": vote.annotator,
            "role": vote.role,
            "answer": vote.answer,
            "label": vote.label or None,
            "note": vote.note or None,
            "source": vote.source,
            "seconds": None if vote.seconds is None else float(vote.seconds),
            "ts": vote.at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
    )


def _derived(key: bytes, use: bytes) -> bytes:
    return hmac.new(key, b"labelproof office 1 " + use, sha256).digest()


def _is_key_id(text: str) -> bool:
    return len(text) == 8 and set(text) <= set("0123456789abcdef")
