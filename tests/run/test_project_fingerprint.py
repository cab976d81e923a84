"""A project's fingerprint names what decides labels; how it is watched, reviewed and judged may change."""

from __future__ import annotations

from pathlib import Path

from agents.run.workload import project_fingerprint
from labelproof.spec.project import find_project

PLAIN = """
name: p
labels: {classes: [{name: ok}, {name: bad}]}
items: {path: items.jsonl}
"""
WATCHED = """
targets: [{metric: coverage, at_least: 0.5}]
contacts: [{role: QA lead}]
monitoring: {window_days: 3}
review: {shown_meta: []}
"""


def _fingerprint(folder: Path, text: str) -> str:
    (folder / "project.yaml").write_text(text)
    (folder / "guideline.md").write_text("Rules.")
    return project_fingerprint(find_project(str(folder)))


def test_targets_contacts_and_monitoring_change_no_fingerprint(tmp_path: Path) -> None:
    """The value is the one that stores written before targets were left out hold for this project."""
    plain = _fingerprint(tmp_path, PLAIN)
    assert _fingerprint(tmp_path, PLAIN + WATCHED) == plain
    assert plain == "b2:de4ebefdd5f8b4907e5f2a0f4b462ef67668906b"


def test_a_label_or_a_route_changes_it(tmp_path: Path) -> None:
    plain = _fingerprint(tmp_path, PLAIN)
    assert _fingerprint(tmp_path, PLAIN.replace("name: bad", "name: worse")) != plain
    assert _fingerprint(tmp_path, PLAIN + "routing: {alpha: 0.1}\n") != plain
