"""Experiments from a plan that was written first to a result that may be trusted."""
