"""What a cut network must equal where the dense one reckons with all channels at once.

A layer norm, a mean over channels or a product of two activations knows nothing of consumers whose weights are zero:
it must not see the removed channels at all. :class:`Masked` runs the dense network so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amc.core.places import Summand
from amc.pruning.coupling.follow import Selections
from amc.pruning.coupling.operations import AVERAGES, LAYER_NORMS, aten


class Masked(TorchDispatchMode):
    """Lets chosen operations see only the kept channels, and of dropped branches nothing.

    Attributes:
        lowest: the least precise floating-point type that any operation gave.
    """

    def __init__(self, selections: Selections, removed: Iterable[int], dropped: Iterable[Summand] = ()) -> None:
        """``removed``: roots of the channels that are gone; ``dropped``: what the branches that are gone add."""
        super().__init__()  # type: ignore[no-untyped-call]
        gone = np.fromiter(removed, dtype=np.int64)
        self._kept = {
            key: [(argument, dim, np.flatnonzero(~np.isin(atoms, gone))) for argument, dim, atoms in choices]
            for key, choices in selections.items()
            if any(np.isin(atoms, gone).any() for _, _, atoms in choices)
        }
        self._dropped: dict[tuple[str, int], list[int]] = {}
        for summand in dropped:
            self._dropped.setdefault((summand.operation, summand.ran), []).append(summand.place)
        self._ran: Counter[str] = Counter()
        self.lowest = torch.float64

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = str(func._overloadpacket)
        now = packet, self._ran[packet]
        chosen = self._kept.get(now)
        self._ran[packet] += 1
        kwargs = kwargs or {}
        for place in self._dropped.get(now, ()):
            args[place].zero_()  # in place, as the addition may be; a branch's sum has no other reader
        result = func(*args, **kwargs) if chosen is None else _selected(func, list(args), kwargs, chosen)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.dim() and leaf.dtype != torch.float64:
                self.lowest = leaf.dtype
        return result


def _selected(func: Any, args: list[Any], kwargs: Mapping[str, Any], chosen: list[tuple[int, int, Any]]) -> Any:
    shape = args[0].shape
    for argument, dim, places in chosen:
        args[argument] = args[argument].index_select(dim, torch.from_numpy(places).to(args[argument].device))
    packet = func._overloadpacket
    if packet in LAYER_NORMS:
        args[1] = list(args[0].shape[-len(args[1]) :])
    if packet is aten.native_group_norm:
        args[4] = args[0].shape[1]
    result = func(*args, **kwargs)
    # Back to the full shape: what is gone is zero, and nobody reads it.
    _, dim, places = chosen[0]
    if packet in LAYER_NORMS or packet is aten.native_group_norm:
        full = result[0].new_zeros(shape).index_copy(dim, torch.from_numpy(places), result[0])
        return (full, *result[1:])
    if packet in AVERAGES:
        before = shape[dim] - (args[0].shape[dim] - result.shape[dim])
        around = (shape[dim] - before) // 2 + (shape[dim] - before) % 2
        inside = torch.from_numpy(places[(places >= around) & (places < around + before)] - around)
        return result.new_zeros((*result.shape[:dim], before, *result.shape[dim + 1 :])).index_copy(dim, inside, result)
    return result
