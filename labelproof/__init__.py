"""Labelproof: automated annotation whose every step is traced and every decision proven."""

__version__ = "0.1.0"
