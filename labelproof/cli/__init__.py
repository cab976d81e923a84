"""The command line: one file per command group; heavy imports happen inside commands."""
