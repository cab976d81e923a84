"""Hidden and look-alike characters: taken out for the model, named for the reviewer, kept in the trace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from agents.instructions import InstructionFilter
from agents.resolve import ResolvedStep
from agents.state import ItemState
from agents.steps.base import BatchStep, Output, Resources
from agents.text import fold_homoglyphs, guess_script
from labelproof.spec.strategy import NormalizeStep


class NormalizeOutput(TypedDict):
    """``text`` is null when nothing changed; ``manipulation`` names what was found."""

    text: str | None
    language: str | None
    manipulation: list[str]
    n_hidden: int
    cut_chars: int


_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    "|[\ufe00-\ufe0f\U000e0100-\U000e01ef](?=[\ufe00-\ufe0f\U000e0100-\U000e01ef])"
    "|(?<=[A-Za-z])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""What nobody sees. A single variation selector belongs to its emoji or ideograph; a row of them smuggles."""
_LETTER = "A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u052f"
_JOINERS_IN_WORD = re.compile(f"(?<=[{_LETTER}])[\u200c\u200d]+(?=[{_LETTER}])")
"""Joiners are legitimate inside emoji and in Persian or Indic scripts, not between Latin letters."""
_SUSPICIOUS = re.compile(
    "[\U000e0020-\U000e007f]{4}"
    f"|[{_LETTER}][\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u3164\ufeff\uffa0]+[{_LETTER}]"
    "|[A-Za-z][\ufe00-\ufe0f\U000e0100-\U000e01ef]"
    "|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{3}|[\u200b-\u200d\u2060-\u2064\ufeff]{4}"
)
"""Hidden inside a word, or a hidden message. A byte-order mark, direction marks between words and soft
hyphens come with copied text: they are taken out and counted, and raise no signal."""
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f")
"""The flags of England, Scotland and Wales are spelled with tags."""
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_OVERRIDE = re.compile("[\u202d\u202e]")
"""Overrides reverse what is read; embeddings and isolates only keep names in their place."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNENCODED = re.compile("[\x80-\x9f\ud800-\udfff]")
"""Bytes of Windows-1252 read as Latin-1, and halves of characters: accidents of earlier software."""
_CP1252 = {
    code: bytes([code]).decode("cp1252", "replace").replace("\ufffd", " ") for code in range(0x80, 0xA0)
}
_CUT = "\n[…]\n"


class Normalize(BatchStep):
    """Unicode form, hidden characters, homoglyphs, length; and the first manipulation signals."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, NormalizeStep)
        self.spec = resolved.spec
        self._instructions = InstructionFilter(resources.schema.leaves)

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {"item": state.item.id}

    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        return [dict(self.normalize(state.item.text)) for state in states]

    def normalize(self, raw: str) -> NormalizeOutput:
        """Return what the model will read, and what was found on the way."""
        text, n_hidden = raw, 0
        found: list[str] = []
        if not raw.isascii():
            text, found, n_hidden = self._visible(raw)
        text, controls = _CONTROL.subn(" ", text)
        if controls:
            n_hidden += controls
            found.append("control_characters")
        if self._instructions.matches(text):
            found.append("instruction_like")
        text = text.strip()
        cut = max(0, len(text) - self.spec.max_chars)
        if cut:
            head = (self.spec.max_chars * 2) // 3
            text = text[:head] + _CUT + text[len(text) - (self.spec.max_chars - head) :]
        return {
            "text": None if text == raw else text,
            "language": None if raw.isascii() else guess_script(text),
            "manipulation": found,
            "n_hidden": n_hidden,
            "cut_chars": cut,
        }

    def _visible(self, raw: str) -> tuple[str, list[str], int]:
        """Return the text without what nobody sees, the signals, and how many characters were hidden."""
        found: list[str] = []
        plain = _FLAG.sub("\U0001f3f4", raw) if "\U0001f3f4" in raw else raw
        text, hidden = _HIDDEN.subn("", plain)
        text, joiners = _JOINERS_IN_WORD.subn("", text)
        text, bidi = _BIDI.subn("", text)
        if hidden + joiners and (_SUSPICIOUS.search(plain) or not text.strip()):
            found.append("hidden_characters")
        if bidi and _OVERRIDE.search(plain):
            found.append("bidi_controls")
        text = _UNENCODED.sub(lambda match: _CP1252.get(ord(match[0]), "\ufffd"), text)
        text = unicodedata.normalize(self.spec.unicode_form, text)
        if self.spec.fold_homoglyphs:
            text, folded = fold_homoglyphs(text)
            if folded:
                found.append("homoglyphs")
        return text, found, hidden + joiners + bidi

    def apply(self, state: ItemState, output: Output) -> None:
        text = output["text"]
        state.text = state.item.text if text is None else text
        declared = state.item.meta.get("language")
        state.language = str(declared) if declared else output["language"]
        state.manipulation = (*state.manipulation, *output["manipulation"])
