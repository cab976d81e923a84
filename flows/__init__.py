"""Prefect flows and nothing else: read, call one use case, write."""
