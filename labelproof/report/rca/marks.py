"""The evidence on each row, errors and right items alike: which marks of a cause it carries, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from agents.encoder import TfidfEncoder, Vectors
from agents.instructions import InstructionFilter
from evaluation.enrichment import fisher_greater
from evaluation.text_drift import UNKNOWN
from labelproof.report.rca.columns import languages_of
from labelproof.report.rca.data import JudgedRow
from labelproof.report.rca.evidence import Evidence, Mark, mark, unmeasured
from labelproof.report.rca.facts import Facts
from labelproof.report.rca.model import Cause
from labelproof.report.rca.version_marks import provider_marks, version_marks
from labelproof.report.rca.yardstick import rests_on, took_part
from labelproof.spec.hashing import short

MAIN_LANGUAGE = 0.10
"""A language with at least this share of earlier rows is one the project knows."""
ALONE_LANGUAGE = 1 / 3
"""Without earlier rows, a language needs this share: what came in new would else be its own reference."""
_LOW, _LONG, _SHORT = 0.10, 0.95, 0.02
"""Quantiles of the earlier rows: of confidence, of length."""
_SURE = 0.9
_NEIGHBOURS, _MOST_AGREE = 7, 0.7
_CHUNK = 500
_SIMILAR = 0.3
_GREW = 0.01
"""A slice's share grew if chance would show it less often (Bonferroni over slices)."""


def read_marks(evidence: Evidence) -> dict[Cause, Mark]:
    """Return the mark of each cause that the metric knows, in the order of ``CAUSES``."""
    makers: list[Callable[[Evidence], list[Mark]]] = [
        _parse_failure,
        _manipulation,
        _reviewer,
        _language,
        provider_marks,
        version_marks,
        _ambiguity,
        _traffic,
        _gold_doubt,
        _length,
        _no_similar,
        _low_confidence,
    ]
    if evidence.rate.kind == "check":
        makers = [_reviewer, _language, _traffic, _length]
    elif evidence.rate.kind == "task":
        makers = [_manipulation, _reviewer, _language, _traffic, _length, _no_similar, _low_confidence]
    elif evidence.rate.kind == "decision":
        makers = [one for one in makers if one not in (_reviewer, _ambiguity, _gold_doubt)]
    return {one.cause: one for maker in makers for one in maker(evidence)}


def encoded(facts: Facts, rows: Sequence[JudgedRow]) -> Vectors:
    """Return unit vectors (n, d) of the rows' texts, by their n-grams; the same text is read once."""
    texts = [facts.item(row).text for row in rows]
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    return TfidfEncoder().encode(list(place))[[place[text] for text in texts]]


def _parse_failure(e: Evidence) -> list[Mark]:
    why = {}
    for i, row in enumerate(e.rows):
        run = e.facts.run(row)
        if row.decision == "failed":
            why[i] = f"failed: {run.error or row.reason or 'no usable answer'}"[:200]
        elif run.step_failed:
            why[i] = f"step {run.failed_step} failed: {run.error or ''}"[:200]
    return [mark("parse_failure", e, why)]


def _manipulation(e: Evidence) -> list[Mark]:
    filters = InstructionFilter(e.schema.leaves)
    why = {}
    for i, row in enumerate(e.rows):
        signals = e.facts.run(row).manipulation
        if signals:
            why[i] = f"the steps found {', '.join(signals)}"
        elif row.reason.startswith("manipulation"):
            why[i] = row.reason[:200]
        elif filters.matches(e.facts.item(row).text):
            why[i] = "the text addresses the machine (instruction-like)"
    return [mark("manipulation", e, why)]


def _reviewer(e: Evidence) -> list[Mark]:
    known = e.yardstick
    if not known.is_measured:
        why = "no reviewer has checks (hidden gold) or double votes both before and in the later period"
        return [unmeasured("reviewer", e, why)]
    decided = took_part if e.rate.kind == "task" else rests_on
    on = decided(e.rows, e.facts, known.turned)
    fallen = "; ".join(one.words for one in known.checks if one.turned)
    same = None
    if not known.turned:
        worst = max(known.checks, key=lambda one: -1.0 if one.p_value is None else 1 - one.p_value)
        p = "" if worst.p_value is None else f", p = {worst.p_value:.2f}"
        same = f"nobody's answers fell beyond chance (worst: {worst.words}{p})"
    return [mark("reviewer", e, {int(i): f"decided by {fallen}" for i in np.flatnonzero(on)}, same=same)]


def _language(e: Evidence) -> list[Mark]:
    languages, guessed = languages_of([e.facts.item(row) for row in e.rows], e.language_column)
    of = [
        language
        for language, usual in zip(languages, e.reference, strict=True)
        if usual and language != UNKNOWN
    ]
    counts = Counter(of)
    least = MAIN_LANGUAGE if (~e.later).any() else ALONE_LANGUAGE
    main = {name for name, n in counts.items() if n >= least * len(of)}
    if not main:
        return [unmeasured("language", e, "no item's language is known")]
    how = "guessed" if guessed else "declared"
    why = {
        i: f"{how} language {language}, usual: {', '.join(sorted(main))}"
        for i, language in enumerate(languages)
        if language not in main and language != UNKNOWN
    }
    return [mark("language", e, why)]


def _ambiguity(e: Evidence) -> list[Mark]:
    why, asked = {}, 0
    for i, row in enumerate(e.rows):
        votes = e.facts.of_task(row)
        asked += len(votes.votes) > 1
        if len(votes.labels) > 1:
            why[i] = f"people said {' and '.join(sorted(votes.labels))}"
        elif votes.raised:
            why[i] = f"{votes.raised} of {len(votes.votes)} people could not say"
        elif row.state in ("disputed", "escalated"):
            why[i] = f"the question is {row.state}"
    if not asked and not why:
        return [
            unmeasured("guideline_ambiguity", e, "no item was judged by two people, so none can disagree")
        ]
    return [mark("guideline_ambiguity", e, why)]


def _traffic(e: Evidence) -> list[Mark]:
    """Items of a slice whose share grew; chosen by shares alone, so that their errors can be tested."""
    mix = e.mix
    if mix is None:
        return []
    if mix.by is None:
        return [unmeasured("traffic_mix", e, "no metadata, language, length or topic divides the items")]
    grown = {}
    for code, name in enumerate(mix.names):
        inside = mix.codes == code
        after, before = int((inside & e.later).sum()), int((inside & ~e.later).sum())
        n_after, n_before = int(e.later.sum()), int((~e.later).sum())
        if n_after and n_before:
            p = fisher_greater(after, n_after - after, before, n_before - before)
            if p * len(mix.names) <= _GREW:
                grown[code] = f"{name}: {before} of {n_before} items before, {after} of {n_after} now"
    why = {i: grown[code] for i, code in enumerate(mix.codes.tolist()) if code in grown}
    same = f"no slice by {mix.by} is a larger share of the items than before"
    return [mark("traffic_mix", e, why, same=same)]


def _gold_doubt(e: Evidence) -> list[Mark]:
    """Errors of a sure machine that a second signal sides with: other versions, the critic, similar items, a person."""
    similar = _similar_truth(e)
    why = {}
    for i in np.flatnonzero(e.wrong).tolist():
        row, run = e.rows[i], e.facts.run(e.rows[i])
        if row.label is None or row.truth is None or row.confidence is None or row.confidence < _SURE:
            continue
        agree = [
            f"version {short(fp)}"
            for fp, label in e.facts.other_answers.get(row.item_id, ())
            if fp != row.strategy_fp and label == row.label
        ][:2]
        agree += [
            name
            for name, label in (("the critic", run.critic), ("the consensus", run.consensus))
            if label == row.label
        ]
        if row.label in e.facts.of_task(row).labels:
            agree.append("a reviewer")
        if i in similar:
            agree.append(similar[i])
        if agree:
            why[i] = f"confidence {row.confidence:.2f}; so say {', '.join(agree)}, against {row.truth}"[:240]
    return [mark("gold_doubt", e, why)]


def _similar_truth(e: Evidence) -> dict[int, str]:
    """Return errors whose nearest rows were found to be what the machine says: "6 of 7 similar items are spam"."""
    known = np.array([row.truth is not None for row in e.rows], dtype=np.bool_)
    mine = [i for i in np.flatnonzero(e.wrong & known).tolist() if e.rows[i].label is not None]
    if known.sum() <= 3 * _NEIGHBOURS or not e.texts.size:
        return {}
    base = np.flatnonzero(known)
    own = np.unique([row.item_id for row in e.rows], return_inverse=True)[1]
    found = {}
    for start in range(0, len(mine), _CHUNK):
        part = mine[start : start + _CHUNK]
        near = e.texts[part] @ e.texts[base].T
        near[own[part][:, None] == own[base][None, :]] = -1.0
        nearest = np.argpartition(-near, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        for at, i in enumerate(part):
            label = e.rows[i].label
            same = sum(e.rows[base[j]].truth == label for j in nearest[at].tolist())
            if same >= _MOST_AGREE * _NEIGHBOURS and float(near[at].max()) > _SIMILAR:
                found[i] = f"{same} of {_NEIGHBOURS} similar items ({label})"
    return found


def _length(e: Evidence) -> list[Mark]:
    n_chars = np.array([e.facts.item(row).n_chars for row in e.rows], dtype=np.float64)
    usual = n_chars[e.reference & (n_chars > 0)]
    if not usual.size:
        return [unmeasured("length", e, "no item's text is stored")]
    long, short_ = float(np.quantile(usual, _LONG)), float(np.quantile(usual, _SHORT))
    why = {}
    for i, row in enumerate(e.rows):
        cut = e.facts.run(row).cut_chars
        if cut:
            why[i] = f"{cut} characters were cut off"
        elif n_chars[i] > long:
            why[i] = f"{n_chars[i]:.0f} characters, 95 % of usual items have at most {long:.0f}"
        elif 0 < n_chars[i] < short_:
            why[i] = f"{n_chars[i]:.0f} characters, 98 % of usual items have more"
    return [mark("length", e, why)]


def _no_similar(e: Evidence) -> list[Mark]:
    """Items far from every example: by the retrieve step, else by their words to the gold that may be learned from."""
    shown = [e.facts.run(row).similarity for row in e.rows]
    if sum(value is not None for value in shown) >= e.n / 2:
        near, what = [np.nan if value is None else value for value in shown], "the nearest example shown"
    elif e.facts.examples:
        bank = TfidfEncoder().encode(list(e.facts.examples))
        near = [
            float(value)
            for at in range(0, e.n, _CHUNK)
            for value in (e.texts[at : at + _CHUNK] @ bank.T).max(axis=1).tolist()
        ]
        what = "the nearest gold example"
    else:
        return [
            unmeasured("no_similar_example", e, "no examples are in use, and gold has none to learn from")
        ]
    values = np.asarray(near, dtype=np.float64)
    usual = values[e.reference & ~np.isnan(values)]
    if not usual.size:
        return [unmeasured("no_similar_example", e, "no earlier item was shown examples")]
    least = float(np.quantile(usual, _LOW))
    why = {
        i: f"{what} has similarity {value:.2f}, 90 % of usual items reach {least:.2f}"
        for i, value in enumerate(near)
        if value < least
    }
    return [mark("no_similar_example", e, why)]


def _low_confidence(e: Evidence) -> list[Mark]:
    values = np.array([np.nan if row.confidence is None else row.confidence for row in e.rows])
    usual = values[e.reference & ~np.isnan(values)]
    if not usual.size:
        return [unmeasured("low_confidence", e, "no confidence is stored")]
    least = float(np.quantile(usual, _LOW))
    why = {
        i: f"confidence {value:.2f}, 90 % of usual items reach {least:.2f}"
        for i, value in enumerate(values.tolist())
        if value < least
    }
    return [mark("low_confidence", e, why)]
