"""Rules: how each operation of torch carries channels on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import extent
from amc.pruning.coupling.moves import Moves
from amc.pruning.coupling.norms import Norms
from amc.pruning.coupling.operations import aten, given
from amc.pruning.coupling.planes import Planes, along, varies

# (operation, its arguments, its result) → planes of each output; None: nothing is known
Rule = Callable[[Any, Any, Any, Any], Sequence[Planes] | None]


class Rules(Moves, Norms):
    """A rule for every operation that has one.

    Attributes:
        added: atoms that met another layer's in an addition.
    """

    def __init__(self, free: Mapping[int, int] | None) -> None:
        super().__init__(free)
        self.added: list[Ids] = []
        self._rules: dict[Any, Rule] = {
            **dict.fromkeys(ops.MOVES, self._move),
            **dict.fromkeys(ops.JOINED, self._concatenate),
            **dict.fromkeys(ops.LOCAL, self._local),
            **dict.fromkeys(ops.REDUCTIONS, self._reduce),
            **dict.fromkeys(ops.SHAPE_KEEPING, self._along_one),
            **dict.fromkeys(ops.BATCH_NORMS, self._batch_norm),
            **dict.fromkeys(ops.LAYER_NORMS, self._layer_norm),
            **dict.fromkeys(ops.TRANSFORMS, self._transform),
            **dict.fromkeys((aten.view_as_real, aten.view_as_complex), self._complex),
            **dict.fromkeys((aten.convolution, aten._convolution), self._convolution),
            **dict.fromkeys((aten.mm, aten.bmm), self._multiply),
            **dict.fromkeys((aten.mv, aten.dot), self._vector),
            **dict.fromkeys((aten.addmm, aten.baddbmm), self._affine),
            **dict.fromkeys((aten.as_strided, aten.resize), self._layout),
            **dict.fromkeys(ops.LIKE, self._like),
            aten._trilinear: self._bilinear,
            aten.native_group_norm: self._group_norm,
            aten.embedding: self._embedding,
            aten.copy: self._copy,
            **dict.fromkeys((aten.sort, aten.topk), self._ordered),
            aten.gather: self._gather,
            aten.index: self._index_rule,
            aten.index_put: self._put,
            aten.glu: self._glu,
        }

    def _rule(self, packet: Any) -> Rule | None:
        """The rule of an operation; one in place has that of the operation."""
        name = str(packet).removeprefix("aten.")
        plain = getattr(aten, name[:-1], None) if name.endswith("_") and not name.endswith("__") else packet
        if str(packet) in ops.BY_CHANNEL:
            return self._by_channel
        found = self._rules.get(plain)
        return self._pointwise if found is None and plain is not None and ops.is_pointwise(plain) else found

    def _local(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source, last = args[0], ops.LOCAL[func._overloadpacket]
        touched = set(range(source.dim() - last, source.dim()))
        if func._overloadpacket in ops.AVERAGES and len(self._of(source)) == 1:
            (plane,) = self._of(source)
            if len(touched & set(varies(plane))) == len(varies(plane)) == 1:
                return self._neighbours(func, args, kwargs, plane)
        for plane in self._of(source):
            if touched & set(varies(plane)):
                self._freeze((plane,), self._here(func))
        return [tuple(plane for plane in self._of(source) if not touched & set(varies(plane)))]

    def _neighbours(self, func: Any, args: Any, kwargs: Any, plane: Ids) -> Sequence[Planes] | None:
        """An average over each channel's neighbours (local response normalisation): of those that are left."""
        values, (dim,) = given(func, args, kwargs), varies(plane)
        last = len(values["kernel_size"])
        where = dim - (plane.ndim - last)
        kernel, size = values["kernel_size"][where], plane.shape[dim] - values["kernel_size"][where] + 1
        stride, padding = (values[name] or [0] * last for name in ("stride", "padding"))
        # As many come out as there are channels, each in the middle of its neighbours; around them are zeros.
        middle = plane.take(range(kernel // 2, kernel // 2 + size), axis=dim)
        if stride[where] != 1 or padding[where % len(padding)] or np.count_nonzero(plane) != np.count_nonzero(middle):
            return None
        self._selected(func, (0, dim, plane.reshape(-1)))
        return [(middle,)]

    def _layout(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """Another layout of the same elements."""
        return [self._of(args[0])] if args[0].shape == result.shape else None

    def _like(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        return [self._of(args[0])]

    def _by_channel(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """``[n, c, …]`` → ``[m, c, …]``, each channel by itself."""
        if any(varies(plane) != (1,) for plane in self._of(args[0])):
            return None
        return [tuple(along(plane.reshape(-1), 1, result.dim()) for plane in self._of(args[0]))]

    def _ordered(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        """Sorting, or the largest few, along a dimension without channels."""
        source = args[0]
        dim = given(func, args, kwargs)["dim"] % source.dim()
        for plane in self._of(source):
            if dim in varies(plane):
                self._freeze((plane,), self._here(func))
        return [tuple(plane for plane in self._of(source) if dim not in varies(plane))] * 2

    def _gather(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source, dim, index = args[0], args[1] % args[0].dim(), args[2]
        if any(dim in varies(plane) for plane in (*self._of(source), *self._of(index))):
            return None
        operands = [((*t.shape[:dim], 1, *t.shape[dim + 1 :]), self._of(t)) for t in (source, index)]
        return [self._together(operands, result.dim())]

    def _put(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """Values written to places along the first dimension."""
        target, indices, values = args[:3]
        if len(indices) != 1 or self._of(indices[0]) or values.dim() not in (0, target.dim()):
            return None
        operands = [((1, *t.shape[1:]), self._of(t)) for t in (target, values) if t.dim()]
        return [self._together(operands, target.dim())]

    def _copy(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        return self._elementwise(args[:2], result)

    def _pointwise(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._overloadpacket in (aten.add, aten.add_, aten.sub, aten.sub_):
            labelled = [self._of(t)[0] for t in tensors if self._of(t) and t not in self._names]
            roots = [self.atoms.roots(plane.reshape(-1)) for plane in labelled]
            # A layer's own channels that meet again (rotary embeddings) are no sum of several layers'.
            if len(roots) > 1 and not np.isin(roots[0], roots[1]).all():
                self.added += roots
        return self._elementwise(tensors, result)

    def _elementwise(self, tensors: Sequence[Tensor], result: Tensor) -> Sequence[Planes] | None:
        return [self._together([(extent(t), self._of(t)) for t in tensors], result.dim())]
