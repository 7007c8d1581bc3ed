"""Small inputs, and how a network is called with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from amc.pruning.inputs import Example, mapped, run


@dataclass(frozen=True)
class Built:
    """A network in evaluation mode, an input that it runs on, and the module that maps to the vocabulary, if any."""

    model: nn.Module
    example: Example
    head: str | None = None


def scaled_images(size: int, channels: int = 3) -> Tensor:
    """One image of random numbers, ``[1, c, size, size]``."""
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(0))


def tokens(length: int, vocabulary: int) -> Tensor:
    """Random token numbers, ``[1, length]``; none of the first ten, which may mean padding or an end."""
    return torch.randint(10, vocabulary, (1, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def call(model: nn.Module, example: Example) -> Any:
    """What the network returns for the example."""
    return run(model, example)


def shape_of(example: Any) -> str:
    """The example in words, such as ``1×3×64×64``."""
    if isinstance(example, Tensor):
        return "×".join(map(str, example.shape))
    if isinstance(example, Mapping):
        return ", ".join(f"{name} {shape_of(value)}" for name, value in example.items())
    inside = ", ".join(map(shape_of, example))
    return f"[{inside}]" if isinstance(example, list) else inside


def in_double(example: Example) -> Example:
    """The example with its fractions in float64."""
    return mapped(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, example)
