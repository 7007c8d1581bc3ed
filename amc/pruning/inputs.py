"""Example inputs: a tensor, or what a network of several inputs is called with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

# One tensor of inputs; or the arguments of one call, by place or by name, whatever they are.
Example = Tensor | tuple[Any, ...] | Mapping[str, Any]


def run(model: nn.Module, example: Example) -> Any:
    """What the network gives for an example."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def first(example: Example) -> Example:
    """One input: of a tensor the first; the arguments of a call stay as they are."""
    return example[:1] if isinstance(example, Tensor) else example


def tensors(example: Example) -> list[Tensor]:
    """The tensors in an example."""
    return [leaf for leaf in tree_leaves(example) if isinstance(leaf, Tensor)]


def mapped(function: Callable[[Tensor], Tensor], example: Example) -> Example:
    """The example with ``function`` of each of its tensors."""
    found: Example = tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, example)
    return found


def described(example: Example) -> str:
    """Its shapes, for people."""
    shapes = ["×".join(map(str, t.shape[1:] if isinstance(example, Tensor) else t.shape)) for t in tensors(example)]
    return ", ".join(shapes)


def outputs_of(output: Any) -> list[torch.Tensor]:
    """Every tensor that a network returns, in tuples, dicts, or objects of its own that are one of these."""
    return [leaf for leaf in tree_leaves(_plain(output)) if isinstance(leaf, Tensor)]


def _plain(output: Any) -> Any:
    """Without types of others: a dict of theirs as a dict."""
    if isinstance(output, Mapping):
        return {key: _plain(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [_plain(value) for value in output]
    return output


def count(example: Example) -> int:
    """How many inputs there are: the length of its first tensor."""
    return len(next(tensor for tensor in tensors(example) if tensor.dim()))


def part(example: Example, which: slice) -> Example:
    """Some of several inputs; what is no tensor stays as it is."""
    return mapped(lambda tensor: tensor[which] if tensor.dim() else tensor, example)


def split(example: Example, size: int) -> Iterator[Example]:
    """``size`` inputs at a time, in order; the last part may be smaller."""
    for start in range(0, count(example), size):
        yield part(example, slice(start, start + size))


def called_with(given: tuple[Any, ...], named: Mapping[str, Any]) -> Example:
    """The arguments that a hook of the network sees, as an example."""
    return dict(named) if named and not given else given
