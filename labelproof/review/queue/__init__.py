"""The queue of one project as a pure state machine."""
