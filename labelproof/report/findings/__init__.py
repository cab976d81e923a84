"""Findings: problems with an owner and a check, driven until the check has held, and watched afterwards."""
