"""Finds the layer groups of a network, and proves each by a trial cut."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from amc.core.errors import AmcError
from amc.core.types import ChannelSlice, LayerGroup
from amc.models.weights import check_weights
from amc.pruning.coupling import Coupling, couplings
from amc.pruning.layers import (
    LayerCall,
    frozen_eval,
    is_depthwise,
    kind_of,
    layer_shapes,
    record_calls,
)
from amc.pruning.proof import OUTPUT, _prove, cannot_run

RESIDUAL = "residual stream (prune_residual=false)"


@torch.inference_mode(mode=False)  # under it, views are not told from what they are of
def trace(
    model: nn.Module,
    example_input: torch.Tensor,
    *,
    prune_residual: bool = True,
    freeze: Iterable[str] | str = (),
) -> tuple[LayerGroup, ...]:
    """The coupled layer groups of ``model`` in forward order, each proved by a trial cut.

    Couplings are found by following the channels through a forward pass (:mod:`amc.pruning.coupling`). Every group is
    then cut on a copy and compared with the dense network in which the consumers' weights of the removed channels are
    zero; a group that fails is returned frozen, with the reason.

    Args:
        model: any network; left as it is.
        example_input: ``[n, …]``, one input or several, on the model's device.
        prune_residual: ``False`` freezes residual streams.
        freeze: names or patterns (``layer1.*``) of layers whose groups must stay whole.

    Raises:
        AmcError: the network doesn't run on ``example_input``, a weight is NaN or infinite, or a pattern in ``freeze``
            matches no layer.
    """
    check_weights(model)
    try:
        calls = record_calls(model, example_input)
    except Exception as error:  # the network's own code may raise anything
        raise cannot_run(example_input, error) from error
    shapes, _ = layer_shapes(model, calls)
    macs = {s.name: s.out_size * (s.macs_per_pair * s.in_size + s.macs_per_out) for s in shapes}
    with frozen_eval(model):
        found = couplings(model, example_input[:1], calls)
    groups = [_layer_group(model, coupling, calls, macs) for coupling in found]
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


def _check_patterns(model: nn.Module, patterns: Iterable[str]) -> None:
    names = [name for name, _ in model.named_modules()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise AmcError(f"freeze: {pattern!r} matches no layer; give names or patterns such as {names[-1]!r}")


def _layer_group(model: nn.Module, found: Coupling, calls: dict[str, LayerCall], macs: dict[str, float]) -> LayerGroup:
    root = found.producers[0]
    module = model.get_submodule(root)
    step, step_reason = _step(model, found.slices, found.channels)
    consumed = any(s.axis == "in" for s in found.slices)
    call = calls[root]
    conv = module if isinstance(module, _ConvNd) else None
    return LayerGroup(
        name=root,
        kind=kind_of(module),
        channels=found.channels,
        step=step,
        residual=found.added and sum(not is_depthwise(model.get_submodule(p)) for p in found.producers) > 1,
        in_channels=int(module.in_channels if conv is not None else module.in_features),  # type: ignore[arg-type]
        height=call.height,
        width=call.width,
        stride=conv.stride[0] if conv is not None else 1,
        kernel=conv.kernel_size[0] if conv is not None else 1,
        macs=round(sum(macs.get(p, 0.0) for p in found.producers)),
        params=sum(p.numel() for n in found.producers for p in model.get_submodule(n).parameters(recurse=False)),
        slices=found.slices,
        frozen=found.frozen or step_reason or (None if consumed else OUTPUT),
    )


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
