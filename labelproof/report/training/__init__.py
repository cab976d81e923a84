"""Accepted and adjudicated labels as data to train and evaluate models with."""
