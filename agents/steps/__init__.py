"""The step kinds, one small module each, and how a strategy's steps are built from them."""

from __future__ import annotations

from agents.resolve import ResolvedStep
from agents.steps.base import BatchStep, CallScope, ModelStep, Resources, Step
from agents.steps.calibrate import Calibrate
from agents.steps.consensus import Consensus
from agents.steps.critique import Critique
from agents.steps.investigate import Investigate
from agents.steps.label import make_label_step
from agents.steps.normalize import Normalize
from agents.steps.retrieve import Retrieve
from agents.steps.route import Route

__all__ = ["BatchStep", "CallScope", "ModelStep", "Resources", "Step", "build_step"]


def build_step(resolved: ResolvedStep, resources: Resources) -> Step:
    """Return the runnable step of a resolved one."""
    match resolved.spec.kind:
        case "normalize":
            return Normalize(resolved, resources)
        case "retrieve":
            return Retrieve(resolved, resources)
        case "label":
            return make_label_step(resolved, resources)
        case "consensus":
            return Consensus(resolved, resources)
        case "critique":
            return Critique(resolved, resources)
        case "investigate":
            return Investigate(resolved, resources)
        case "calibrate":
            return Calibrate(resolved, resources)
        case "route":
            return Route(resolved, resources)
