"""A metric that needs no labels: how far a network's outputs are from the dense network's, on the same examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from amc.data import Examples
from amc.evaluation.catalogue import DIVERGENCE
from amc.evaluation.metrics import Criterion, Metric
from amc.evaluation.readout import Readout, variance
from amc.evaluation.scoring import fitting
from amc.pruning.layers import frozen_eval

MOST_NUMBERS = 2**27  # of the dense network's outputs on a set of examples that are kept: 512 MiB


@dataclass(frozen=True)
class _Kept:
    """The dense network's outputs on a set of examples.

    Attributes:
        batches: as they come, in float32.
        size: examples in a batch.
        each: rows of one example, at most.
        unit: their variance; 1 for distributions.
    """

    batches: list[Tensor]
    size: int
    each: int
    unit: float


class FromDense:
    """Divergence of a network's outputs from another's on the same examples, whose outputs there are kept.

    Of distributions (classes, labels, pixels, tokens) the mean Kullback-Leibler divergence in nats; of other outputs
    the squared error over their variance. Where all rows would take too much memory, some of each example are compared,
    evenly spread.
    """

    def __init__(self, dense: nn.Module, criterion: Criterion) -> None:
        """Nothing is run yet.

        Args:
            dense: must not change as long as this lives.
            criterion: of the task: what is judged of the outputs, and what they are.
        """
        self._dense, self._criterion, self._readout = dense, criterion, Readout(criterion)
        self._kept: WeakKeyDictionary[Examples, _Kept] = WeakKeyDictionary()

    @torch.inference_mode()
    def __call__(self, model: nn.Module, examples: Examples, batch_size: int, dtype: torch.dtype) -> float:
        """The divergence; NaN of outputs that are no numbers.

        Args:
            model: in evaluation mode.
            examples: at least one.
            batch_size: examples in one forward pass.
            dtype: of the model's weights.
        """
        size = fitting(batch_size, examples, self._criterion)
        kept = self._kept.get(examples)
        if kept is None or kept.size != size:
            kept = self._kept[examples] = self._of_dense(examples, size)
        total, rows = 0.0, 0
        for dense, (inputs, targets) in zip(kept.batches, examples.batches(size, dtype=dtype), strict=True):
            now = self._readout.of_batch(model, inputs, targets, kept.each)
            total += self._readout.distance(dense.double(), now, kept.unit) * len(dense)
            rows += len(dense)
        return total / max(rows, 1)

    def _of_dense(self, examples: Examples, size: int) -> _Kept:
        with frozen_eval(self._dense):
            inputs, targets = next(examples.take(1).batches(1))
            numbers = self._readout.of_batch(self._dense, inputs, targets, each=1)[:1].numel()
            each = max(1, MOST_NUMBERS // max(numbers, 1) // len(examples))
            batches = [self._readout.of_batch(self._dense, x, y, each).float() for x, y in examples.batches(size)]
        return _Kept(batches, size, each, 1.0 if self._readout.is_distribution else variance(torch.cat(batches)))


def divergence(dense: nn.Module, criterion: Criterion) -> Metric:
    """The metric of a task that is judged by nothing but its dense network.

    Args:
        dense: trained.
        criterion: of the task, whatever its metric.
    """
    return Metric(DIVERGENCE, larger_is_better=False, high=math.inf, of_model=FromDense(dense, criterion))
