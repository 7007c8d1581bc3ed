"""Rules: how each operation of torch carries channels on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import Labels, at
from amc.pruning.coupling.operations import aten
from amc.pruning.coupling.planes import Planes, along, compressed, full, kept, varies

# (operation, its arguments, its result) → planes of each output; None: nothing is known
Rule = Callable[[Any, Any, Any, Any], Sequence[Planes] | None]


class Rules(Labels):
    """A rule for every operation that has one.

    Attributes:
        inputs: atoms of the input channels: of grouped convolutions, by the name of the weight, and of norms without
            tensors, by their own.
        added: atoms that met another layer's in an addition.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[str, Ids] = {}
        self.added: list[Ids] = []
        self._names: Any = WeakIdKeyDictionary()  # of parameters and buffers
        self._rules: dict[Any, Rule] = {
            **dict.fromkeys(ops.MOVES, self._move),
            **dict.fromkeys(ops.JOINED, self._concatenate),
            **dict.fromkeys(ops.LOCAL, self._local),
            **dict.fromkeys(ops.REDUCTIONS, self._reduce),
            **dict.fromkeys(ops.SHAPE_KEEPING, self._along_one),
            **dict.fromkeys(ops.NORMS, self._batch_norm),
            **dict.fromkeys((aten.convolution, aten._convolution), self._convolution),
            **dict.fromkeys((aten.mm, aten.bmm), self._multiply),
            **dict.fromkeys((aten.addmm, aten.baddbmm), self._affine),
            **dict.fromkeys((aten.as_strided, aten.resize), self._layout),
            aten.copy: self._copy,
            aten.index: self._index,
            aten.glu: self._glu,
        }

    @abstractmethod
    def _here(self, func: Any) -> str:
        """The module that runs now, and the operation, as a reason."""

    def _rule(self, packet: Any) -> Rule | None:
        """The rule of an operation; one in place has that of the operation."""
        name = str(packet).removeprefix("aten.")
        plain = getattr(aten, name[:-1], None) if name.endswith("_") and not name.endswith("__") else packet
        found = self._rules.get(plain)
        return self._pointwise if found is None and plain is not None and ops.is_pointwise(plain) else found

    def _move(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source = args[0]
        do = torch.reshape if func._overloadpacket in ops.VIEWS_AS_RESHAPE else func
        if func._overloadpacket in (aten._to_copy, aten.clone, aten.lift_fresh):
            return [self._of(source)]
        if func._overloadpacket is aten.constant_pad_nd:
            args, kwargs = args[:2], {}
        parts = []
        for plane in self._of(source):
            moved = do(full(plane, source.shape), *args[1:], **kwargs)
            pieces = [moved] if isinstance(moved, Tensor) else list(moved)
            anchor = 1 if func._overloadpacket is aten.pixel_shuffle else None
            parts.append(self._regular(plane, [compressed(piece) for piece in pieces], anchor))
        count = len([leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)])
        return [kept([planes[i] for planes in parts]) for i in range(count)]

    def _index(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        if any(i is not None and self._of(i) for i in args[1]):
            return None
        source = args[0]
        found: list[Ids | None] = []
        for plane in self._of(source):
            found += self._regular(plane, [compressed(func(full(plane, source.shape), args[1]))])
        return [kept(found)]

    def _glu(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", -1)
        found: list[Ids | None] = []
        for plane in self._of(source):
            halves = full(plane, source.shape).chunk(2, dim)
            found.append(self._regular(plane, [compressed(half) for half in halves])[0])
        return [kept(found)]

    def _concatenate(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        tensors = list(args[0])
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % result.dim()
        found: list[Ids | None] = []
        for place in range(max(len(self._of(t)) for t in tensors)):
            parts = []
            for tensor in tensors:
                planes = self._of(tensor)
                plane = planes[place] if place < len(planes) else np.zeros((1,) * tensor.dim(), dtype=np.int64)
                parts.append(full(plane, tensor.shape))
            found.append(compressed(func(parts, dim)))
        return [kept(found)]

    def _local(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source, last = args[0], ops.LOCAL[func._overloadpacket]
        touched = range(source.dim() - last, source.dim())
        if any(set(varies(plane)) & set(touched) for plane in self._of(source)):
            return None
        return [self._of(source)]

    def _reduce(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source = args[0]
        names = [argument.name for argument in func._schema.arguments]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        dims, keep = given.get("dim"), bool(given.get("keepdim", False))
        dims = range(source.dim()) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
        reduced = {d % source.dim() for d in dims}
        found: list[Ids | None] = []
        for plane in self._of(source):
            if set(varies(plane)) & reduced:
                self._freeze((plane,), self._here(func))
            else:
                found.append(plane if keep else plane.squeeze(tuple(reduced)))
        return [kept(found)]

    def _along_one(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source, dim = args[0], args[1] % args[0].dim()
        for plane in self._of(source):
            if dim in varies(plane):
                self._freeze((plane,), self._here(func))
        return [tuple(plane for plane in self._of(source) if dim not in varies(plane))]

    def _batch_norm(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source = args[0]
        for tensor in args[1:5]:
            if isinstance(tensor, Tensor):
                view = [along(plane.reshape(-1), 1, source.dim()) for plane in self._of(tensor)]
                channels = (1, len(tensor), *(1,) * (source.dim() - 2))
                self._together([(source.shape, self._of(source)), (channels, tuple(view))], source.dim())
        return [self._of(source)]

    def _convolution(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        x, weight, bias = args[:3]
        transposed, groups = args[6], args[8]
        outer, inner = (1, 0) if transposed else (0, 1)
        own = self._of(weight)
        if groups > 1:
            return self._grouped(x, weight, bias, result, groups, transposed)
        self._contract(at(self._of(x), 1), at(own, inner), x.shape[1])
        self._refuse_others(self._of(x), 1, func)
        made = at(own, outer)
        if made is None:
            return [()]
        self._bias(made, bias)
        return [(along(made, 1, result.dim()),)]

    def _grouped(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, result: Tensor, groups: int, transposed: bool
    ) -> Sequence[Planes] | None:
        if transposed or weight not in self._names:
            return None
        made, coming = at(self._of(weight), 0), at(self._of(x), 1)
        if made is None:
            return None
        self._bias(made, bias)
        if groups == x.shape[1] == result.shape[1]:
            if coming is None:
                self.atoms.freeze(made, "it carries on channels that are fixed")
            else:
                self._join(coming, made)
        else:
            name = self._names[weight]
            atoms = self.atoms.new(x.shape[1]) if coming is None else coming
            if name in self.inputs:
                self._join(self.inputs[name], atoms)
            self.inputs[name] = atoms
        return [(along(made, 1, result.dim()),)]

    def _affine(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        planes = self._product(args[1], args[2], result)
        if planes is None:
            return None
        return [self._together([(args[0].shape, self._of(args[0])), (result.shape, planes[0])], result.dim())]

    def _multiply(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        return self._product(args[0], args[1], result)

    def _layout(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """Another layout of the same elements."""
        return [self._of(args[0])] if args[0].shape == result.shape else None

    def _copy(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        return self._elementwise(args[:2], result)

    def _product(self, a: Tensor, b: Tensor, result: Tensor) -> Sequence[Planes] | None:
        rows, columns, batch = a.dim() - 2, a.dim() - 1, set(range(a.dim() - 2))
        mine, theirs = self._of(a), self._of(b)
        if any(len(varies(plane)) > 1 or set(varies(plane)) & batch for plane in (*mine, *theirs)):
            return None
        self._contract(at(mine, columns), at(theirs, rows), a.shape[-1])
        found = [plane for plane in mine if varies(plane) == (rows,)]
        found += [plane for plane in theirs if varies(plane) == (columns,)]
        return [kept(found)]

    def _pointwise(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._overloadpacket in (aten.add, aten.add_, aten.sub, aten.sub_):
            labelled = [self._of(t)[0] for t in tensors if self._of(t) and t not in self._names]
            if len(labelled) > 1:
                self.added += [plane.reshape(-1) for plane in labelled]
        return self._elementwise(tensors, result)

    def _elementwise(self, tensors: Sequence[Tensor], result: Tensor) -> Sequence[Planes] | None:
        return [self._together([(t.shape, self._of(t)) for t in tensors], result.dim())]

    def _refuse_others(self, planes: Planes, dim: int, func: Any) -> None:
        for plane in planes:
            if varies(plane) != (dim,):
                self._freeze((plane,), self._here(func))
