"""Finds the layer groups of a network, and proves each by a trial cut."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from amc.core.errors import AmcError
from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.models.weights import check_weights
from amc.pruning.cost import Axis, Term
from amc.pruning.coupling import Coupling, Product, couplings
from amc.pruning.coupling.branches import branches
from amc.pruning.depth import modules_in, with_branches
from amc.pruning.inputs import Example, first
from amc.pruning.layers import (
    LayerCall,
    LayerShape,
    frozen_eval,
    is_depthwise,
    kind_of,
    layer_shapes,
    record_calls,
)
from amc.pruning.proof import OUTPUT, cannot_run, prove

HEADS, WIDTH = "heads", "width"  # what goes in attention
RESIDUAL = "residual stream (prune_residual=false)"


@dataclass(frozen=True)
class Traced:
    """What tracing a network found.

    Attributes:
        groups: in forward order, proved.
        products: matrix products outside of layers.
        layers: their shapes.
        other_params: parameters outside of them, by name.
    """

    groups: tuple[LayerGroup, ...]
    products: tuple[Term, ...]
    layers: tuple[LayerShape, ...]
    other_params: Mapping[str, nn.Parameter]


def trace(
    model: nn.Module,
    example_input: Example,
    *,
    prune_residual: bool = True,
    prune_depth: bool = False,
    head_unit: str = HEADS,
    freeze: Iterable[str] | str = (),
) -> tuple[LayerGroup, ...]:
    """The groups that :func:`traced` finds."""
    found = traced(
        model,
        example_input,
        prune_residual=prune_residual,
        prune_depth=prune_depth,
        head_unit=head_unit,
        freeze=freeze,
    )
    return found.groups


@torch.inference_mode(mode=False)  # under it, views are not told from what they are of
def traced(
    model: nn.Module,
    example_input: Example,
    *,
    prune_residual: bool = True,
    prune_depth: bool = False,
    head_unit: str = HEADS,
    freeze: Iterable[str] | str = (),
) -> Traced:
    """The coupled layer groups of ``model`` in forward order, each proved by a trial cut.

    Couplings are found by following the channels through a forward pass (:mod:`amc.pruning.coupling`). Every group is
    then cut on a copy and compared with the dense network in which the removed channels are masked; a group that fails
    is returned frozen, with the reason.

    Args:
        model: any network; left as it is.
        example_input: ``[n, …]``, one input or several; or the arguments of one call, as a tuple or a dict. On the
            model's device.
        prune_residual: ``False`` freezes residual streams.
        head_unit: what goes in attention: ``heads`` as a whole, or the ``width`` of all heads of a layer.
        prune_depth: also residual branches, to be kept or dropped as a whole, each before the groups within it.
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
    shapes, other_params = layer_shapes(model, calls)
    macs = {s.name: s.out_size * (s.macs_per_pair * s.in_size + s.macs_per_out) for s in shapes}
    with frozen_eval(model):
        found = couplings(model, first(example_input), calls, whole_heads=head_unit == HEADS)
        residual = branches(model, first(example_input)) if prune_depth else []
    groups = [_layer_group(model, coupling, calls, macs) for coupling in found.all]
    atoms = {g.name: list(c.atoms or ()) for g, c in zip(groups, found.all, strict=True)}
    groups = with_branches(model, groups, residual, macs)
    patterns = [freeze] if isinstance(freeze, str) else [str(pattern) for pattern in freeze]
    _check_patterns(model, patterns)
    for i, group in enumerate(groups):
        if group.frozen is None:
            groups[i] = replace(group, frozen=_unwanted(model, group, patterns, prune_residual))
    proved = prove(model, groups, atoms, found.selections, example_input)
    alone = tuple(replace(s, macs_per_pair=0.0) if s.name in found.moving else s for s in shapes)
    return Traced(proved, _terms(found.products, atoms), alone, other_params)


def _unwanted(model: nn.Module, group: LayerGroup, patterns: Sequence[str], prune_residual: bool) -> str | None:
    """Why the user keeps a group whole."""
    names = [s.layer for s in group.slices] + [t.tensor.rpartition(".")[0] for t in group.tensors]
    names += [] if group.branch is None else modules_in(model, group.branch)
    hit = next((p for p in patterns if any(fnmatch.fnmatch(name, p) for name in names)), None)
    if hit is not None:
        return f"frozen by the user ({hit})"
    return RESIDUAL if group.residual and not prune_residual else None


def _terms(products: Iterable[Product], atoms: Mapping[str, Sequence[int]]) -> tuple[Term, ...]:
    """Products by the groups' channels instead of atoms."""
    owner = {root: name for name, roots in atoms.items() for root in roots}
    terms: Counter[tuple[str, tuple[Axis, ...]]] = Counter()
    for product in products:
        axes = []
        for roots in product.axes:
            found = Counter(owner.get(root) for root in roots.tolist())
            per_channel = {name: count / len(atoms[name]) for name, count in found.items() if name is not None}
            axes.append(Axis(found[None], tuple(sorted(per_channel.items()))))
        terms[product.module, tuple(axes)] += product.constant  # type: ignore[assignment]
    return tuple(Term(constant, axes, module) for (module, axes), constant in terms.items())


def _check_patterns(model: nn.Module, patterns: Iterable[str]) -> None:
    names = [name for name, _ in model.named_modules()]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise AmcError(f"freeze: {pattern!r} matches no layer; give names or patterns such as {names[-1]!r}")


def _layer_group(model: nn.Module, found: Coupling, calls: dict[str, LayerCall], macs: dict[str, float]) -> LayerGroup:
    root = found.producers[0]
    module = _producer(model, root)
    step, step_reason = _step(model, found.slices, found.channels)
    consumed = any(s.axis == "in" for s in found.slices) or bool(found.tensors)
    call = calls.get(root.partition(":")[0], LayerCall(0, 1, 1))
    conv = module if isinstance(module, _ConvNd) else None
    outputs = next((len(s.positions) for s in found.slices if s.layer == root and s.axis == "out"), found.channels)
    return LayerGroup(
        name=root,
        kind=kind_of(module) if outputs == found.channels else f"{kind_of(module)} x{outputs // found.channels}",
        channels=found.channels,
        step=step,
        residual=found.added and sum(not is_depthwise(_producer(model, p)) for p in found.producers) > 1,
        in_channels=_inputs(module, found.channels),
        height=call.height,
        width=call.width,
        stride=conv.stride[0] if conv is not None else 1,
        kernel=conv.kernel_size[0] if conv is not None else 1,
        macs=round(sum(macs.get(p, 0.0) for p in found.producers)),
        params=sum(p.numel() for n in found.producers for p in _producer(model, n).parameters(recurse=False)),
        slices=found.slices,
        frozen=found.frozen or step_reason or (None if consumed else OUTPUT),
        tensors=found.tensors,
        sizes=found.sizes,
    )


def _producer(model: nn.Module, name: str) -> nn.Module:
    """The layer that makes channels, or the module whose tensor does."""
    name = name.partition(":")[0]
    while True:
        try:
            return model.get_submodule(name)
        except AttributeError:
            name = name.rpartition(".")[0]


def _inputs(module: nn.Module, channels: int) -> int:
    """Input channels of a producer, for the agent; of one whose inputs nobody knows, as many as it makes."""
    for name in ("in_channels", "in_features", "num_embeddings", "input_size"):
        if isinstance(found := getattr(module, name, None), int):
            return found
    return channels


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
