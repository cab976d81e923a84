"""Has the traffic changed, or the model: drift of what comes and what is decided, and the frozen sentinel set."""
