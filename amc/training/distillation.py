"""Distillation: the dense network's outputs as soft targets for the pruned one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.core.checks import Interval, require
from amc.core.device import autocast, resolve_bf16
from amc.core.errors import AmcError
from amc.data.examples import Inputs
from amc.evaluation.catalogue import BOXES, CLASSES, MAPS, SEVERAL
from amc.evaluation.losses import IGNORED, judged_tokens
from amc.evaluation.metrics import CLASSIFICATION, LANGUAGE, Criterion
from amc.pruning.inputs import Example, tensors
from amc.pruning.surgery import Surgeon
from amc.recovery.norms import fold_norms, following_norms


class Teacher:
    """Mixes a fixed network's soft targets into the loss of another (Hinton et al. 2015, §2)."""

    def __init__(
        self,
        model: nn.Module,
        example: Example,
        *,
        weight: float = 0.5,
        temperature: float = 4.0,
        bf16: bool | str = "auto",
        criterion: Criterion = CLASSIFICATION,
    ) -> None:
        """Takes a copy of ``model``, with its batch norms folded: half of a pruned training's time is the teacher's.

        Args:
            model: trained; left as it is.
            example: one input, normalised, on the model's device.
            weight: share of the teacher in the loss, in [0, 1]; what is left is the targets'.
            temperature: divides the logits, at least 1; higher shows more of the wrong classes' order. Outputs that
                are no logits are compared as they are.
            bf16: ``True``, ``False``, or ``auto``: where the hardware has it.
            criterion: of the task: which output is compared, and how.

        Raises:
            AmcError: a number out of its range, or a detector, whose boxes are no soft targets.
        """
        require("distill.weight", weight, float, Interval(0, 1))
        require("distill.temperature", temperature, float, Interval(1))
        if criterion.kind == BOXES:
            raise AmcError(f"distill.weight={weight:g}: a detector's boxes are no soft targets; give distill.weight=0")
        self._model = Surgeon(model, ()).cut({}).eval().requires_grad_(False)
        fold_norms(self._model, following_norms(self._model, example))
        self._model.to(memory_format=torch.channels_last)
        self._criterion = criterion
        self._weight, self._temperature = weight, temperature
        self._bf16 = resolve_bf16(bf16, tensors(example)[0].device)

    def loss(self, x: Inputs, targets: Any, outputs: Tensor, hard: Tensor) -> Tensor:
        """The mixed loss.

        Args:
            x: inputs as the student saw them.
            targets: of the batch; they say which tokens or pixels are judged.
            outputs: the student's, float32 ``[b, …]``.
            hard: its loss on the targets.
        """
        with torch.no_grad(), autocast(tensors(x)[0].device, self._bf16):
            wanted = self._criterion.judged(self._model, x)
        return (1 - self._weight) * hard + self._weight * self._soft(outputs, wanted, targets)

    def _soft(self, given: Tensor, wanted: Tensor, targets: Any) -> Tensor:
        """The loss on soft targets: a Kullback-Leibler divergence in nats, or a mean squared error of numbers."""
        kind, t = self._criterion.kind, self._temperature
        if kind == SEVERAL:
            # of each label: cross-entropy minus the entropy that the student can't change
            p = (wanted / t).sigmoid()
            floor = F.binary_cross_entropy(p, p)
            return t**2 * (F.binary_cross_entropy_with_logits(given / t, p) - floor)
        if kind not in (CLASSES, LANGUAGE, MAPS):
            return F.mse_loss(given, wanted)
        if kind == LANGUAGE:
            judged = judged_tokens(targets)
            given, wanted = given[:, :-1][judged], wanted[:, :-1][judged]
        elif kind == MAPS:
            judged = targets != IGNORED
            given, wanted = given.movedim(1, -1)[judged], wanted.movedim(1, -1)[judged]
        # × T²: soft gradients shrink as 1/T², so the mix stays what it is at any temperature (Hinton et al. §2)
        rows = [F.log_softmax(logits / t, dim=1) for logits in (given, wanted)]
        return t**2 * F.kl_div(rows[0], rows[1], reduction="batchmean", log_target=True)
