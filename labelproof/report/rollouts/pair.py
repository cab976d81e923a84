"""The champion and a candidate as their files are now, with what a promotion would rest on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents.certificates import change_words
from agents.run.workload import Workload, load_workload
from labelproof.report.rollouts.champion_file import strategy_path
from labelproof.report.rollouts.events import one_writer
from labelproof.report.rollouts.evidence import (
    LATEST,
    CertificateFound,
    Evidence,
    find_certificate,
    find_evidence,
)
from labelproof.report.rollouts.intents import repair
from labelproof.spec.errors import ConfigError
from labelproof.spec.hashing import PREFIX, short
from labelproof.store import TraceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The champion and a candidate as their files are now, with what the candidate would rest on."""

    champion: Workload
    candidate: Workload
    path: Path
    evidence: Evidence
    certificate: CertificateFound

    @property
    def project(self) -> str:
        return self.champion.folder.name

    @property
    def fp_from(self) -> str:
        return self.champion.resolved.fingerprint

    @property
    def fp_to(self) -> str:
        return self.candidate.resolved.fingerprint

    @property
    def changes(self) -> str:
        """What differs between the two, in a few words."""
        return change_words(self.champion.resolved.snapshot, self.candidate.resolved.snapshot)


def load_pair(
    store: TraceStore,
    project: str,
    candidate: str,
    *,
    evidence: str = LATEST,
    now: datetime,
    root: Path | None = None,
) -> Pair:
    """Return champion and candidate (a file's name or path, `NAME@FP` to insist on a version) from disk."""
    name, _, version = candidate.partition("@")
    champion = load_workload(project, None, root=root)
    with one_writer(store, champion.folder.name):
        repair(store, champion.folder, now)
    work = load_workload(project, name, root=root)
    if not work.resolved.fingerprint.removeprefix(PREFIX).startswith(version.removeprefix(PREFIX)):
        raise ConfigError(
            f"{name} is version {short(work.resolved.fingerprint)} now, and {candidate} was asked for",
            path=strategy_path(work.folder, name),
            hint="restore that file from version control, or name the version it is now",
        )
    if work.resolved.fingerprint == champion.resolved.fingerprint:
        raise ConfigError(
            f"{name} is the champion already: both are version {short(work.resolved.fingerprint)}",
            hint="labelproof strategy diff shows what differs between two strategies",
        )
    return Pair(
        champion=champion,
        candidate=work,
        path=strategy_path(work.folder, name),
        evidence=find_evidence(store, champion, work, evidence),
        certificate=find_certificate(store, work, now),
    )
