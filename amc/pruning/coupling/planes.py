"""Planes: which atom each element of a tensor belongs to.

A plane has its tensor's number of dimensions, with length 1 along those where it stays the same: a convolution's
output has one plane ``[1, c, 1, 1]``, and its weight two, ``[out, 1, 1, 1]`` and ``[1, in, 1, 1]``. An operation that
only moves elements is followed by doing the same to the plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from amc.pruning.coupling.atoms import Ids

Planes = tuple[Ids, ...]


def varies(plane: Ids) -> tuple[int, ...]:
    """Dimensions along which a plane's atoms differ."""
    return tuple(dim for dim, size in enumerate(plane.shape) if size > 1)


def along(atoms: Ids, dim: int, dims: int) -> Ids:
    """Atoms ``[n]`` as a plane of a tensor with ``dims`` dimensions that varies along ``dim``."""
    shape = [1] * dims
    shape[dim] = len(atoms)
    return atoms.reshape(shape)


def full(plane: Ids, shape: Sequence[int]) -> torch.Tensor:
    """The plane of a tensor of that shape, element by element."""
    return torch.from_numpy(np.array(np.broadcast_to(plane, tuple(shape))))


def compressed(moved: torch.Tensor) -> Ids | None:
    """Back from :func:`full`; ``None`` if no element belongs to an atom."""
    plane: Ids = moved.contiguous().numpy()
    if plane.size == 0 or not plane.any():
        return None
    for dim in range(plane.ndim):
        first = plane.take([0], axis=dim)
        if plane.shape[dim] > 1 and (plane == first).all():
            plane = first
    return np.ascontiguousarray(plane)


def kept(found: Sequence[Ids | None]) -> Planes:
    """Without those that hold nothing, and without repetition."""
    planes: list[Ids] = []
    for plane in found:
        if plane is not None and not any(p.shape == plane.shape and (p == plane).all() for p in planes):
            planes.append(plane)
    return tuple(planes)
