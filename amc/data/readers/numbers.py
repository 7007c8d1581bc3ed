"""Numbers as inputs and targets: types, standardisation by the training examples, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from amc.core.errors import AmcError
from amc.data.examples import ExampleSet

MOST_SHOWN = 1000  # features whose mean and deviation are written down


def target_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Targets: whole numbers as int64, as class indices are; others, and several truth values, as float32 ``[n, …]``.

    Those of one number an example become ``[n, 1]``, the shape of what a network gives for it.
    """
    if array.dtype.kind in "iu" or (array.dtype.kind == "b" and array.ndim == 1):
        return torch.from_numpy(array.astype(np.int64))
    values = torch.from_numpy(array.astype(np.float32))
    return values[:, None] if values.ndim == 1 else values


def count_classes(targets: Sequence[Any]) -> int:
    """The largest class index + 1; 0 if targets are no class indices."""
    if any(not isinstance(one, Tensor) or one.dtype != torch.int64 for one in targets):
        return 0
    return max(int(one.max()) for one in targets) + 1


def standardised(sets: Mapping[str, ExampleSet]) -> tuple[dict[str, ExampleSet], dict[str, Any]]:
    """The sets, with floating-point inputs of mean 0 and deviation 1 over the training examples.

    Args:
        sets: ``train`` and others. Statistics are per feature of inputs ``[n, f]`` and per channel of ``[n, c, …]``; a
            feature that never changes becomes 0.

    Returns:
        The sets, and ``mean`` and ``std`` by input, for whoever will use the network.

    Raises:
        AmcError: there is no such input.
    """
    inputs = sets["train"].inputs
    named: dict[Any, Tensor] = dict(inputs) if isinstance(inputs, Mapping) else {"input": inputs}  # type: ignore[dict-item]
    stats = {name: _statistics(tensor) for name, tensor in named.items() if tensor.is_floating_point()}
    if not stats:
        raise AmcError("dataset.standardise=true: no input has floating-point numbers; give false")

    def moved(name: str, tensor: Tensor) -> Tensor:
        return (tensor - stats[name][0]) / stats[name][1] if name in stats else tensor

    found = {}
    for role, one in sets.items():
        held = one.inputs
        new: Any = (
            {name: moved(name, tensor) for name, tensor in held.items()}
            if isinstance(held, Mapping)
            else moved("input", held)  # type: ignore[arg-type]
        )
        found[role] = ExampleSet(new, one.targets, one.mean, one.std)
    facts = {
        name: {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
        for name, (mean, std) in stats.items()
        if mean.numel() <= MOST_SHOWN
    }
    return found, {"standardised": facts}


def _statistics(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over all dimensions but the second, which broadcast over the examples."""
    over = [0, *range(2, tensor.ndim)]
    wide = tensor.double()
    std, mean = torch.std_mean(wide, dim=over, correction=0, keepdim=True)
    constant = std <= 1e-12 * mean.abs().clamp(min=1e-300)
    return mean.float(), torch.where(constant, torch.ones_like(std), std).float()
