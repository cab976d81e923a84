"""What changes of strategy did in all projects, and what that says for a new one."""
