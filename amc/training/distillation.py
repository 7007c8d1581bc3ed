"""Distillation: the dense network's outputs as soft labels for the pruned one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from amc.core.checks import Interval, require
from amc.core.device import autocast, resolve_bf16
from amc.pruning.surgery import Surgeon
from amc.recovery.norms import fold_norms, following_norms


class Teacher:
    """Mixes a fixed network's soft labels into the loss of another (Hinton et al. 2015, §2)."""

    def __init__(
        self,
        model: nn.Module,
        example: torch.Tensor,
        *,
        weight: float = 0.5,
        temperature: float = 4.0,
        bf16: bool | str = "auto",
    ) -> None:
        """Takes a copy of ``model``, with its batch norms folded: half of a pruned training's time is the teacher's.

        Args:
            model: trained; left as it is.
            example: one normalised input ``[1, c, h, w]`` on the model's device.
            weight: share of the teacher in the loss, in [0, 1]; what is left is the labels'.
            temperature: divides the logits, at least 1; higher shows more of the wrong classes' order.
            bf16: ``True``, ``False``, or ``auto``: where the hardware has it.

        Raises:
            AmcError: a number out of its range.
        """
        require("distill.weight", weight, float, Interval(0, 1))
        require("distill.temperature", temperature, float, Interval(1))
        self._model = Surgeon(model, ()).cut({}).eval().requires_grad_(False)
        fold_norms(self._model, following_norms(self._model, example))
        self._model.to(memory_format=torch.channels_last)
        self._weight, self._temperature, self._bf16 = weight, temperature, resolve_bf16(bf16, example.device)

    def loss(self, x: torch.Tensor, logits: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
        """The mixed loss, in nats.

        Args:
            x: images as the student saw them, ``[b, c, h, w]``.
            logits: the student's, float32 ``[b, classes]``.
            hard: its loss on the labels.
        """
        with torch.no_grad(), autocast(x.device, self._bf16):
            wanted = F.log_softmax(self._model(x).float() / self._temperature, dim=1)
        given = F.log_softmax(logits / self._temperature, dim=1)
        # × T²: soft gradients shrink as 1/T², so the mix stays what it is at any temperature (Hinton et al. §2)
        soft = self._temperature**2 * F.kl_div(given, wanted, reduction="batchmean", log_target=True)
        return (1 - self._weight) * hard + self._weight * soft
