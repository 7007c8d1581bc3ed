"""Metrics that add up batches to a few numbers, so that no outputs are held."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from amc.evaluation.losses import IGNORED


class Overlap:
    """Mean over the classes of intersection / union of predicted and true pixels (mIoU).

    A class that neither prediction nor truth has anywhere is left out of the mean.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None  # [classes, classes], true × predicted

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes logits ``[n, classes, …]`` and classes ``[n, …]``, −100 where nothing is judged."""
        classes = outputs.shape[1]
        judged = targets != IGNORED
        pairs = targets[judged] * classes + outputs.argmax(1)[judged]
        counts = torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        self._counts = counts if self._counts is None else self._counts + counts

    def compute(self) -> float:
        """The mean."""
        if self._counts is None:
            return 0.0
        counts = self._counts.double()
        both = counts.diagonal()
        union = counts.sum(0) + counts.sum(1) - both
        there = union > 0
        return float((both[there] / union[there]).mean()) if bool(there.any()) else 0.0


class MicroF1:
    """2 · right positives / (predicted positives + true positives), of all labels together; 0.5 is the threshold."""

    def __init__(self) -> None:
        self._right = self._all = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes logits and labels, both ``[n, labels]``, labels 0 or 1."""
        given, wanted = outputs > 0, targets > 0.5
        self._right += int((given & wanted).sum())
        self._all += int(given.sum()) + int(wanted.sum())

    def compute(self) -> float:
        """The score in [0, 1]; 1 where there is nothing to find and nothing found."""
        return 2 * self._right / self._all if self._all else 1.0


class Moments:
    """Errors of numbers: sums from which mean absolute and squared error and R² follow."""

    def __init__(self, of: Callable[[Moments], float]) -> None:
        """``of``: which of them :meth:`compute` gives."""
        self._of = of
        self.count, self.absolute, self.squared = 0, 0.0, 0.0
        self._total: Tensor | None = None  # of the targets, each output by itself
        self._total_squared: Tensor | None = None
        self._rows = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Takes outputs and targets of one shape ``[n, …]``."""
        wanted = targets.double().flatten(1)
        error = outputs.double().flatten(1) - wanted
        self.count += error.numel()
        self.absolute += float(error.abs().sum())
        self.squared += float(error.square().sum())
        self._rows += len(wanted)
        total, total_squared = wanted.sum(0), wanted.square().sum(0)
        self._total = total if self._total is None else self._total + total
        self._total_squared = total_squared if self._total_squared is None else self._total_squared + total_squared

    def compute(self) -> float:
        """What it was made for."""
        return self._of(self)

    @property
    def r2(self) -> float:
        """1 − squared error / squared deviation of the targets from their mean, over all outputs."""
        if self._total is None or self._total_squared is None:
            return 0.0
        spread = float((self._total_squared - self._total.square() / self._rows).sum())
        return 1 - self.squared / spread if spread > 0 else float(self.squared == 0)


def mean_absolute(sums: Moments) -> float:
    """Mean absolute error."""
    return sums.absolute / sums.count


def mean_squared(sums: Moments) -> float:
    """Mean squared error."""
    return sums.squared / sums.count


def root_mean_squared(sums: Moments) -> float:
    """Its root."""
    return math.sqrt(mean_squared(sums))


def explained(sums: Moments) -> float:
    """R²."""
    return sums.r2


def among_first(k: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Whether the true class is among the ``k`` largest logits ``[n, classes]``, bool ``[n]``; not of NaN."""

    def right(logits: Tensor, labels: Tensor) -> Tensor:
        best = logits.topk(min(k, logits.shape[1]), dim=1).indices
        return (best == labels[:, None]).any(1) & logits.isfinite().all(1)

    return right
