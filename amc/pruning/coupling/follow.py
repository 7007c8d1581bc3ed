"""Follows channels through a forward pass, operation by operation as they run (a ``TorchDispatchMode``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.module_tracker import ModuleTracker
from torch.utils.weak import WeakIdKeyDictionary

from amc.pruning.coupling import operations as ops
from amc.pruning.coupling.atoms import Atoms, Ids
from amc.pruning.coupling.operations import aten
from amc.pruning.coupling.planes import Planes, along, compressed, full, kept, varies
from amc.pruning.layers import is_per_channel, watched, without_fast_path


class Follower(TorchDispatchMode):
    """Labels every tensor of a forward pass with the channels that its elements belong to.

    Attributes:
        atoms: the channels, and what is joined.
        inputs: atoms of the input channels: of grouped convolutions, by the name of the weight, and of norms without
            tensors, by their own.
        added: atoms that met another layer's in an addition.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.atoms = Atoms()
        self.inputs: dict[str, Ids] = {}
        self.added: list[Ids] = []
        self._planes: Any = WeakIdKeyDictionary()
        self._names: Any = WeakIdKeyDictionary()
        self.parameters: dict[str, Planes] = {}
        self._tracker = ModuleTracker()
        self._types = {name: type(module).__name__ for name, module in model.named_modules()}
        self._prefix = type(model).__name__
        for name, tensor in _tensors(model):
            if tensor not in self._names:  # tied tensors have the same channels
                own = self._of_parameter(tensor, model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
                self._planes[tensor], self._names[tensor] = own, name
            self.parameters[name] = self._of(tensor)

    def run(self, model: nn.Module, example: Tensor) -> None:
        """Follows one forward pass; what the network returns is frozen."""
        handles = [
            module.register_forward_pre_hook(lambda _, args, name=name: self._note(name, args[0]))
            for name, module in model.named_modules()
            if is_per_channel(module) and not any(True for _ in _tensors(module))
        ]
        with watched(model, handles), without_fast_path(), torch.no_grad(), self._tracker, self:
            output = model(example)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                for plane in self._of(leaf):
                    self.atoms.freeze(plane, "its channels are the network's output")

    def _note(self, name: str, x: Tensor) -> None:
        """Channels of a layer without tensors of its own."""
        atoms = _at(self._of(x), 1)
        if atoms is not None:
            self.inputs[name] = atoms

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if self._rule(func, func._overloadpacket) is None:  # under inference mode, operations come in one piece
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._label(func, args, kwargs, result)
        return result

    def _label(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        packet = func._overloadpacket
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if packet in ops.FACTORIES or not any(self._of(t) for t in tensors):
            return
        rule = self._rule(func, packet)
        found = None if rule is None else rule(func, args, kwargs, result)
        if found is None:
            for tensor in tensors:
                self._freeze(self._of(tensor), self._here(func))
            return
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for output, planes in zip(outputs, found, strict=False):
            before = self._of(output)
            if any(output is t for t in tensors) and planes and not before:
                self._freeze(planes, "they are written into a tensor of fixed size")
            self._planes[output] = planes

    def _rule(self, func: Any, packet: Any) -> Callable[..., Sequence[Planes] | None] | None:
        name = str(packet).removeprefix("aten.")
        plain = getattr(aten, name[:-1], None) if name.endswith("_") and not name.endswith("__") else packet
        if plain in ops.MOVES:
            return self._move
        if plain in ops.JOINED:
            return self._concatenate
        if plain in ops.LOCAL:
            return self._local
        if plain in ops.REDUCTIONS:
            return self._reduce
        if plain in ops.SHAPE_KEEPING:
            return self._along_one
        if plain in ops.NORMS:
            return self._batch_norm
        if plain in (aten.convolution, aten._convolution):
            return self._convolution
        if plain in (aten.mm, aten.bmm):
            return lambda func, args, kwargs, result: self._product(args[0], args[1], result)
        if plain in (aten.addmm, aten.baddbmm):
            return self._affine
        if plain is aten.copy:
            return lambda func, args, kwargs, result: self._elementwise(args[:2], result)
        if plain in (aten.as_strided, aten.resize):  # another layout of the same elements
            return lambda func, args, kwargs, result: [self._of(args[0])] if args[0].shape == result.shape else None
        if plain in (aten.index, aten.glu):
            return self._index if plain is aten.index else self._glu
        if plain is not None and ops.is_pointwise(plain):
            return self._pointwise
        return None

    # Rules: (func, args, kwargs, result) → planes of each output; None: nothing is known.

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
        self._contract(_at(self._of(x), 1), _at(own, inner), x.shape[1])
        self._refuse_others(self._of(x), 1, func)
        made = _at(own, outer)
        if made is None:
            return [()]
        self._bias(made, bias)
        return [(along(made, 1, result.dim()),)]

    def _grouped(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, result: Tensor, groups: int, transposed: bool
    ) -> Sequence[Planes] | None:
        if transposed or weight not in self._names:
            return None
        made, coming = _at(self._of(weight), 0), _at(self._of(x), 1)
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

    def _product(self, a: Tensor, b: Tensor, result: Tensor) -> Sequence[Planes] | None:
        rows, columns, batch = a.dim() - 2, a.dim() - 1, set(range(a.dim() - 2))
        mine, theirs = self._of(a), self._of(b)
        if any(len(varies(plane)) > 1 or set(varies(plane)) & batch for plane in (*mine, *theirs)):
            return None
        self._contract(_at(mine, columns), _at(theirs, rows), a.shape[-1])
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
            own = _at(self._of(bias), 0)
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

    def _refuse_others(self, planes: Planes, dim: int, func: Any) -> None:
        for plane in planes:
            if varies(plane) != (dim,):
                self._freeze((plane,), self._here(func))

    def _here(self, func: Any) -> str:
        """The module that runs now, and the operation, as a reason."""
        names = [n[len(self._prefix) + 1 :] for n in self._tracker.parents if n.startswith(f"{self._prefix}.")]
        name = max(names, key=lambda n: (n.count("."), len(n)), default="")
        op = str(func._overloadpacket).removeprefix("aten.")
        if not name or name not in self._types:
            return f"channels can't be followed through the network's own {op}"
        return f"layer {name} ({self._types[name]}) can't be cut: channels can't be followed through its {op}"

    def _freeze(self, planes: Planes, reason: str) -> None:
        for plane in planes:
            self.atoms.freeze(plane, reason)

    def _of(self, tensor: Tensor) -> Planes:
        found: Planes = self._planes.get(tensor, ())
        return found

    def _of_parameter(self, tensor: Tensor, module: nn.Module, name: str) -> Planes:
        dims = range(tensor.dim())
        if name == "weight" and isinstance(module, nn.modules.conv._ConvNd):
            dims = range(2)
        return tuple(along(self.atoms.new(tensor.shape[d]), d, tensor.dim()) for d in dims if tensor.shape[d] > 1)


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Parameters and buffers by all of their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _fewer(before: Ids, after: Ids) -> bool:
    """Whether some channels are left out."""
    return len(np.setdiff1d(before[before != 0], after)) > 0


def _at(planes: Planes, dim: int) -> Ids | None:
    """Atoms of the plane that varies along ``dim`` alone."""
    return next((plane.reshape(-1) for plane in planes if varies(plane) == (dim,)), None)
