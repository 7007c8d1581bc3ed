"""Lengths: sizes that remember where they are from, while a network is followed.

A network's own code asks for shapes (``b, n, c = x.shape``), keeps numbers (``self.num_heads``), reckons with both and
gives the result to ``view``, ``expand``, ``split`` or ``zeros``. After a cut these numbers must be others. So each is
a :class:`Length` while a forward pass is followed: an ``int`` that also knows the axis or attribute it came from.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from amc.pruning.coupling.atoms import Ids
from amc.pruning.layers import Mixing, is_per_channel


@dataclass(frozen=True)
class Attribute:
    """A whole number that a module keeps, or one in a tuple or list that it keeps."""

    module: str
    name: str
    index: int | None = None


@dataclass(frozen=True, eq=False)
class Axis:
    """The length of a tensor's axis along which these atoms lie."""

    atoms: Ids


@dataclass(frozen=True, eq=False)
class Reckoned:
    """A number made of others: of modules' numbers, each with its value, and of lengths of axes."""

    numbers: tuple[tuple[Attribute, int], ...]
    axes: tuple[Axis, ...]


Source = Attribute | Axis | Reckoned


class Length(int):
    """A size that remembers where it is from, and which pass it belongs to: others may keep it for longer."""

    source: Source
    owner: object

    @classmethod
    def of(cls, value: int, source: Source, owner: object) -> Length:
        length = cls(value)
        length.source, length.owner = source, owner
        return length

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> int:
        return int(self)


def _reckoning(operation: Callable[[Any, Any], Any], *, swapped: bool) -> Callable[[Length, Any], Any]:
    def reckon(self: Length, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        own, given = int(self), int(other)
        value = operation(given, own) if swapped else operation(own, given)
        parts = [_parts(x) for x in (self, other) if isinstance(x, Length) and x.owner is self.owner]
        numbers = tuple(dict(number for found, _ in parts for number in found).items())
        return Length.of(value, Reckoned(numbers, tuple(axis for _, axes in parts for axis in axes)), self.owner)

    return reckon


def _parts(length: Length) -> tuple[tuple[tuple[Attribute, int], ...], tuple[Axis, ...]]:
    source = length.source
    if isinstance(source, Attribute):
        return ((source, int(length)),), ()
    return ((), (source,)) if isinstance(source, Axis) else (source.numbers, source.axes)


for _name in ("add", "sub", "mul", "floordiv"):
    setattr(Length, f"__{_name}__", _reckoning(getattr(operator, _name), swapped=False))
    setattr(Length, f"__r{_name}__", _reckoning(getattr(operator, _name), swapped=True))


@contextmanager
def attributes_as_lengths(model: nn.Module, owner: object) -> Iterator[None]:
    """The whole numbers that modules keep are :class:`Length` for the block; what a forward pass changes is undone.

    Layers that the surgery knows keep theirs.
    """
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    for name, module in model.named_modules():
        if isinstance(module, Mixing) or is_per_channel(module):
            continue
        for key, value in module.__dict__.items():
            if not key.startswith("_") and key != "training":
                module.__dict__[key] = _tagged(value, name, key, owner)
    try:
        yield
    finally:
        for module, old in before:
            module.__dict__.clear()
            module.__dict__.update(old)


def _tagged(value: Any, module: str, name: str, owner: object) -> Any:
    if type(value) is int and value > 1:
        return Length.of(value, Attribute(module, name), owner)
    if type(value) in (tuple, list) and value and all(type(v) is int for v in value):
        return type(value)(Length.of(v, Attribute(module, name, i), owner) for i, v in enumerate(value))
    return value
