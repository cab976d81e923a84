"""Scripts, look-alike letters and disguises: small text facts used by normalization and tools."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections import Counter
from functools import lru_cache

_CYRILLIC = "аАеЕоОрРсСхХуУіІјЈѕЅһԁԛԝВМНКТӏ"
_LATIN = "aAeEoOpPcCxXyYiIjJsShdqwBMHKTl"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανρ"
_GREEK_AS = "ABEZHIKMNOPTYXoavp"
_TO_LATIN = str.maketrans(_CYRILLIC + _GREEK, _LATIN + _GREEK_AS)
_TO_CYRILLIC = str.maketrans("aAeEoOpPcCxXyYiBMHKT", "аАеЕоОрРсСхХуУіВМНКТ")
_LATIN_ASCII = re.compile(r"[A-Za-z]")
_FOREIGN = re.compile(r"[\u0370-\u03ff\u0400-\u052f]")
_NOT_CYRILLIC = re.compile(r"[A-Za-z\u0370-\u03ff]")
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_BORROWED = re.compile(r"[A-Za-z]{2,}[\u0400-\u052f]{1,3}\Z|[A-Z]{2,}[\u0400-\u052f]+\Z")
"""A Latin word with a Cyrillic ending ("VIPов", "YouTubeе") as Russian writes it."""
_SYMBOL = re.compile(r"[αβνρ][A-Za-z0-9]+\Z|[A-Za-z0-9]+[αβνρ]\Z")
"""One Greek letter at a word's edge ("TNFα"): a symbol of science."""
_LEET = str.maketrans("013457@$!|", "oieastasil")
_LEET_SIGN = re.compile(r"[013457@$!|]")
_PLAIN_NUMBER = re.compile(r"[\d.,:/%$€£+-]+(?:[A-Za-z]{1,3})?\Z")
_B64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{12,}={0,2}(?![A-Za-z0-9+/=])")
_SPACED = re.compile(r"\b(?:\w[ .\-_*]){3,}\w\b")
_MOST_CHARS = 20_000
"""Disguises are looked for in this many characters: the content is hostile, and may be long."""


def fold_homoglyphs(text: str) -> tuple[str, int]:
    """Return ``text`` with look-alike letters inside mixed-script words written in the word's main
    script, and how many words were changed.

    A word is changed only if it then is in one script. Words wholly in one script stay, and so do
    honest mixtures: Latin loans with a Russian ending, single Greek letters as symbols.
    """
    if _FOREIGN.search(text) is None:
        return text, 0
    changed = 0
    cyrillic = guess_script(text) == "cyrillic"

    def fold(match: re.Match[str]) -> str:
        nonlocal changed
        word = match[0]
        if _FOREIGN.search(word) is None or _LATIN_ASCII.search(word) is None:
            return word
        if _SYMBOL.match(word) or (cyrillic and _BORROWED.match(word)):
            return word
        for table, other in ((_TO_LATIN, _FOREIGN), (_TO_CYRILLIC, _NOT_CYRILLIC)):
            folded = word.translate(table)
            if other.search(folded) is None:
                changed += 1
                return folded
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
    for character, n in Counter(text[:400]).items():
        script = _script(character)
        if script is not None:
            counts[script] = counts.get(script, 0) + n
    return max(counts, key=lambda name: counts[name]).lower() if counts else None


def decode_disguises(text: str) -> dict[str, str]:
    """Return readings of ``text`` under common disguises: base64, leetspeak, spaced-out letters,
    homoglyphs; only those that change it. Keys name the disguise. Reads the first 20 000 characters.
    """
    text = text[:_MOST_CHARS]
    found: dict[str, str] = {}
    decoded = [plain for blob in _B64.findall(text)[:20] if (plain := _base64(blob)) is not None]
    if decoded:
        found["base64"] = " | ".join(decoded)
    folded, n_folded = fold_homoglyphs(text)
    if n_folded:
        found["homoglyphs"] = folded
    leet = re.sub(r"\S+", lambda match: _unleet(match[0]), text)
    if leet != text:
        found["leetspeak"] = leet
    joined = _SPACED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), text)
    if joined != text:
        found["spaced_letters"] = joined
    return found


def _unleet(word: str) -> str:
    """Return a word with its digits read as letters; numbers, units and final exclamation marks stay."""
    core = word.rstrip("!|?.,;:\"')")
    if _LATIN_ASCII.search(core) is None or _LEET_SIGN.search(core) is None or _PLAIN_NUMBER.match(core):
        return word
    return core.translate(_LEET) + word[len(core) :]


def _base64(blob: str) -> str | None:
    try:
        plain = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return plain if plain.isprintable() and len(plain) >= 4 else None
