"""Softmax regression shrunk towards a prior, the numerical core of the calibrators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation._arrays import FloatArray, IntArray

BIAS_PENALTY = 1.0
SCALE_PENALTY = 1.0


def log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities along the last axis, computed without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def log_loss(log_probs: FloatArray, codes: IntArray) -> FloatArray:
    """Each item's negative log-likelihood (n,) in nats."""
    return np.asarray(-log_probs[np.arange(len(codes)), codes])


def sigmoid(x: FloatArray) -> FloatArray:
    """The logistic function without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def logit(p: FloatArray, *, edge: float = 1e-9) -> FloatArray:
    """Log-odds of probabilities clipped to [edge, 1 - edge]."""
    q = np.clip(p, edge, 1 - edge)
    return np.asarray(np.log(q) - np.log1p(-q))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSoftmax:
    """Softmax weights over G blocks of K features each: bias (K,), scale (G,), cross (G, K, K).

    Logit of class k = bias[k] + sum over g of scale[g] x_g[k] + sum over j of cross[g, j, k] x_g[j]:
    each block votes for the same class with a common strength, and ``cross`` holds what departs
    from that.
    """

    bias: FloatArray
    scale: FloatArray
    cross: FloatArray

    def log_probs(self, blocks: FloatArray) -> FloatArray:
        """Class log-probabilities (n, K) of blocks (G, n, K)."""
        logits = self.bias + np.tensordot(self.scale, blocks, axes=1)
        logits = logits + (blocks @ self.cross).sum(axis=0)
        return log_softmax(logits)


def fit_block_softmax(
    blocks: FloatArray,
    codes: IntArray,
    *,
    prior_bias: FloatArray,
    prior_scale: FloatArray,
    cross_penalty: float | None,
) -> BlockSoftmax:
    """The weights with the highest penalised likelihood (convex: one optimum).

    Gaussian priors centred on ``prior_bias`` (K,), ``prior_scale`` (G,) and zero ``cross``;
    penalties count in items. ``cross_penalty`` None leaves ``cross`` at zero (bias and scale only).
    """
    from scipy.optimize import minimize

    groups, n, k = blocks.shape
    target = np.zeros((n, k))
    target[np.arange(n), codes] = 1.0
    full = cross_penalty is not None
    weight = cross_penalty or 0.0

    def unpack(theta: FloatArray) -> BlockSoftmax:
        cross = theta[k + groups :] if full else np.zeros(groups * k * k)
        return BlockSoftmax(bias=theta[:k], scale=theta[k : k + groups], cross=cross.reshape(groups, k, k))

    def objective(theta: FloatArray) -> tuple[float, FloatArray]:
        w = unpack(theta)
        log_p = w.log_probs(blocks)
        residual = np.exp(log_p) - target
        off_bias, off_scale = w.bias - prior_bias, w.scale - prior_scale
        loss = -float((log_p * target).sum())
        loss += 0.5 * BIAS_PENALTY * float(off_bias @ off_bias)
        loss += 0.5 * SCALE_PENALTY * float(off_scale @ off_scale)
        parts = [
            residual.sum(axis=0) + BIAS_PENALTY * off_bias,
            (blocks * residual).sum(axis=(1, 2)) + SCALE_PENALTY * off_scale,
        ]
        if full:
            loss += 0.5 * weight * float((w.cross**2).sum())
            gradient = blocks.transpose(0, 2, 1) @ residual + weight * w.cross
            parts.append(gradient.ravel())
        return loss, np.concatenate(parts)

    theta0 = np.concatenate([prior_bias, prior_scale, np.zeros(groups * k * k if full else 0)])
    found = minimize(objective, theta0, jac=True, method="L-BFGS-B", options={"maxiter": 300, "gtol": 1e-3})
    return unpack(np.asarray(found.x, dtype=np.float64))
