"""Suite results as one self-contained HTML page: the finding, a plot with intervals, failures; nothing is fetched."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from labelproof.report.plots._plot import BLUE, INK, ORANGE, Plot, finished, inline, percent
from labelproof.report.suites.latest import SuiteGuardrail
from labelproof.report.suites.run import SuiteResult
from labelproof.report.suites.text import failures, guardrail_line, interval, rate, sentence, visible
from labelproof.spec.hashing import short

_ROW = 24
_SHOWN = 10
_STYLE = (
    "body{margin:0;background:#fff;color:#1a1a1a;font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:900px;margin:1.5rem auto;padding:0 1rem}svg{width:100%;height:auto}"
    "table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;width:100%}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e2e2e2;vertical-align:top}"
    "td.case{overflow-wrap:anywhere;font-family:ui-monospace,monospace;font-size:13px}"
    ".soft{color:#595959}.bad{color:#a33b00;font-weight:600}"
)


def failure_plot(result: SuiteResult) -> Plot:
    """Return the failure rate of each functionality as a bar with its 95 % interval, worst first."""
    import altair as alt

    rows: list[dict[str, Any]] = [
        {
            "name": row.functionality,
            "value": row.failure.value,
            "low": row.failure.low,
            "high": row.failure.high,
            "n": row.failure.n,
            "shown": f"{row.n_failed} of {row.failure.n}",
        }
        for row in result.score.rows
        if row.failure.value is not None
    ]
    names = [row["name"] for row in rows]
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=260, domain=False, ticks=False))
    base = alt.Chart(inline(rows)).encode(y=y)
    top = max([0.05, *(row["high"] or row["value"] for row in rows)])
    x = alt.X(
        "value:Q",
        title="Failed cases",
        scale=alt.Scale(domain=[0, min(1.0, top * 1.05)]),
        axis=alt.Axis(format=".0%"),
    )
    tip = [
        alt.Tooltip("name:N", title="functionality"),
        alt.Tooltip("shown:N", title="failed"),
        alt.Tooltip("value:Q", title="rate", format=".1%"),
    ]
    layers = [
        base.mark_bar(color=BLUE, opacity=0.55, height=12).encode(x=x, tooltip=tip),
        base.mark_rule(color=INK, strokeWidth=1.5).encode(x=alt.X("low:Q"), x2="high:Q", tooltip=tip),
        base.mark_tick(color=ORANGE, thickness=2, height=12).encode(x="value:Q", tooltip=tip),
    ]
    worst = rows[0] if rows else None
    title = (
        f"{result.suite}: {worst['name']} fails most, {percent(worst['value'])} of {worst['n']} cases"
        if worst and worst["value"]
        else f"{result.suite}: no case failed"
    )
    return finished(
        alt.layer(*layers).properties(width=520, height=max(3, len(rows)) * _ROW),
        title=title,
        subtitle=f"{result.strategy}@{short(result.strategy_fp)}. Bars: share of failed cases; lines: 95 % intervals.",
        alt_text=f"Failure rate of {len(rows)} functionalities, worst first. {title}.",
        rows=[
            {
                "functionality": row["name"],
                "failed": row["shown"],
                "rate": percent(row["value"]),
                "95 % interval": "-"
                if row["low"] is None
                else f"{percent(row['low'])} to {percent(row['high'])}",
            }
            for row in rows
        ],
    )


def page_html(results: Sequence[SuiteResult], guardrails: Sequence[SuiteGuardrail] = ()) -> str:
    """Return one HTML page on all results; every text of a case is escaped, hidden characters are written out."""
    e = html.escape
    first = results[0]
    title = f"Behavioural tests of {first.strategy}@{short(first.strategy_fp)} on {first.project}"
    lines = "".join(
        f'<p class="{"bad" if found.state == "broken" else "soft"}">{e(guardrail_line(found))}</p>'
        for found in guardrails
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{e(title)}</title><style>{_STYLE}</style></head><body><main><h1>{e(title)}</h1>"
        f'<p class="soft">{first.at:%Y-%m-%d %H:%M} UTC</p>{lines}'
        + "".join(_section(result) for result in results)
        + "</main></body></html>\n"
    )


def _section(result: SuiteResult) -> str:
    e = html.escape
    notes = "; ".join([*result.notes, f"suite {short(result.suite_fp)}", f"run {result.suite_run_id}"])
    parts = [
        f"<section><h2>{e(result.suite)}</h2><p>{e(sentence(result))}</p>",
        f'<p class="soft">{e(notes)}</p>{failure_plot(result).svg()}',
        _gaps(result),
    ]
    for row in result.score.rows:
        failed = failures(result, row, _SHOWN)
        if not failed:
            continue
        body = "".join(
            f"<tr><td>{e(outcome.reason or '')}</td><td>{e(outcome.case.group or '')}</td>"
            f"<td>{'' if outcome.answer.confidence is None else f'{outcome.answer.confidence:.2f}'}</td>"
            f'<td class="case">{e(visible(outcome.case.text, 400))}</td></tr>'
            for outcome in failed
        )
        parts.append(
            f"<details><summary>{e(row.functionality)}: {row.n_failed} of {row.failure.n} failed, {rate(row.failure)} "
            f"{e(interval(row.failure))}; {row.n_accepted_wrong} would be used unseen</summary><table><thead><tr><th>why</th>"
            f"<th>group</th><th>confidence</th><th>text</th></tr></thead><tbody>{body}</tbody></table></details>"
        )
    return "".join(parts) + "</section>"


def _gaps(result: SuiteResult) -> str:
    e = html.escape
    if not result.score.gaps:
        return ""
    rows = "".join(
        f"<tr><td>{e(gap.axis)}</td><td>{e(', '.join(f'{group} {rate(r)}' for group, r in gap.rates.items()))}</td>"
        f"<td>{rate(gap.gap)} {e(interval(gap.gap)) if gap.gap.value else ''}</td><td>{gap.p_value:.3g}</td></tr>"
        for gap in result.score.gaps
    )
    return (
        "<h3>Groups on the same templates</h3><table><thead><tr><th>axis</th><th>flagged</th><th>widest gap</th>"
        f"<th>p (permutation)</th></tr></thead><tbody>{rows}</tbody></table>"
    )
