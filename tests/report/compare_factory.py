"""A made-up comparison with everything a report can hold: for tests of pages and of plots, and to look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from agents.snapshots import KeyChange, StepChange, TextChange
from evaluation.curves import reliability_curve, risk_coverage_curve
from evaluation.paired import PairedDifference
from labelproof.report.compare.model import (
    Balance,
    CompareReport,
    Flip,
    MetricRow,
    Rerun,
    Role,
    Share,
    Side,
    SideCurves,
    SliceRow,
    Why,
)

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
LABELS = ("safe", "hate", "spam", "minor_safety")
FP_A, FP_B = "b2:a91f3c" + "0" * 26, "b2:c07d52" + "0" * 26
STEPS = ("label", "route", None)
TEXTS = (
    "Great kettle, it boils in two minutes and looks good",
    "They should all go back where they came from, every one of them",
    "WIN a free phone now: click the link below before midnight",
    "my little sister posted her address in the chat again",
)


def difference(
    metric: str,
    a: float | None,
    b: float | None,
    half: float | None = 0.013,
    *,
    n: int = 1980,
    **more: Any,
) -> PairedDifference:
    """Return a difference with an interval of the given half width."""
    delta = None if a is None or b is None else b - a
    measured = delta is not None and half is not None
    given: dict[str, Any] = {
        "p_value": 0.012 if measured and abs(delta or 0) > (half or 0) else 0.26 if measured else None,
        "method": "mcnemar-tango" if measured else "not-measurable",
        "detectable": None if half is None else 1.4 * half,
        "reason": None if measured else "no prices are known for this model",
        **more,
    }
    return PairedDifference(
        metric=metric,
        value_a=a,
        value_b=b,
        delta=delta,
        low=delta - half if delta is not None and half is not None else None,
        high=delta + half if delta is not None and half is not None else None,
        n=n,
        confidence=0.95,
        **given,
    )


def row(role: Role, found: PairedDifference, **more: Any) -> MetricRow:
    lower = found.metric.split(":")[0] in ("failed_rate", "cost_per_1k_usd", "latency_ms", "suite")
    sql = f"SELECT avg(label = gold) FROM answers -- {found.metric}"
    return MetricRow(role=role, difference=found, lower_is_better=lower, sql=sql, **more)


def metric_rows() -> list[MetricRow]:
    return [
        row("primary", difference("accuracy", 0.842, 0.861, n_a_only=41, n_b_only=73), p_holm=0.012),
        row(
            "guardrail",
            difference("recall:minor_safety", 0.930, 0.915, 0.026, n=212, margin=0.01, p_not_worse=0.41),
            holds=None,
        ),
        row("guardrail", difference("failed_rate", 0.004, 0.003, 0.004, margin=0.01), holds=True),
        row("secondary", difference("macro_f1", 0.812, 0.836, 0.015), p_holm=0.024),
        row("secondary", difference("recall:hate", 0.88, 0.85, 0.022), p_holm=0.03),
        row("info", difference("auto_accept_rate", 0.61, 0.68, 0.012)),
        row("info", difference("cost_per_1k_usd", 0.41, 0.38, 0.02)),
        row("info", difference("latency_ms", 812.0, 905.0, 44.0)),
    ]


def slice_rows() -> list[SliceRow]:
    shown = {
        "language": [("en", 0.03, 0.012, 1_204), ("de", -0.05, 0.03, 301), ("tr", 0.11, 0.2, 17)],
        "source": [("forum", 0.01, 0.02, 830), ("chat", 0.025, 0.03, 602), ("reviews", 0.0, 0.025, 548)],
        "length": [(f"{10 * k} to {10 * k + 9} words", 0.004 * k, 0.02, 240) for k in range(8)],
    }
    return [
        SliceRow(
            key=key,
            value=value,
            difference=difference("accuracy", 0.84, 0.84 + delta, half, n=n),
            q_value=None if n < 30 else 0.02 if abs(delta) > half else 0.4,
            small=n < 30,
        )
        for key, rows in shown.items()
        for value, delta, half, n in rows
    ]


def flips(n: int = 114, *, seed: int = 3, excerpt: str | None = None) -> list[Flip]:
    """Return ``n`` flips, about two thirds of them repairs."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        kind = rng.choice(["fixed", "broke", "both_wrong"], p=[0.55, 0.3, 0.15])
        gold, other, third = rng.permutation(LABELS)[:3]
        a, b = {"fixed": (other, gold), "broke": (gold, other), "both_wrong": (other, third)}[str(kind)]
        found.append(
            Flip(
                item_id=f"b2:{i:032x}",
                external_id=f"t-{1000 + i}",
                gold=str(gold),
                label_a=str(a),
                label_b=str(b),
                confidence_a=float(rng.uniform(0.4, 0.99)),
                confidence_b=float(rng.uniform(0.4, 0.99)),
                decision_a="review",
                decision_b="auto_accept",
                kind=str(kind),  # type: ignore[arg-type]
                step=STEPS[int(rng.integers(len(STEPS)))],
                stability=str(rng.choice(["stable", "unstable", "unknown"])),  # type: ignore[arg-type]
                gold_doubt="both strategies say otherwise at 0.95" if rng.random() < 0.08 else None,
                excerpt=excerpt if excerpt is not None else TEXTS[i % len(TEXTS)],
            )
        )
    return found


def changes() -> list[StepChange]:
    unified = (
        "@@ -3,4 +3,5 @@",
        " Choose exactly one label.",
        "-If you are unsure, answer safe.",
        "+If you are unsure, name the two likeliest labels and weigh them by the rules.",
        "+A minor named together with a place is always minor_safety.",
        " Answer as JSON.",
    )
    prompt = TextChange(path="prompt.system", n_added=2, n_removed=1, unified=unified)
    alpha = KeyChange(path="alpha", before=0.05, after=0.03)
    return [
        StepChange(name="label", state="changed", before="f1", after="f2", texts=(prompt,)),
        StepChange(name="confidence", state="same", before="f3", after="f3"),
        StepChange(name="route", state="changed", before="f4", after="f5", keys=(alpha,)),
    ]


def curves(*, lift: float = 0.0, n: int = 1980, seed: int = 5) -> SideCurves:
    rng = np.random.default_rng(seed)
    confidence = rng.beta(5, 1.4, n)
    right = rng.random(n) < np.clip(confidence + lift, 0, 1)
    return SideCurves(
        reliability=reliability_curve(confidence, right), risk_coverage=risk_coverage_curve(confidence, right)
    )


def side(name: str, fp: str, *, n: int = 1980) -> Side:
    return Side(name=name, fp=fp, arm=name, n_answers=n, run_ids=[f"run-{name}"])


def report(**changed: Any) -> CompareReport:
    """Return a comparison that is not ready to ship; ``changed`` replaces any of its fields."""
    sql = {
        name: f"SELECT * FROM strategy_answers -- {name}"
        for name in ("metrics", "flips", "slices", "curves", "cost", "rerun")
    }
    shown = flips()
    given: dict[str, Any] = {
        "project": "mini",
        "comparison_id": "cmp-1",
        "experiment_id": "exp-1",
        "a": side("champion", FP_A),
        "b": side("candidate", FP_B),
        "split": "test",
        "gold_fp": "b2:90ld",
        "gold_name": "test@90ld",
        "n_items": 1980,
        "changes": changes(),
        "verdict": "inconclusive",
        "headline": 'accuracy up, guardrail "recall:minor_safety" unproven',
        "rule": "Ship if accuracy is proven higher (p < 0.05, Holm), recall:minor_safety is proven not worse by "
        "0.01 and failed_rate is proven not worse by 0.01; regression if accuracy is proven lower.",
        "planned": True,
        "rows": metric_rows(),
        "flips": shown,
        "n_fixed": sum(flip.kind == "fixed" for flip in shown),
        "n_broke": sum(flip.kind == "broke" for flip in shown),
        "n_both_wrong": sum(flip.kind == "both_wrong" for flip in shown),
        "flips_left_out": 0,
        "rerun": Rerun(n=100, n_changed=3, expected_on_all=59.4),
        "balance": Balance(n_both=1980, n_wanted=1980, n_only_a=0, n_only_b=0, e_value=0.02, ok=True),
        "why": Why(
            metric="accuracy",
            shares=(
                Share(component="label.prompt", delta=0.024, low=0.011, high=0.037),
                Share(component="route", delta=-0.005, low=-0.009, high=-0.001),
            ),
            n_new_calls=0,
        ),
        "next_step": "About 1 100 more minor_safety items in gold would show a loss of 0.01 with 80 % power.",
        "slices": slice_rows(),
        "curves_a": curves(seed=5),
        "curves_b": curves(lift=0.03, seed=6),
        "n_looks": 7,
        "notes": ("28 of 1 980 answers of champion come from an earlier run.",),
        "sql": sql,
        "at": AT,
        **changed,
    }
    return CompareReport(**given)


def million() -> CompareReport:
    """Return a comparison over a million items, with the flips that a report of that size holds."""
    rows = flips(6_000, seed=9)
    return report(
        n_items=1_000_000,
        flips=rows,
        n_fixed=71_204,
        n_broke=40_118,
        n_both_wrong=12_040,
        flips_left_out=71_204 + 40_118 + 12_040 - len(rows),
        curves_a=curves(n=100_000),
        curves_b=curves(n=100_000, lift=0.03, seed=6),
    )
