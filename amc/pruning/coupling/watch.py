"""Watches the sizes that a network's own code gives to torch, while it is followed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from amc.pruning.coupling.atoms import Ids
from amc.pruning.coupling.labels import at
from amc.pruning.coupling.lengths import Attribute, Axis, Length, Reckoned

if TYPE_CHECKING:
    from amc.pruning.coupling.follow import Follower

RESHAPING = {"view", "reshape", "expand", "broadcast_to"}
MAKING = {"zeros", "ones", "empty", "full", "rand", "randn", "new_zeros", "new_ones", "new_full", "new_empty"}
SHAPED_LIKE = {"expand_as", "view_as", "reshape_as"}
NORMS = {"layer_norm", "rms_norm"}
SPLITS = {"split", "split_with_sizes", "unsafe_split"}


class Watch(TorchFunctionMode):
    """Hands out shapes as :class:`Length`, and looks where lengths come back.

    A module's number that is given as the size of an axis with channels must follow them. A length that was read off
    one axis and is given for another ties the channels of both: after a cut they must be as many.
    """

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self._follower = follower

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        ends = self._ends(name, args)
        if ends:
            self._follower.even_parts = all(isinstance(e.source, Reckoned) and not e.source.numbers for e in ends)
            self._follower.unequal_parts = not self._follower.even_parts
        result = func(*args, **kwargs)
        self._follower.unequal_parts = self._follower.even_parts = False
        if getattr(func, "__self__", None) is Tensor.shape or name == "size":
            return self._shape(args, kwargs, result)
        if name == "numel" and _subject(args, kwargs).dim() == 1:
            return self._length(_subject(args, kwargs), 0)
        if name in RESHAPING:
            self._given(_sizes(args[1:], kwargs, "shape", "size"), result, repeated=name in ("expand", "broadcast_to"))
        elif name in SHAPED_LIKE:
            other = args[1] if len(args) > 1 else kwargs["other"]
            self._given([self._length(other, dim) for dim in range(other.dim())], result, repeated=name == "expand_as")
        elif name in MAKING:
            self._given(_sizes(args[1:] if name.startswith("new_") else args, kwargs, "size"), result, made=True)
        elif name == "unflatten":
            self._unflattened(args, kwargs, result)
        elif name in NORMS:
            sizes = args[1] if len(args) > 1 else kwargs.get("normalized_shape", ())
            source = _subject(args, kwargs)
            self._given([*[-1] * (source.dim() - len(sizes)), *sizes], source)
        elif name == "group_norm":
            self._groups(args[1] if len(args) > 1 else kwargs["num_groups"])
        elif name == "__getitem__" and ends:
            self._sliced(args[0], args[1] if isinstance(args[1], tuple) else (args[1],), result)
        elif name in SPLITS:
            self._parts(args, kwargs, result)
        return result

    def _own(self, value: Any) -> bool:
        return isinstance(value, Length) and value.owner is self._follower

    def _ends(self, name: str, args: tuple[Any, ...]) -> list[Length]:
        """Where a tensor is about to be split, or sliced, if all of it is where the network's own numbers say."""
        ends: list[Any] = []
        if name in SPLITS and len(args) > 1:
            ends = list(args[1]) if isinstance(args[1], (tuple, list)) else []
        elif name == "__getitem__":
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            ends = [e for p in places if isinstance(p, slice) for e in (p.start, p.stop) if e is not None and e != 0]
        return ends if all(self._own(e) for e in ends) else []

    def _shape(self, args: tuple[Any, ...], kwargs: Any, result: Any) -> Any:
        """The result with lengths for the axes along which channels lie."""
        tensor = _subject(args, kwargs)
        planes = self._follower._of(tensor)
        if not planes:
            return result
        if isinstance(result, int):
            dim = (args[1] if len(args) > 1 else kwargs["dim"]) % tensor.dim()
            return self._length(tensor, dim)
        return torch.Size([self._length(tensor, dim) for dim in range(tensor.dim())])

    def _length(self, tensor: Tensor, dim: int) -> int:
        atoms = at(self._follower._of(tensor), dim)
        size = Tensor.size(tensor)[dim]
        return size if atoms is None else Length.of(size, Axis(atoms), self._follower)

    def _given(self, sizes: Sequence[Any], tensor: Any, *, made: bool = False, repeated: bool = False) -> None:
        """``made``, ``repeated``: where there are no channels along an axis yet, its size says how many there are."""
        if not isinstance(tensor, Tensor) or len(sizes) != tensor.dim():
            return
        for dim, size in enumerate(sizes):
            if self._own(size) and int(size) > 1:
                self._meets(size, tensor, dim, made, repeated)

    def _meets(self, size: Length, tensor: Tensor, dim: int, made: bool, repeated: bool) -> None:
        follower, source = self._follower, size.source
        atoms = at(follower._of(tensor), dim)
        if int(size) != Tensor.size(tensor)[dim]:
            return
        if isinstance(source, Axis):
            if atoms is None and (made or repeated):
                follower.label(tensor, dim, source.atoms)
            elif atoms is None:
                where = follower._module() or "the network itself"
                follower.atoms.freeze(source.atoms, f"its number of channels is the size of something else in {where}")
            else:
                self._as_many(source.atoms, atoms)
        elif isinstance(source, Attribute):
            if atoms is None and made:
                atoms = follower.atoms.new(int(size))
                follower.label(tensor, dim, atoms)
            if atoms is not None:
                self._numbers(source, int(size), atoms)
        elif isinstance(source, Reckoned) and atoms is not None:
            self._reckoned(source, atoms)
        elif isinstance(source, Reckoned) and source.axes and source.numbers:
            follower.quotients.append((source.axes[0].atoms, tuple(number for number, _ in source.numbers)))

    def _reckoned(self, source: Reckoned, atoms: Ids) -> None:
        """Which of several numbers follows the channels: not the one that says how often each occurs; the largest."""
        if source.axes:
            return
        each = len(atoms) // max(1, len(np.unique(self._follower.atoms.roots(atoms))))
        numbers = [n for n in source.numbers if n[1] != each or len(source.numbers) == 1]
        if numbers:
            self._numbers(*max(numbers, key=lambda number: number[1]), atoms)

    def _numbers(self, attribute: Attribute, value: int, atoms: Ids) -> None:
        """One number for two axes ties their channels."""
        before = next((a for key, size, a in self._follower.sizes if key == attribute and size == value), None)
        if before is None:
            self._follower.sizes.append((attribute, value, atoms))
        elif len(before) == len(atoms):
            self._as_many(before, atoms)

    def _as_many(self, first: Ids, second: Ids) -> None:
        """Ties the channels of two axes; the same ones in another order are as many anyhow."""
        one, other = (np.sort(self._follower.atoms.roots(a)) for a in (first, second))
        if not np.array_equal(one, other):
            self._follower.atoms.join(first, second)

    def _unflattened(self, args: tuple[Any, ...], kwargs: Any, result: Tensor) -> None:
        dim = (args[1] if len(args) > 1 else kwargs["dim"]) % _subject(args, kwargs).dim()
        sizes = args[2] if len(args) > 2 else kwargs["sizes"]
        rest = result.dim() - dim - len(sizes)
        self._given([*[-1] * dim, *sizes, *[-1] * rest], result)

    def _groups(self, groups: Any) -> None:
        units = self._follower.units.get(self._follower._module())
        if self._own(groups) and isinstance(groups.source, Attribute) and units is not None:
            self._numbers(groups.source, int(groups), units)

    def _sliced(self, source: Tensor, places: tuple[Any, ...], result: Tensor) -> None:
        """An axis that is cut off at one of the module's numbers."""
        skipped = source.dim() - sum(p is not Ellipsis and p is not None for p in places)
        dims: list[Any] = []
        for place in places:
            dims += [-1] * skipped if place is Ellipsis else [] if isinstance(place, int) else [place]
        dims += [-1] * (result.dim() - len(dims))
        self._given([p.stop if isinstance(p, slice) and p.start in (None, 0) else -1 for p in dims], result)

    def _parts(self, args: tuple[Any, ...], kwargs: Any, result: Sequence[Tensor]) -> None:
        sections = args[1] if len(args) > 1 else next(v for k, v in kwargs.items() if k.startswith("split"))
        dim = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % _subject(args, kwargs).dim()
        each = list(sections) if isinstance(sections, (tuple, list)) else [sections]
        for size, part in zip(each, result, strict=False):
            self._given([size if d == dim else -1 for d in range(part.dim())], part)


def _subject(args: tuple[Any, ...], kwargs: Any) -> Tensor:
    """The tensor that a function is about, by whatever name it is given."""
    return next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))


def _sizes(args: tuple[Any, ...], kwargs: Any, *names: str) -> Sequence[Any]:
    """The sizes among a function's arguments, one by one or in a tuple."""
    if args and isinstance(args[0], (tuple, list)):
        return args[0]
    named = next((kwargs[name] for name in names if name in kwargs), None)
    if named is not None:
        return named if isinstance(named, (tuple, list)) else [named]
    return [a for a in args if isinstance(a, int)]
