"""From signals to a label and the probability that it is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from agents.calibrators import Fitted, fit
from agents.resolve import ResolvedStep
from agents.state import ItemState
from agents.steps.base import BatchStep, Output, Resources
from labelproof.spec.errors import BugError
from labelproof.spec.strategy import CalibrateStep


class CalibrateOutput(TypedDict):
    """``label`` and ``confidence`` replace the raw ones; null for items without a distribution.

    ``changed`` tells that the calibrated label differs from the model's own.
    """

    label: str | None
    confidence: float | None
    log_probs: list[float] | None
    changed: bool
    calibrator_id: str | None


class Calibrate(BatchStep):
    """Applies the calibrator fitted on the calibration split (or, without gold, on a sample of the run)."""

    def __init__(self, resolved: ResolvedStep, resources: Resources) -> None:
        super().__init__(resolved, resources)
        assert isinstance(resolved.spec, CalibrateStep)
        self.spec = resolved.spec

    def fit(self, states: Sequence[ItemState], gold: Mapping[str, str]) -> Fitted:
        """Fit on states that have passed all steps before this one, and keep the result for the run."""
        fitted = fit(
            self.spec,
            self.resources.schema,
            states,
            gold,
            training=self.resources.training,
            open_encoder=self.resources.encoder,
            class_prior=self.resources.class_prior,
        )
        self.resources.calibrators[self.name] = fitted
        return fitted

    def inputs(self, state: ItemState) -> Mapping[str, Any]:
        return {
            "log_probs": state.log_probs,
            "text": state.text if self.spec.encoder != "none" else None,
            "calibrator": self._fitted.calibrator_id,
        }

    def run_batch(self, states: Sequence[ItemState]) -> list[Output]:
        known = [state for state in states if state.log_probs is not None and state.failure is None]
        outputs: dict[int, CalibrateOutput] = {}
        if known:
            found = self._fitted.predict(known, self.resources.encoder)
            # Six decimals: enough for any decision, and the same on every machine's last bits.
            log_probs = found.log_probs.round(6).tolist()
            for state, label, confidence, row in zip(
                known, found.labels, found.confidence.round(6).tolist(), log_probs, strict=True
            ):
                outputs[id(state)] = {
                    "label": label,
                    "confidence": confidence,
                    "log_probs": row,
                    "changed": label != state.label,
                    "calibrator_id": self._fitted.calibrator_id,
                }
        return [dict(outputs.get(id(state), _NOTHING)) for state in states]

    def apply(self, state: ItemState, output: Output) -> None:
        if output["label"] is None:
            return
        state.label = output["label"]
        state.confidence = output["confidence"]
        state.log_probs = output["log_probs"]
        state.calibrator_id = output["calibrator_id"]

    @property
    def _fitted(self) -> Fitted:
        fitted = self.resources.calibrators.get(self.name)
        if not isinstance(fitted, Fitted):
            raise BugError(f"step {self.name!r} was run before it was fitted")
        return fitted


_NOTHING: CalibrateOutput = {
    "label": None,
    "confidence": None,
    "log_probs": None,
    "changed": False,
    "calibrator_id": None,
}
