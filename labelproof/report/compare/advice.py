"""What a reader of a comparison must know beside the numbers, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from evaluation.paired import PairedDifference
from evaluation.sample_size import items_to_resolve
from labelproof.report.compare.data import SideAnswers
from labelproof.report.compare.model import Balance, MetricRow, Verdict
from labelproof.report.compare.pairs import Pairs
from labelproof.report.compare.versions import Version
from labelproof.report.experiments.rule import least_items
from labelproof.spec.experiment import ExperimentPolicy
from labelproof.spec.hashing import short
from labelproof.spec.metrics import parse_metric

_FEW = 100
_TOO_FEW = 30
"""Below so many items the difference seen is too rough to plan with."""
_MANY_TIMES = 50
"""So many times the items there are is no plan: say so instead of a number."""


def notes_on(
    a: Version,
    b: Version,
    sides: tuple[SideAnswers, SideAnswers],
    pairs: Pairs,
    balance: Balance,
    *,
    repeat: int,
    designs: Sequence[str] = (),
) -> list[str]:
    """Return what limits the comparison, most serious first."""
    found = []
    if a.fp == b.fp and repeat == 0:
        found.append(
            "A and B are the same version: every difference is 0 by construction; --repeat 1 compares it with itself asked again"
        )
    found += _incomplete(a, b, balance)
    if len(pairs.index) < _FEW:
        found.append(f"only {len(pairs.index)} items: most real differences will not show")
    if pairs.unknown:
        listed = ", ".join(pairs.unknown[:3]) + (" …" if len(pairs.unknown) > 3 else "")
        found.append(
            f"labels that the project does not have (any more) occur: {listed}; answers with them are wrong"
        )
    if pairs.answers.weight is not None:
        found.append(
            f"the gold is weighted by 1 / inclusion probability ({', '.join(designs) or 'unequal'} design): metrics are "
            "estimates for the whole pool; flips and curves count gold items alike"
        )
    if pairs.answers.cluster is not None:
        n = len(set(pairs.answers.cluster.tolist()))
        found.append(
            f"items belong to {n} clusters, which are resampled whole: intervals are wider than item by item"
        )
    found += _uncertified((a, sides[0]), (b, sides[1]))
    return [*a.notes, *b.notes, *found]


def _incomplete(a: Version, b: Version, balance: Balance) -> list[str]:
    found = []
    for version, n_missing in (
        (a, balance.n_wanted - balance.n_both - balance.n_only_a),
        (b, balance.n_wanted - balance.n_both - balance.n_only_b),
    ):
        if n_missing > 0:
            found.append(
                f"{version.name}@{short(version.fp)} has no answer to {n_missing} of {balance.n_wanted} items: only "
                f"{balance.n_both} are compared"
            )
    if not balance.ok:
        found.append(
            "answers are missing on one side far more than on the other: the items left are not a fair sample; "
            "complete the run before you trust a number here"
        )
    return found


def _uncertified(*sides: tuple[Version, SideAnswers]) -> list[str]:
    """Say which side's auto-accepts no certificate stands behind."""
    plain, nothing = [], []
    for version, side in sides:
        routing = next(
            (
                step["components"].get("routing")
                for step in version.snapshot["steps"]
                if step["kind"] == "route"
            ),
            None,
        )
        ref = f"{version.name}@{short(version.fp)}"
        if routing and routing.get("mode") == "threshold":
            plain.append(ref)
        elif not side.accepted.any():
            nothing.append(ref)
    found = []
    if plain:
        verb = "auto-accept" if len(plain) > 1 else "auto-accepts"
        found.append(f"{' and '.join(plain)} {verb} by a plain threshold: nothing certifies those decisions")
    if nothing:
        verb = "auto-accept" if len(nothing) > 1 else "auto-accepts"
        found.append(f"{' and '.join(nothing)} {verb} nothing: that needs a certificate (labelproof certify)")
    return found


def next_step(
    verdict: Verdict,
    rows: Sequence[MetricRow],
    policy: ExperimentPolicy,
    balance: Balance,
    *,
    project: str,
    a: Version,
    b: Version,
    gold_fp: str | None,
    experiment_id: str | None = None,
    repeat: int = 0,
) -> str:
    """Return the one sentence that says what to do now.

    ``experiment_id``: of two arms, whose flips people may decide. ``repeat``: which of B is compared.
    """
    if a.fp == b.fp and verdict != "inconclusive":
        return (
            f"distrust the set-up: {a.name} differs from itself asked again; look at the items that changed"
        )
    if a.fp == b.fp and balance.n_both == balance.n_wanted:
        return (
            f"nothing to decide: one version against itself shows what changes when {a.name} is asked again"
        )
    if verdict == "ship":
        return f"labelproof promote {shlex.quote(project)} {b.name}@{short(b.fp)} --why …"
    primary = next(row for row in rows if row.role == "primary")
    if verdict == "regression":
        return f"keep {a.name}@{short(a.fp)}; the flips of kind broke show what {b.name} loses"
    if not balance.ok or balance.n_both < balance.n_wanted:
        missing = a if balance.n_only_b >= balance.n_only_a and balance.n_only_b else b
        again = f" --repeat {repeat}" if repeat and missing is b else ""
        return f"label what is missing first: labelproof run {shlex.quote(project)} --strategy {missing.name}{again}"
    if gold_fp is None and parse_metric(policy.primary).needs_gold:
        if experiment_id is not None:
            return f"labelproof experiment label {experiment_id} (people decide, where the arms differ)"
        return (
            "without gold people must decide, on the flips alone: labelproof experiment run … --items N, then "
            "labelproof experiment label"
        )
    needs = [_need(primary, policy, None if policy.goal == "better" else policy.margin)]
    needs += [
        _need(row, policy, row.difference.margin)
        for row in rows
        if row.role == "guardrail" and row.holds is not True
    ]
    said = [need for need in needs if need is not None]
    return "; ".join(said) if said else "nothing more to prove with these items"


def _need(row: MetricRow, policy: ExperimentPolicy, margin: float | None) -> str | None:
    """Return what would settle a row that is unproven; None when it is proven."""
    difference = row.difference
    name = difference.metric
    if row.role == "primary" and _is_proven(row, policy):
        return None
    if difference.delta is None or difference.low is None:
        return f"{name}: {difference.reason}"
    if (
        margin and difference.n_a_only == 0 and difference.n_b_only == 0
    ):  # nothing differs: no variance to plan with
        least = least_items(name, margin, policy.alpha)
        if least > difference.n:
            return (
                f"at least {_rounded(least - difference.n)} more {_of_class(difference)}items to prove {name}"
            )
    wanted = items_to_resolve(difference, margin=margin, power=policy.power)
    proof = f"{policy.power:.0%} power on {name}"
    if wanted is None:
        side = (
            "B does not look better" if margin is None else f"B looks worse by the margin {margin:g} or more"
        )
        return f"{name}: {side}, more items would not change that"
    more = wanted - difference.n
    if margin is None and difference.n < _TOO_FEW:
        return f"{name}: {difference.n} items are too few to say how many it takes; begin with {_FEW}"
    if margin is None and wanted > _MANY_TIMES * difference.n:
        return f"{name}: the difference seen ({difference.delta:+.4f}) is too small to be proven with any usual number of items"
    return f"about {_rounded(more)} more {_of_class(difference)}items for {proof}"


def _is_proven(row: MetricRow, policy: ExperimentPolicy) -> bool:
    p, delta = row.p_holm, row.difference.delta
    if p is None or delta is None or p > policy.alpha:
        return False
    return policy.goal == "not_worse" or (delta < 0 if row.lower_is_better else delta > 0)


def _of_class(difference: PairedDifference) -> str:
    metric = parse_metric(difference.metric)
    return f"{metric.of} " if metric.name == "recall" else ""


def _rounded(n: int) -> str:
    """Two digits are all that such a number carries."""
    if n < 100:
        return str(n)
    step = 10 ** (len(str(n)) - 2)
    return f"{-(-n // step) * step:,}".replace(",", " ")
