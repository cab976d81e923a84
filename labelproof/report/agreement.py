"""How far annotators agree, and whether a model may take their place: votes of the store or of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from agents.run.workload import Workload, load_workload
from evaluation.agreement_report import AgreementReport, agreement_report
from evaluation.alt_test import AltTest, alt_test
from evaluation.dawid_skene import DawidSkene, dawid_skene
from evaluation.votes import VoteTable
from labelproof.report.vote_source import VoteRequest, VoteSource, is_file, load_votes
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import short
from labelproof.store import default_store, open_store
from labelproof.store.interchange import RowError, read_labels

_DECISIONS = """
SELECT item_id, label, decision FROM current_decisions WHERE strategy_fp = $strategy_fp ORDER BY item_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementResult:
    """Agreement on one set of votes, with the labels they point to together where annotators are known."""

    source: VoteSource
    agreement: AgreementReport
    dawid_skene: DawidSkene | None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; ``rows`` hold every number with its interval."""
        report = self.agreement
        fit = self.dawid_skene
        return {
            **self.source.to_json(),
            "distance": report.distance,
            "n_items": report.n_items,
            "n_paired": report.n_paired,
            "n_votes": report.n_votes,
            "n_annotators": report.n_annotators,
            "rows": report.rows(),
            "dawid_skene": None
            if fit is None
            else {
                "annotators": [
                    {"annotator": name, "accuracy": float(accuracy), "collapsed": fit.collapsed.get(name, 1)}
                    for name, accuracy in zip(fit.annotators, fit.accuracy, strict=True)
                ],
                "prevalence": dict(zip(fit.labels, fit.prevalence.tolist(), strict=True)),
                "converged": fit.converged,
                "n_iterations": fit.n_iterations,
                "reason": fit.reason,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AltTestResult:
    """The verdict on one model; ``model``: the file or strategy version its labels come from."""

    source: VoteSource
    model: str
    model_errors: tuple[RowError, ...]
    test: AltTest

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            **self.source.to_json(),
            "model": self.model,
            "n_model_errors": len(self.model_errors),
            "model_errors": [str(error) for error in self.model_errors[:20]],
            **asdict(self.test),
        }


def measure_agreement(request: VoteRequest, *, ordinal: bool = False, seed: int = 0) -> AgreementResult:
    """Return the agreement of the votes asked for.

    ``ordinal``: the labels are a scale in the order of the schema or of ``request.labels``.
    """
    loaded = load_votes(request)
    if ordinal:
        loaded.need_order()
    table = loaded.table
    return AgreementResult(
        source=loaded.source,
        agreement=agreement_report(table, ordinal=ordinal, multilabel=loaded.is_multilabel, seed=seed),
        dawid_skene=None if table.anonymous or not table.n_votes else dawid_skene(table),
    )


def run_alt_test(
    request: VoteRequest,
    *,
    model: str | None = None,
    strategy: str | None = None,
    epsilon: float = 0.1,
    min_items: int = 30,
    exact: bool = False,
    ordinal: bool = False,
    seed: int = 0,
) -> AltTestResult:
    """Return the alternative annotator test of a model's labels against the votes asked for.

    ``model``: a file with item and label, or else a strategy's name; ``strategy``: whose stored decisions are
    the model (default: the project's). A failed decision counts against the model.
    """
    if model is not None and strategy is not None:
        raise ConfigError("expected one model, found --model and --strategy", hint="leave one out")
    loaded = load_votes(request)
    if ordinal:
        loaded.need_order()
    errors: tuple[RowError, ...] = ()
    answers: Mapping[str, str | None]
    if model is not None and is_file(model):
        read = read_labels(model, item_column=request.item_column, labels=loaded.allowed, items=loaded.items)
        name, answers, errors = read.name, read.labels, read.errors
    elif request.project is not None:
        name, answers = _decisions_of(load_workload(request.project, model or strategy), request.store_url)
    else:
        raise ConfigError(
            "expected a model: neither a project nor a file with its labels was given",
            hint="--model FILE with the columns item and label, or name the project",
        )
    is_closed = loaded.allowed is not None and not loaded.is_multilabel
    table = loaded.table if is_closed else _with_labels(loaded.table, answers)
    return AltTestResult(
        source=loaded.source,
        model=name,
        model_errors=errors,
        test=alt_test(
            table,
            answers,
            epsilon=epsilon,
            min_items=min_items,
            alignment="ordinal" if ordinal else "masi" if loaded.is_multilabel else "exact",
            test="exact" if exact else "paper",
            seed=seed,
        ),
    )


def _decisions_of(work: Workload, store_url: str | None) -> tuple[str, dict[str, str | None]]:
    """Strategy@version and its stored labels by item id; a failed decision has none."""
    name = f"{work.strategy.name}@{short(work.resolved.fingerprint)}"
    with open_store(store_url or default_store()) as store:
        found = store.query(_DECISIONS, {"strategy_fp": work.resolved.fingerprint}, fresh=True).to_pylist()
    if not found:
        raise ConfigError(
            f"strategy {name} has decided no item yet",
            hint=f"labelproof run {work.folder.name} --strategy {work.strategy.name}",
        )
    return name, {row["item_id"]: None if row["decision"] == "failed" else row["label"] for row in found}


def _with_labels(table: VoteTable, answers: Mapping[str, str | None]) -> VoteTable:
    """The table with the labels that only the model used, last."""
    more = sorted({label for label in answers.values() if label is not None} - set(table.labels))
    return replace(table, labels=(*table.labels, *more))
