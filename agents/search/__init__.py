"""Strategy search: what may change, which candidates are tried, how they are compared on tuning gold."""
