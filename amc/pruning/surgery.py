"""Slicing a model by a plan into a new, physically smaller model. The original is never touched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from amc.core.places import Form, TensorSlice
from amc.core.types import LayerGroup
from amc.pruning.layers import (
    is_cuttable,
    is_depthwise,
    is_inside,
    is_per_channel,
    is_transposed,
    per_channel_size,
    tensor_of,
)
from amc.pruning.numbers import follow_tensors, get_number, set_numbers
from amc.pruning.skipped import Skipped, skipped_in, tell_others

Kept = Mapping[str, npt.NDArray[np.int64]]
Ranking = Mapping[str, npt.NDArray[np.int64]]


def rank_channels(group: LayerGroup, scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """Channels from most to least important, so that every plan keeps a prefix. Shape ``[channels]``.

    Grouped convolutions keep equally many channels in each convolution group: their ranking goes round the groups.
    Equal scores keep their order, so the choice depends on nothing but the scores.
    """
    blocks = np.asarray(scores, dtype=np.float64).reshape(group.step, -1)
    within = np.argsort(-blocks, axis=1, kind="stable")
    first = np.arange(group.step)[:, None] * blocks.shape[1]
    ranking: npt.NDArray[np.int64] = (within + first).T.reshape(-1).astype(np.int64)
    return ranking


def select_channels(
    counts: Mapping[str, int], ranking: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, npt.NDArray[np.int64]]:
    """The channels each group keeps, ascending; groups that keep everything are left out. A branch keeps 0 or all."""
    return {n: np.sort(ranking[n][:count]) for n, count in counts.items() if n in ranking and count < len(ranking[n])}


class Surgeon:
    """Cuts one model by any number of plans; the layers that each group touches are found once."""

    def __init__(self, model: nn.Module, groups: Sequence[LayerGroup]) -> None:
        self.model = model
        self.groups = tuple(groups)
        self._uses: dict[tuple[str, str], list[tuple[LayerGroup, int]]] = {}
        for group in groups:
            for i, s in enumerate(group.slices):
                self._uses.setdefault((s.layer, s.axis), []).append((group, i))
        self._modules = dict(model.named_modules())
        self._tensor_uses: dict[str, list[tuple[LayerGroup, TensorSlice]]] = {}
        for group in groups:
            for t in group.tensors:
                self._tensor_uses.setdefault(t.tensor, []).append((group, t))

    def kept_positions(self, layer: str, axis: str, kept: Kept) -> npt.NDArray[np.int64] | None:
        """Kept indices along one axis of a layer; ``None`` if nothing is removed there."""
        uses = [(g, i) for g, i in self._uses.get((layer, axis), []) if g.name in kept]
        if not uses:
            return None
        mask = np.ones(self.axis_size(layer, axis), dtype=bool)
        for group, i in uses:
            s = group.slices[i]
            keep = np.zeros(group.channels, dtype=bool)
            keep[kept[group.name]] = True
            mask[s.positions] = keep[s.channels]
        return np.flatnonzero(mask)

    def axis_size(self, layer: str, axis: str) -> int:
        """Channels of a dense layer along ``"out"`` or ``"in"``."""
        return _axis_size(self._modules[layer], axis)

    def touched(self) -> Iterable[str]:
        """Layers that any group reaches, each once."""
        return dict.fromkeys(layer for layer, _ in self._uses)

    @torch.no_grad()
    def cut(self, kept: Kept) -> nn.Module:
        """A new model that has only the kept channels and branches; shares no tensor with the original.

        Args:
            kept: group name → kept channel indices, ascending; groups left out keep everything.
        """
        skipped = self.skipped(kept)
        memo: dict[int, Any] = {id(self._modules[path]): Skipped(self._modules[path], f) for path, f in skipped.items()}
        sizes: dict[str, tuple[int | None, int | None]] = {}
        for layer in self.touched():
            out, inp = (self.kept_positions(layer, axis, kept) for axis in ("out", "in"))
            if out is None and inp is None:
                continue
            module = self._modules[layer]
            sizes[layer] = (None if out is None else len(out), None if inp is None else len(inp))
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None and id(tensor) not in memo:
                    memo[id(tensor)] = _sliced(module, tensor, out, inp)
        for name, uses in self._tensor_uses.items():
            mine = [(group, t) for group, t in uses if group.name in kept]
            if mine:
                tensor = tensor_of(self.model, name)
                memo[id(tensor)] = _like(tensor, _without(tensor.detach(), mine, kept))
        # Deep-copying with the sliced tensors already in the memo copies the structure and never the full weights.
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            if id(tensor) not in memo:
                memo[id(tensor)] = _like(tensor, tensor.detach().clone())
        small = copy.deepcopy(self.model, memo)
        for layer, (n_out, n_in) in sizes.items():
            if not is_inside(layer, skipped):
                _resize(small.get_submodule(layer), n_out, n_in)
        for path, numbers in self._numbers(kept).items():
            if not is_inside(path, skipped):
                set_numbers(small.get_submodule(path), numbers)
        for name in self._tensor_uses:
            if not is_inside(name, skipped):
                follow_tensors(small.get_submodule(name.rpartition(".")[0]))
        for path in skipped:
            tell_others(small, path, self._modules[path])
        return small

    def skippable(self) -> dict[str, Form]:
        """Modules that some plan leaves out."""
        return skipped_in(self.groups, {group.name: () for group in self.groups if group.frozen is None})

    def skipped(self, kept: Kept) -> dict[str, Form]:
        """Modules that :meth:`cut` leaves out, with the form of what they return."""
        return skipped_in(self.groups, kept)

    def _numbers(self, kept: Kept) -> dict[str, dict[str, int]]:
        """Module → its numbers that follow channels → their values in the cut network."""
        found: dict[str, dict[str, float]] = {}
        for group in self.groups:
            for s in group.sizes if group.name in kept else ():
                own = found.setdefault(s.module, {})
                value = own.get(s.attribute, get_number(self._modules[s.module], s.attribute))
                share = np.isin(s.channels, kept[group.name]).mean()
                own[s.attribute] = value - s.value * (1 - float(share))
        return {path: {name: round(value) for name, value in own.items()} for path, own in found.items()}

    @torch.no_grad()
    def zeroed(self, kept: Kept) -> nn.Module:
        """The dense model with the consumers' weights for removed channels at zero: what a correct cut must equal.

        Where the network reckons with all channels at once (layer norms), see :mod:`amc.pruning.masked`.
        """
        twin = copy.deepcopy(self.model)
        for layer, axis in self._uses:
            positions = self.kept_positions(layer, axis, kept) if axis == "in" else None
            if positions is None:
                continue
            module = twin.get_submodule(layer)
            removed = np.setdiff1d(np.arange(self.axis_size(layer, "in")), positions)
            _zero_inputs(module, removed)
        return twin


def _without(value: torch.Tensor, uses: Sequence[tuple[LayerGroup, TensorSlice]], kept: Kept) -> torch.Tensor:
    """The tensor without the channels that went."""
    by_dim: dict[int, npt.NDArray[np.bool_]] = {}
    for group, t in uses:
        mask = by_dim.setdefault(t.dim, np.ones(value.shape[t.dim], dtype=bool))
        mask[t.positions] = np.isin(t.channels, kept[group.name])
    for dim, mask in by_dim.items():
        value = value.index_select(dim, torch.as_tensor(np.flatnonzero(mask), device=value.device))
    return value


@torch.no_grad()
def resized(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """``model``'s architecture with the tensors of a network that was cut out of it; layers get the sizes they imply.

    Numbers that other modules keep (a layer norm's ``normalized_shape``, ``num_heads``) stay ``model``'s.

    Args:
        model: dense, or cut less; left as it is. Its weights are not looked at.
        tensors: a whole ``state_dict``; copied, onto the model's devices.

    Raises:
        ValueError: names or numbers of dimensions that are not the model's.
    """
    own = model.state_dict(keep_vars=True)
    if set(own) != set(tensors):
        odd = min(set(own) ^ set(tensors))
        raise ValueError(f"tensor {odd!r} is in only one of the two networks")
    memo: dict[int, Any] = {}
    for name, tensor in own.items():
        if tensors[name].dim() != tensor.dim():
            raise ValueError(f"tensor {name!r} has {tensors[name].dim()} dimensions instead of {tensor.dim()}")
        device = tensors[name].device if tensor.is_meta else tensor.device  # a skeleton has no place of its own
        memo[id(tensor)] = _like(tensor, tensors[name].detach().clone().to(device))
    small = copy.deepcopy(model, memo)
    for module in small.modules():
        sizes = _implied_sizes(module)
        if sizes is not None:
            _resize(module, *sizes)
    return small


def _implied_sizes(module: nn.Module) -> tuple[int, int | None] | None:
    """(outputs, inputs) of a layer by its tensors; ``None`` for a layer that the surgery doesn't know."""
    if not is_cuttable(module):
        return None
    weight = getattr(module, "weight", None)
    if isinstance(module, _ConvNd):
        assert isinstance(weight, torch.Tensor)
        first, second = weight.shape[:2]
        return (second, first) if is_transposed(module) else (first, second * module.groups)
    if isinstance(module, nn.Linear):
        return module.weight.shape[0], module.weight.shape[1]
    if is_per_channel(module):
        size = weight if weight is not None else getattr(module, "running_mean", None)
        return None if size is None else (len(size), None)
    return None


def _axis_size(module: nn.Module, axis: str) -> int:
    """Channels of a layer along ``"out"`` or ``"in"``."""
    if isinstance(module, nn.Linear):
        return module.out_features if axis == "out" else module.in_features
    if isinstance(module, _ConvNd):
        return module.out_channels if axis == "out" else module.in_channels
    return per_channel_size(module)


def _zero_inputs(module: nn.Module, channels: npt.NDArray[np.int64]) -> None:
    """Sets a consumer's weights for the given input channels to zero, in place."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    index = torch.as_tensor(channels, device=weight.device)
    if is_transposed(module):
        weight[index] = 0
    elif isinstance(module, _ConvNd) and module.groups > 1:
        width = module.in_channels // module.groups
        by_group = weight.view(module.groups, -1, *weight.shape[1:])  # [g, out/g, in/g, *k]
        by_group[index // width, :, index % width] = 0
    else:
        weight[:, index] = 0


def _like(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(value, requires_grad=tensor.requires_grad)
    return value


def _sliced(
    module: nn.Module,
    tensor: torch.Tensor,
    out: npt.NDArray[np.int64] | None,
    inp: npt.NDArray[np.int64] | None,
) -> torch.Tensor:
    """A copy of one of the module's tensors with only the kept outputs and inputs."""
    value = tensor.detach()
    is_weight = tensor is getattr(module, "weight", None)
    if isinstance(module, _ConvNd) and is_weight and module.groups > 1 and not is_depthwise(module):
        return _like(tensor, _slice_grouped(module, value, out, inp))
    if value.dim() > 0 and out is not None:
        index = torch.as_tensor(out, device=value.device)
        value = value.index_select(1 if is_weight and is_transposed(module) else 0, index)
    if is_weight and inp is not None:
        index = torch.as_tensor(inp, device=value.device)
        value = value.index_select(0 if is_transposed(module) else 1, index)
    # index_select keeps no reference to the original, but an untouched tensor would be it
    return _like(tensor, value.clone() if value.data_ptr() == tensor.data_ptr() else value)


def _slice_grouped(
    module: _ConvNd, weight: torch.Tensor, out: npt.NDArray[np.int64] | None, inp: npt.NDArray[np.int64] | None
) -> torch.Tensor:
    groups = module.groups
    grouped = weight.view(groups, -1, *weight.shape[1:])  # [g, out/g, in/g, *k]
    for dim, kept, size in ((1, out, module.out_channels), (2, inp, module.in_channels)):
        if kept is not None:
            local = torch.as_tensor(kept % (size // groups), device=weight.device).view(groups, -1)
            shape = [1] * grouped.dim()
            shape[0], shape[dim] = local.shape
            target = list(grouped.shape)
            target[dim] = local.shape[1]
            grouped = grouped.gather(dim, local.view(shape).expand(target))
    return grouped.reshape(-1, *grouped.shape[2:]).clone()


def _resize(module: nn.Module, n_out: int | None, n_in: int | None) -> None:
    """Updates a layer's size attributes."""
    if isinstance(module, nn.Linear):
        module.out_features = n_out or module.out_features
        module.in_features = n_in or module.in_features
    elif isinstance(module, _ConvNd):
        if is_depthwise(module):
            each = module.out_channels // module.in_channels
            module.out_channels = n_out or module.out_channels
            module.groups = module.in_channels = module.out_channels // each
        else:
            module.out_channels = n_out or module.out_channels
            module.in_channels = n_in or module.in_channels
    elif isinstance(module, nn.PReLU):
        module.num_parameters = n_out or module.num_parameters
    elif n_out is not None and hasattr(module, "num_features"):  # torchvision's frozen batch norm has none
        module.num_features = n_out  # type: ignore[assignment]


Recover = Callable[[nn.Module, Kept], None]
