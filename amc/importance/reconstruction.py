"""Channels ranked by their consumers' least-squares loss without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.importance.elimination import Loss, removal_order
from amc.pruning.inputs import Example
from amc.recovery.calibration import Calibration
from amc.recovery.gather import Gatherer, consumers
from amc.recovery.norms import following_norms, norm_of
from amc.recovery.rows import bias_of, layer_of
from amc.recovery.systems import MIN_DAMPING, cholesky

SKETCH = 64  # random projections that stand for the outputs of a layer too wide for a Gram matrix


@torch.no_grad()
def reconstruction_scores(
    model: nn.Module,
    groups: Sequence[LayerGroup],
    images: Example,
    calibration: Calibration | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Group name → score of each channel: its place in the order of removal, the first to go has 0.

    The objective is channel pruning's (He et al. 2017, eq. 1): the consumers' outputs, from the dense network's
    inputs, in as few channels as asked for. The channels are found by backward elimination, see
    :func:`amc.importance.elimination.removal_order`. A consumer's squared error counts relative to the variance of
    its outputs, each output in the scale that the batch norm behind it gives it. Channels of other groups that the
    same consumer reads (concatenation) count as present.

    Args:
        model: the dense network.
        groups: those to score. One that no (grouped) convolution or linear layer reads is left out.
        images: calibration inputs, normalised, on the model's device.
        calibration: by default :class:`~amc.recovery.calibration.Calibration`'s own.

    Raises:
        ValueError: the activations are not finite.
    """
    calibration = calibration or Calibration()
    positions, damping = calibration.positions, calibration.damping
    batch_size, seed = calibration.batch_size, calibration.seed
    layers = consumers(model, groups)
    norms = following_norms(model, images)
    gathered = Gatherer(model, layers, positions, seed).run(images, batch_size)
    layers = [n for n in layers if n in gathered]
    read = {n: _Consumer(model, n, norms.get(n), gathered.pop(n), damping) for n in layers}
    scores = {}
    for group in groups:
        losses = [loss for n in layers for loss in read[n].losses(group)]
        if losses:
            order = removal_order(losses, group.channels, group.step)
            scores[group.name] = np.argsort(order).astype(np.float64)
    return scores


class _Part(Protocol):
    """One convolution group of a layer (the whole layer without groups)."""

    energy: float  # squared outputs, summed over the rows

    def system(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inverse ``[c, m, c, m]`` and weights ``[c, m, out]`` of channels whose inputs are ``features`` ``[c, n]``."""
        ...


class _GramPart:
    """All weights are refitted: the features are the inputs."""

    def __init__(self, data: torch.Tensor, weight: torch.Tensor, centred: bool, damping: float) -> None:
        """``data`` ``[1 + p, 1 + p]`` and ``weight`` ``[p, out]``, both float64."""
        gram = data[1:, 1:]
        if centred:
            gram = gram - data[1:, :1] * (data[:1, 1:] / data[0, 0])
        self.energy = float((weight * (gram @ weight)).sum())
        self._weight = weight
        self._inverse = torch.cholesky_inverse(cholesky(gram, max(damping, MIN_DAMPING)), upper=True)

    def system(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._inverse[features[:, :, None, None], features], self._weight[features]


class _RowPart:
    """One factor for each channel is refitted (the β of He et al. 2017, eq. 1), so that there are few unknowns.

    For layers with far more inputs than rows (a classifier behind a flatten), with their outputs sketched.
    """

    def __init__(self, data: torch.Tensor, weight: torch.Tensor, centred: bool, damping: float) -> None:
        """``data`` ``[n, 1 + p]`` in float32 and ``weight`` ``[p, out]``."""
        rows = data[:, 1:]
        self._rows = rows - rows.mean(0) if centred else rows
        weight = weight.float()
        if weight.shape[1] > SKETCH:
            generator = torch.Generator().manual_seed(0)
            signs = torch.randint(2, (weight.shape[1], SKETCH), generator=generator) * 2 - 1
            weight = weight @ signs.to(weight) / SKETCH**0.5
        self._weight, self._damping = weight, damping
        self.energy = float((self._rows @ weight).square().sum())

    def system(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shares = torch.stack([(self._rows[:, f] @ self._weight[f]).flatten() for f in features])  # [c, n · out]
        factor = cholesky((shares @ shares.T).double(), max(self._damping, MIN_DAMPING))
        inverse = torch.cholesky_inverse(factor, upper=True)
        return inverse[:, None, :, None], inverse.new_ones(len(features), 1, 1)


class _Consumer:
    """A layer that loses inputs, and the error of its outputs."""

    def __init__(
        self, model: nn.Module, name: str, norm: str | None, gathered: list[torch.Tensor], damping: float
    ) -> None:
        module = layer_of(model, name)
        weight = module.weight.flatten(1).double()  # [out, in/g · taps]
        if norm is not None:
            weight = weight * _scale(model, norm)[:, None]
        centred = norm is not None or bias_of(module) is not None  # there is a bias to be refitted
        self._name, self._device = name, weight.device
        self._width, self._taps = module.weight.shape[1], module.weight[0, 0].numel()
        self._parts: list[_Part] = [
            (_GramPart if len(data) == data.shape[1] else _RowPart)(data, part.T, centred, damping)
            for data, part in zip(gathered, weight.chunk(len(gathered)), strict=True)
        ]
        self._scale = (sum(part.energy for part in self._parts) or 1.0) ** -0.5

    def losses(self, group: LayerGroup) -> list[Loss]:
        """Each convolution group's loss by the channels of ``group`` that it reads."""
        losses = []
        slices = [s for s in group.slices if s.layer == self._name and s.axis == "in"]
        if slices:
            positions, channels = (np.concatenate([getattr(s, a) for s in slices]) for a in ("positions", "channels"))
            for j, part in enumerate(self._parts):
                inside = positions // self._width == j
                losses += self._loss(part, positions[inside] % self._width, channels[inside])
        return losses

    def _loss(self, part: _Part, inputs: npt.NDArray[np.int64], channels: npt.NDArray[np.int64]) -> list[Loss]:
        """``inputs`` of a part and the channel that each of them belongs to."""
        found, counts = np.unique(channels, return_counts=True)
        losses = []
        for count in np.unique(counts):  # a single one, but for a layer that reads some channels more often
            these = found[counts == count]
            mine = np.isin(channels, these)
            by_channel = inputs[mine][np.argsort(channels[mine], kind="stable")].reshape(len(these), count)
            features = by_channel[:, :, None] * self._taps + np.arange(self._taps)
            index = torch.as_tensor(features.reshape(len(these), -1), device=self._device)
            inverse, weight = part.system(index)
            losses.append(Loss(torch.as_tensor(these, device=self._device), inverse, weight * self._scale))
        return losses


def _scale(model: nn.Module, norm: str) -> torch.Tensor:
    """A batch norm's scale per channel."""
    found = norm_of(model, norm)
    assert found.running_var is not None
    scale = torch.rsqrt(found.running_var.double() + found.eps)
    return scale if found.weight is None else scale * found.weight
