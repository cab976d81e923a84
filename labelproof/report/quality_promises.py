"""What was promised of automatic decisions, by which certificate or project file, and whether it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from evaluation.intervals import Estimate
from labelproof.spec.labels import LabelSchema
from labelproof.spec.project import Project

Verdict = Literal["met", "not met", "not yet provable"]
REST = "*"
"""Group of all labels without a promise of their own."""
DELTA = 0.05
"""Chance of a false alarm of a monitor whose promise names none."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Promise:
    """At most a share ``alpha`` of the decisions in ``group`` (a label, or ``REST``) is wrong."""

    certificate_id: str
    """"" when the project file promises it."""
    group: str
    alpha: float
    delta: float

    @property
    def source(self) -> str:
        """Who promises it, in words."""
        who = f"certificate {self.certificate_id}" if self.certificate_id else "routing.alpha in project.yaml"
        return who if self.group == REST else f"{who}, label {self.group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseCheck:
    """A promise beside what the audits say of the ``n_decisions`` under it."""

    promise: Promise
    n_decisions: int
    right: Estimate
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        return {
            "certificate_id": self.promise.certificate_id or None,
            "group": self.promise.group,
            "promised_right_at_least": 1 - self.promise.alpha,
            "decisions": self.n_decisions,
            "right": asdict(self.right),
            "verdict": self.verdict,
        }


class Promises:
    """Finds the promise behind each automatic decision: its certificate's, else the project file's.

    ``certificates``: stored certificates by id, as ``quality_data.read_certificates`` returns them. A threshold
    without certificate promises nothing unless the project file sets ``routing.alpha`` itself.
    """

    def __init__(self, project: Project, certificates: Mapping[str, Mapping[str, Any]]) -> None:
        self._schema: LabelSchema = project.labels
        self._specs = {key: _spec(row) for key, row in certificates.items()}
        routing = project.routing
        is_general = routing.mode == "certified" or "alpha" in routing.model_fields_set
        strictest_first = sorted(routing.per_class_alpha.items(), key=lambda item: (item[1], item[0]))
        self._own = {name: (alpha, DELTA) for name, alpha in strictest_first}
        if is_general:
            self._own[REST] = (routing.alpha, DELTA)
        self.of = cache(self._of)

    def _of(self, certificate_id: str | None, label: str) -> Promise | None:
        """Return the promise of the first group (strictest first) that names one of the decision's labels."""
        stored = self._specs.get(certificate_id) if certificate_id else None
        groups = self._own if stored is None else stored
        members = self._schema.members(label)
        names = members | {name.partition("/")[0] for name in members}
        found = next((group for group in groups if group in names), REST)
        if found not in groups:
            return None
        alpha, delta = groups[found]
        return Promise(
            certificate_id="" if stored is None else str(certificate_id),
            group=found,
            alpha=alpha,
            delta=delta,
        )

    def codes(
        self, certificate_id: npt.NDArray[np.object_], label: npt.NDArray[np.object_]
    ) -> tuple[tuple[Promise, ...], npt.NDArray[np.int64]]:
        """Return the promises of decisions and, for each decision, which one it is (-1: none)."""
        pairs = list(zip(certificate_id, label, strict=True))
        found = {pair: self.of(*pair) for pair in set(pairs)}
        promises = tuple(sorted({promise for promise in found.values() if promise is not None}))
        code = {pair: -1 if promise is None else promises.index(promise) for pair, promise in found.items()}
        return promises, np.array([code[pair] for pair in pairs], dtype=np.int64)


def _spec(row: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return group -> (alpha, delta) of a stored certificate."""
    spec = orjson.loads(row["spec_json"])
    groups: Iterable[Mapping[str, Any]] = spec.get("groups") or ()
    found = {group["group"]: (float(group["alpha"]), float(group["delta"])) for group in groups}
    return {**found, REST: found.get(REST, (float(spec["alpha"]), float(spec["delta"])))}


def judge(right: Estimate, at_least: float, *, even_if: Estimate | None = None) -> Verdict:
    """Return whether a rate of right decisions is proven to reach a promise, proven to miss it, or neither.

    ``even_if``: the estimate with every disputed audit counted as wrong; a promise is only met if that meets it.
    """
    if right.low is None or right.high is None:
        return "not yet provable"
    if right.high < at_least:
        return "not met"
    worst = right if even_if is None else even_if
    is_met = right.low >= at_least and worst.low is not None and worst.low >= at_least
    return "met" if is_met else "not yet provable"
