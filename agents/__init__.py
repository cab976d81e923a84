"""The labeling agent: chat models, steps, confidence signals, routing."""
