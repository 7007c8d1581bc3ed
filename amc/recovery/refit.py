"""One layer's least squares: weights and bias whose output comes closest to a goal behind norm, addition and ReLU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from amc.recovery.norms import absorb_bias, undo_norm
from amc.recovery.rows import Reconstructible, bias_of
from amc.recovery.systems import ridge_solver

SMALL_SCALE = 1e-2  # of a batch norm's largest scale: below it a channel's goal is not invertible
SWEEPS = 2
# Times the median length of the goals' rows: what is longer counts less, as if it were that long. A language model
# gives a few tokens values a thousand times the others' (Sun et al. 2024, "Massive activations"), and then normalises
# each token by its own length.
LONGEST = 8.0


@dataclass(frozen=True)
class Goal:
    """Target of a layer's output, at sampled positions.

    Attributes:
        values: ``[rows, out]``, behind the norm and the addition.
        norm: the batch norm behind the layer.
        shortcut: the summand added then, ``[rows, out]``.
        low, high: where an activation cuts the sum off.
    """

    values: torch.Tensor
    norm: _BatchNorm | None = None
    shortcut: torch.Tensor | None = None
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_cut_off(self) -> bool:
        return (self.low, self.high) != (-math.inf, math.inf)

    def weights(self) -> torch.Tensor | None:
        """Weight of each row, ``[rows, 1]``; ``None`` where all count alike."""
        lengths = self.values.norm(dim=1, keepdim=True)
        limit = LONGEST * lengths.median()
        return None if bool((lengths <= limit).all()) else (limit / lengths).clamp(max=1).nan_to_num(1.0)

    def exact(self) -> torch.Tensor:
        """The layer output ``[rows, out]`` that gives the values."""
        return self._backward(self.values)

    def nearest(self, output: torch.Tensor) -> torch.Tensor:
        """The layer output nearest to ``output`` among those with the same values behind the activation."""
        found, wanted = self._forward(output), self.values.clamp(self.low, self.high)
        return self._backward(torch.where(found.clamp(self.low, self.high) == wanted, found, wanted))

    def _backward(self, reached: torch.Tensor) -> torch.Tensor:
        output = reached if self.shortcut is None else reached - self.shortcut
        return output if self.norm is None else undo_norm(self.norm, output, SMALL_SCALE)

    def _forward(self, output: torch.Tensor) -> torch.Tensor:
        norm = self.norm
        if norm is not None:
            output = F.batch_norm(output, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return output if self.shortcut is None else output + self.shortcut


def refit(
    layer: Reconstructible, rows: torch.Tensor, goal: Goal, damping: float, bias_to: _BatchNorm | None = None
) -> None:
    """Least squares with bias, pulled towards the weights that the layer has, in place.

    Where the activation cuts the goal off, any output that it cuts off as well will do: solving and moving the goal
    to the nearest output that meets it take turns (Zhang et al. 2016, §3.2, with hard constraints).

    Args:
        layer: to refit.
        rows: inputs of its outputs, ``[rows, features]``; overwritten.
        goal: at the same positions.
        damping: ridge strength relative to the mean diagonal of the Gram matrix.
        bias_to: the batch norm that takes the bias of a layer without one.

    Raises:
        ValueError: ``rows`` are not finite.
    """
    has_bias = bias_of(layer) is not None or bias_to is not None
    regression = _Regression(layer, rows, damping, has_bias, goal.weights())
    change = regression.solve(goal.exact())
    for _ in range(SWEEPS if goal.is_cut_off else 0):
        change = regression.solve(goal.nearest(regression.outputs(change)))
    weight, bias = change.weight_and_bias()
    layer.weight.add_(weight.reshape(layer.weight.shape))
    own_bias = bias_of(layer)
    if own_bias is not None:
        own_bias.add_(bias)
    elif bias_to is not None:
        absorb_bias(bias_to, bias)


@dataclass(frozen=True)
class _Change:
    """Of the weights ``[g, p, out / g]`` and the mean outputs ``[g, 1, out / g]``, for rows with this ``mean``."""

    step: torch.Tensor
    shift: torch.Tensor
    mean: torch.Tensor

    def weight_and_bias(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.step.mT, (self.shift - self.mean @ self.step).flatten()


class _Regression:
    """Ridge regression of a layer's outputs on its rows, factored once; all convolution groups ``g`` at once."""

    def __init__(
        self,
        layer: Reconstructible,
        rows: torch.Tensor,
        damping: float,
        has_bias: bool,
        weights: torch.Tensor | None = None,
    ) -> None:
        self._groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        self._has_bias, self._weights = has_bias, weights
        self._x = self._by_group(rows)  # [g, n, p]
        start = layer.weight.detach().flatten(1).unflatten(0, (self._groups, -1)).mT  # [g, p, out / g]
        self._mean = self._mean_of(self._x)
        self._x -= self._mean
        self._before = self._x @ start + self._mean @ start  # [g, n, out / g]
        bias = bias_of(layer)
        if bias is not None:
            self._before += bias.unflatten(0, (self._groups, 1, -1))
        self._solve = ridge_solver(self._weighted(self._x), damping)

    def solve(self, target: torch.Tensor) -> _Change:
        """The change that brings the outputs closest to ``target`` ``[n, out]``."""
        residual = self._by_group(target) - self._before
        shift = self._mean_of(residual)
        return _Change(self._solve(self._weighted(residual - shift)), shift, self._mean)

    def outputs(self, change: _Change) -> torch.Tensor:
        """``[n, out]``, after ``change``."""
        found: torch.Tensor = self._before + self._x @ change.step + change.shift
        return found.transpose(0, 1).flatten(1)

    def _by_group(self, values: torch.Tensor) -> torch.Tensor:
        grouped: torch.Tensor = values.unflatten(1, (self._groups, -1))
        return grouped.transpose(0, 1)

    def _mean_of(self, values: torch.Tensor) -> torch.Tensor:
        """The part that the bias can absorb; zero without one."""
        if not self._has_bias:
            return torch.zeros_like(values[:, :1])
        if self._weights is None:
            return values.mean(1, keepdim=True)
        shares = self._weights.square() / self._weights.square().sum()
        return (values * shares).sum(1, keepdim=True)

    def _weighted(self, values: torch.Tensor) -> torch.Tensor:
        """``[g, rows, …]``, each row times its weight."""
        return values if self._weights is None else values * self._weights
