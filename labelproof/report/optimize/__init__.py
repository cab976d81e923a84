"""Strategy search: candidates from the project's own space, judged on tuning gold, confirmed on gold nobody looked at."""
