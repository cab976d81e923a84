"""Hidden and look-alike characters: taken out for the model, named for the reviewer, kept in the trace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

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
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_JOINERS_IN_WORD = re.compile("(?<=[A-Za-z0-9\u0400-\u04ff])[\u200c\u200d](?=[A-Za-z0-9\u0400-\u04ff])")
"""Joiners are legitimate inside emoji and in Persian or Indic scripts, not between Latin letters."""
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_INSTRUCTION = re.compile(
    r"ignore (?:all |any |the |your |previous |prior |above |these |of )*(?:instructions?|rules?|guidelines?|prompts?)"
    r"|disregard (?:all |any |the |your |previous |prior |above )*(?:instructions?|rules?|guidelines?|prompts?)"
    r"|forget (?:all |everything |your |the |previous )+(?:instructions?|rules?|above|said)"
    r"|(?:answer|respond|reply|output|return|label|classify|mark|rate|score)\s+(?:with|only|this|it|as|the following)[^.\n]{0,40}"
    r"\b(?:as )?[\"'“]?(?:safe|benign|harmless|not[ _]?\w*|neither|none|option [a-z]\b|[a-z] only)\b"
    r"|you are now |new instructions?\s*:|system prompt|developer mode|jailbreak"
    r"|(?:^|\n)\s*(?:system|assistant|user)\s*:|<\|?(?:im_start|im_end|system|assistant|user|endoftext)\|?>|\[/?inst\]"
    r"|ignora (?:todas )?(?:las |tus )?instrucciones|ignoriere (?:alle |die )?(?:vorherigen )?anweisungen"
    r"|ignore[rz]? (?:toutes )?(?:les )?instructions (?:pr[ée]c[ée]dentes)?|ignore as instru[çc][õo]es"
    r"|忽略(?:之前|以上|所有)|以前の指示を無視|игнорируй (?:все )?(?:предыдущие )?инструкции",
    re.IGNORECASE,
)
_CUT = "\n[…]\n"


class Normalize(BatchStep):
    """Unicode form, hidden characters, homoglyphs, length; and the first manipulation signals."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, NormalizeStep)
        self.spec = resolved.spec

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {"item": state.item.id}

    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        return [dict(self.normalize(state.item.text)) for state in states]

    def normalize(self, raw: str) -> NormalizeOutput:
        """Return what the model will read, and what was found on the way."""
        text, found, n_hidden = raw, [], 0
        if not raw.isascii():
            text, hidden = _HIDDEN.subn("", text)
            text, joiners = _JOINERS_IN_WORD.subn("", text)
            text, bidi = _BIDI.subn("", text)
            n_hidden = hidden + joiners + bidi
            if hidden + joiners:
                found.append("hidden_characters")
            if bidi:
                found.append("bidi_controls")
            text = unicodedata.normalize(self.spec.unicode_form, text)
            if self.spec.fold_homoglyphs:
                text, folded = fold_homoglyphs(text)
                if folded:
                    found.append("homoglyphs")
        text, controls = _CONTROL.subn(" ", text)
        if controls:
            n_hidden += controls
            found.append("control_characters")
        if _INSTRUCTION.search(text):
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

    def apply(self, state: ItemState, output: Output) -> None:
        text = output["text"]
        state.text = state.item.text if text is None else text
        declared = state.item.meta.get("language")
        state.language = str(declared) if declared else output["language"]
        state.manipulation = (*state.manipulation, *output["manipulation"])
