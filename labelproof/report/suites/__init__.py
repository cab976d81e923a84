"""Suites of behavioural tests: cases from a project, run against a strategy version, stored, told, held as guardrails."""

from labelproof.report.suites.latest import latest_pairs, latest_rate

__all__ = ["latest_pairs", "latest_rate"]
