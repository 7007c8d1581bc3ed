"""Form of a network's inputs: as plain data for files, and as an example made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amc.core.checks import text, whole
from amc.data.examples import Examples, Inputs
from amc.data.images import ImageSet

TYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (torch.float32, torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8, torch.bool)
}
LARGEST = 2**28  # numbers in one input; no image, text or table has more
MOST = 100  # inputs of one network


def layout_of(inputs: Inputs) -> Any:
    """Shape and type of one input: a dict with ``shape`` and ``type``; a list or a dict of these for several."""
    if isinstance(inputs, Tensor):
        kind = torch.float32 if inputs.is_floating_point() else inputs.dtype
        return {"shape": list(inputs.shape[1:]), "type": str(kind).removeprefix("torch.")}
    if isinstance(inputs, Mapping):
        return {"named": {name: layout_of(tensor) for name, tensor in inputs.items()}}
    return [layout_of(tensor) for tensor in inputs]


def checked_layout(layout: Any) -> Any:
    """A layout from a file. Raises ``TypeError``, ``ValueError`` or ``LookupError`` if it is something else."""
    if isinstance(layout, list):
        if not 0 < len(layout) <= MOST:
            raise ValueError(f"{len(layout)} inputs")
        return [checked_layout(entry) for entry in layout]
    if "named" in layout:
        return {"named": {text(name): checked_layout(entry) for name, entry in layout["named"].items()}}
    shape = [whole(size, 1) for size in layout["shape"]]
    if layout["type"] not in TYPES or math.prod(shape) > LARGEST:
        raise ValueError(f"an input of {shape}, {layout['type']}")
    return {"shape": shape, "type": layout["type"]}


def example_of(layout: Any, count: int = 1) -> Inputs:
    """So many inputs of a layout: normally distributed numbers, always the same; whole ones are 0."""
    generator = torch.Generator().manual_seed(0)

    def made(entry: Any) -> Any:
        if isinstance(entry, list):
            return tuple(made(one) for one in entry)
        if "named" in entry:
            return {name: made(one) for name, one in entry["named"].items()}
        shape, kind = (count, *entry["shape"]), TYPES[entry["type"]]
        # a mask of zeros would leave nothing
        return torch.randn(shape, generator=generator) if kind.is_floating_point else torch.ones(shape, dtype=kind)

    found: Inputs = made(layout)
    return found


def about(examples: Examples) -> dict[str, Any]:
    """What a saved network's file says of its inputs, as arguments of :func:`amc.pruning.saved.save_pruned`."""
    if isinstance(examples, ImageSet):
        return {"image_shape": examples.shape, "num_classes": examples.num_classes, "mean": examples.mean,
                "std": examples.std}  # fmt: skip
    mean, std = getattr(examples, "mean", None), getattr(examples, "std", None)
    return {"inputs": layout_of(examples.take(1).normalised()), "mean": mean or (), "std": std or ()}
