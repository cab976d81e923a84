"""Scripts, look-alike letters and disguises: small text facts used by normalization and tools."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from functools import lru_cache

_CYRILLIC = "аАеЕоОрРсСхХуУіІјЈѕЅһԁԛԝВМНКТ"
_LATIN = "aAeEoOpPcCxXyYiIjJsShdqwBMHKT"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρ"
_GREEK_AS = "ABEZHIKMNOPTYXoavp"
_TO_LATIN = str.maketrans(_CYRILLIC + _GREEK, _LATIN + _GREEK_AS)
_LATIN_ASCII = re.compile(r"[A-Za-z]")
_LOOKALIKE = re.compile(f"[{_CYRILLIC}{_GREEK}]")
_WORD = re.compile(r"\w+", re.UNICODE)
_LEET = str.maketrans("013457@$!|", "oieastasil")
_B64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{12,}={0,2}(?![A-Za-z0-9+/=])")
_SPACED = re.compile(r"\b(?:\w[ .\-_*]){3,}\w\b")


def fold_homoglyphs(text: str) -> tuple[str, int]:
    """Return ``text`` with look-alike letters inside mixed-script words written in Latin, and how many
    words were changed. Words wholly in one script stay as they are.
    """
    if _LOOKALIKE.search(text) is None:
        return text, 0
    changed = 0

    def fold(match: re.Match[str]) -> str:
        nonlocal changed
        word = match[0]
        if _LATIN_ASCII.search(word) and _LOOKALIKE.search(word):
            changed += 1
            return word.translate(_TO_LATIN)
        return word

    return _WORD.sub(fold, text), changed


@lru_cache(maxsize=4096)
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    return unicodedata.name(character, "").partition(" ")[0] or None


def guess_script(text: str) -> str | None:
    """Return the most frequent script of the letters, lower case ("latin", "cyrillic", "cjk"); None
    without letters. Reads the first 400 characters.
    """
    counts: dict[str, int] = {}
    for character in text[:400]:
        script = _script(character)
        if script is not None:
            counts[script] = counts.get(script, 0) + 1
    return max(counts, key=lambda name: counts[name]).lower() if counts else None


def decode_disguises(text: str) -> dict[str, str]:
    """Return readings of ``text`` under common disguises: base64, leetspeak, spaced-out letters,
    homoglyphs; only those that change it. Keys name the disguise.
    """
    found: dict[str, str] = {}
    decoded = [plain for blob in _B64.findall(text)[:20] if (plain := _base64(blob)) is not None]
    if decoded:
        found["base64"] = " | ".join(decoded)
    folded, n_folded = fold_homoglyphs(text)
    if n_folded:
        found["homoglyphs"] = folded
    leet = re.sub(r"\S*[A-Za-z]\S*", lambda match: match[0].translate(_LEET), text)
    if leet != text:
        found["leetspeak"] = leet
    joined = _SPACED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), text)
    if joined != text:
        found["spaced_letters"] = joined
    return found


def _base64(blob: str) -> str | None:
    try:
        plain = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return plain if plain.isprintable() and len(plain) >= 4 else None
