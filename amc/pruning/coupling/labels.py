"""Labels of tensors: which channels their elements belong to, and what happens where labels meet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from amc.pruning.coupling.atoms import Atoms, Ids
from amc.pruning.coupling.planes import Planes, along_left, kept, varies


class Labels:
    """The planes of every tensor that is alive.

    Attributes:
        atoms: the channels, and what is joined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.atoms = Atoms()
        self._planes: Any = WeakIdKeyDictionary()
        self._names: Any = WeakIdKeyDictionary()  # of parameters and buffers

    @abstractmethod
    def _here(self, func: Any) -> str:
        """The module that runs now, and the operation, as a reason."""

    @abstractmethod
    def _place(self) -> str:
        """The module and operation that run now, to be named in a reason."""

    def _of(self, tensor: Tensor) -> Planes:
        found: Planes = self._planes.get(tensor, ())
        return found

    def _freeze(self, planes: Planes, reason: str) -> None:
        for plane in planes:
            self.atoms.freeze(plane, reason if varies(plane) else "its channels all hang together: none can go alone")

    def _together(self, operands: Sequence[tuple[Sequence[int], Planes]], dims: int) -> Planes:
        """Planes of an element-wise result; what meets is joined, what meets something fixed is frozen."""
        aligned = [
            ((1,) * (dims - len(shape)) + tuple(shape), [along_left(p, dims) for p in planes])
            for shape, planes in operands
        ]
        found: list[Ids] = []
        for dim in range(dims):
            here = [plane for _, planes in aligned for plane in planes if dim in varies(plane)]
            fixed = any(shape[dim] > 1 and not any(dim in varies(p) for p in planes) for shape, planes in aligned)
            for plane in here:
                if fixed:
                    self._freeze((plane,), f"its channels meet a tensor of fixed size in {self._place()}")
            for first, second in pairwise(here):
                self._join(first, second)
            if here and not fixed and not any(p is here[0] for p in found):
                found.append(max(here, key=lambda p: (len(varies(p)), int((p != 0).sum()))))
        return kept(found)

    def _join(self, first: Ids, second: Ids) -> None:
        """Joins two planes; a channel that meets none (padding) is frozen."""
        a, b = np.broadcast_arrays(first, second)
        alone = (a == 0) != (b == 0)
        if alone.any():
            self.atoms.freeze(np.where(alone, a + b, 0), f"its channels meet padding in {self._place()}")
        self.atoms.join(a, b)


def at(planes: Planes, dim: int) -> Ids | None:
    """Atoms of the plane that varies along ``dim`` alone."""
    return next((plane.reshape(-1) for plane in planes if varies(plane) == (dim,)), None)


def extent(tensor: Tensor) -> tuple[int, ...]:
    """Its shape; of one that was expanded, as it was before: a cut network's own code expands it to fewer channels."""
    if tensor.layout != torch.strided:
        return tuple(tensor.shape)
    return tuple(1 if stride == 0 else size for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
