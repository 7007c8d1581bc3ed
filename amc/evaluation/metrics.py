"""Metrics and losses of predictions: the only module that knows what a task's metric is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from amc.core.types import Loss, Metrics


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    Attributes:
        name: for people and files.
        of: outputs ``[n, …]`` in float32 and targets ``[n]`` → for each example whether it is right, bool ``[n]``, if
            ``per_example``; else one number for all examples.
        larger_is_better: whether more of it is better.
        low, high: its range.
        per_example: whether it is a mean over examples that are right or wrong. Only then can a plan be given up before
            it has seen all of them (racing).

    Raises:
        ValueError: an empty range.
    """

    name: str
    of: Callable[[Tensor, Tensor], Tensor]
    larger_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    per_example: bool = True

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"metric {self.name}: no range from {self.low} to {self.high}")

    def value(self, worth: Tensor) -> float:
        """The metric of all examples, from what :attr:`of` gave: a fraction in [0, 1], 1 the best.

        Another range is mapped onto it, so that rewards and reports mean the same for every metric.
        """
        raw = int(worth.sum()) / len(worth) if self.per_example else float(worth)
        share = (raw - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share if self.larger_is_better else 1 - share))

    def metrics(self, worth: Tensor, loss: float, examples: int) -> Metrics:
        """The same with the loss and how many examples there were."""
        return Metrics(self.value(worth), loss, examples, metric=self.name)


def _is_right(logits: Tensor, labels: Tensor) -> Tensor:
    finite = logits.isfinite().all(1)  # the argmax of NaN would be a class like any other
    return (logits.argmax(1) == labels) & finite


TOP1 = Metric("accuracy", _is_right)


@dataclass(frozen=True)
class Criterion:
    """What a task's predictions are judged by.

    Attributes:
        metric: what they are worth.
        loss: what training minimises, and what breaks ties between equal scores.
    """

    metric: Metric = TOP1
    loss: Loss = F.cross_entropy


CLASSIFICATION = Criterion()


def loss_name(loss: Loss) -> str:
    """Name of a loss function or module, for people and fingerprints."""
    return str(getattr(loss, "__name__", type(loss).__name__))


def right_among(worth: Tensor) -> int:
    """How many examples are right."""
    return int(worth.sum())


def joined(metric: Metric, outputs: list[Tensor], targets: list[Tensor]) -> Tensor:
    """What ``metric`` says of batches that it must see together."""
    return metric.of(torch.cat(outputs), torch.cat(targets))
