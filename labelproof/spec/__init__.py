"""What every room shares: errors, hashing, items, label schemas, project and strategy files."""
