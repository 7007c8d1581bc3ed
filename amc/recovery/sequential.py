"""Sequential least squares: layer by layer, on the inputs that the pruned network really gives each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from amc.layers import watched
from amc.recovery.joins import Events, Join, find_joins
from amc.recovery.norms import absorb_bias, following_norms, norm_of, undo_norm
from amc.recovery.rows import (
    bias_of,
    can_reconstruct,
    flat_outputs,
    layer_of,
    pick_positions,
    sample_outputs,
    sample_rows,
)
from amc.recovery.systems import ridge_step
from amc.surgery import Kept, Surgeon

SMALL_SCALE = 1e-2  # of a batch norm's largest scale: below it a channel's residual target is not invertible


class SequentialLeastSquares:
    """Each layer fitted in forward order on the pruned network's own activations (He et al. 2017, §3.2–3.3).

    The target is the dense layer's output. For the layer that ends a residual branch it is what, added to the pruned
    shortcut, gives the dense block's output. One forward pass of all calibration images does it: a layer is fitted
    in the moment it is about to run, and everything behind it sees the result. So the activations of all calibration
    images are in memory at once.
    """

    def __init__(
        self,
        surgeon: Surgeon,
        images: torch.Tensor,
        *,
        positions: int = 10,
        damping: float = 1e-3,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        """Runs the dense network once and keeps its outputs at sampled positions.

        Args:
            surgeon: of the dense model.
            images: normalised calibration images ``[n, c, h, w]``; all of them go through the network at once.
            positions: output positions sampled from each image, in each layer.
            damping: ridge strength relative to the mean diagonal of the Gram matrix.
        """
        self._surgeon, self._images, self._damping = surgeon, images, damping
        self._norms = following_norms(surgeon.model, images)
        self._joins = find_joins(surgeon.model, images)
        self._picks: dict[str, torch.Tensor] = {}
        self._targets: dict[str, torch.Tensor] = {}
        self._observe(surgeon.model, batch_size, positions, torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _observe(self, model: nn.Module, batch_size: int, positions: int, generator: torch.Generator) -> None:
        """Fills in, for every layer, the sampled positions and the dense targets there."""
        picks: dict[str, list[torch.Tensor]] = {}
        targets: dict[str, list[torch.Tensor]] = {}
        layer_at = {join.add_event: name for name, join in self._joins.items()}

        def on_layer(name: str, module: nn.Module, output: torch.Tensor) -> None:
            n, p = flat_outputs(module, output).shape[:2]
            picks.setdefault(name, []).append(pick_positions(n, p, positions, generator))
            if name not in self._joins:
                targets.setdefault(name, []).append(sample_outputs(module, output, picks[name][-1]).float())

        def on_call(event: int, _: str, __: tuple[Any, ...], result: torch.Tensor) -> None:
            if event in layer_at:
                name = layer_at[event]
                sampled = sample_outputs(model.get_submodule(name), result, picks[name][-1])
                targets.setdefault(name, []).append(sampled.float())

        events = Events(on_call)
        handles = [
            m.register_forward_hook(events.hook(lambda m, _, o, n=n: on_layer(n, m, o)))
            for n, m in model.named_modules()
            if can_reconstruct(m)
        ]
        with watched(model, handles):
            for batch in self._images.split(batch_size):
                with events:
                    model(batch)
                events.count = 0
        self._picks = {n: torch.cat(p) for n, p in picks.items()}
        self._targets = {n: torch.cat(t) for n, t in targets.items()}

    @torch.no_grad()
    def recover(self, small: nn.Module, kept: Kept) -> None:
        """Refits every layer of ``small`` (cut by ``kept``) from the first cut on, in place."""
        shortcuts: dict[int, torch.Tensor] = {}
        last_use: dict[int, int] = {}  # several branches may start at one shortcut
        for join in self._joins.values():
            last_use[join.shortcut_event] = max(join.add_event, last_use.get(join.shortcut_event, 0))
        changed = False

        def on_call(event: int, _: str, __: tuple[Any, ...], result: torch.Tensor) -> None:
            if event in last_use:
                shortcuts[event] = result
            for past in [e for e in shortcuts if last_use[e] <= event]:
                del shortcuts[past]

        def before(name: str, module: nn.Module, inputs: torch.Tensor) -> None:
            nonlocal changed
            changed = changed or self._surgeon.kept_positions(name, "in", kept) is not None
            if changed:
                outputs = self._surgeon.kept_positions(name, "out", kept)
                target = self._target(small, name, outputs, shortcuts)
                self._fit(small, name, sample_rows(module, inputs, self._picks[name]).float(), target)

        events = Events(on_call)
        handles = [
            small.get_submodule(n).register_forward_pre_hook(events.hook(lambda m, i, n=n: before(n, m, i[0])))
            for n in self._picks
        ]
        with events, watched(small, handles):
            small(self._images)

    def _target(
        self, small: nn.Module, name: str, outputs: npt.NDArray[np.int64] | None, shortcuts: dict[int, torch.Tensor]
    ) -> torch.Tensor:
        """What the layer should give at its sampled positions, ``[rows, kept outputs]``."""
        target = self._targets[name]
        if outputs is not None:
            target = target[:, torch.as_tensor(outputs, device=target.device)]
        join: Join | None = self._joins.get(name)
        if join is None:
            return target
        module = small.get_submodule(name)
        target = target - sample_outputs(module, shortcuts[join.shortcut_event], self._picks[name]).float()
        if join.norm is None:
            return target
        return undo_norm(norm_of(small, join.norm), target, SMALL_SCALE)

    def _fit(self, small: nn.Module, name: str, rows: torch.Tensor, target: torch.Tensor) -> None:
        """Least squares with bias, pulled towards the weights that the cut left."""
        module = layer_of(small, name)
        groups = getattr(module, "groups", 1)
        weight = module.weight.detach().flatten(1)  # [out, in/g · taps]
        own_bias = bias_of(module)
        bias = weight.new_zeros(len(weight)) if own_bias is None else own_bias
        refit_bias = own_bias is not None or name in self._norms
        x, y = (t.unflatten(1, (groups, -1)).transpose(0, 1) for t in (rows, target))
        start = weight.unflatten(0, (groups, -1)).mT
        solution, shift = _ridge(x, y, start, bias.unflatten(0, (groups, 1, -1)), self._damping, refit_bias)
        module.weight.copy_(solution.mT.reshape(module.weight.shape))
        if own_bias is not None:
            own_bias.copy_(shift.flatten())
        elif name in self._norms:
            absorb_bias(norm_of(small, self._norms[name]), shift.flatten())


def _ridge(
    x: torch.Tensor, y: torch.Tensor, start: torch.Tensor, bias: torch.Tensor, damping: float, refit_bias: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases that minimise ``‖x V + b − y‖² + λ‖V − start‖²``, for each convolution group ``g``.

    Args:
        x: ``[g, n, p]``.
        y: ``[g, n, out]``.
        start: ``[g, p, out]``.
        bias: ``[g, 1, out]``, what ``b`` is without ``refit_bias``.
    """
    mean_x = x.mean(1, keepdim=True) if refit_bias else x.new_zeros(len(x), 1, x.shape[2])
    residual = y - x @ start - bias
    mean_r = residual.mean(1, keepdim=True) if refit_bias else torch.zeros_like(bias)
    step = ridge_step(x - mean_x, residual - mean_r, damping)
    return start + step, bias + mean_r - mean_x @ step
