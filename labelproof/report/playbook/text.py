"""The playbook for the terminal: kinds of change, entries, advice. Names and texts of others stay inert."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labelproof.report.compare.text import one_text
from labelproof.report.numbers import count, percent
from labelproof.report.playbook.entries import Entry
from labelproof.report.playbook.pooled import Advice, KindEffect
from labelproof.spec.metrics import OPEN_ENDED, parse_metric


def amount(value: float | None, metric: str) -> str:
    """Return a difference as people read it: points of a share, else the metric's own unit; a dash when unknown."""
    if value is None:
        return "-"
    return f"{value:+.3g}" if parse_metric(metric).name in OPEN_ENDED else f"{100 * value:+.1f}"


def between(low: float | None, high: float | None, metric: str) -> str:
    return "-" if low is None or high is None else f"{amount(low, metric)} to {amount(high, metric)}"


def unit(metric: str) -> str:
    """Return what the numbers are: `points of accuracy`, or the metric itself."""
    return metric if parse_metric(metric).name in OPEN_ENDED else f"points of {metric}"


def kinds_table(kinds: Sequence[KindEffect]) -> Table:
    """Return what each kind of change did across projects."""
    table = _table("change", "projects", "entries", "mean", "95 % interval", "next project", "helps", "cost")
    for one in kinds:
        meta = one.meta
        table.add_row(
            _line(one.kind),
            str(meta.k),
            f"{len(one.entries)}" + (f" ({one.n_shipped} shipped)" if one.n_shipped else ""),
            amount(meta.mean, one.metric),
            between(meta.low, meta.high, one.metric),
            between(meta.prediction_low, meta.prediction_high, one.metric),
            "-" if one.helps_prob is None else percent(one.helps_prob, 0),
            "-" if one.cost_ratio is None else f"x {one.cost_ratio:.2g}",
        )
    return table


def entries_table(entries: Sequence[Entry]) -> Table:
    """Return the entries, one a line."""
    table = _table(
        "entry", "project", "change", "B against A", "effect", "95 % interval", "items", "verdict", "from"
    )
    for entry in entries:
        table.add_row(
            entry.entry_id,
            _line(entry.project),
            _line(entry.kind),
            _line(f"{entry.strategy_b} against {entry.strategy_a}"),
            amount(entry.effect, entry.metric),
            between(entry.low, entry.high, entry.metric),
            count(entry.n_items),
            _line(entry.verdict + (", shipped" if entry.shipped else "")),
            _line(entry.origin),
        )
    return table


def entry_text(entry: Entry, *, program: str) -> RenderableType:
    """Return an entry whole: what changed, what it did, and how to start from it."""
    lines: list[RenderableType] = [
        Text(f"{entry.entry_id}  {entry.kind}", "bold"),
        _line(
            f"{entry.project} ({entry.origin}, {entry.at:%Y-%m-%d}): {entry.strategy_b} against {entry.strategy_a}"
        ),
        _line(
            f"{amount(entry.effect, entry.metric)} {unit(entry.metric)} (95 % interval "
            f"{between(entry.low, entry.high, entry.metric)}; {count(entry.n_items)} items; standard error "
            f"{'-' if entry.standard_error is None else format(entry.standard_error, '.4f')}); verdict {entry.verdict or '-'}"
        ),
        _line(f"project: {entry.traits.says}"),
    ]
    if entry.shipped:
        lines.append(Text("It was promoted: changes that ship were chosen for looking good.", "dim"))
    if entry.n_looks > 1:
        lines.append(Text(f"The pair was compared {entry.n_looks} times; this is the latest.", "dim"))
    if entry.cost_ratio is not None:
        lines.append(_line(f"cost: {entry.cost_ratio:.2g} times A's"))
    lines += [
        _line(
            f"  {share.component}: {amount(share.delta, entry.metric)} ({between(share.low, share.high, entry.metric)})"
        )
        for share in entry.shares
    ]
    if entry.reason is not None:
        lines.append(_line(f"not pooled: {entry.reason}"))
    if entry.reusable is None:
        lines.append(_line(f"cannot be started from: {entry.not_reusable or 'no strategy is stored'}"))
        return Group(*lines)
    lines += [_line(f"note: {note}") for note in entry.reusable.notes]
    lines.append(Text(f"\n{program} init NAME --from playbook:{entry.entry_id}", "cyan"))
    shown = entry.reusable.text(entry.reusable.strategy.name, ())
    return Group(*lines, Text(), Text(_inert(shown)))


def kind_text(one: KindEffect, *, program: str) -> RenderableType:
    """Return a kind of change: pooled effect, what it rests on, and where to start."""
    meta, metric = one.meta, one.metric
    lines: list[RenderableType] = [Text(one.kind, "bold")]
    lines.append(
        Text(
            f"{amount(meta.mean, metric)} {unit(metric)} on average in {meta.k} project{'s' if meta.k != 1 else ''} "
            f"(95 % interval {between(meta.low, meta.high, metric)}); in a further project "
            f"{between(meta.prediction_low, meta.prediction_high, metric)}"
        )
    )
    if meta.reason:
        lines.append(Text(meta.reason, "dim"))
    if meta.i2 is not None:
        lines.append(
            Text(
                f"I² {percent(meta.i2, 0)}: share of the variation between projects that is not chance", "dim"
            )
        )
    if one.n_shipped and one.shipped_mean is not None and one.n_shipped < len(one.entries):
        lines.append(
            Text(
                f"The {one.n_shipped} that shipped show {amount(one.shipped_mean, metric)}: they were chosen for it. "
                f"All {len(one.entries)} count in the mean.",
                "dim",
            )
        )
    lines += [Text(), entries_table(one.entries)]
    if one.start_from is not None:
        lines.append(Text(f"\n{program} init NAME --from playbook:{one.start_from.entry_id}", "cyan"))
    return Group(*lines)


def advice_text(advice: Advice, *, program: str) -> RenderableType:
    """Return what to try in a project, the likeliest to help first."""
    lines: list[RenderableType] = [
        Text(advice.headline, "bold"),
        _line(f"{advice.project}: {advice.traits.says}"),
    ]
    if advice.ranked:
        table = _table(
            "try", "helps here", "mean", "95 % interval", "next project", "projects", "cost", "start from"
        )
        for one in advice.ranked:
            meta = one.meta
            table.add_row(
                _line(one.kind),
                "too few to say" if one.helps_prob is None else percent(one.helps_prob, 0),
                amount(meta.mean, one.metric),
                between(meta.low, meta.high, one.metric),
                between(meta.prediction_low, meta.prediction_high, one.metric),
                f"{meta.k} {'similar' if one.scope == 'similar' else 'of any kind'}",
                "-" if one.cost_ratio is None else f"x {one.cost_ratio:.2g}",
                "-" if one.start_from is None else f"playbook:{one.start_from.entry_id}",
            )
        lines += [Text(f"{unit(advice.metric)}:", "dim"), table]
    if advice.unknown:
        tried = ", ".join(f"{one.kind} ({one.n_projects})" for one in advice.unknown[:12])
        lines.append(_line(f"Nothing known of: {tried}: fewer than two projects tried them."))
    if advice.ranked:
        lines.append(
            Text(
                f"{program} playbook show ENTRY prints a strategy; measure it here before you ship it.", "dim"
            )
        )
    return Group(*lines)


def _line(text: str) -> Text:
    return Text(one_text(text))


def _inert(text: str) -> str:
    """Return a text without characters that steer a terminal; line ends stay."""
    return "".join(char if char == "\n" or char.isprintable() else "?" for char in text)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(
            name, overflow="fold", no_wrap=name in ("entry", "start from", "mean", "helps", "projects")
        )
    return table
