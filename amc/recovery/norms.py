"""Batch norms: which layer feeds which, and recalibrating their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from amc.pruning.inputs import Example, part, run
from amc.pruning.layers import Mixing, watched
from amc.pruning.skipped import is_left_out


def norm_of(model: nn.Module, name: str) -> _BatchNorm:
    """A batch norm by its path."""
    norm = model.get_submodule(name)
    assert isinstance(norm, _BatchNorm)
    return norm


def has_statistics(module: nn.Module) -> bool:
    """A batch norm that normalises by running statistics, so that it is a fixed scale and shift."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None


@torch.no_grad()
def following_norms(model: nn.Module, example: Example) -> dict[str, str]:
    """Layer → the batch norm that its output goes straight into, where the two belong to each other alone."""
    names = {m: n for n, m in model.named_modules()}
    made: dict[int, str] = {}
    alive: list[torch.Tensor] = []  # keeps ids from being reused
    readers: dict[str, list[nn.Module]] = {}

    def produced(module: nn.Module, _: object, output: torch.Tensor) -> None:
        made[id(output)] = names[module]
        alive.append(output)

    def consumed(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs and id(inputs[0]) in made:
            readers.setdefault(made[id(inputs[0])], []).append(module)

    handles = [m.register_forward_hook(produced) for m in names if isinstance(m, Mixing)]
    handles += [m.register_forward_pre_hook(consumed) for m in names if not list(m.children())]
    with watched(model, handles):
        run(model, part(example, slice(1)))
    times_read = Counter(reader for found in readers.values() for reader in found)
    return {
        layer: names[found[0]]
        for layer, found in readers.items()
        if len(found) == 1 and has_statistics(found[0]) and times_read[found[0]] == 1
    }


@torch.no_grad()
def absorb_bias(norm: _BatchNorm, bias: torch.Tensor) -> None:
    """Gives a batch norm the bias ``[channels]`` of a layer before it that has none of its own."""
    assert norm.running_mean is not None
    norm.running_mean.sub_(bias)


@torch.no_grad()
def undo_norm(norm: _BatchNorm, output: torch.Tensor, smallest_scale: float) -> torch.Tensor:
    """The input ``[rows, channels]`` that gives ``output``; scales are at least ``smallest_scale`` of the largest."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    floor = smallest_scale * float(scale.abs().max())
    scale = torch.where(scale.abs() < floor, torch.where(scale < 0, -floor, floor), scale)
    return (output - norm.bias) / scale + norm.running_mean


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Example]) -> None:
    """Replaces every batch norm's running statistics by those of ``batches``, in one forward pass over them."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and has_statistics(m)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average over the batches
        norm.train()
    for batch in batches:
        run(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def fold_norms(model: nn.Module, norms: Mapping[str, str]) -> None:
    """Folds batch norms into the layers before them, in place: fewer passes over the activations, same outputs.

    Args:
        norms: layer → batch norm, from :func:`following_norms`.
    """
    for layer, norm in norms.items():
        if is_left_out(model, layer) or is_left_out(model, norm):
            continue
        fused = _fuse(model.get_submodule(layer), norm_of(model, norm))
        for name, module in ((layer, fused), (norm, nn.Identity())):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module)


def _fuse(layer: nn.Module, norm: _BatchNorm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer.eval(), norm.eval())
    assert isinstance(layer, _ConvNd)
    return fuse_conv_bn_eval(layer.eval(), norm.eval())
