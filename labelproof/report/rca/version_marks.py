"""Marks of another model, another strategy version, another guideline: what answered, not what was answered."""

from __future__ import annotations

from collections.abc import Iterable

from agents.snapshots import diff_snapshots
from labelproof.report.rca.evidence import Evidence, Mark, mark, unmeasured
from labelproof.report.rca.facts import Facts, VersionFacts
from labelproof.report.rca.same_items import ALPHA, dominant
from labelproof.spec.hashing import short


def provider_marks(e: Evidence) -> list[Mark]:
    """Rows that another model answered: their calls carry a new mark, or the sentinel set says so where none is new."""
    silent = e.behaviour is not None and (p := e.behaviour.same_version_p) is not None and p <= ALPHA
    before = e.facts.marks_before
    new = sorted(set(e.facts.marks_after) - set(before))
    if silent and not new and e.behaviour is not None:
        old = {one.fp for one in e.facts.versions if one.n_before}
        words = f"the model answers otherwise under the same name: {e.behaviour.line}"[:240]
        why = {i: words for i, row in enumerate(e.rows) if row.later and row.strategy_fp in old}
        return [mark("provider_change", e, why)]
    if not before:
        return [unmeasured("provider_change", e, "no calls from before the later period are stored")]
    own = {
        one.fp for one in e.facts.versions if not one.n_before
    }  # a new version of ours may bring its own model
    if not new:
        said = ", ".join(sorted(e.facts.marks_after)) or "no call was made in the later period"
        same = f"same model and fingerprint before and after ({said})"[:160]
        return [mark("provider_change", e, {}, same=same)]
    why = {}
    for i, row in enumerate(e.rows):
        fresh = sorted(e.facts.run(row).marks - set(before))
        if fresh and row.later and row.strategy_fp not in own:
            why[i] = f"answered by {', '.join(fresh)}, before: {', '.join(sorted(before))}"[:240]
    same = f"{', '.join(new)} is new, with a new strategy version or on no judged item"[:160]
    return [mark("provider_change", e, why, same=same)]


def version_marks(e: Evidence) -> list[Mark]:
    """Rows of strategy versions that were not there before; as a guideline change if that is what differs."""
    versions = {one.fp: one for one in e.facts.versions}
    old = dominant(e.facts.versions, before=True)
    if old is None:
        why = "nothing was decided before the later period"
        return [unmeasured("strategy_change", e, why), unmeasured("guideline_change", e, why)]
    new = {fp: one for fp, one in versions.items() if not one.n_before}
    if not new:
        same = f"the same versions decided before and after ({_named(versions.values())})"
        return [mark("guideline_change", e, {}, same=same), mark("strategy_change", e, {}, same=same)]
    changed = {fp: _what_changed(e.facts, old, one) for fp, one in new.items()}
    guideline: dict[int, str] = {}
    strategy: dict[int, str] = {}
    for i, row in enumerate(e.rows):
        found = changed.get(row.strategy_fp)
        if found is None or not row.later:
            continue
        is_guideline, words = found
        (guideline if is_guideline else strategy)[i] = words
    said = f"version {_named(new.values())} is new"
    return [
        mark("guideline_change", e, guideline, same=f"{said}, and its guideline is the old one"),
        mark("strategy_change", e, strategy, same=f"{said}; only its guideline differs"),
    ]


def _what_changed(facts: Facts, old: VersionFacts, new: VersionFacts) -> tuple[bool, str]:
    """Return whether the guideline is what changed, and all changed places in words."""
    head = f"{new.strategy}@{short(new.fp)} after {old.strategy}@{short(old.fp)}"
    before, after = facts.snapshots.get(old.fp), facts.snapshots.get(new.fp)
    if not before or not after:
        return False, f"{head}: what differs is not stored"
    try:
        changes = [one for one in diff_snapshots(before, after) if one.state != "same"]
    except (KeyError, TypeError):  # a snapshot of another making
        return False, f"{head}: what differs cannot be read"
    places = [f"{one.name}.{key.path}" for one in changes for key in one.keys]
    places += [f"{one.name}.{text.path}" for one in changes for text in one.texts]
    places += [f"{one.name} {one.state}" for one in changes if one.state in ("added", "removed", "moved")]
    is_guideline = any("guideline" in place for place in places)
    shown = ", ".join(places[:4]) + (f" and {len(places) - 4} more" if len(places) > 4 else "")
    return is_guideline, f"{head}: {shown or 'what differs is not stored'}"


def _named(versions: Iterable[VersionFacts]) -> str:
    return ", ".join(f"{one.strategy}@{short(one.fp)}" for one in list(versions)[:3])
