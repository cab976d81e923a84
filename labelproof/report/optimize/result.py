"""What a search came to: its report, and the strategy and prompt files of those that reached the last round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agents.search.halving import optimism
from agents.search.space import plain
from agents.snapshots import ABSENT, diff_snapshots
from labelproof.report.optimize.ledger import spent
from labelproof.report.optimize.model import BASE, CandidateResult, SearchReport, State
from labelproof.report.optimize.plan import variant_name
from labelproof.spec.errors import ConfigError
from labelproof.spec.strategy import Strategy

if TYPE_CHECKING:
    from labelproof.report.optimize.model import Planned
    from labelproof.report.optimize.run import Search

_UNTOLD = ("params.", "prompt.", "guideline.", "models.", "kind", "when")


def search_report(search: Search, stopped: str | None, hint: str | None) -> SearchReport:
    """Return the report of a search as far as it came; at its end the files are written first."""
    prepared, plan = search.prepared, search.prepared.plan
    winners = () if stopped else winners_of(search)
    files = {} if stopped else write_files(search, winners)
    results = [_result(search, None, winners, files, stopped=stopped is not None)]
    results += [_result(search, one, winners, files, stopped=stopped is not None) for one in plan.candidates]
    usd, calls = spent(search.store, plan.search_id)
    command = None
    if winners:
        base = prepared.request.base or prepared.folder.spec.default_strategy
        arms = ",".join((base, *(files[name].stem for name in winners)))
        command = f"labelproof experiment run {plan.project} --arms {arms} --gold test"
    return SearchReport(
        plan=plan,
        gold_fp=prepared.sources.gold.fingerprint if prepared.sources.gold else "",
        candidates=tuple(results),
        winners=winners,
        optimism=None
        if stopped or search.found.last is None
        else optimism(search.found.last, len(plan.candidates)),
        spent_usd=usd,
        n_calls=calls,
        stopped=stopped,
        hint=hint,
        confirm_command=command,
        notes=tuple(search.found.notes),
    )


def write_files(search: Search, winners: Sequence[str]) -> dict[str, Path]:
    """Write winners to `strategies/NAME.yaml`, other finalists to `strategies/search/`, with the prompts they use.

    A file that is there with another text is not touched: the search writes beside it or refuses.
    """
    prepared, plan = search.prepared, search.prepared.plan
    folder = prepared.folder.folder
    files: dict[str, Path] = {}
    for rank, name in enumerate((*winners, *(one for one in search.found.alive if one not in winners))):
        one = search.candidate(name)
        for index in one.instructions:
            prompt = f"{variant_name(plan.tag, index)}.md"
            source = search.place.folder / "prompts" / prompt
            _write(folder / "prompts" / prompt, source.read_text(encoding="utf-8"))
        if name in winners:
            own = prepared.request.name or f"{plan.base[:40]}-{plan.tag}"
            stem = own if len(winners) == 1 else f"{own}-{rank + 1}"
            path = folder / "strategies" / f"{stem}.yaml"
        else:
            stem = one.strategy.name
            path = folder / "strategies" / "search" / f"{plan.search_id}-{one.id}.yaml"
        _write(path, strategy_text(one.strategy.model_copy(update={"name": stem}), _origin(search, one)))
        files[name] = path
    return files


def strategy_text(strategy: Strategy, origin: Sequence[str]) -> str:
    """Return a strategy file as a person would write it, with its origin as a comment."""
    comment = "".join(f"# {' '.join(line.split())}\n" for line in origin)
    body = yaml.safe_dump(plain(strategy), sort_keys=False, allow_unicode=True, width=110)
    return f"{comment}{body}"


def state_of(search: Search, name: str, winners: Sequence[str], *, stopped: bool) -> State:
    """Return what became of a candidate."""
    if name in search.found.failed:
        return "failed"
    if name in winners:
        return "winner"
    rounds = search.found.rounds.get(name, [])
    if rounds and not rounds[-1].survived:
        return "dropped"
    if stopped or not rounds:
        return "waiting"
    return "finalist"


def winners_of(search: Search) -> tuple[str, ...]:
    """Return the finalists that beat the base on all judged items, best first, as many as were asked for."""
    last = search.found.last
    if last is None:
        return ()
    scores = last.scored()
    return tuple(name for name in search.found.alive if scores[name].delta > 0)[: search.prepared.request.top]


def _origin(search: Search, one: Planned) -> list[str]:
    plan = search.prepared.plan
    last = search.found.rounds[one.id][-1]
    return [
        f"Candidate {one.id} of search {plan.search_id}: {plan.base} with {one.says}.",
        f"Tuning gold, {last.n_items} items: {plan.metric} {last.score.value:.3f}, {last.score.delta:+.3f} against the base.",
        f"It is the best of {len(plan.candidates)} by that gold, so expect less on new items.",
        "Nothing is proven before an experiment on gold that the search did not see.",
    ]


def _result(
    search: Search, one: Planned | None, winners: Sequence[str], files: Mapping[str, Path], *, stopped: bool
) -> CandidateResult:
    prepared = search.prepared
    name = BASE if one is None else one.id
    fp, changes = _changes(search, name)
    texts = [
        search.found.variants[i].instruction
        for i in (one.instructions if one else ())
        if i in search.found.variants
    ]
    path = files.get(name)
    return CandidateResult(
        id=name,
        name=prepared.plan.base if one is None else one.name,
        says="" if one is None else one.says,
        state="base" if one is None else state_of(search, name, winners, stopped=stopped),
        fp=fp,
        reason=search.found.failed.get(name),
        rounds=tuple(search.found.rounds.get(name, ())),
        changes=tuple(changes),
        instruction=next((text for text in texts if text), None),
        file=None if path is None else str(path.relative_to(prepared.folder.folder)),
    )


def _changes(search: Search, name: str) -> tuple[str | None, list[dict[str, Any]]]:
    """Return the deployable version and what it changed of the base, step by step; nothing for one that cannot resolve."""
    base = search.deployed(BASE).resolved
    if name == BASE:
        return base.fingerprint, []
    try:
        own = search.deployed(name).resolved
    except ConfigError:
        return None, []
    found = []
    for change in diff_snapshots(base.snapshot, own.snapshot):
        if change.state == "same":
            continue
        keys = [
            {"path": key.path, "before": _value(key.before), "after": _value(key.after)}
            for key in change.keys
            if key.path.startswith(_UNTOLD)
        ]
        texts = [
            {"path": text.path, "added": text.n_added, "removed": text.n_removed} for text in change.texts
        ]
        found.append({"step": change.name, "state": change.state, "keys": keys, "texts": texts})
    return own.fingerprint, found


def _value(value: Any) -> Any:
    return "(absent)" if value is ABSENT else value


def _write(path: Path, text: str) -> None:
    if path.exists():
        if path.read_text(encoding="utf-8") == text:
            return
        raise ConfigError(
            "the search would write here, and another text is there",
            path=path,
            hint="give the winner another --name, or move the file",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
