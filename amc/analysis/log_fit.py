"""How accuracy grows with cost: a straight line over the logarithm of the MACs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amc.errors import AmcError


@dataclass(frozen=True)
class LogFit:
    """``accuracy ≈ slope · ln(macs) + intercept``; ``r2`` is the share of the variance that it explains."""

    slope: float
    intercept: float
    r2: float


def log_macs_fit(macs: Sequence[float], accuracies: Sequence[float]) -> LogFit:
    """Least squares of accuracy over ln(MACs): the relation that a reward of −error · ln(MACs) takes for granted.

    Args:
        macs: absolute or as fractions, which changes the intercept alone; above 0.
        accuracies: as fractions, one for each.

    Raises:
        AmcError: fewer than two different MACs, or none at all for some.
    """
    if len(macs) != len(accuracies) or min(macs, default=0) <= 0 or len(set(macs)) < 2:
        raise AmcError("accuracy over ln(MACs): give as many accuracies as MACs, at least two different ones above 0")
    x, y = np.log(np.asarray(macs, dtype=float)), np.asarray(accuracies, dtype=float)
    slope = float(np.mean((x - x.mean()) * (y - y.mean())) / np.var(x))
    intercept = float(y.mean() - slope * x.mean())
    left, total = float(np.sum((y - slope * x - intercept) ** 2)), float(np.sum((y - y.mean()) ** 2))
    return LogFit(slope, intercept, 1 - left / total if total > 0 else 1.0)
