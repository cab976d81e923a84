"""What people read: scores, run summaries, traces."""
