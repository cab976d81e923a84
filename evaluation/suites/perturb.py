"""Changes of a text that must not change its label: what people type, what evaders try, what platforms do.

Every change is a pure function of a text and a random generator. What carries meaning beyond its letters stays as it is:
links, mentions, hashtags, words with digits, codes, words with an apostrophe (negations). Quoting and greetings
are no neutral framings: a quote may excuse and a greeting may soften, so none is added.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from evaluation.suites.case import rng_of

Change = Callable[[str, Random], str]
_TOKENS = re.compile(r"\S+|\s+")
_WORD = re.compile(r"([^\w@#/]*)([A-Za-z]+)([^\w@#/]*)\Z")
"""A token that is one word of plain letters between punctuation; everything else is left alone."""
_PROTECTED = re.compile(r"[@#]|www\.|://|\A(?=[^a-z]*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/=_-]{8,}\Z")
_LONG = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
_ZERO_WIDTH = "\u200b\u200c\u2060\ufeff"
_EMOJI = ("\U0001f33f", "\U0001f4ce", "\u2601\ufe0f", "\U0001fab4", "\U0001f9e6", "\U0001f4d0")
"""Things without a feeling, a threat or a second meaning."""
_BEFORE = (
    "Posting this from my phone.",
    "Second try, the first one did not load.",
    "Sorry, wrong button before.",
)
_AFTER = ("Edit: fixed a typo.", "(sent from my phone)", "Edit: line breaks.")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_LOOK_ALIKE = {
    "a": "а", "c": "с", "e": "е", "i": "і", "j": "ј", "o": "оο", "p": "р", "s": "ѕ", "x": "х", "y": "у",
    "A": "АΑ", "B": "ВΒ", "E": "ЕΕ", "H": "НΗ", "K": "КΚ", "M": "МΜ", "O": "ОΟ", "P": "РΡ", "T": "ТΤ", "X": "ХΧ",
}  # fmt: skip
"""Latin letter → Cyrillic (and Greek) letters that look the same."""
_NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl", "p": "ol",
    "a": "qsz", "s": "adwx", "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jlim", "l": "kop",
    "z": "asx", "x": "zcsd", "c": "xvdf", "v": "cbfg", "b": "vngh", "n": "bmhj", "m": "njk",
}  # fmt: skip
"""Keys beside each other on the keyboard most people have (QWERTY)."""
_ACCENTS = "\u0300\u0301\u0302\u0308"


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A named change. ``strength`` says in words how much of a text it touches; ``share`` of the words, 1 of all."""

    name: str
    strength: str
    share: float
    change: Change

    def __call__(self, text: str, *, seed: int, base_id: str = "") -> str | None:
        """Return the changed text, the same for the same arguments; None where it has nothing to change."""
        changed = self.change(text, rng_of(seed, self.name, base_id, text))
        return None if changed == text else changed


def _tokens(text: str) -> list[str]:
    return _TOKENS.findall(text)


def _is_protected(token: str) -> bool:
    return bool(_PROTECTED.search(token) or _LONG.search(token))


def _in_words(text: str, rng: Random, share: float, shortest: int, change: Change) -> str:
    """Apply ``change`` to ``share`` of the words that it can change, at least to one."""
    tokens = _tokens(text)
    able: dict[int, str] = {}
    for at, token in enumerate(tokens):
        found = _WORD.match(token)
        if found is None or len(found[2]) < shortest or _is_protected(token):
            continue
        changed = change(found[2], rng)
        if changed != found[2]:
            able[at] = found[1] + changed + found[3]
    for at in rng.sample(list(able), max(1, round(share * len(able)))) if able else ():
        tokens[at] = able[at]
    return "".join(tokens)


def _swapped(word: str, rng: Random) -> str:
    """Two neighbouring inner letters change places; the first and the last stay, which keeps a word readable."""
    places = [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]
    if not places:
        return word
    at = rng.choice(places)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _mistyped(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    key = rng.choice(_NEIGHBOURS[word[at].lower()])
    return word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]


def _missing(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    return word[:at] + word[at + 1 :]


def _looks_alike(word: str, rng: Random) -> str:
    """Fewer than half of the letters, so that the word's script stays plain."""
    places = [at for at, letter in enumerate(word) if letter in _LOOK_ALIKE]
    letters = list(word)
    for at in rng.sample(places, min(len(places), (len(word) - 1) // 2)):
        letters[at] = rng.choice(_LOOK_ALIKE[letters[at]])
    return "".join(letters)


def _hidden(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word))
    return word[:at] + rng.choice(_ZERO_WIDTH) + word[at:]


def _drawn_out(word: str, rng: Random) -> str:
    places = [at for at, letter in enumerate(word) if letter in "aeiouAEIOU"]
    if not places:
        return word
    at = places[-1]
    return word[:at] + word[at] * rng.randint(3, 5) + word[at + 1 :]


def _accented(word: str, rng: Random) -> str:
    return unicodedata.normalize(
        "NFC", "".join(c + rng.choice(_ACCENTS) if c in "aeiouAEIOU" else c for c in word)
    )


def _full_width(word: str, _: Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) for letter in word)


def _letters(text: str, choose: Callable[[int], bool]) -> str:
    """Return ``text`` with the case of its letters chosen by their number; only the case changes, letter by letter."""
    out: list[str] = []
    n = 0
    for token in _tokens(text):
        if _is_protected(token):
            out.append(token)
            continue
        for letter in token:
            other = letter.upper() if choose(n) else letter.lower()
            same = len(other) == 1 and other.casefold() == letter.casefold()
            out.append(other if same else letter)
            n += letter.isalpha()
    return "".join(out)


def _spaced_out(text: str, rng: Random) -> str:
    tokens = _tokens(text)
    gaps = [at for at, part in enumerate(tokens) if len(part) == 1 and part.isspace()]
    for at in rng.sample(gaps, max(1, len(gaps) // 3)) if gaps else ():
        tokens[at] = rng.choice(("  ", "   ", "\n"))
    return "".join(tokens)


def _louder(text: str, rng: Random) -> str:
    """Repeat each final mark; a text without one gets points of suspension."""
    times = rng.randint(2, 4)
    louder = re.sub(r"(?<=\w)([.!?])(?=\s|\Z)", lambda mark: mark[1] * times, text)
    return louder if louder != text else text + "..."


def _with_emoji(text: str, rng: Random) -> str:
    tokens = _tokens(text)
    gaps = [at for at, token in enumerate(tokens) if token.isspace()]
    if gaps:
        at = rng.choice(gaps)
        tokens[at] = f"{tokens[at]}{rng.choice(_EMOJI)} "
    return "".join(tokens) + " " + rng.choice(_EMOJI)


def _marked_down(text: str, rng: Random) -> str:
    mark = rng.choice(("**", "*", "__"))
    bold = _in_words(text, rng, 0.15, 4, lambda word, _: f"{mark}{word}{mark}")
    return rng.choice(("- ", "# ", "")) + bold


def _as_html(text: str, rng: Random) -> str:
    open_, close = rng.choice((("<p>", "</p>"), ('<div class="post">', "</div>"), ("<span>", "</span>")))
    return open_ + text.replace("\n", "<br>\n") + close


def _make(name: str, strength: str, share: float, change: Change) -> Perturbation:
    return Perturbation(name=name, strength=strength, share=share, change=change)


def _words(name: str, share: float, shortest: int, what: str, change: Change) -> Perturbation:
    return _make(
        name,
        f"{share:.0%} of the words of {shortest} letters or more: {what}",
        share,
        lambda text, rng: _in_words(text, rng, share, shortest, change),
    )


PERTURBATIONS: tuple[Perturbation, ...] = (
    _words("typo_swap", 0.15, 5, "two inner letters swapped", _swapped),
    _words("typo_neighbour", 0.15, 5, "an inner letter's neighbour on the keyboard", _mistyped),
    _words("typo_missing", 0.15, 5, "an inner letter left out", _missing),
    _words("leetspeak", 0.4, 4, "a e i o s t as 4 3 1 0 5 7", lambda word, _: word.translate(_LEET)),
    _words("homoglyphs", 0.4, 4, "Cyrillic and Greek letters that look alike", _looks_alike),
    _words("zero_width", 0.4, 4, "an invisible character inside", _hidden),
    _words("diacritics", 0.4, 4, "accents on the vowels", _accented),
    _words("full_width", 0.25, 4, "letters of double width", _full_width),
    _words("spaced_letters", 0.15, 4, "s p a c e d", lambda word, _: " ".join(word)),
    _words("dotted_letters", 0.15, 4, "d.o.t.t.e.d", lambda word, _: ".".join(word)),
    _words("repeated_letters", 0.15, 4, "the last vowel drawn out", _drawn_out),
    _make("case_upper", "all letters upper case", 1.0, lambda text, _: _letters(text, lambda _n: True)),
    _make("case_lower", "all letters lower case", 1.0, lambda text, _: _letters(text, lambda _n: False)),
    _make(
        "case_random",
        "each letter's case at random",
        1.0,
        lambda text, rng: _letters(text, lambda _n: rng.random() < 0.5),
    ),
    _make(
        "case_alternating", "eVeRy SeCoNd LeTtEr", 1.0, lambda text, _: _letters(text, lambda n: n % 2 == 1)
    ),
    _make("spacing", "a third of the spaces wider, or a line break", 0.33, _spaced_out),
    _make("punctuation", "final marks repeated two to four times", 1.0, _louder),
    _make("emoji", "two emoji of neutral things", 0.0, _with_emoji),
    _make(
        "framing_before",
        "a sentence about posting, before",
        0.0,
        lambda text, rng: f"{rng.choice(_BEFORE)} {text}",
    ),
    _make(
        "framing_after",
        "a sentence about posting, behind",
        0.0,
        lambda text, rng: f"{text} {rng.choice(_AFTER)}",
    ),
    _make("markdown", "15% of the words bold; a bullet or a heading mark", 0.15, _marked_down),
    _make("html", "wrapped in a neutral element", 0.0, _as_html),
)
"""Every change, mildest families first."""


def perturbation(name: str) -> Perturbation:
    """Return the change of that name; ``KeyError`` if there is none."""
    return {one.name: one for one in PERTURBATIONS}[name]
