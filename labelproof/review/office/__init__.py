"""Leases, accounts and sessions: what several app processes share and nobody needs to keep."""
