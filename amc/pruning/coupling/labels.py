"""Labels of tensors: which channels their elements belong to, and what happens where labels meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from amc.pruning.coupling.atoms import Atoms, Ids
from amc.pruning.coupling.planes import Planes, compressed, kept, varies


class Labels:
    """The planes of every tensor that is alive.

    Attributes:
        atoms: the channels, and what is joined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.atoms = Atoms()
        self._planes: Any = WeakIdKeyDictionary()

    def _of(self, tensor: Tensor) -> Planes:
        found: Planes = self._planes.get(tensor, ())
        return found

    def _freeze(self, planes: Planes, reason: str) -> None:
        for plane in planes:
            self.atoms.freeze(plane, reason)

    def _regular(self, before: Ids, parts: list[Ids | None], anchor: int | None = None) -> list[Ids | None]:
        """Ties what must be removed alike for an even division of an axis to stay one: the n-th channel of each part.

        A channel shuffle or a GLU then takes as many from every part. ``anchor`` is the dimension along which a part's
        channels lie, by default the last. What is cut off at a fixed place is frozen.
        """
        live = [part for part in parts if part is not None]
        if len(varies(before)) != 1 or not live:
            return parts
        if not all(varies(part) for part in live):
            self._freeze((before,), "a single one of its channels is picked")
        elif len(parts) > 1:
            if len(live) < len(parts) or len({part.shape for part in live}) > 1:
                self._freeze((before,), "it is split into unequal parts")
                return parts
            for part in live[1:]:
                self._join(live[0], part)
        elif len(parts) == 1 and len(varies(live[0])) > 1:
            for lead in set(varies(live[0])) - {anchor if anchor is not None else varies(live[0])[-1]}:
                self._join(live[0], live[0].take([0], axis=lead))
            return [compressed(torch.from_numpy(self.atoms.roots(live[0])))]
        elif len(parts) == 1 and _fewer(before, live[0]):
            self._freeze((before,), "it is cut off at a fixed channel")
        return parts

    def _together(self, operands: Sequence[tuple[Sequence[int], Planes]], dims: int) -> Planes:
        """Planes of an element-wise result; what meets is joined, what meets something fixed is frozen."""
        aligned = [
            ((1,) * (dims - len(shape)) + tuple(shape), [p.reshape((1,) * (dims - p.ndim) + p.shape) for p in planes])
            for shape, planes in operands
        ]
        found: list[Ids] = []
        for dim in range(dims):
            here = [plane for _, planes in aligned for plane in planes if dim in varies(plane)]
            fixed = any(shape[dim] > 1 and not any(dim in varies(p) for p in planes) for shape, planes in aligned)
            for plane in here:
                if fixed:
                    self._freeze((plane,), "its channels meet a tensor of fixed size")
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
            self.atoms.freeze(np.where(alone, a + b, 0), "its channels meet padding")
        self.atoms.join(a, b)

    def _bias(self, made: Ids, bias: Tensor | None) -> None:
        if bias is not None:
            own = at(self._of(bias), 0)
            if own is not None:
                self.atoms.join(made, own)

    def _contract(self, coming: Ids | None, inner: Ids | None, size: int) -> None:
        """Channels that come in meet a weight's inputs."""
        if coming is not None and inner is not None:
            self.atoms.join(coming, inner)
        elif size > 1:
            for atoms in (coming, inner):
                if atoms is not None:
                    self.atoms.freeze(atoms, "its channels are multiplied with a tensor of fixed size")


def _fewer(before: Ids, after: Ids) -> bool:
    """Whether some channels are left out."""
    return len(np.setdiff1d(before[before != 0], after)) > 0


def at(planes: Planes, dim: int) -> Ids | None:
    """Atoms of the plane that varies along ``dim`` alone."""
    return next((plane.reshape(-1) for plane in planes if varies(plane) == (dim,)), None)
