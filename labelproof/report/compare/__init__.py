"""Two strategy versions on the same items: what changed, whether it is better, where, why, and what it costs."""
