"""Identity terms swapped: within an axis (religion, age, …) the label must not depend on which group is named.

Counterfactual token swaps as in Dixon et al. (2018, identity term templates) and Garg et al. (2019, counterfactual
fairness of text classifiers). Groups are compared within one axis only: a guideline may protect religion and not age.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

from evaluation.suites.case import Case
from labelproof.spec.errors import ConfigError
from labelproof.spec.items import MetaValue

SUITE = "bias"
_VOWEL_SOUND = re.compile(r"[aio]|e(?!u)|un(?!i)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How one group is named: form (adj, noun, plural, or whatever the templates ask for) → words."""

    group: str
    forms: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The groups that are compared with each other, in one language.

    ``swap_forms``: the forms that are looked for in real items, None for all. An adjective that also describes things
    (black, old) belongs into templates only.
    """

    name: str
    language: str
    terms: Sequence[Term]
    swap_forms: Sequence[str] | None = None

    def __post_init__(self) -> None:
        groups = [term.group for term in self.terms]
        if len(set(groups)) != len(groups) or len(groups) < 2:
            raise ConfigError(
                f"identity axis {self.name!r} ({self.language}): expected two or more groups, each once, found {groups}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A sentence with holes such as `{adj}`; `{a_adj}` puts a or an before it, `{Plural}` a capital at its start."""

    name: str
    text: str
    language: str = "en"

    @property
    def holes(self) -> tuple[str, ...]:
        return tuple(name for _, name, _, _ in Formatter().parse(self.text) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseText:
    """A real item to change."""

    base_id: str
    text: str
    meta: Mapping[str, MetaValue] = field(default_factory=dict)


def article(word: str) -> str:
    """Return a or an, by spelling: enough for the names of groups."""
    return "an" if _VOWEL_SOUND.match(word) else "a"


def filled(template: Template, term: Term) -> str | None:
    """Return the template about one group, or None when the term lacks a form it asks for."""
    values: dict[str, str] = {}
    for hole in template.holes:
        form = hole.removeprefix("a_")
        capital = form[:1].isupper()
        word = term.forms.get(form.lower() if capital else form)
        if word is None:
            return None
        word = word[:1].upper() + word[1:] if capital else word
        values[hole] = f"{article(word)} {word}" if hole.startswith("a_") else word
    return template.text.format_map(values)


def template_cases(axes: Sequence[Axis], templates: Sequence[Template]) -> list[Case]:
    """Return every template filled with every group of every axis of its language.

    A template that some group of an axis cannot fill is left out for that axis: comparisons are complete.
    """
    cases = []
    for axis in axes:
        for template in templates:
            if template.language != axis.language:
                continue
            texts = {term.group: filled(template, term) for term in axis.terms}
            for group, text in texts.items():
                if text is None or None in texts.values():
                    continue
                cases.append(
                    Case(
                        suite=SUITE,
                        functionality=axis.name,
                        base_id=f"{axis.name}/{template.language}/{template.name}",
                        text=text,
                        rule="same_in_set",
                        group=group,
                        meta={"language": template.language},
                    )
                )
    return cases


def swap_cases(axes: Sequence[Axis], bases: Sequence[BaseText]) -> list[Case]:
    """Return real items with the one group they name replaced by each other group of the axis.

    Items that name two groups of the axis are left out: a sentence that sets one against the other has no swap. All mentions are
    replaced alike, whole words only; case and number stay. An item says its language in ``meta["language"]`` (none: all).
    """
    cases = []
    for base in bases:
        language = base.meta.get("language")
        for axis in axes:
            if language is not None and str(language).partition("-")[0] != axis.language:
                continue
            terms = _swappable(axis)
            named = [term for term in terms if _pattern(term).search(base.text)]
            if len(named) != 1:
                continue
            for term in terms:
                changed = base.text if term is named[0] else swapped(base.text, named[0], term, axis.language)
                if changed == base.text:
                    continue
                cases.append(
                    Case(
                        suite=SUITE,
                        functionality=f"{axis.name} in items",
                        base_id=base.base_id,
                        text=changed,
                        rule="same_as_base",
                        base_text=base.text,
                        group=term.group,
                        meta=base.meta,
                    )
                )
    return cases


def _swappable(axis: Axis) -> list[Term]:
    """Return the axis' terms with the forms that may be swapped in items; terms without any are left out."""
    if axis.swap_forms is None:
        return list(axis.terms)
    kept = [
        Term(group=t.group, forms={form: word for form, word in t.forms.items() if form in axis.swap_forms})
        for t in axis.terms
    ]
    return [term for term in kept if term.forms]


def swapped(text: str, old: Term, new: Term, language: str = "en") -> str:
    """Return ``text`` with every mention of ``old`` replaced by ``new`` in the same form and case."""

    def swap(match: re.Match[str]) -> str:
        before, found = match["article"] or "", match["term"]
        forms = [form for form, word in old.forms.items() if word.casefold() == found.casefold()]
        known = [form for form in forms if form in new.forms]
        if not known:
            return match[0]
        form = _form_meant(known, before, text[match.end() :])
        word = _cased(
            found, old.forms[form], new.forms[form], starts=_starts_sentence(text, match.start("term"))
        )
        if before and language == "en":
            kind, gap = before.rstrip(), before[len(before.rstrip()) :]
            new_article = article(word)
            before = (new_article.capitalize() if kind[:1].isupper() else new_article) + gap
        return before + word

    return _pattern(old, articles=language == "en").sub(swap, text)


def _pattern(term: Term, *, articles: bool = False) -> re.Pattern[str]:
    words = sorted(set(term.forms.values()), key=len, reverse=True)
    lead = r"(?P<article>\b[Aa]n?\s+)?" if articles else r"(?P<article>(?!))?"
    return re.compile(rf"{lead}\b(?P<term>{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


def _form_meant(forms: Sequence[str], before: str, behind: str) -> str:
    """Return the form a word stands in where adjective and noun are spelled alike: a noun if no word follows it."""
    if "adj" in forms and "noun" in forms:
        is_noun = bool(before) and re.match(
            r"\s*(?:[^\w\s]|\Z|(?:and|or|is|was|in|who|at|on|with|for|to)\b)", behind
        )
        return "noun" if is_noun else "adj"
    return forms[0]


def _starts_sentence(text: str, at: int) -> bool:
    return not text[:at].rstrip(" \t\"'«“‘(*_") or text[:at].rstrip(" \t\"'«“‘(*_")[-1] in ".!?\n:"


def _cased(found: str, listed: str, new: str, *, starts: bool) -> str:
    """Return ``new`` written as ``found`` was: as listed, all upper or all lower case, or with a capital."""
    if found.isupper() and len(found) > 1 and not listed.isupper():
        return new.upper()
    if found == listed:
        return new[:1].upper() + new[1:] if starts and found[:1].isupper() else new
    if found.islower():
        return new.lower()
    return new[:1].upper() + new[1:] if found[:1].isupper() else new
