"""An analysis from the store: read, divide, test, say what to do; and stored, so that findings can name it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from evaluation._arrays import FloatArray
from evaluation.decomposition import Decomposition, decompose
from evaluation.intervals import wilson
from evaluation.slice_finder import SliceSearch, find_slices
from labelproof.report.quality_data import filled_in
from labelproof.report.rca import queries as sql
from labelproof.report.rca.actions import with_actions
from labelproof.report.rca.causes import BY_VERSION, cause_rows, causes_of_errors, error_cases, weigh_causes
from labelproof.report.rca.columns import Columns, Mix, columns_of, mix_of
from labelproof.report.rca.data import Bools, Judged, read_judged, wrong_of
from labelproof.report.rca.evidence import Evidence
from labelproof.report.rca.facts import Facts, guideline_of, read_facts
from labelproof.report.rca.marks import encoded, read_marks
from labelproof.report.rca.metrics import Rate, parse_rate
from labelproof.report.rca.model import MixedSlice, NamedPart, RateOf, RootCauseReport
from labelproof.report.rca.periods import Period
from labelproof.report.rca.same_items import Behaviour, read_behaviour
from labelproof.report.rca.yardstick import Yardstick, corroborated, read_yardstick, rests_on
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, digest
from labelproof.spec.project import ProjectFolder
from labelproof.store import TraceStore

RESAMPLES = 1000
MOST_MIXED = 6
_NAMES = {
    "mix": "mix shift",
    "behaviour": "model behaviour",
    "reviewers": "gold / reviewers",
    "unexplained": "unexplained",
}


def analyse(
    store: TraceStore,
    folder: ProjectFolder,
    *,
    earlier: Period | None,
    later: Period,
    metric: str = "accuracy",
    now: datetime,
    seed: int = 0,
) -> RootCauseReport:
    """Return why ``metric`` changed from ``earlier`` to ``later``; without ``earlier``, what the errors of ``later`` share.

    Asks no model and changes nothing (``record`` stores it). The same store, periods and seed give the same answer.
    ``ConfigError``: an unknown metric, or periods that overlap. What cannot be answered says why in ``why_not``.
    """
    schema = folder.spec.labels
    rate = parse_rate(metric, schema)
    if earlier is not None and earlier.overlaps(later):
        raise ConfigError(
            f"the periods overlap: {earlier.name} ({earlier.dates}) and {later.name} ({later.dates})",
            hint="compare periods that follow each other, such as --from W41 --to W42",
        )
    judged = read_judged(store, folder.name, schema, rate, earlier, later)
    empty = _empty(folder.name, rate, earlier, later, judged, now)
    if judged.why_not is not None:
        return empty
    facts = read_facts(store, folder, judged.rows, later)
    columns = columns_of(
        judged.rows, facts, language_column=folder.spec.monitoring.language_column, seed=seed
    )
    wrong = wrong_of(judged, rate)
    yardstick = read_yardstick(store, folder.name, earlier, later)
    if rate.kind == "truth":
        yardstick = corroborated(yardstick, judged.rows, facts, wrong)
    behaviour = None if earlier is None else read_behaviour(store, folder.name, earlier, later, facts)
    evidence = Evidence(
        rows=judged.rows,
        facts=facts,
        wrong=wrong,
        later=judged.later,
        rate=rate,
        schema=schema,
        yardstick=yardstick,
        language_column=folder.spec.monitoring.language_column,
        mix=None if earlier is None else mix_of(columns, judged.later),
        behaviour=behaviour,
        texts=encoded(facts, judged.rows),
    )
    marks = read_marks(evidence)
    tested = weigh_causes(evidence, marks, judged.weight, behaviour, seed=seed)
    errors = causes_of_errors(evidence, tested)
    cases = error_cases(evidence, errors)
    causes = with_actions(
        cause_rows(tested, errors, evidence, behaviour),
        cases,
        project=folder.name,
        again=_again(folder.name, earlier, later, metric),
        guideline=guideline_of(folder),
        facts=facts,
        yardstick=yardstick,
    )
    new_version = np.logical_or.reduce(
        [marks[cause].rows for cause in BY_VERSION if cause in marks] or [evidence.none()]
    )
    slices, slice_before = _slices(columns, wrong, judged, seed)
    report = replace(
        empty,
        why_not=None,
        after=_rate(judged.right[judged.later], judged.weight[judged.later], judged.population[1]),
        slices=slices,
        slice_before=slice_before,
        causes=causes,
        ruled_out=tuple(
            f"{row.name}: {row.line}" for row in causes if row.status == "not more than elsewhere"
        ),
        unmeasured=tuple(
            f"{row.name}: {row.line}"
            for row in causes
            if row.status == "unmeasured" and row.cause != "unexplained"
        ),
        errors=cases,
        n_errors=len(errors),
        facts=_facts(facts, yardstick, behaviour),
        sql={**judged.sql, **_statements(folder.name, later, yardstick)},
    )
    mix = evidence.mix
    if mix is None or behaviour is None:
        return report
    found = decompose(
        judged.later.astype(np.int64),
        mix.codes,
        judged.right,
        weight=judged.weight,
        suspect=rests_on(judged.rows, facts, yardstick.turned),
        right_one_gold=judged.right_one_gold,
        new_version=new_version,
        same_items=behaviour.evidence if rate.kind == "truth" else None,
        yardstick_measured=rate.kind == "truth" and (yardstick.is_measured or judged.truth_from == "gold"),
        resamples=RESAMPLES,
        seed=seed,
    )
    return _with_change(report, found, mix, judged, behaviour, yardstick, rate)


def _again(project: str, earlier: Period | None, later: Period, metric: str) -> str:
    """Return the command that asks the same of the same days, whenever it is typed."""
    since = "" if earlier is None else f" --from {earlier.asked}"
    of = "" if metric == "accuracy" else f" --metric {shlex.quote(metric)}"
    return f"labelproof rca {project}{since} --to {later.asked}{of}"


def record(store: TraceStore, report: RootCauseReport, *, max_errors: int = 1000) -> str:
    """Store an analysis and the causes of its errors as one batch; return its id. The same analysis twice is one."""
    known = store.query(
        "SELECT count(*) AS n FROM root_causes WHERE rca_id = ?",
        [report.rca_id],
        fresh=True,
        only=["root_causes"],
    ).to_pylist()
    if known[0]["n"] or report.why_not is not None:
        return report.rca_id
    errors = report.errors[:max_errors]
    first = report.earlier
    body = report.to_json()
    body.pop("errors")  # one row each, below
    store.append_many(
        {
            "root_causes": {
                "rca_id": [report.rca_id],
                "project": [report.project],
                "metric": [report.metric],
                "from_start": [None if first is None else first.start],
                "from_end": [None if first is None else first.end],
                "to_start": [report.later.start],
                "to_end": [report.later.end],
                "change": [report.change],
                "headline": [report.headline],
                "report_json": [orjson.dumps(body, default=str).decode()],
                "ts": [report.at],
            },
            "error_causes": {
                "rca_id": [report.rca_id] * len(errors),
                "project": [report.project] * len(errors),
                "item_id": [case.item_id for case in errors],
                "strategy_fp": [case.strategy_fp for case in errors],
                "label": [case.label for case in errors],
                "right_label": [case.right_label for case in errors],
                "cause": [case.cause for case in errors],
                "evidence_json": [orjson.dumps(dict(case.fits)).decode() for case in errors],
                "ts": [report.at] * len(errors),
            },
        }
    )
    return report.rca_id


def _empty(
    project: str, rate: Rate, earlier: Period | None, later: Period, judged: Judged, now: datetime
) -> RootCauseReport:
    moments = [one.isoformat() for p in (earlier, later) if p is not None for one in (p.start, p.end)]
    rows = [[row.item_id, row.strategy_fp, row.label, row.truth, row.later] for row in judged.rows]
    what = ["rca", project, rate.text, moments, rows]
    return RootCauseReport(
        rca_id="C-" + digest(what).removeprefix(PREFIX)[:12],
        project=project,
        metric=rate.text,
        earlier=earlier,
        later=later,
        before=None,
        after=None,
        change=None,
        low=None,
        high=None,
        lower_is_better=rate.lower_is_better,
        parts=(),
        decomposition=None,
        mixed_by=None,
        mixed=(),
        slices=None,
        slice_before={},
        causes=(),
        ruled_out=(),
        unmeasured=(),
        errors=(),
        n_errors=0,
        notes=judged.notes,
        sql=judged.sql,
        at=now if now.tzinfo else now.replace(tzinfo=UTC),
        why_not=judged.why_not,
    )


def _with_change(
    report: RootCauseReport,
    found: Decomposition,
    mix: Mix,
    judged: Judged,
    behaviour: Behaviour,
    yardstick: Yardstick,
    rate: Rate,
) -> RootCauseReport:
    n_before, n_after = judged.population
    lines = {
        "mix": _mix_line(found, mix),
        "behaviour": behaviour.line
        if behaviour.evidence is not None and rate.kind == "truth"
        else _timing(found, behaviour),
        "reviewers": _reviewer_line(yardstick, judged),
        "unexplained": "what none of these measures, mix inside the slices included",
    }
    parts = tuple(
        NamedPart(
            name=_NAMES[part.name],
            value=part.value,
            low=part.low,
            high=part.high,
            measured=part.measured,
            line=lines[part.name],
        )
        for part in found.parts
    )
    ruled = list(report.ruled_out)
    if behaviour.unchanged:
        ruled.insert(0, f"a change of the model: {behaviour.line}")
    unmeasured = list(report.unmeasured)
    if behaviour.evidence is None:
        unmeasured.insert(0, behaviour.line)
    shown = sorted(found.slices, key=lambda one: -max(abs(one.mix), abs(one.within)))[:MOST_MIXED]
    return replace(
        report,
        before=RateOf(
            value=found.before,
            low=found.before_interval[0],
            high=found.before_interval[1],
            n=found.n_before,
            population=n_before,
        ),
        after=RateOf(
            value=found.after,
            low=found.after_interval[0],
            high=found.after_interval[1],
            n=found.n_after,
            population=n_after,
        ),
        change=found.change,
        low=found.low,
        high=found.high,
        parts=parts,
        decomposition=found,
        mixed_by=mix.by,
        mixed=tuple(
            MixedSlice(
                name=mix.names[one.code],
                n_before=one.n_before,
                n_after=one.n_after,
                share_before=one.share_before,
                share_after=one.share_after,
                rate_before=one.rate_before,
                rate_after=one.rate_after,
                mix=one.mix,
                within=one.within,
            )
            for one in shown
        ),
        ruled_out=tuple(ruled),
        unmeasured=tuple(unmeasured),
    )


def _mix_line(found: Decomposition, mix: Mix) -> str:
    if mix.by is None:
        return "no metadata, language, length or topic divides the items"
    first = max(found.slices, key=lambda one: abs(one.mix))
    p = min(mix.p_values.values(), default=1.0)
    moved = f"{mix.names[first.code]} went from {100 * first.share_before:.0f} % to {100 * first.share_after:.0f} % of the items"
    return f"no column's shares changed beyond chance (p = {p:.2g}); {moved}" if p > 0.05 else moved


def _timing(found: Decomposition, behaviour: Behaviour) -> str:
    if found.behaviour_from == "new version":
        return "items of a new version beside items of the old one, in the same slices"
    if found.behaviour_from == "new version, timing only":
        return "a new version answered everything: known by timing only"
    return "not measured: " + behaviour.line.removeprefix("sentinel: ")


def _reviewer_line(yardstick: Yardstick, judged: Judged) -> str:
    if judged.truth_from == "gold":
        n = int((judged.right != judged.right_one_gold).sum())
        return f"the gold label of {n} items changed between the periods"
    if not yardstick.is_measured:
        return "not measured: no checks or double votes in both periods"
    if yardstick.turned:
        return "; ".join(one.words for one in yardstick.checks if one.turned)
    return f"nobody turned: {yardstick.n_checks} checks and double votes in the later period"


def _slices(
    columns: Columns, wrong: Bools, judged: Judged, seed: int
) -> tuple[SliceSearch, Mapping[str, tuple[int, int]]]:
    """Return the worst slices of the later period, and how they stood before."""
    later = judged.later
    labelled = np.array([row.decision != "failed" for row in judged.rows], dtype=np.bool_)
    if wrong[
        labelled & later
    ].any():  # failed items are a cause of their own, and would be every slice's first line
        later = later & labelled
    at = np.flatnonzero(later)
    mine = {name: [values[i] for i in at.tolist()] for name, values in columns.values.items()}
    found = find_slices(mine, wrong[later], weight=judged.weight[later], seed=seed)
    before = {}
    for one in found.slices:
        inside = ~judged.later
        for name, value in one.conditions:
            inside = inside & np.array([given == value for given in columns.values[name]], dtype=np.bool_)
        before[one.name] = (int(wrong[inside].sum()), int(inside.sum()))
    return found, before


def _rate(right: Bools, weight: FloatArray, population: int) -> RateOf:
    """Return a single period's rate; the interval is Wilson's for as many rows as the weights are worth (Kish 1965)."""
    value = float(np.average(right, weights=weight))
    worth = max(1, round(float(weight.sum() ** 2 / (weight**2).sum())))
    found = wilson(round(value * worth), worth)
    low, high = found.low or 0.0, 1.0 if found.high is None else found.high
    return RateOf(
        value=value, low=min(low, value), high=max(high, value), n=len(right), population=population
    )


def _facts(facts: Facts, yardstick: Yardstick, behaviour: Behaviour | None) -> dict[str, Any]:
    return {
        "sentinel": None if behaviour is None else behaviour.line,
        "provider_before": dict(facts.marks_before),
        "provider_after": dict(facts.marks_after),
        "versions": [
            {"strategy": one.strategy, "fp": one.fp, "n_before": one.n_before, "n_after": one.n_after}
            for one in facts.versions
        ],
        "reviewers": [one.words for one in yardstick.checks],
        "turned": sorted(yardstick.turned),
    }


def _statements(project: str, later: Period, yardstick: Yardstick) -> dict[str, str]:
    window = {"project": project, "start": later.start, "end": later.end}
    return {
        "providers": filled_in(sql.PROVIDERS, window),
        "versions": filled_in(sql.VERSIONS, window),
        "sentinel": filled_in(sql.SENTINEL, {"project": project, "end": later.end}),
        "checks": filled_in(sql.REVIEWER_CHECKS, {**window, "since": yardstick.since}),
        "pairs": filled_in(sql.REVIEWER_PAIRS, {**window, "since": yardstick.since}),
    }
