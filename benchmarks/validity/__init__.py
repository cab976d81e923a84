"""Simulations that the statistics must pass: each claim, its bound, and what was found.

    python -m benchmarks.validity [--only certificates audits ...] [--replicates 2000]

One table, as JSON and Markdown. A check that fails is shown with its number, never left out.
"""
