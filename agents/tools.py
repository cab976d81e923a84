"""Tools of the investigating agent. What they return is evidence, cut to size, never an instruction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agents.text import decode_disguises, guess_script
from labelproof.spec.errors import LabelproofError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from agents.state import ItemState
    from agents.steps.base import Resources

_MAX_CHARS = 1200


def build_tools(names: Sequence[str], state: ItemState, resources: Resources) -> list[BaseTool]:
    """Return the LangChain tools of those names, bound to one item."""
    from langchain_core.tools import StructuredTool

    def guideline_search(query: str) -> str:
        """Find the guideline's passages about a question; returns up to three, each with its heading."""
        hits = search_guideline(resources.guideline, query)
        return "\n---\n".join(hits)[:_MAX_CHARS] or "nothing in the guideline matches"

    def similar_gold(query: str) -> str:
        """Find already decided items similar to a text; returns up to four with their labels."""
        try:
            (near,) = resources.examples.nearest([query or state.text], [state.item.id], 4, "minilm")
        except LabelproofError as error:  # no examples, or no encoder here: the agent is told so
            return f"no similar cases available: {error.message}"
        lines = [f"{e.label} (similarity {e.similarity or 0:.2f}): {e.text[:200]}" for e in near]
        return "\n".join(lines)[:_MAX_CHARS] or "there are no decided cases"

    def decode(text: str) -> str:
        """Undo disguises in a text (base64, leetspeak, spaced letters, look-alike letters)."""
        found = decode_disguises(text or state.item.text)
        return (
            "\n".join(f"{name}: {plain}" for name, plain in found.items())[:_MAX_CHARS] or "no disguise found"
        )

    def detect_language(text: str) -> str:
        """Guess the language of a text; returns a code and the script."""
        return f"{detect(text or state.text)}, script {guess_script(text or state.text)}"

    functions: dict[str, Any] = {
        "guideline_search": guideline_search,
        "similar_gold": similar_gold,
        "decode": decode,
        "detect_language": detect_language,
    }
    return [StructuredTool.from_function(functions[name], name=name) for name in names]


def search_guideline(guideline: str, query: str, *, limit: int = 3) -> list[str]:
    """Return the passages of ``guideline`` closest to ``query`` by TF-IDF cosine, best first."""
    passages, vectorizer, matrix = _indexed(guideline)
    if not passages or not query.strip():
        return []
    scores = (matrix @ vectorizer.transform([query]).T).toarray().ravel()
    order = sorted(range(len(passages)), key=lambda i: -scores[i])[:limit]
    return [passages[i] for i in order if scores[i] > 0]


def detect(text: str) -> str:
    """Return the ISO 639-1 code of the most likely language."""
    import py3langid

    return str(py3langid.classify(text)[0])


@lru_cache(maxsize=8)
def _indexed(guideline: str) -> tuple[list[str], Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    passages: list[str] = []
    heading = ""
    for block in re.split(r"\n\s*\n", guideline):
        block = block.strip()
        if block.startswith("#"):
            heading, _, block = block.partition("\n")
            block = block.strip()
        if block:
            passages.append(f"{heading.lstrip('# ')}: {block}" if heading else block)
    if not passages:
        return [], None, None
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    return passages, vectorizer, vectorizer.fit_transform(passages)
