"""Metrics and losses of predictions: the only module that knows what a task's metric is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from amc.core.scores import FRACTION, Scale
from amc.core.types import Loss, Metrics
from amc.data.examples import Examples, Inputs, Targets
from amc.evaluation.judged import Output, picked
from amc.evaluation.losses import Share, examples_in, has_each, mean_loss, no_loss
from amc.pruning.inputs import run


class Stream(Protocol):
    """What adds up batches to one value, as torchmetrics' metrics do."""

    def update(self, outputs: Any, targets: Any) -> Any:
        """Takes a batch."""

    def compute(self) -> Any:
        """The value of all batches, a number."""


@dataclass(frozen=True)
class Metric:
    """A metric of predictions, of one of five kinds.

    Attributes:
        name: for people and files.
        of: outputs and targets → of ``per_example`` for each example whether it is right, bool ``[n]``; else one
            number for all examples, which are then held until the end.
        larger_is_better: whether more of it is better.
        low, high: its range; an end to the worse may be infinite.
        per_example: whether it is a mean over examples that are right or wrong. Only then can a plan be given up before
            it has seen all of them (racing).
        stream: makes what adds up batches, instead of ``of``: nothing is held but what it keeps.
        of_loss: mean loss → value, instead of both.
        of_model: network, examples, batch size and precision → value, instead of all three: what needs more than
            outputs and targets. The value stands in the loss's place, too.
        unit: of a range without end to the worse: how far from the best end the score is ½.

    Raises:
        ValueError: an empty range, no best end, or nothing that gives a value.
    """

    name: str
    of: Callable[[Any, Any], Tensor] | None = None
    larger_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    per_example: bool = True
    stream: Callable[[], Stream] | None = None
    of_loss: Callable[[float], float] | None = None
    of_model: Callable[[nn.Module, Examples, int, torch.dtype], float] | None = None
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"metric {self.name}: no range from {self.low} to {self.high}")
        if not math.isfinite(self.high if self.larger_is_better else self.low):
            raise ValueError(f"metric {self.name}: its best value is infinite; give one that has an end")
        if sum(given is not None for given in (self.of, self.stream, self.of_loss, self.of_model)) != 1:
            raise ValueError(f"metric {self.name}: give either of, stream, of_loss or of_model")
        if self.of is None and self.per_example:
            object.__setattr__(self, "per_example", False)

    @property
    def scale(self) -> Scale:
        """Its values as scores."""
        best, worst = (self.high, self.low) if self.larger_is_better else (self.low, self.high)
        if (best, worst) == (1.0, 0.0):
            return FRACTION
        if math.isfinite(worst):
            return Scale(best, worst - best)
        return Scale(best, -self.unit if self.larger_is_better else self.unit, is_open=True)

    @property
    def endless(self) -> bool:
        """Whether it is a loss or a perplexity: errors are then measured by the dense network's loss."""
        return self.of_loss is not None

    def value(self, worth: Tensor | float) -> float:
        """The metric of all examples as a score, from what :attr:`of` or :attr:`stream` gave.

        A fraction in [0, 1], 1 the best, so that rewards mean the same for every metric.
        """
        if self.per_example and isinstance(worth, Tensor):
            return self.scale.score_of(int(worth.sum()) / len(worth))
        return self.scale.score_of(float(worth))

    def metrics(self, worth: Tensor | float, loss: float, examples: int) -> Metrics:
        """The same with the loss and how many examples there were."""
        return Metrics(self.value(worth), loss, examples, metric=self.name, scale=self.scale)

    def tally(self) -> Stream:
        """What adds up batches; a per-example metric gives the examples' worth, bool ``[n]``."""
        if self.stream is not None:
            return self.stream()
        return _Nothing() if self.of is None else _Held(self.of, self.per_example)


class _Nothing:
    """Of a metric that looks at the loss alone, or at the network itself."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Nothing to keep."""

    def compute(self) -> float:
        return math.nan


class _Held:
    """Batches, or which of their examples are right, until the end."""

    def __init__(self, of: Callable[[Any, Any], Tensor], at_once: bool) -> None:
        self._of, self._at_once = of, at_once
        self._outputs: list[Any] = []
        self._targets: list[Any] = []

    def update(self, outputs: Any, targets: Any) -> None:
        self._outputs.append(self._of(outputs, targets) if self._at_once else outputs)
        self._targets.append(targets)

    def compute(self) -> Tensor:
        if self._at_once:
            return torch.cat(self._outputs)
        return self._of(together(self._outputs), together(self._targets))


def together(batches: list[Any]) -> Any:
    """Batches of one form, one after the other."""
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat(batches)
    if isinstance(first, dict):
        return {key: torch.cat([batch[key] for batch in batches]) for key in first}
    return [entry for batch in batches for entry in batch]


def _is_right(logits: Tensor, labels: Tensor) -> Tensor:
    finite = logits.isfinite().all(1)  # the argmax of NaN would be a class like any other
    return (logits.argmax(1) == labels) & finite


TOP1 = Metric("accuracy", _is_right)
LANGUAGE = "language_modelling"


@dataclass(frozen=True)
class Criterion:
    """What a task's predictions are judged by.

    Attributes:
        metric: what they are worth.
        loss: what training minimises, and what breaks ties between equal scores: (outputs, targets) → mean loss, and
            with ``reduction="none"`` that of each example, if it takes that.
        kind: name of the task, see :mod:`amc.task.kinds`; by default ``classification`` with cross-entropy, else
            ``custom``.
        output: which of the network's outputs is judged, see :func:`amc.evaluation.judged.picked`.
        share: targets of a batch → over how many things its loss is a mean: examples, tokens, pixels.
    """

    metric: Metric = TOP1
    loss: Loss = F.cross_entropy
    kind: str = ""
    output: Output = None
    share: Share = examples_in

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", "classification" if self.loss is F.cross_entropy else "custom")

    @property
    def has_loss(self) -> bool:
        """Whether predictions have a loss. Of a detector's boxes 1 − score stands in its place."""
        return self.loss is not no_loss

    @property
    def can_race(self) -> bool:
        """Whether a plan can be given up before it has seen all examples."""
        return self.metric.per_example and self.metric.scale.is_fraction and has_each(self.loss)

    def judged(self, model: nn.Module, inputs: Inputs) -> Any:
        """The judged outputs of a batch, in float32 if they are a tensor."""
        found = picked(run(model, inputs), self.output)
        return found.float() if isinstance(found, Tensor) else found

    def objective(self, model: nn.Module, inputs: Inputs, targets: Targets, **more: Any) -> tuple[Tensor, Any]:
        """The batch's mean loss, to be minimised, and the judged outputs; a detector in training mode has none.

        Args:
            model: in training mode.
            inputs, targets: of the batch.
            more: of the loss, such as ``label_smoothing``.
        """
        if not self.has_loss:  # the network has, given the targets
            losses: dict[str, Tensor] = model(inputs, list(targets))
            return torch.stack([loss.float() for loss in losses.values()]).sum(), None
        outputs = self.judged(model, inputs)
        return mean_loss(self.loss, outputs, targets, **more), outputs

    def total(self, model: nn.Module, inputs: Inputs, targets: Targets) -> Tensor:
        """The batch's summed loss, with statistics and dropout as in evaluation mode."""
        if self.has_loss:
            return self.objective(model, inputs, targets)[0] * self.share(targets)
        model.train()
        for module in model.modules():
            if isinstance(module, _BatchNorm | _DropoutNd):
                module.eval()
        return self.objective(model, inputs, targets)[0] * self.share(targets)


CLASSIFICATION = Criterion()


def right_among(worth: Tensor) -> int:
    """How many examples are right."""
    return int(worth.sum())
