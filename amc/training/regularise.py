"""Penalties that push weights towards zero while a network is trained, so that pruning them costs less."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from amc.core.checks import Interval, one_of, require
from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.layers import Mixing, is_transposed
from amc.pruning.surgery import Surgeon

Penalty = Callable[[nn.Module], torch.Tensor]
Doomed = Mapping[str, npt.NDArray[np.int64]]
Slots = dict[str, npt.NDArray[np.int64]]

NAMES = ("none", "l2", "l1", "bn_l1", "group_lasso")


def make_penalty(
    name: str,
    strength: float,
    model: nn.Module,
    groups: Sequence[LayerGroup] = (),
    doomed: Doomed | None = None,
) -> Penalty | None:
    """A penalty to add to the loss in each training step: model → differentiable scalar.

    Its gradient is finite everywhere, and zero where a weight or channel is exactly zero.

    Args:
        name: ``l2``: strength / 2 · Σ w² and ``l1``: strength · Σ |w| over the weights (no biases) of convolutions and
            linear layers; ``bn_l1``: strength · Σ |γ| over the scales of batch norms (network slimming, Liu et al.
            2017, eq. 1); ``group_lasso``: strength · Σ √size · ‖w‖₂ over the doomed channels, where w are the ``size``
            parameters that would go with the channel (Yuan & Lin 2006, eq. 2.1; Wen et al. 2016, §3.2; whole
            dependency groups as in DepGraph, Fang et al. 2023, §3.3); ``none``.
        strength: factor of the sum; 0: no penalty.
        model: the network that will be trained. Parameters are found once, here, and later by their names.
        groups: the model's groups, from :func:`amc.pruning.groups.trace`; for ``group_lasso``.
        doomed: group name → channels of this model that are to go next; for ``group_lasso``.

    Returns:
        ``None`` where there is nothing to add: ``none``, strength 0, or no channel doomed.

    Raises:
        AmcError: unknown name, a strength that is negative or not finite, a model without what the penalty looks at,
            or doomed channels that the model doesn't have or that can't go.
    """
    one_of("regulariser", name, NAMES)
    require("regulariser.strength", strength, float, Interval(0))
    if name == "none" or strength == 0:
        return None
    if name == "group_lasso":
        return _group_lasso(strength, model, groups, doomed)
    if name == "bn_l1":
        return _penalty(strength, _absolute, _weights(name, model, _BatchNorm, "batch norm with scales"))
    of_one = _half_square if name == "l2" else _absolute
    return _penalty(strength, of_one, _weights(name, model, Mixing, "convolution or linear layer"))


def _half_square(weight: torch.Tensor) -> torch.Tensor:
    return weight.square().sum() / 2


def _absolute(weight: torch.Tensor) -> torch.Tensor:
    return weight.abs().sum()


def _penalty(strength: float, of_one: Callable[[torch.Tensor], torch.Tensor], names: Sequence[str]) -> Penalty:
    return lambda model: strength * torch.stack([of_one(model.get_parameter(n)) for n in names]).sum()


def _weights(name: str, model: nn.Module, kinds: type | tuple[type, ...], what: str) -> list[str]:
    """Names of the weights of layers of these kinds, tied ones once."""
    layers = dict(model.named_modules(remove_duplicate=False))
    found: dict[int, str] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        layer, _, own = path.rpartition(".")
        if own == "weight" and isinstance(layers[layer], kinds):
            found.setdefault(id(parameter), path)
    if not found:
        raise AmcError(f"regulariser={name}: the model has no {what}; give another regulariser")
    return list(found.values())


@dataclass(frozen=True)
class _Part:
    """A parameter some of whose numbers go with doomed channels.

    Attributes:
        parameter: its name.
        conv_groups, transposed: how a weight's axes are to be read.
        twice: ``[out, in / conv_groups]``: kernels whose input and output are one channel (a stream's convolution onto
            itself), which must not count twice; ``None``: there are none.
    """

    parameter: str
    conv_groups: int = 1
    transposed: bool = False
    twice: torch.Tensor | None = None

    def sums(self, value: torch.Tensor) -> list[torch.Tensor]:
        """Sums of squares: ``[out]`` and, for a weight that mixes channels, ``[in]``."""
        squares = value.square()
        if value.dim() == 1:
            return [squares]
        squares = squares.transpose(0, 1) if self.transposed else squares
        kernels = squares.reshape(*squares.shape[:2], -1).sum(2)  # [out, in / conv_groups]
        rows = kernels if self.twice is None else kernels.masked_fill(self.twice.to(kernels.device), 0)
        return [rows.sum(1), kernels.unflatten(0, (self.conv_groups, -1)).sum(1).flatten()]


def _group_lasso(
    strength: float, model: nn.Module, groups: Sequence[LayerGroup], doomed: Doomed | None
) -> Penalty | None:
    if doomed is None or not groups:
        raise AmcError("regulariser=group_lasso: needs the channels that are to go next; give groups and doomed")
    channels = _check_doomed(groups, doomed)
    count = sum(len(c) for c in channels.values())
    if count == 0:
        return None
    parts, slots = _parts(model, _layer_slots(Surgeon(model, groups), groups, channels, count), count)

    def energies(read: Callable[[str], torch.Tensor]) -> torch.Tensor:
        """Sum of squares of everything that goes with each doomed channel, ``[count]``."""
        sums = torch.cat([s for part in parts for s in part.sums(read(part.parameter))])
        # The slot behind the last gathers what stays.
        return sums.new_zeros(count + 1).index_add(0, slots.to(sums.device), sums)[:count]

    with torch.no_grad():
        factors = strength * energies(lambda name: torch.ones_like(model.get_parameter(name))).sqrt()

    def penalty(model: nn.Module) -> torch.Tensor:
        energy = energies(model.get_parameter)
        alive = energy > 0
        # The square root's slope at 0 is infinite, and times 0 NaN: what is zero already is kept out of it.
        norms = energy.where(alive, 1).sqrt().where(alive, 0)
        return (factors.to(norms) * norms).sum()

    return penalty


def _check_doomed(groups: Sequence[LayerGroup], doomed: Doomed) -> dict[str, npt.NDArray[np.int64]]:
    """Doomed channels of each group, each once."""
    by_name = {g.name: g for g in groups}
    channels = {name: np.unique(np.asarray(given, dtype=np.int64)) for name, given in doomed.items()}
    for name, given in channels.items():
        if name not in by_name:
            raise AmcError(f"regulariser=group_lasso: the model has no group {name!r}; give groups of this model")
        group = by_name[name]
        if len(given) and (given[0] < 0 or given[-1] >= group.channels):
            raise AmcError(
                f"regulariser=group_lasso: channels {given[0]} … {given[-1]} of group {name} are doomed; "
                f"give channels of 0 … {group.channels - 1}"
            )
        if len(given) and group.frozen is not None:
            raise AmcError(f"regulariser=group_lasso: group {name} can't be pruned ({group.frozen}); leave it out")
    return channels


def _layer_slots(surgeon: Surgeon, groups: Sequence[LayerGroup], doomed: Doomed, count: int) -> dict[str, Slots]:
    """Layer → axis → which of the ``count`` doomed channels each position there is; ``count``: none of them."""
    layers: dict[str, Slots] = {}
    start = 0
    for group in groups:
        channels = doomed.get(group.name, np.empty(0, dtype=np.int64))
        if len(channels) == 0:
            continue
        numbers = np.full(group.channels, count, dtype=np.int64)
        numbers[channels] = np.arange(start, start + len(channels))
        start += len(channels)
        for s in group.slices:
            try:
                if s.layer not in layers:
                    layers[s.layer] = {axis: np.full(surgeon.axis_size(s.layer, axis), count) for axis in ("out", "in")}
                layers[s.layer][s.axis][s.positions] = numbers[s.channels]
            except (KeyError, IndexError) as error:
                misfit = f"group {group.name} doesn't fit layer {s.layer}"
                raise AmcError(f"regulariser=group_lasso: {misfit}; give groups of this model") from error
    return layers


def _parts(model: nn.Module, layers: Mapping[str, Slots], count: int) -> tuple[list[_Part], torch.Tensor]:
    """The parameters of these layers, and the slots of all their sums, one after the other."""
    parts: list[_Part] = []
    places: list[npt.NDArray[np.int64]] = []
    seen: set[int] = set()  # tied parameters count once
    for layer, slots in layers.items():
        module = model.get_submodule(layer)
        for name, parameter in module.named_parameters(layer, recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            places.append(slots["out"])
            if parameter.dim() == 1:
                parts.append(_Part(name))
            else:
                places.append(slots["in"])
                parts.append(_weight_part(name, module, slots, count, parameter.device))
    return parts, torch.as_tensor(np.concatenate(places), device=next(model.parameters()).device)


def _weight_part(name: str, module: nn.Module, slots: Slots, count: int, device: torch.device) -> _Part:
    conv_groups = module.groups if isinstance(module, _ConvNd) else 1
    inputs = slots["in"].reshape(conv_groups, -1)
    rows = np.repeat(inputs, len(slots["out"]) // conv_groups, axis=0)  # [out, in / conv_groups]
    twice = (rows == slots["out"][:, None]) & (rows < count)
    mask = torch.as_tensor(twice, device=device) if twice.any() else None
    return _Part(name, conv_groups, is_transposed(module), mask)
