"""Moves: operations that only bring elements to other places, and what they do to channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import Labels
from amc.pruning.coupling.operations import aten, given
from amc.pruning.coupling.planes import Planes, along_left, compressed, full, kept, reshaped, varies, wide


class Moves(Labels):
    """Rules of moves.

    Where an axis is divided into several (heads × width, parts × channels), channels can be removed along one of them
    only: whole heads, or the n-th channel of every part. Which one it is shows later, when heads get to a batched
    product. So a first pass only collects the divisions, and a second one is told.

    Attributes:
        divisions: number of an operation → the atoms of an axis that it divided, and that nobody has decided on.
        unequal_parts: whether the sizes of the parts that are being split off are the network's own numbers, which a
            cut can change.
        even_parts: whether they are reckoned from the axis itself, as half of it.
    """

    def __init__(self, free: Mapping[int, int] | None) -> None:
        """``free``: number of an operation → the dimension along which channels go; ``None`` for the first pass."""
        super().__init__()
        self.divisions: dict[int, Ids] = {}
        self.unequal_parts = self.even_parts = False
        self._free = free
        self._index = 0

    def _move(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source, packet = args[0], func._overloadpacket
        if packet in ops.COPIES:
            return [self._of(source)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if packet in ops.VIEWS and outputs[0].numel() != source.numel():
            return None  # of another type
        parts = []
        for plane in self._of(source):
            if packet in (aten.slice, aten.select):
                parts.append(self._cut_off(func, args, kwargs, plane, outputs))
                continue
            pieces = _moved(func, args, kwargs, plane, outputs)
            anchor = 1 if packet is aten.pixel_shuffle else None
            parts.append(self._regular(plane, [compressed(piece) for piece in pieces], anchor))
        return [kept([planes[i] for planes in parts]) for i in range(len(outputs))]

    def _index_rule(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        if any(i is not None and self._of(i) for i in args[1]):
            return None
        source = args[0]
        found: list[Ids | None] = []
        for plane in self._of(source):
            found += self._regular(plane, [compressed(func(full(plane, source.shape), args[1]))])
        return [kept(found)]

    def _glu(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source, dim = args[0], given(func, args, kwargs)["dim"]
        found: list[Ids | None] = []
        for plane in self._of(source):
            halves = full(plane, source.shape).chunk(2, dim)
            found.append(self._regular(plane, [compressed(half) for half in halves])[0])
        return [kept(found)]

    def _concatenate(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        tensors = [t for t in args[0] if t.dim() > 1 or t.numel() > 0]  # torch lets empty ones pass
        dim = given(func, args, kwargs)["dim"] % result.dim()
        if func._overloadpacket is aten.stack:
            across = [(t.unsqueeze(dim).shape, [np.expand_dims(p, dim) for p in self._of(t)]) for t in tensors]
        else:
            across = [(t.shape, list(self._of(t))) for t in tensors]
        flat = [(shape, tuple(p for p in planes if dim not in varies(p))) for shape, planes in across]
        sizes = [shape[dim] for shape, _ in flat]
        alike = [(tuple(1 if d == dim else s for d, s in enumerate(shape)), planes) for shape, planes in flat]
        found: list[Ids | None] = list(self._together(alike, result.dim()))
        along_it = [[p for p in planes if dim in varies(p)] for _, planes in across]
        for place in range(max(map(len, along_it))):
            planes = [own[place] if place < len(own) else None for own in along_it]
            found.append(_joined(planes, sizes, dim, result.dim()))
        return [kept(found)]

    def _regular(self, before: Ids, parts: list[Ids | None], anchor: int | None = None) -> list[Ids | None]:
        """Ties what must be removed alike for an even division of an axis to stay one: the n-th channel of each part.

        A channel shuffle or a GLU then takes as many from every part. ``anchor`` is the dimension along which a part's
        channels lie, where the operation itself says so. What is cut off at a fixed place is frozen.
        """
        live = [part for part in parts if part is not None]
        if len(varies(before)) != 1 or not live:
            return parts
        if not all(varies(part) for part in live):
            self._freeze((before,), f"a single one of its channels is picked in {self._place()}")
        elif len(parts) > 1:
            self._split(before, parts, live)
        elif len(varies(live[0])) > 1:
            return [self._divided(live[0], anchor)]
        elif _fewer(before, live[0]):
            self._freeze((before,), f"it is cut off at a fixed channel in {self._place()}")
        return parts

    def _cut_off(self, func: Any, args: Any, kwargs: Any, plane: Ids, outputs: Sequence[Tensor]) -> list[Ids | None]:
        """A slice: channels that its fixed ends are counted by stay; where ends are reckoned, parts stay even."""
        values = given(func, args, kwargs)
        dim, size = values["dim"] % args[0].dim(), args[0].shape[values["dim"]]
        part = compressed(_moved(func, args, kwargs, plane, outputs)[0])
        if dim not in varies(plane) or (outputs[0].dim() == args[0].dim() and outputs[0].shape[dim] == size):
            return [part]
        length = 1 if func._overloadpacket is aten.select else outputs[0].shape[dim]
        if self.even_parts:
            if size % length:
                self._freeze((plane,), f"it is split into unequal parts in {self._place()}")
            else:
                pieces = np.split(plane, size // length, axis=dim)
                for piece in pieces[1:]:
                    self._join(pieces[0], piece)
        elif not self.unequal_parts:
            fixed = plane.take(_counted(values, size), axis=dim)
            self._freeze((fixed,), f"it is cut off at a fixed channel in {self._place()}")
        return [part]

    def _split(self, before: Ids, parts: list[Ids | None], live: list[Ids]) -> None:
        if self.unequal_parts:
            return
        if len(live) < len(parts) or len({part.shape for part in live}) > 1:
            self._freeze((before,), f"it is split into unequal parts in {self._place()}")
            return
        for part in live[1:]:
            self._join(live[0], part)

    def _divided(self, part: Ids, anchor: int | None) -> Ids | None:
        known = compressed(torch.from_numpy(self.atoms.roots(part)))
        if known is None or len(varies(known)) < 2:  # what goes together is known already
            return known
        if anchor is None:
            if self._free is None:
                self.divisions[self._index] = part
                return part
            anchor = self._free.get(self._index, varies(part)[-1])
        for lead in set(varies(part)) - {anchor}:
            self._join(part, part.take([0], axis=lead))
        return compressed(torch.from_numpy(self.atoms.roots(part)))


def _counted(values: Mapping[str, Any], size: int) -> Ids:
    """Places along an axis by which the fixed ends of a slice are counted, from the front or from the back."""
    fixed = np.zeros(size, dtype=bool)
    if "index" in values:
        index = values["index"]
        fixed[index if index < 0 else 0 : None if index < 0 else index + 1] = True
    elif values["step"] != 1:
        fixed[:] = True
    else:
        for end in (values["start"] or 0, size if values["end"] is None else values["end"]):
            if end < size:
                fixed[end if end < 0 else 0 : None if end < 0 else end] = True
    return np.flatnonzero(fixed)


def _moved(func: Any, args: Any, kwargs: Any, plane: Ids, outputs: Sequence[Tensor]) -> list[Tensor]:
    """What the operation makes of a plane; as little of it is written out as it takes."""
    source, packet = args[0], func._overloadpacket
    if packet in ops.VIEWS:
        return [reshaped(plane, source.shape, outputs[0].shape)]
    if packet is aten.expand:
        return [torch.from_numpy(along_left(plane, outputs[0].dim()))]
    if packet in ops.PERMUTATIONS:
        return [func(torch.from_numpy(plane), *args[1:], **kwargs)]
    if packet in ops.ALONG:
        dim = given(func, args, kwargs)["dim"]
        moved = func(wide(plane, dim % source.dim(), source.shape[dim]), *args[1:], **kwargs)
    elif packet is aten.constant_pad_nd:
        # What is put around a channel, along other dimensions, belongs to it.
        pads = [p if plane.shape[-1 - i // 2] > 1 else 0 for i, p in enumerate(args[1])]
        moved = func(torch.from_numpy(plane), pads)
    else:
        moved = func(full(plane, source.shape).double(), *args[1:], **kwargs)  # not all can move whole numbers
    return [piece.long() for piece in ([moved] if isinstance(moved, Tensor) else moved)]


def _joined(planes: Sequence[Ids | None], sizes: Sequence[int], dim: int, dims: int) -> Ids | None:
    """Planes that vary along ``dim`` end to end; tensors without one have channels that nobody knows there."""
    shape = np.ones(dims, dtype=int)
    for plane in planes:
        if plane is not None:
            shape = np.maximum(shape, plane.shape)
    parts = []
    for plane, size in zip(planes, sizes, strict=True):
        own = list(shape)
        own[dim] = size
        parts.append(np.broadcast_to(np.zeros((1,) * dims, np.int64) if plane is None else plane, own))
    return compressed(torch.from_numpy(np.concatenate(parts, axis=dim)))


def _fewer(before: Ids, after: Ids) -> bool:
    """Whether some channels are left out."""
    return len(np.setdiff1d(before[before != 0], after)) > 0
