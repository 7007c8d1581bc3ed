"""Finds the layer groups of a network, and proves each by a trial cut."""

from __future__ import annotations

import copy
import fnmatch
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch_pruning as tp
from torch import nn
from torch.nn.modules.conv import _ConvNd

from amc.core.errors import AmcError, first_line
from amc.core.types import ChannelSlice, LayerGroup
from amc.models.weights import check_weights
from amc.pruning.layers import (
    LayerCall,
    Mixing,
    has_shared_slope,
    is_cuttable,
    is_depthwise,
    is_frozen_norm,
    kind_of,
    layer_shapes,
    per_channel_size,
    record_calls,
    watched,
)
from amc.pruning.proof import OUTPUT, _prove, cannot_run

RESIDUAL = "residual stream (prune_residual=false)"


@torch.inference_mode(mode=False)  # the graph is read off autograd's
def trace(
    model: nn.Module,
    example_input: torch.Tensor,
    *,
    prune_residual: bool = True,
    freeze: Iterable[str] | str = (),
) -> tuple[LayerGroup, ...]:
    """The coupled layer groups of ``model`` in forward order, each proved by a trial cut.

    Coupling comes from torch-pruning's dependency graph (Fang et al. 2023, DepGraph §3.2). Because that graph can be
    wrong without saying so, every group is cut on a copy and compared with the dense network in which the consumers'
    weights of the removed channels are zero; a group that fails is returned frozen, with the reason.

    Args:
        model: any network; left as it is.
        example_input: ``[n, …]``, one input or several, on the model's device.
        prune_residual: ``False`` freezes residual streams.
        freeze: names or patterns (``layer1.*``) of layers whose groups must stay whole.

    Raises:
        AmcError: the network doesn't run on ``example_input``, its graph can't be followed (names the layer), a weight
            is NaN or infinite, or a pattern in ``freeze`` matches no layer.
    """
    check_weights(model)
    try:
        calls = record_calls(model, example_input)
    except Exception as error:  # the network's own code may raise anything
        raise cannot_run(example_input, error) from error
    found = dependency_groups(model, example_input)
    shapes, _ = layer_shapes(model, calls)
    macs = {s.name: s.out_size * (s.macs_per_pair * s.in_size + s.macs_per_out) for s in shapes}
    groups = [g for g in (_layer_group(model, item, calls, macs) for item in found) if g is not None]
    order = {name: i for i, name in enumerate(calls)}
    groups.sort(key=lambda g: order[g.name])
    patterns = [freeze] if isinstance(freeze, str) else [str(pattern) for pattern in freeze]
    _check_patterns(model, patterns)
    for i, group in enumerate(groups):
        if group.frozen is not None:
            continue
        hit = next((p for p in patterns if any(fnmatch.fnmatch(s.layer, p) for s in group.slices)), None)
        if hit is not None:
            groups[i] = replace(group, frozen=f"frozen by the user ({hit})")
        elif group.residual and not prune_residual:
            groups[i] = replace(group, frozen=RESIDUAL)
    return _prove(model, groups, example_input)


def dependency_groups(model: nn.Module, example_input: torch.Tensor) -> list[tp.dependency.Group]:
    """torch-pruning's groups over full channel ranges. They refer to a copy of the model, never to ``model``."""
    twin = _with_stand_ins(copy.deepcopy(model)).eval().requires_grad_(True)
    example = example_input[:1].clone()
    try:
        graph = _dependency_graph(twin, example)
        return list(graph.get_all_groups(root_module_types=list(Mixing)))
    except Exception as error:
        # torch-pruning gives up with whatever its index arithmetic raised: a ZeroDivisionError, an AssertionError …
        layer = _smallest_untraceable(twin, example)
        raise AmcError(
            f"the network's graph can't be followed at layer {layer!r} ({type(error).__name__}: {first_line(error)}). "
            "Operations such as channel shuffle or reshapes that mix channels are not supported; "
            "give a model without them."
        ) from error


def _with_stand_ins(twin: nn.Module) -> nn.Module:
    """``twin`` with layers that torch-pruning misreads replaced by others of the same coupling."""
    for name, module in list(twin.named_modules(remove_duplicate=False)):
        if not name:
            continue
        if has_shared_slope(module):
            twin.set_submodule(name, nn.LeakyReLU())
        elif is_frozen_norm(module):
            twin.set_submodule(name, nn.BatchNorm2d(per_channel_size(module)).to(_device_of(module)))
    return twin


def _device_of(module: nn.Module) -> torch.device:
    return next(buffer.device for buffer in module.buffers())


def _dependency_graph(model: nn.Module, example: torch.Tensor) -> tp.DependencyGraph:
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        return tp.DependencyGraph().build_dependency(model, example_inputs=example, verbose=False)


def _smallest_untraceable(model: nn.Module, example: torch.Tensor) -> str:
    """Name of the deepest module on which torch-pruning fails by itself; the class name if only the whole fails."""
    inputs: dict[nn.Module, torch.Tensor] = {}

    def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if args:
            inputs.setdefault(module, args[0])

    handles = [m.register_forward_pre_hook(hook) for m in model.modules()]
    try:
        with torch.no_grad(), watched(model, handles):
            model(example)
    except Exception:
        return type(model).__name__

    def fails(module: nn.Module) -> bool:
        if module not in inputs or not isinstance(inputs[module], torch.Tensor) or not list(module.parameters()):
            return False
        try:
            list(_dependency_graph(module, inputs[module].detach()).get_all_groups(root_module_types=list(Mixing)))
        except Exception:
            return True
        return False

    name, module = "", model
    while True:
        deeper = next(((n, m) for n, m in module.named_children() if fails(m)), None)
        if deeper is None:
            return name or type(model).__name__
        name, module = (f"{name}.{deeper[0]}" if name else deeper[0]), deeper[1]


def _check_patterns(model: nn.Module, patterns: Iterable[str]) -> None:
    names = [name for name, _ in model.named_modules()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise AmcError(f"freeze: {pattern!r} matches no layer; give names or patterns such as {names[-1]!r}")


def _layer_group(
    model: nn.Module, found: tp.dependency.Group, calls: dict[str, LayerCall], macs: dict[str, float]
) -> LayerGroup | None:
    """One torch-pruning group as a layer group; ``None`` if the forward pass never reaches it."""
    slices, reason, added = [], None, False
    for item in found.items:
        target = item.dep.target.module
        name = item.dep.target.name.split(" ")[0]
        if isinstance(target, nn.Parameter):
            known = (n for n, p in found._DG.model.named_parameters() if p is target)
            reason = f"its channels meet the free parameter {next(known, name)}"
        elif type(target).__module__.startswith("torch_pruning"):
            added = added or "AddBackward" in item.dep.target.name
        elif not is_cuttable(model.get_submodule(name)):
            reason = f"layer {name} ({type(target).__name__}) can't be cut"
        else:
            slices.append(_channel_slice(model.get_submodule(name), name, item))
    producers = _producers(model, slices, calls)
    if not producers:
        return None
    root = producers[0]
    module = model.get_submodule(root)
    channels = len(found[0].idxs)
    step, step_reason = _step(model, slices, channels)
    if not any(s.axis == "in" for s in slices):
        reason = OUTPUT
    call = calls[root]
    conv = module if isinstance(module, _ConvNd) else None
    return LayerGroup(
        name=root,
        kind=kind_of(module),
        channels=channels,
        step=step,
        residual=added and sum(not is_depthwise(model.get_submodule(p)) for p in producers) > 1,
        in_channels=int(module.in_channels if conv is not None else module.in_features),  # type: ignore[arg-type]
        height=call.height,
        width=call.width,
        stride=conv.stride[0] if conv is not None else 1,
        kernel=conv.kernel_size[0] if conv is not None else 1,
        macs=round(sum(macs.get(p, 0.0) for p in producers)),
        params=sum(p.numel() for n in producers for p in model.get_submodule(n).parameters(recurse=False)),
        slices=tuple(slices),
        frozen=reason or step_reason,
    )


def _channel_slice(module: nn.Module, name: str, item: tp._helpers.GroupItem) -> ChannelSlice:
    consumer = item.dep.handler.__name__ == "prune_in_channels" and isinstance(module, Mixing)
    positions = np.asarray(item.idxs, dtype=np.int64)
    channels = np.asarray(item.root_idxs, dtype=np.int64)
    order = np.argsort(positions, kind="stable")
    axis = "in" if consumer and not is_depthwise(module) else "out"
    return ChannelSlice(name, axis, positions[order], channels[order])  # type: ignore[arg-type]


def _producers(model: nn.Module, slices: Sequence[ChannelSlice], calls: dict[str, LayerCall]) -> list[str]:
    """Layers that make the group's channels, in forward order; a depthwise layer only carries them on."""
    makers = {s.layer for s in slices if s.axis == "out" and isinstance(model.get_submodule(s.layer), Mixing)}
    ordered = [name for name in calls if name in makers]
    return sorted(ordered, key=lambda name: is_depthwise(model.get_submodule(name)))


def _step(model: nn.Module, slices: Sequence[ChannelSlice], channels: int) -> tuple[int, str | None]:
    """Kept counts must be a multiple of this; and why the group can't be cut, if its convolution groups clash."""
    counts = set()
    for s in slices:
        module = model.get_submodule(s.layer)
        if isinstance(module, _ConvNd) and module.groups > 1 and not is_depthwise(module):
            counts.add(module.groups)
            if len(s.positions) != channels or not np.array_equal(s.channels, np.arange(channels)):
                return 1, f"the grouped convolution {s.layer} shares its channels with other groups"
    step = math.lcm(*counts) if counts else 1
    if step not in (1, *counts) or channels % step:
        return 1, f"grouped convolutions with {sorted(counts)} groups share its channels"
    return step, None
