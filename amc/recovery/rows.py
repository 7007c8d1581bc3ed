"""Regression rows: the inputs of one output of a layer, at sampled output positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

Reconstructible: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Linear


def layer_of(model: nn.Module, name: str) -> Reconstructible:
    """A layer that :func:`can_reconstruct` accepted, by its path."""
    module = model.get_submodule(name)
    assert isinstance(module, Reconstructible)
    return module


def bias_of(module: Reconstructible) -> torch.Tensor | None:
    """A layer's bias, which torch's types declare as never missing."""
    return module.bias


def can_reconstruct(module: nn.Module) -> bool:
    """Zero-padded 1d/2d convolutions and linear layers."""
    return isinstance(module, Reconstructible) and getattr(module, "padding_mode", "zeros") == "zeros"


def has_own_weight(model: nn.Module) -> Callable[[nn.Module], bool]:
    """Whether no other module has a layer's weight, as an embedding has that of a language model's head.

    What suits the one need not suit the other, so tied weights are not refitted.
    """
    owners = Counter(id(p) for module in model.modules() for p in module._parameters.values())
    return lambda module: owners[id(getattr(module, "weight", None))] == 1


def flat_outputs(module: nn.Module, output: torch.Tensor, images: int) -> torch.Tensor:
    """A layer's output as ``[images, positions, out]``.

    Tokens are positions. Windows, frames or tokens that were put in the place of a batch are an image's again.
    """
    if not isinstance(module, nn.Linear):
        output = output.flatten(2).transpose(1, 2)
    return output.reshape(images, -1, output.shape[-1])


def pick_positions(images: int, positions: int, most: int, generator: torch.Generator) -> torch.Tensor:
    """Output positions to sample for each image, ``[images, min(most, positions)]``."""
    if positions <= most:
        return torch.arange(positions, device=generator.device).expand(images, positions)
    return torch.rand(images, positions, generator=generator, device=generator.device).topk(most, dim=1).indices


def sample_outputs(module: nn.Module, output: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
    """``output`` at the picked positions, ``[n · picks, out]``."""
    flat = flat_outputs(module, output, len(picks))
    return flat.gather(1, picks.to(flat.device)[:, :, None].expand(-1, -1, flat.shape[2])).flatten(0, 1)


def sample_rows(module: nn.Module, inputs: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
    """The inputs that the picked outputs are computed from.

    Args:
        module: a layer that :func:`can_reconstruct` accepts.
        inputs: its input, ``[n, c, *size]``, or ``[n, …, c]`` for linear layers; or of ``n`` images' parts in turn.
        picks: flat output positions ``[n, s]``.

    Returns:
        ``[n · s, c · taps]``, features in the order of ``module.weight[0].flatten()`` (for a grouped convolution:
        of its ungrouped counterpart).
    """
    if isinstance(module, nn.Linear):
        return sample_outputs(module, inputs, picks)
    assert isinstance(module, (nn.Conv1d, nn.Conv2d))
    picks = picks.to(inputs.device)
    x = inputs if inputs.dim() == 4 else inputs[:, :, None]  # [n, c, h, w]
    kernel, stride, dilation = (_pair(v) for v in (module.kernel_size, module.stride, module.dilation))
    x = F.pad(x, _padding(module))
    height_out, width_out = ((x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1))
    each = x.shape[0] // len(picks)  # frames of an image
    frame, picks = picks // (height_out * width_out), picks % (height_out * width_out)
    top = (picks // width_out) * stride[0]  # [n, s]
    left = (picks % width_out) * stride[1]
    down = torch.arange(kernel[0], device=x.device) * dilation[0]
    right = torch.arange(kernel[1], device=x.device) * dilation[1]
    ys = top[:, :, None, None] + down[:, None]  # [n, s, kh, 1]
    xs = left[:, :, None, None] + right  # [n, s, 1, kw]
    image = torch.arange(len(picks), device=x.device)[:, None] * each + frame  # [n, s]
    patches = x.permute(0, 2, 3, 1)[image[:, :, None, None], ys, xs]  # [n, s, kh, kw, c]
    return patches.permute(0, 1, 4, 2, 3).reshape(picks.numel(), -1)


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return (1, value[0]) if len(value) == 1 else (value[0], value[1])


def _padding(module: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Zeros before and after, last dimension first, as ``F.pad`` takes them."""
    sides: list[int] = []
    for i, (taps, dilation) in enumerate(zip(module.kernel_size, module.dilation, strict=True)):
        if module.padding == "same":  # of an odd number, torch puts the smaller half before
            total = dilation * (taps - 1)
            pair = [total // 2, total - total // 2]
        else:
            pair = [0, 0] if isinstance(module.padding, str) else [module.padding[i]] * 2
        sides = pair + sides
    return sides
