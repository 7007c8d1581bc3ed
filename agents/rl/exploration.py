"""Exploration noise: a normal distribution around the actor's action, cut off at the ends (AMC §3.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

SMALLEST = 1e-6  # below this σ the distribution is its mean in float32


def truncated_normal(mean: npt.NDArray[np.float64], sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A sample of N(mean, σ²) conditioned on [0, 1], for each entry of ``mean``.

    Unlike clipping, it puts no heap of samples on 0 and 1. Drawn by inverting the distribution function between its
    values at both ends: one uniform number per sample, so that the random stream advances by the same amount always.

    Args:
        mean: in [0, 1], any shape.
        sigma: standard deviation before the cut; below :data:`SMALLEST` the mean itself is returned.
        rng: where the randomness comes from.
    """
    uniform = rng.random(mean.shape)
    if sigma < SMALLEST:
        return mean
    low, high = ndtr((0 - mean) / sigma), ndtr((1 - mean) / sigma)
    sample: npt.NDArray[np.float64] = mean + sigma * ndtri(low + uniform * (high - low))
    return np.clip(sample, 0, 1)
