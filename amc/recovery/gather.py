"""Gram matrices of the dense inputs of consumers of removable channels, in one pass over the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.pruning.inputs import Example, count, run, split
from amc.pruning.layers import is_depthwise, watched
from amc.recovery.rows import can_reconstruct, flat_outputs, has_own_weight, pick_positions, sample_rows

MAX_GRAM_FEATURES = 6000  # above, the rows are kept instead: 6000² float32 are 144 MB
MAX_ROWS = 2048


def consumers(model: nn.Module, groups: Sequence[LayerGroup]) -> list[str]:
    """Layers that lose inputs with a group and can be refitted; no channel of a depthwise layer sees another."""
    names = dict.fromkeys(s.layer for g in groups if g.frozen is None for s in g.slices if s.axis == "in")
    modules = {n: model.get_submodule(n) for n in names}
    own = has_own_weight(model)
    return [n for n, m in modules.items() if can_reconstruct(m) and not is_depthwise(m) and own(m)]


class Gatherer:
    """One pass over the calibration images, adding up ``[1, X]ᵀ[1, X]`` for each layer and convolution group."""

    def __init__(self, model: nn.Module, layers: Sequence[str], positions: int, seed: int) -> None:
        """``positions``: output positions sampled from each image; ``layers``: from :func:`consumers`."""
        self._model, self._layers, self._positions = model, layers, positions
        self._generator = torch.Generator().manual_seed(seed)
        self._data: dict[str, list[torch.Tensor]] = {}
        self._batch = 0

    @torch.no_grad()
    def run(self, images: Example, batch_size: int) -> dict[str, list[torch.Tensor]]:
        """Layer → for each convolution group the Gram matrix ``[1 + p, 1 + p]`` or the rows ``[n, 1 + p]``."""
        handles = [
            self._model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: self._add(n, m, i[0], o))
            for n in self._layers
        ]
        with watched(self._model, handles):
            for batch in split(images, batch_size):
                self._batch = count(batch)
                run(self._model, batch)
        return self._data

    def _add(self, name: str, module: nn.Module, inputs: torch.Tensor, output: torch.Tensor) -> None:
        flat = flat_outputs(module, output, self._batch)
        picks = pick_positions(flat.shape[0], flat.shape[1], self._positions, self._generator)
        rows = sample_rows(module, inputs, picks).float()
        groups = getattr(module, "groups", 1)
        parts = [torch.cat([r.new_ones(len(r), 1), r], dim=1) for r in rows.chunk(groups, dim=1)]
        if parts[0].shape[1] > MAX_GRAM_FEATURES:
            before = self._data.get(name, [p[:0] for p in parts])
            self._data[name] = [torch.cat([b, p])[:MAX_ROWS] for b, p in zip(before, parts, strict=True)]
            return
        grams = [(p.T @ p).double() for p in parts]
        before = self._data.setdefault(name, [torch.zeros_like(g) for g in grams])
        for total, gram in zip(before, grams, strict=True):
            total += gram
