"""Which entries of a configuration move which sizes: every one is turned once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from amc.models.configuration.family import Content, Family, Path, entries, levels, lookup, with_entries
from amc.models.configuration.signature import Place, Signature, is_whole, unlike, unlike_traits


@dataclass(frozen=True)
class Lever:
    """An entry that moves sizes.

    Attributes:
        path: of the entry.
        slopes: place → how much it grows per one of the entry, where that is a whole number, else 0.
    """

    path: Path
    slopes: Mapping[Place, int]

    @property
    def moves_sizes(self) -> bool:
        """Whether it moves more than what modules keep."""
        return any(isinstance(at, int) for _, at in self.slopes)


def with_pins(family: Family, content: Content, first: Signature) -> dict[str, Any]:
    """The content with entries that it leaves to be reckoned from others, where that changes nothing.

    The width of a head is the width of the stream over the number of heads unless it is given. Names are those under
    which modules keep numbers; a class that knows no such entry is not moved by it.

    Args:
        family: of the network.
        content: that gives ``first``.
        first: the dense network's signature.
    """
    pinned = dict(content)
    for path, value in _pins(content, first, family.aliases):
        moved = family.signature(with_entries(pinned, {path: 2 * value}))
        stays = with_entries(pinned, {path: value})
        if moved is not None and unlike(moved, first) and family.signature(stays) == first:
            pinned = stays
    return pinned


def levers_of(family: Family, content: Content, first: Signature, want: Signature) -> list[Lever]:
    """The entries that move any size or any value of a module.

    Args:
        family: of the network.
        content: that gives ``first``.
        first: the dense network's signature.
        want: the cut network's, whose sizes tell how large an empty entry may be.
    """
    largest = max((first.value(place) for place in unlike(first, want)), default=1)
    given = {path for path, _ in entries(content)}
    found = []
    for path in sorted(given, key=str):
        value = lookup(content, path)
        for tried in _turned(value, largest):
            moved = family.signature(with_entries(content, {path: tried}))
            if moved is not None:
                slopes = dict(_slopes(first, moved, value, tried))
                if slopes:
                    found.append(Lever(path, slopes))
                break
    return found


def _pins(content: Content, first: Signature, aliases: Mapping[str, str]) -> Iterator[tuple[Path, int]]:
    """Names and values of modules' whole numbers that no entry gives, where all modules agree."""
    kept: dict[str, set[Any]] = defaultdict(set)
    for (_, name), value in first.traits.items():
        kept[name].add(value)
    for level in levels(content):
        for name, values in kept.items():
            value = next(iter(values))
            if len(values) == 1 and is_whole(value) and name not in aliases and lookup(content, (*level, name)) is None:
                yield (*level, name), value


def _turned(value: Any, largest: int) -> Iterable[int | float]:
    """Values to try; those that divide the same numbers come first, one divides all."""
    if value is None:
        return (2 * largest,)
    if type(value) is float:
        return (2 * value,) if value and math.isfinite(value) else ()
    return tuple(dict.fromkeys(v for v in (2 * value, 3 * value, value // 2, 1) if v > 0 and v != value))


def _slopes(first: Signature, moved: Signature, value: Any, tried: Any) -> Iterator[tuple[Place, int]]:
    for place in (*unlike(moved, first), *unlike_traits(moved, first)):
        before, after = first.value(place), moved.value(place)
        exact = type(value) is int and type(before) is int and type(after) is int
        slope, rest = divmod(after - before, tried - value) if exact else (0, 1)
        yield place, 0 if rest else slope
