"""Static least squares: every layer refitted on the dense network's activations, from Gram matrices gathered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.pruning.inputs import Example
from amc.pruning.layers import is_inside
from amc.pruning.surgery import Kept, Surgeon
from amc.recovery.calibration import Calibration
from amc.recovery.gather import Gatherer, consumers
from amc.recovery.norms import absorb_bias, following_norms, norm_of
from amc.recovery.rows import Reconstructible, bias_of, layer_of
from amc.recovery.systems import GramSystem, RowSystem, System


@dataclass(frozen=True)
class _Block:
    """One convolution group of a layer (the whole layer without groups)."""

    first_in: int
    width_in: int
    first_out: int
    width_out: int
    system: System


class StaticLeastSquares:
    """Channel pruning's reconstruction (He et al. 2017, eq. 2) with the choice of channels already made.

    Each consumer of removed channels gets the weights and bias that best give the dense layer's output back from the
    dense inputs that are left. Depthwise layers need nothing: no channel of theirs sees another.
    """

    def __init__(
        self,
        surgeon: Surgeon,
        groups: Sequence[LayerGroup],
        ranking: Mapping[str, npt.NDArray[np.int64]],
        images: Example,
        calibration: Calibration | None = None,
    ) -> None:
        """Gathers and factors one system for each consumer.

        Args:
            surgeon: of the dense model.
            groups: the model's groups.
            ranking: group name → channels by falling importance; plans keep prefixes of it.
            images: calibration inputs, normalised, on the model's device.
            calibration: by default :class:`Calibration`'s own.
        """
        calibration = calibration or Calibration()
        damping = calibration.damping
        self._surgeon = surgeon
        self._norms = following_norms(surgeon.model, images)
        rows = Gatherer(surgeon.model, consumers(surgeon.model, groups), calibration.positions, calibration.seed).run(
            images, calibration.batch_size
        )
        # A layer whose weight the network uses without calling it has no rows, and is left alone.
        self._blocks = {layer: self._factor(layer, rows.pop(layer), groups, ranking, damping) for layer in list(rows)}

    def _has_bias(self, layer: str) -> bool:
        """Whether a refitted bias has a place to go: the layer's own bias or the batch norm behind it."""
        return bias_of(layer_of(self._surgeon.model, layer)) is not None or layer in self._norms

    def _factor(
        self,
        layer: str,
        gathered: list[torch.Tensor],
        groups: Sequence[LayerGroup],
        ranking: Mapping[str, npt.NDArray[np.int64]],
        damping: float,
    ) -> list[_Block]:
        module = layer_of(self._surgeon.model, layer)
        weight = module.weight.detach().flatten(1).double()  # [out, in/g · taps]
        width_in, width_out = weight.shape[1] // _taps(module), weight.shape[0] // len(gathered)
        bias = bias_of(module)
        bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
        order = self._feature_order(layer, groups, ranking)
        blocks = []
        for j, data in enumerate(gathered):
            outs = slice(j * width_out, (j + 1) * width_out)
            matrix = torch.cat([bias[outs, None], weight[outs]], dim=1).T  # [1 + features, out]
            if data.shape[0] != data.shape[1]:
                if not self._has_bias(layer):
                    data[:, 0] = 0
                blocks.append(
                    _Block(j * width_in, width_in, outs.start, width_out, RowSystem(data, matrix.float(), damping))
                )
                continue
            inside = order[(order >= j * width_in) & (order < (j + 1) * width_in)] - j * width_in
            features = self._features(module, torch.as_tensor(inside, device=data.device))
            if not self._has_bias(layer):
                data[0] = data[:, 0] = 0
                data[0, 0] = data.diagonal().mean()
            system = GramSystem(data, matrix, features, damping)
            blocks.append(_Block(j * width_in, width_in, outs.start, width_out, system))
        return blocks

    def _feature_order(
        self, layer: str, groups: Sequence[LayerGroup], ranking: Mapping[str, npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.int64]:
        """Input positions of a layer by falling importance: those that no group removes first."""
        size = self._surgeon.axis_size(layer, "in")
        rank = np.full(size, -1.0)
        for g in groups:
            for s in g.slices:
                if s.layer == layer and s.axis == "in" and g.frozen is None:
                    place = np.empty(g.channels)
                    place[ranking[g.name]] = np.arange(g.channels)
                    rank[s.positions] = place[s.channels]
        return np.argsort(rank, kind="stable")

    @staticmethod
    def _features(module: Reconstructible, channels: torch.Tensor) -> torch.Tensor:
        """Feature indices of input channels, tap by tap, behind the bias feature 0."""
        taps = _taps(module)
        features = channels[:, None] * taps + torch.arange(taps, device=channels.device) + 1
        return torch.cat([features.new_zeros(1), features.flatten()])

    @torch.no_grad()
    def recover(self, small: nn.Module, kept: Kept) -> None:
        """Refits the layers of ``small`` (cut by ``kept``) that have lost inputs, in place."""
        skipped = self._surgeon.skipped(kept)
        for layer, blocks in self._blocks.items():
            if is_inside(layer, skipped):
                continue
            inputs = self._surgeon.kept_positions(layer, "in", kept)
            if inputs is not None:
                outputs = self._surgeon.kept_positions(layer, "out", kept)
                self._refit(small, layer, blocks, inputs, outputs)

    def _refit(
        self,
        small: nn.Module,
        layer: str,
        blocks: list[_Block],
        inputs: npt.NDArray[np.int64],
        outputs: npt.NDArray[np.int64] | None,
    ) -> None:
        module = layer_of(small, layer)
        device = module.weight.device
        solutions = []
        for b in blocks:
            mine = inputs[(inputs >= b.first_in) & (inputs < b.first_in + b.width_in)] - b.first_in
            outs = None
            if outputs is not None:
                inside = outputs[(outputs >= b.first_out) & (outputs < b.first_out + b.width_out)] - b.first_out
                outs = torch.as_tensor(inside, device=device)
            features = self._features(module, torch.as_tensor(mine, device=device))
            solutions.append(b.system.solve(features, outs).T)
        solution = torch.cat(solutions)  # [out, 1 + features]
        module.weight.copy_(solution[:, 1:].reshape(module.weight.shape))
        bias = bias_of(module)
        if bias is not None:
            bias.copy_(solution[:, 0])
        elif layer in self._norms:
            absorb_bias(norm_of(small, self._norms[layer]), solution[:, 0])


def _taps(module: Reconstructible) -> int:
    return module.weight[0, 0].numel()
