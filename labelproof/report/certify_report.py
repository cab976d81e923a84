"""What certifying answers: one sentence, a table, the notes behind it, and the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.certificates import StoredCertificate
from agents.routing import REST
from evaluation.certificates import Certification
from labelproof.report.gold_looks import Wear
from labelproof.spec.hashing import short


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifyReport:
    """A certificate, or why there is none. ``results``: group of labels → what was tested and found."""

    project: str
    strategy: str
    strategy_fp: str
    certificate: StoredCertificate | None
    reason: str | None
    results: Mapping[str, Certification]
    n_gold: int
    n_held: int
    """Gold items that go to a person whatever their confidence: no certificate speaks of them."""
    wear: Wear
    notes: Sequence[str]
    alpha: float
    delta: float
    pool_n: int
    coverage: float
    summary: Mapping[str, Any]

    @property
    def sentence(self) -> str:
        """Return the answer in one sentence."""
        if self.certificate is None:
            return f"No certificate: {self.reason}"
        parts = []
        for group, found in self.results.items():
            if found.certified:
                what = "labels" if group == REST and len(self.results) == 1 else f"labels {group_name(group)}"
                parts.append(
                    f"{what} with confidence >= {found.threshold:.3f} are wrong in at most {found.alpha:.1%} of cases"
                )
        return (
            f"Certified (with {1 - self.delta:.0%} confidence): {'; '.join(parts)}. "
            f"{self.coverage:.0%} of the pool is auto-accepted."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project,
            "strategy": self.strategy,
            "strategy_fp": self.strategy_fp,
            "certified": self.certificate is not None,
            "sentence": self.sentence,
            "certificate": None if self.certificate is None else self.certificate.to_json(),
            "reason": self.reason,
            "alpha": self.alpha,
            "delta": self.delta,
            "n_gold": self.n_gold,
            "n_held": self.n_held,
            "pool_n": self.pool_n,
            "coverage": self.coverage,
            "results": {group: asdict(found) for group, found in self.results.items()},
            "wear": {
                "n_looks": self.wear.n_looks,
                "n_opened": len(self.wear.opened),
                "looks": [asdict(look) for look in self.wear.looks],
            },
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """Return the answer and its table as Markdown, for the Prefect UI."""
        lines = [
            f"# {self.project} · {self.strategy}@{short(self.strategy_fp)}",
            "",
            f"**{self.sentence}**",
            "",
        ]
        lines += [
            "| labels | promise | threshold | gold accepted | wrong | error at most | coverage |",
            "|---|---|---|---|---|---|---|",
        ]
        for group, found in self.results.items():
            threshold = "none" if found.threshold is None else f"{found.threshold:.3f}"
            upper = "-" if found.upper is None else f"{found.upper:.1%}"
            coverage = "-" if found.coverage is None else f"{found.coverage:.0%}"
            lines.append(
                f"| {group_name(group, alone=len(self.results) == 1)} | error ≤ {found.alpha:.1%} | {threshold} | {found.n_accepted} of {found.n_gold} "
                f"| {found.n_errors} | {upper} | {coverage} |"
            )
        lines += ["", *(f"- {note}" for note in self.notes)]
        needs = [(g, f.more_gold) for g, f in self.results.items() if f.more_gold is not None]
        lines += [f"- {group_name(group)}: {need.why}" for group, need in needs]
        return "\n".join(lines) + "\n"


def plot_folder(store_root: Path, report: CertifyReport) -> Path:
    """Return where a report's plots go by default: beside the store."""
    name = report.certificate.certificate_id if report.certificate else "none"
    return store_root / "plots" / f"{report.project}-{report.strategy}-{name}"


def write_plots(report: CertifyReport, folder: Path) -> list[Path]:
    """Write the risk-coverage plot of each group as SVG, PNG and HTML; returns the paths."""
    from labelproof.report.plots import risk_coverage_plot

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for group, found in report.results.items():
        if not found.tested:
            continue
        name = "risk_coverage" if group == REST else f"risk_coverage_{group.replace('/', '-')}"
        subject = f"{report.project} · {report.strategy}@{short(report.strategy_fp)}"
        plot = risk_coverage_plot(found, subject=subject if group == REST else f"{subject} · {group}")
        for suffix in (".svg", ".png", ".html"):
            path = folder / f"{name}{suffix}"
            plot.save(path)
            paths.append(path)
    return paths


def group_name(group: str, *, alone: bool = False) -> str:
    """Return a group of labels in words; ``alone``: no other group has a promise of its own."""
    if group != REST:
        return group
    return "all labels" if alone else "all others"
