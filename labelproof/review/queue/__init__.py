"""The queue of one project as a pure state machine.

Tasks, votes and events go in, in any order; who gets which task next, what became of each, and the queue in numbers
come out. No I/O, no clock, no threads: the desk around it has those.
"""

from __future__ import annotations

from labelproof.review.queue.checks import is_check_due, pick_check
from labelproof.review.queue.machine import Queue
from labelproof.review.queue.outcome import outcome_of
from labelproof.review.queue.overview import QueueOverview
from labelproof.review.queue.priority import build_task

__all__ = ["Queue", "QueueOverview", "build_task", "is_check_due", "outcome_of", "pick_check"]
