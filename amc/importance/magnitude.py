"""Scores by the size of weights: over all layers of a group, those that make its channels and those that read them.

As in DepGraph (Fang et al. 2023, §3.3): each layer gives every channel the sum of its weights' values, the group takes
the mean over its layers, and divides by the mean over its channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.data import Examples
from amc.data.examples import Inputs, Targets
from amc.pruning.layers import Mixing, is_depthwise, is_transposed

Scores = dict[str, npt.NDArray[np.float64]]
Piece = tuple[Tensor, npt.NDArray[np.int64], npt.NDArray[np.int64]]  # values along an axis, positions, channels
Value = Callable[[Tensor], Tensor]  # of each weight
Total = Callable[[nn.Module, Inputs, Targets], Tensor]  # a batch's summed loss


def _sensitivity(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return (weight * weight.grad).abs()


# Criterion → the value of a weight, and whether layers and norms count.
MAGNITUDES: Mapping[str, tuple[Value, bool, bool]] = {
    "l1": (torch.abs, True, True),
    "l2": (torch.square, True, True),
    "bn_scale": (torch.abs, False, True),  # Liu et al. 2017, network slimming, eq. 1
    "taylor": (_sensitivity, True, False),  # Molchanov et al. 2019, eq. 8, summed over a channel's weights
}


@torch.no_grad()
def magnitude_scores(name: str, model: nn.Module, groups: Sequence[LayerGroup]) -> Scores:
    """Group name → score of each channel; ``l1`` where a criterion finds no weight of its kind.

    Args:
        name: one of :data:`MAGNITUDES`.
        model: for ``taylor`` with gradients, see :func:`gradients`.
        groups: those to score.
    """
    scores = {}
    for group in groups:
        tries = (_score(model, group, *MAGNITUDES[n]) for n in (name, "l1"))
        found = next((f for f in tries if f is not None), torch.ones(group.channels))
        # a group of nothing but zeros is divided by its mean there: 0 / 0
        scores[group.name] = np.nan_to_num(found.double().numpy(force=True))
    return scores


def gradients(model: nn.Module, images: Examples, batch_size: int, total: Total) -> nn.Module:
    """A copy of ``model`` with gradients of the mean loss; batch norms use their running statistics.

    Args:
        model: the dense network.
        images: calibration examples.
        batch_size: examples in one pass.
        total: the summed loss of a batch.
    """
    twin = copy.deepcopy(model).eval().requires_grad_(True)
    twin.zero_grad()
    for x, y in images.batches(batch_size):
        (total(twin, x, y) / len(images)).backward()
    for parameter in twin.parameters():
        if parameter.grad is None:  # the loss doesn't depend on it
            parameter.grad = torch.zeros_like(parameter)
    return twin


def cross_entropy(model: nn.Module, images: Inputs, labels: Targets) -> Tensor:
    """Summed cross-entropy of a classifier."""
    return F.cross_entropy(model(images), labels, reduction="sum")  # type: ignore[arg-type]


def _score(model: nn.Module, group: LayerGroup, value: Value, layers: bool, norms: bool) -> Tensor | None:
    pieces = [*_of_layers(model, group, value, layers, norms), *_of_tensors(model, group, value, layers, norms)]
    if not pieces:
        return None
    total = torch.zeros(group.channels, device=next(model.parameters()).device)
    for own, positions, channels in pieces:
        index, places = (torch.as_tensor(i, device=total.device) for i in (positions, channels))
        total.index_add_(0, places, own.to(total)[index])
    return total / len(pieces) / (total / len(pieces)).mean()


def _of_layers(model: nn.Module, group: LayerGroup, value: Value, layers: bool, norms: bool) -> Iterator[Piece]:
    for s in group.slices:
        module = model.get_submodule(s.layer)
        if layers and isinstance(module, Mixing) and not is_depthwise(module):
            yield _by_channel(module, value, s), s.positions, s.channels
        elif norms and isinstance(module, _BatchNorm) and module.affine:
            yield value(module.weight), s.positions, s.channels


def _of_tensors(model: nn.Module, group: LayerGroup, value: Value, layers: bool, norms: bool) -> Iterator[Piece]:
    """Matrices count as layers, and vectors called weight as scales of norms."""
    parameters = dict(model.named_parameters(remove_duplicate=False)) if group.tensors else {}
    for t in group.tensors:
        parameter = parameters.get(t.tensor)
        if parameter is None or parameter.dim() == 0:
            continue
        if layers if parameter.dim() > 1 else norms and t.tensor.endswith("weight"):
            yield value(parameter).movedim(t.dim, 0).reshape(parameter.shape[t.dim], -1).sum(1), t.positions, t.channels


def _by_channel(module: nn.Module, value: Value, s: ChannelSlice) -> Tensor:
    """Sum of the values of the weights that make, or read, each of a layer's channels."""
    assert isinstance(module.weight, Tensor)
    values = value(module.weight)
    outputs_first = not is_transposed(module)
    if (s.axis == "in") == outputs_first:
        values = values.transpose(0, 1)
    sums = values.flatten(1).sum(1)
    return sums.repeat(module.groups) if s.axis == "in" and isinstance(module, _ConvNd) else sums
