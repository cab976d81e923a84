"""Randomness that the content to be labelled cannot know: fences, canary, audit draws."""

from __future__ import annotations

import hmac
from hashlib import blake2b

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FENCE_LENGTH = 6


class RunSecrets:
    """Keyed hashes of one secret of the store.

    The same store gives the same fences, so that a resumed run sends the same prompts. They are not part
    of any fingerprint: a fence changes no meaning.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.canary = "lp-" + self._letters(b"canary", b"", 10)

    def fence(self, item_id: str, text: str) -> str:
        """Return six random letters (28 bits) that do not occur in ``text``."""
        salt = 0
        while True:
            fence = self._letters(b"fence%d" % salt, item_id.encode(), _FENCE_LENGTH)
            if fence not in text:
                return fence
            salt += 1

    def audit_draw(self, item_id: str) -> float:
        """Return a number uniform on [0, 1), the same for the item whenever it is routed here."""
        raw = self._mac(b"audit", item_id.encode())
        return int.from_bytes(raw[:7], "big") / (1 << 56)

    def _letters(self, purpose: bytes, data: bytes, length: int) -> str:
        return "".join(_LETTERS[byte % 26] for byte in self._mac(purpose, data)[:length])

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, blake2b(purpose + b"\0" + data).digest(), "sha256")
