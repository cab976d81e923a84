"""Numbers of a comparison as people read them: shares without a leading zero, rates in per cent, money per 1 000."""

from __future__ import annotations

from evaluation.paired import PairedDifference
from labelproof.report.compare.model import MetricRow, Rerun
from labelproof.report.numbers import count
from labelproof.spec.metrics import parse_metric

MINUS = "−"
NONE = "–"
_RATES = frozenset(("auto_accept_rate", "failed_rate", "suite"))


def share(value: float | None, *, signed: bool = False) -> str:
    """Return `.842`, `1.000` or, signed, `+.019`."""
    if value is None:
        return NONE
    text = f"{abs(value):.3f}"
    text = text.removeprefix("0")
    if not signed:
        return f"{MINUS}{text}" if value < 0 and text.strip(".0") else text
    return f"{_sign(value, text)}{text}"


def p_value(value: float | None) -> str:
    """Return `.012`, `<.001`."""
    if value is None:
        return NONE
    return "<.001" if value < 0.001 else share(value)


def metric_value(metric: str, value: float | None) -> str:
    """Return a metric's value in its own unit."""
    return _of(metric, value, signed=False)


def metric_delta(difference: PairedDifference) -> str:
    """Return the difference with its interval: `+.019 [+.006, +.032]`."""
    if difference.delta is None:
        return NONE
    text = _of(difference.metric, difference.delta, signed=True, unit=True)
    if difference.low is None or difference.high is None or difference.low == difference.high:
        return text
    ends = ", ".join(_of(difference.metric, end, signed=True) for end in (difference.low, difference.high))
    return f"{text} [{ends}]"


def smallest_seen(difference: PairedDifference) -> str:
    """Return the smallest difference that as many items show; none where not even the largest possible would."""
    bounded = parse_metric(difference.metric).name not in ("cost_per_1k_usd", "latency_ms")
    if difference.detectable is None or (bounded and difference.detectable > 1):
        return NONE
    return _of(difference.metric, difference.detectable, signed=True, unit=True).lstrip("+±")


def remark(row: MetricRow) -> str:
    """Return what a row's role adds: the guardrail's margin and whether it holds, or why there is no number."""
    difference = row.difference
    if row.role == "guardrail" and difference.margin is not None:
        worst = difference.margin if row.lower_is_better else -difference.margin
        state = {True: "holds", False: "BROKEN", None: "unproven"}[row.holds]
        return f"guardrail {_of(difference.metric, worst, signed=True, unit=True)}: {state}"
    if difference.delta is None:
        return difference.reason or ""
    return {"primary": "primary", "secondary": "", "info": "", "guardrail": ""}[row.role]


def floor(rerun: Rerun) -> str:
    """Return the A/A floor in a few words."""
    if rerun.expected_on_all is None:
        return "A/A floor not measured"
    return (
        f"A/A floor {count(round(rerun.expected_on_all))} ({rerun.n_changed} of {count(rerun.n)} asked again)"
    )


def _of(metric: str, value: float | None, *, signed: bool, unit: bool = False) -> str:
    if value is None:
        return NONE
    name = parse_metric(metric).name
    if name in _RATES:
        text = f"{abs(100 * value):.1f}"
        tail = " pp" if unit else "" if signed else " %"
    elif name == "cost_per_1k_usd":
        text, tail = _money(abs(value)), ""
    elif name == "latency_ms":
        text, tail = f"{abs(value):,.0f}".replace(",", "\u202f"), "" if signed and not unit else " ms"
    else:
        return share(value, signed=signed)
    sign = _sign(value, text) if signed else MINUS if value < 0 and text.strip("$.0") else ""
    return f"{sign}{text}{tail}"


def _money(value: float) -> str:
    if value >= 0.1 or value == 0:
        return f"${value:.2f}"
    return f"${value:.2g}" if value >= 0.0001 else "$0.0000" if value < 0.00005 else "$0.0001"


def _sign(value: float, text: str) -> str:
    if not text.strip("$.0"):
        return "±"
    return "+" if value > 0 else MINUS
