"""Norms and reductions: operations that reckon with all channels at once.

A cut network reckons with those that are left, so that it isn't the dense one with zeros in it. What is compared in a
trial cut therefore knows which operations these are (:meth:`Products._selected`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import at
from amc.pruning.coupling.operations import aten, given
from amc.pruning.coupling.planes import Planes, along, kept, varies
from amc.pruning.coupling.products import Products


class Norms(Products):
    """Rules of norms and reductions.

    Attributes:
        units: name of a group norm → the first atom of each of its groups.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units: dict[str, Ids] = {}

    def _batch_norm(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source = args[0]
        for tensor in args[1:5]:
            if isinstance(tensor, Tensor):
                view = [along(plane.reshape(-1), 1, source.dim()) for plane in self._of(tensor)]
                channels = (1, len(tensor), *(1,) * (source.dim() - 2))
                self._together([(source.shape, self._of(source)), (channels, tuple(view))], source.dim())
        return [self._of(source)]

    def _layer_norm(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        x, shape = args[0], args[1]
        first = x.dim() - len(shape)
        own = [(i, t) for i, t in enumerate(args) if i > 1 and isinstance(t, Tensor)]
        planes = self._together([(x.shape, self._of(x)), *((t.shape, self._of(t)) for _, t in own)], x.dim())
        choices: list[tuple[int, int, Ids]] = []
        for plane in planes:
            if not set(varies(plane)) & set(range(first, x.dim())):
                continue
            if len(varies(plane)) > 1:
                self._freeze((plane,), self._here(func))
                continue
            (dim,) = varies(plane)
            choices.append((0, dim, plane.reshape(-1)))
            choices += [(i, dim - first, plane.reshape(-1)) for i, _ in own]
        if choices:
            self._selected(func, *choices)
        return [planes]

    def _group_norm(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        x, weight, bias, groups = args[0], args[1], args[2], args[6]
        channels = (1, x.shape[1], *(1,) * (x.dim() - 2))
        operands: list[tuple[Sequence[int], Planes]] = [(x.shape, self._of(x))]
        own = [(i, t) for i, t in ((1, weight), (2, bias)) if isinstance(t, Tensor)]
        operands += [(channels, tuple(along(p.reshape(-1), 1, x.dim()) for p in self._of(t))) for _, t in own]
        planes = self._together(operands, x.dim())
        for plane in planes:
            if varies(plane) != (1,):
                self._freeze((plane,), self._here(func))
        atoms = at(planes, 1)
        if atoms is None:
            return [planes]
        if groups == 1:
            self._selected(func, (0, 1, atoms), *((i, 0, atoms) for i, _ in own))
        else:  # statistics belong to a group of channels, which stays or goes as a whole
            by_group = atoms.reshape(groups, -1)
            self._join(by_group, by_group[:, :1])
            self.units[self._module()] = by_group[:, 0]
        return [planes]

    def _reduce(self, func: Any, args: Any, kwargs: Any, result: Any) -> Sequence[Planes] | None:
        source, values = args[0], given(func, args, kwargs)
        if "other" in values:  # max and min of two tensors
            return None
        dims, keep = values.get("dim"), bool(values.get("keepdim", False))
        dims = range(source.dim()) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
        reduced = {d % source.dim() for d in dims}
        found: list[Ids | None] = []
        choices: list[tuple[int, int, Ids]] = []
        for plane in self._of(source):
            if not set(varies(plane)) & reduced:
                found.append(plane if keep else plane.squeeze(tuple(reduced)))
            elif len(varies(plane)) > 1:
                self._freeze((plane,), self._here(func))
            else:
                choices.append((0, varies(plane)[0], plane.reshape(-1)))
        if choices:
            self._selected(func, *choices)
        return [kept(found)] * 2

    def _along_one(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source, dim = args[0], args[1] % args[0].dim()
        for plane in self._of(source):
            if dim in varies(plane):
                self._freeze((plane,), self._here(func))
        return [tuple(plane for plane in self._of(source) if dim not in varies(plane))]

    def _transform(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        source = args[0]
        dims = {d % source.dim() for d in args[1]}
        if any(dims & set(varies(plane)) for plane in self._of(source)):
            return None
        return [self._of(source)]

    def _complex(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """Real and imaginary part as a last dimension, and back."""
        planes = self._of(args[0])
        if func._overloadpacket is aten.view_as_real:
            return [tuple(plane[..., None] for plane in planes)]
        return None if any(plane.shape[-1] > 1 for plane in planes) else [tuple(plane[..., 0] for plane in planes)]

    def _embedding(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        weight, indices = args[:2]
        rows, made = at(self._of(weight), 0), at(self._of(weight), 1)
        if rows is not None:
            self.atoms.freeze(rows, "its entries are picked by the input")
        return None if self._of(indices) else [() if made is None else (along(made, result.dim() - 1, result.dim()),)]
