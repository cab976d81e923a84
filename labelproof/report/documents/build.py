"""Make a report: the numbers are asked once, page, Markdown and slides are drawn from them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from labelproof.report.documents.html import page_html
from labelproof.report.documents.markdown import page_markdown
from labelproof.report.documents.model import KINDS, Content, Document, Kind
from labelproof.report.documents.words import plain
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.report.rca.periods import Period
    from labelproof.spec.project import ProjectFolder
    from labelproof.store import TraceStore


def make(
    store: TraceStore,
    folder: ProjectFolder,
    kind: Kind,
    *,
    period: Period | None = None,
    now: datetime,
    ref: str | None = None,
    slides: bool = False,
    with_text: bool = False,
    names: bool = False,
) -> Document:
    """Return a report of a project, read-only.

    ``ref``: weekly: only this strategy's decisions; experiment: id of an experiment or comparison (default: the newest);
    model-card: a strategy (default: the project's). ``period``: weekly only; default the last full week. ``slides``: draw
    the PNGs too. ``with_text``: excerpts of items in a model card; ``names``: reviewers by name. ``ConfigError`` when
    there is nothing of what was asked for.
    """
    content = _content(store, folder, kind, period=period, now=now, ref=ref, with_text=with_text, names=names)
    pngs: dict[str, bytes] = {}
    if slides:
        from labelproof.report.documents.slides import slides as drawn

        pngs = drawn(content)
    return Document(
        kind=content.kind,
        project=content.project,
        title=content.title,
        headline=plain(content.headline, content.numbers),
        html=page_html(content),
        markdown=page_markdown(content),
        pngs=pngs,
        numbers=content.numbers,
        queries=content.queries,
        period_from=content.period_from,
        period_to=content.period_to,
        ref=content.ref,
        stem=content.stem,
        exit_code=content.exit_code,
        not_met=content.not_met,
        now=now,
    )


def _content(
    store: TraceStore,
    folder: ProjectFolder,
    kind: Kind,
    *,
    period: Period | None,
    now: datetime,
    ref: str | None,
    with_text: bool,
    names: bool,
) -> Content:
    if kind == "weekly":
        from labelproof.report.documents.weekly import weekly
        from labelproof.report.rca.periods import last_full_week

        return weekly(store, folder, period or last_full_week(now), now=now, strategy=ref, names=names)
    if kind == "experiment":
        from labelproof.report.documents.experiment import experiment

        return experiment(store, folder, now=now, ref=ref)
    if kind == "model-card":
        from labelproof.report.documents.model_card import model_card

        return model_card(store, folder, now=now, ref=ref, with_text=with_text)
    if kind == "data-card":
        from labelproof.report.documents.data_card import data_card

        return data_card(store, folder, now=now)
    raise ConfigError(f"no report {kind!r}; expected one of {', '.join(KINDS)}")
