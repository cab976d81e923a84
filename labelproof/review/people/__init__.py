"""Numbers about people and their queue."""
