"""Numbers about people and their queue: reviewers measured, capacity planned, a project at a glance."""

from labelproof.review.people.capacity import (
    ASSUMED,
    CapacityPlan,
    Rate,
    Span,
    capacity_plan,
    measured_arrivals,
    measured_rate,
    stored_rate,
)
from labelproof.review.people.dashboard import Dashboard, Panel, dashboard, hours_text
from labelproof.review.people.drift import FallTest
from labelproof.review.people.reviewers import ReviewerStats, anonymous, reviewer_stats

__all__ = [
    "ASSUMED",
    "CapacityPlan",
    "Dashboard",
    "FallTest",
    "Panel",
    "Rate",
    "ReviewerStats",
    "Span",
    "anonymous",
    "capacity_plan",
    "dashboard",
    "hours_text",
    "measured_arrivals",
    "measured_rate",
    "reviewer_stats",
    "stored_rate",
]
