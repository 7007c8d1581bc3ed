"""Products: convolutions and matrix products, where channels are made and read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import Labels, at, extent
from amc.pruning.coupling.planes import Planes, along, kept, varies


@dataclass(frozen=True)
class Product:
    """A matrix product.

    Attributes:
        module: where it runs.
        constant: MACs for each combination of the channels below: the lengths that no cut changes.
        axes: atoms along each of the other lengths.
    """

    module: str
    constant: float
    axes: tuple[Ids, ...]


class Products(Labels):
    """Rules of products.

    Attributes:
        inputs: atoms of the input channels: of grouped convolutions, by the name of the weight, and of norms without
            tensors, by their own.
        products: matrix products, and convolutions outside of known layers.
        moving: layers that are applied at as many positions as there are channels of something else.
        batched: planes that vary along the batch dimension of a product: what is cut there are whole heads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[str, Ids] = {}
        self.products: list[Product] = []
        self.moving: set[str] = set()
        self.batched: list[Ids] = []

    @abstractmethod
    def _layer(self) -> str | None:
        """The known layer (convolution, linear) that runs now."""

    @abstractmethod
    def _module(self) -> str:
        """The module that runs now."""

    @abstractmethod
    def _selected(self, func: Any, *choices: tuple[int, int, Ids]) -> None:
        """An operation that must see only the kept channels of (argument, dimension, atoms)."""

    def _convolution(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        x, weight, bias = args[:3]
        transposed, groups = args[6], args[8]
        outer, inner = (1, 0) if transposed else (0, 1)
        own = self._of(weight)
        if groups > 1:
            return self._grouped(x, weight, bias, result, groups, transposed)
        coming, inside = at(self._of(x), 1), at(own, inner)
        self._contract(coming, inside, x.shape[1])
        for plane in self._of(x):
            if varies(plane) != (1,):
                self._freeze((plane,), self._here(func))
        made = at(own, outer)
        if self._layer() is None:
            positions = (x if transposed else result)[0, 0].numel() * weight[0, 0].numel()
            self._note(positions, (made, weight.shape[outer]), (inside, weight.shape[inner]))
            if coming is not None and inside is not None:
                self._selected(func, (0, 1, coming), (1, inner, inside))
        if made is None:
            return [()]
        self._bias(made, bias)
        return [(along(made, 1, result.dim()),)]

    def _grouped(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, result: Tensor, groups: int, transposed: bool
    ) -> Sequence[Planes] | None:
        if transposed or weight not in self._names or self._layer() is None:
            return None
        made, coming = at(self._of(weight), 0), at(self._of(x), 1)
        if made is None:
            return None
        self._bias(made, bias)
        if groups == x.shape[1]:
            if coming is None:
                self.atoms.freeze(made, "it carries on channels that are fixed")
            else:
                self._join(coming[:, None], made.reshape(groups, -1))
        else:
            name = self._names[weight]
            atoms = self.atoms.new(x.shape[1]) if coming is None else coming
            if name in self.inputs:
                self._join(self.inputs[name], atoms)
            self.inputs[name] = atoms
        return [(along(made, 1, result.dim()),)]

    def _affine(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        planes = self._product(func, 1, args[1], args[2], result)
        if planes is None:
            return None
        return [self._together([(args[0].shape, self._of(args[0])), (result.shape, planes[0])], result.dim())]

    def _multiply(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        return self._product(func, 0, args[0], args[1], result)

    def _product(self, func: Any, first: int, a: Tensor, b: Tensor, result: Tensor) -> Sequence[Planes] | None:
        """``a`` and ``b`` are the arguments ``first`` and ``first + 1``."""
        batch = tuple(range(a.dim() - 2))
        heads = [self._heads(func, t, batch) for t in (a, b)]
        alone = [t for t, found in zip((a, b), heads, strict=True) if found is None]
        if len(alone) == 1 and extent(alone[0])[0] > 1:
            self._freeze(
                tuple(h for h in heads if h is not None), f"its channels meet a tensor of fixed size in {self._place()}"
            )
        elif heads[0] is not None and heads[1] is not None:
            self._join(heads[0], heads[1])
        rows, columns = a.dim() - 2, a.dim() - 1
        mine, theirs = self._of(a), self._of(b)
        coming, inner = at(mine, columns), at(theirs, rows)
        self._contract(coming, inner, a.shape[-1])
        made, other = at(mine, rows), at(theirs, columns)
        lengths = [(made, a.shape[rows]), (coming, a.shape[columns]), (other, b.shape[columns])]
        both = None if heads[0] is None else heads[0].reshape(-1)
        self._note(1, *lengths, *([(both, a.shape[0])] if batch else []))
        layer = self._layer()
        if layer is None and coming is not None and inner is not None:
            self._selected(func, (first, columns, coming), (first + 1, rows, inner))
        elif layer is not None and made is not None:
            self.moving.add(layer)
        found = [plane for plane in mine if varies(plane) == (rows,)]
        found += [plane for plane in theirs if varies(plane) == (columns,)]
        return [kept([*found, heads[0]])]

    def _vector(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """A matrix, or a vector, times a vector."""
        a, v = args[:2]
        last = a.dim() - 1
        coming, inner = at(self._of(a), last), at(self._of(v), 0)
        self._contract(coming, inner, len(v))
        made = at(self._of(a), 0) if last else None
        self._note(1, (coming, len(v)), *([(made, len(a))] if last else []))
        if coming is not None and inner is not None:
            self._selected(func, (0, last, coming), (1, 0, inner))
        return [() if made is None else (made,)]

    def _bilinear(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> Sequence[Planes] | None:
        """``[n, a]`` · ``[out, a, b]`` · ``[n, b]``, as ``nn.Bilinear`` writes it."""
        x, weight, y = args[:3]
        if (x.dim(), weight.dim(), y.dim()) != (2, 3, 2) or tuple(args[6]) != (2, 3):
            return None
        made, inner = at(self._of(weight), 0), [at(self._of(weight), dim) for dim in (1, 2)]
        coming = [at(self._of(t), 1) for t in (x, y)]
        for place, (a, b) in enumerate(zip(coming, inner, strict=True)):
            self._contract(a, b, weight.shape[1 + place])
        lengths = zip((made, *inner), weight.shape, strict=True)
        self._note(x.shape[0], *lengths)
        self._selected(func, *self._seen((0, 1, coming[0]), (1, 1, inner[0]), (1, 2, inner[1]), (2, 1, coming[1])))
        return [() if made is None else (along(made, 1, 2),)]

    @staticmethod
    def _seen(*choices: tuple[int, int, Ids | None]) -> list[tuple[int, int, Ids]]:
        return [(argument, dim, atoms) for argument, dim, atoms in choices if atoms is not None]

    def _heads(self, func: Any, tensor: Tensor, batch: tuple[int, ...]) -> Ids | None:
        """The plane along the batch of matrices; one that varies along others too can't be followed any further."""
        found = None
        for plane in self._of(tensor):
            if set(varies(plane)) & set(batch):
                self.batched.append(plane)
                if len(varies(plane)) > 1:
                    self._freeze((plane,), self._here(func))
                found = plane[:, :1, :1]
            elif len(varies(plane)) > 1:
                self._freeze((plane,), self._here(func))
        return found

    def _note(self, each: float, *lengths: tuple[Ids | None, int]) -> None:
        """MACs of a product: ``each`` times all lengths, of which some follow channels."""
        constant = each
        for atoms, size in lengths:
            constant *= size if atoms is None else 1
        axes = tuple(atoms for atoms, _ in lengths if atoms is not None)
        self.products.append(Product(self._module(), float(constant), axes))

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
                    self.atoms.freeze(
                        atoms, f"its channels are multiplied with a tensor of fixed size in {self._place()}"
                    )
