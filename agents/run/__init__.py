"""Running a strategy over items: the engine, what it records, and the session around both."""
