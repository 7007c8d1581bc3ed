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


def along_left(plane: Ids, dims: int) -> Ids:
    """With new dimensions in front, as broadcasting puts them."""
    return plane.reshape((1,) * (dims - plane.ndim) + plane.shape)


def full(plane: Ids, shape: Sequence[int]) -> torch.Tensor:
    """The plane of a tensor of that shape, element by element."""
    return torch.from_numpy(np.array(np.broadcast_to(plane, tuple(shape))))


def wide(plane: Ids, dim: int, size: int) -> torch.Tensor:
    """The plane, element by element along one dimension alone."""
    shape = list(plane.shape)
    shape[dim] = size
    return full(plane, shape)


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


def reshaped(plane: Ids, before: Sequence[int], after: Sequence[int]) -> torch.Tensor:
    """The plane of a tensor of shape ``before`` after a view as ``after``.

    Dimensions that a view merges or splits among themselves are reshaped by themselves, so that a plane stays as small
    as it was along all others.
    """
    sizes_in: list[int] = []
    sizes_out: list[int] = []
    for inner, outer in _blocks(before, after):
        block = [before[d] for d in inner]
        if any(plane.shape[d] > 1 for d in inner):
            sizes_in += block
            sizes_out += [after[d] for d in outer]
        else:
            sizes_in += [1] * len(inner)
            sizes_out += [1] * len(outer)
    return full(plane, sizes_in).reshape(sizes_out)


def _blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of dimensions of both shapes that hold the same elements; every dimension is in one of them."""
    blocks = []
    i = j = 0
    while i < len(before) or j < len(after):
        inner: list[int] = []
        outer: list[int] = []
        volume_in = volume_out = 1
        while i < len(before) or j < len(after):
            if i < len(before) and (volume_in < volume_out or not inner or j >= len(after)):
                inner.append(i)
                volume_in *= before[i]
                i += 1
            elif j < len(after):
                outer.append(j)
                volume_out *= after[j]
                j += 1
            if volume_in == volume_out and inner and outer:
                break
        blocks.append((inner, outer))
    return blocks


def kept(found: Sequence[Ids | None]) -> Planes:
    """Without those that hold nothing, and without repetition."""
    planes: list[Ids] = []
    for plane in found:
        if plane is not None and not any(p.shape == plane.shape and (p == plane).all() for p in planes):
            planes.append(plane)
    return tuple(planes)
