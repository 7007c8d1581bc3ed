"""How far outputs have moved: what is read off a network for it, and the distance, for every task. No labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.errors import AmcError
from amc.data import Examples
from amc.data.examples import Inputs
from amc.evaluation.catalogue import BOXES, CLASSES, MAPS, SEVERAL
from amc.evaluation.losses import judged_tokens
from amc.evaluation.metrics import LANGUAGE, Criterion
from amc.evaluation.scoring import fitting
from amc.pruning.inputs import run, tensors

MOST_ROWS = 1024  # distributions over a vocabulary or classes that are compared; memory is rows × classes
MOST_TOKENS = 2048  # of a language model's training text
MOST_NUMBERS = 4096  # of a detector's feature maps, for each image
DETECTING = ("rpn.head", "head")  # of torchvision's detectors: what is judged at every place, whatever is found there


@dataclass(frozen=True)
class Readout:
    """What is compared of a network's outputs.

    Attributes:
        criterion: of the task.
        batch_size: examples in one forward pass.
    """

    criterion: Criterion
    batch_size: int = 64

    @property
    def is_distribution(self) -> bool:
        """Whether outputs are distributions, which the Kullback-Leibler divergence compares."""
        return self.criterion.kind in (CLASSES, LANGUAGE, MAPS, SEVERAL)

    @property
    def unit(self) -> str:
        """Unit of :meth:`distance`, for people."""
        return "nats" if self.is_distribution else "of the outputs' variance"

    def examples(self, some: Examples) -> Examples:
        """As many of the first examples as are needed."""
        answers = some.take(1).answers
        if self.criterion.kind != LANGUAGE or not isinstance(answers, Tensor):
            return some
        return some.take(max(1, MOST_TOKENS // answers.shape[1]))

    @torch.inference_mode()
    def __call__(self, model: nn.Module, examples: Examples) -> Tensor:
        """Log probabilities ``[rows, classes]`` in float64, or numbers ``[n, …]`` where there are no distributions."""
        size = fitting(self.batch_size, examples, self.criterion)
        each = -(-MOST_ROWS // len(examples))  # of an example
        return torch.cat([self.of_batch(model, x, y, each) for x, y in examples.batches(size)])

    def distance(self, dense: Tensor, now: Tensor, unit: float | None = None) -> float:
        """Mean Kullback-Leibler divergence from ``dense``, in nats; else squared error over the dense variance.

        Args:
            dense, now: outputs, in float64.
            unit: that variance, if ``dense`` are not all the outputs there are.
        """
        if self.is_distribution:
            return float((dense.exp() * (dense - now)).sum(dim=1).mean())
        return float((now - dense).square().mean() / (unit or variance(dense)))

    def change(self, dense: Tensor, now: Tensor) -> float:
        """Root mean square change of the log probabilities, in nats; else of the outputs, in standard deviations."""
        moved = (now - dense).square().mean()
        return float((moved if self.is_distribution else moved / variance(dense)).sqrt())

    def of_batch(self, model: nn.Module, inputs: Inputs, targets: Any, each: int) -> Tensor:
        """The same of one batch, with at most ``each`` rows of an example."""
        kind = self.criterion.kind
        if kind == BOXES:
            return _maps(model, inputs)
        outputs = self.criterion.judged(model, inputs)
        if not isinstance(outputs, Tensor):
            raise AmcError("divergence: the judged output is no tensor; give task.output=, one of its parts")
        if kind == SEVERAL:
            outputs = outputs.double().flatten()
            return torch.stack([F.logsigmoid(outputs), F.logsigmoid(-outputs)], 1)
        if kind == LANGUAGE:
            outputs = outputs[:, :-1][judged_tokens(targets)] if isinstance(targets, Tensor) else outputs[:, :-1]
        elif kind == MAPS:
            outputs = outputs.movedim(1, -1)
        elif kind != CLASSES:
            return outputs.double().flatten(1)
        rows = outputs.reshape(-1, outputs.shape[-1])
        if kind != CLASSES:
            rows = rows[_spread(len(rows), each * len(tensors(inputs)[0]))]
        return rows.double().log_softmax(dim=1)


def _spread(rows: int, most: int) -> Tensor:
    """Places of at most ``most`` rows, evenly spread."""
    return torch.linspace(0, rows - 1, min(rows, most)).long()


def variance(dense: Tensor) -> float:
    """Mean over the numbers of an output ``[n, …]`` of their variance; 1 where they never vary."""
    return float(dense.var(dim=0, correction=0).mean()) or 1.0


def _maps(model: nn.Module, inputs: Inputs) -> Tensor:
    """What a detector's head gives, some numbers of each image: its boxes differ in number."""
    seen: list[Tensor] = []
    modules = [module for name, module in model.named_modules() if name in DETECTING]
    if not modules:
        raise AmcError(
            f"divergence: the detector has none of the modules {', '.join(DETECTING)}, whose outputs are compared; "
            "choose strengths by accuracy, and no agent that needs prices or responses"
        )
    handles = [m.register_forward_hook(lambda _, __, output: seen.extend(_images_of(output))) for m in modules]
    try:
        run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    images = len(tensors(inputs)[0])
    flat = [found.double().flatten(1) for found in seen if found.ndim > 1 and len(found) == images]
    return torch.cat([part[:, _spread(part.shape[1], MOST_NUMBERS)] for part in flat], 1)


def _images_of(output: Any) -> list[Tensor]:
    return [tensor for tensor in tensors(output) if tensor.is_floating_point()]
