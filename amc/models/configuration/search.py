"""Finds the content of a configuration whose network has the wanted sizes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from amc.models.configuration.family import Content, Family, Path, entries, lookup, with_entries
from amc.models.configuration.levers import Lever, levers_of, with_pins
from amc.models.configuration.signature import Place, Signature, is_whole, unlike, unlike_names, unlike_traits

MOST_BUILT = 600  # networks without values, some 30 ms each
MOST_FOUND = 12
NUDGE = 1 + 1e-9  # a width is reckoned from a ratio, int(width * ratio), which must not end below it

Changes = Mapping[Path, Any]


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        contents: that give the wanted sizes, the likeliest first.
        closest: what the best content gives.
        refused: what the class said of a content that might have come closer, if it refused one.
        levers: the entries that move anything.
    """

    contents: tuple[dict[str, Any], ...]
    closest: Signature
    refused: str
    levers: tuple[Lever, ...]


def find(family: Family, starts: Sequence[Content], want: Signature) -> Found:
    """Contents whose networks have the wanted sizes.

    Args:
        family: of the network.
        starts: contents that give the wanted names; the sizes are the dense network's.
        want: signature of the cut network.
    """
    searches = [_Search(family, start, want) for start in starts]
    for search in searches:
        search.run()
    solved = sorted((one for search in searches for one in search.solved), key=lambda entry: entry[0])
    best = min(searches, key=lambda search: search.closest[0])
    closest = family.signature(best.content(best.closest[1]))
    assert closest is not None  # it was built
    return Found(tuple(content for _, content in solved), closest, best.refused, tuple(best.levers))


class _Search:
    """Best first, by the number of sizes that are wrong, then of the modules' own values.

    The first wrong size decides what is tried next, so that independent entries are set in one order and not in all.
    """

    def __init__(self, family: Family, start: Content, want: Signature) -> None:
        self.family, self.want = family, want
        first = family.signature(start)
        assert first is not None  # it gave the wanted names
        self.start = with_pins(family, start, first)
        self.given = {path for path, _ in entries(start)}
        self.pins = [path for path, value in entries(self.start) if value is not None and lookup(start, path) is None]
        self.levers = levers_of(family, self.start, first, want)
        self.solved: list[tuple[tuple[int, int], dict[str, Any]]] = []
        self.closest: tuple[tuple[int, int], Changes] = (self._score({}) or (0, 0), {})
        self.refused = ""
        self._limit = family.built + MOST_BUILT

    def run(self) -> None:
        """Fills ``solved`` and ``closest``."""
        ties, seen = count(), {_key({})}
        waiting: list[tuple[tuple[int, int], int, Changes]] = [(self.closest[0], next(ties), {})]
        while waiting and self.family.built < self._limit and len(self.solved) < MOST_FOUND:
            score, _, changes = heapq.heappop(waiting)
            self.closest = min(self.closest, (score, changes), key=lambda entry: entry[0])
            if score[0] == 0:
                self.solved.append((score, self._minimal(changes)))
            for child in self._better(changes, score):
                if _key(child) not in seen:
                    seen.add(_key(child))
                    heapq.heappush(waiting, (self._score(child) or score, next(ties), child))

    def content(self, changes: Changes) -> dict[str, Any]:
        return with_entries(self.start, changes)

    def _score(self, changes: Changes) -> tuple[int, int] | None:
        """Wrong sizes and wrong values; ``None`` if the class refuses the content."""
        found, want = self.family.signature(self.content(changes)), self.want
        if found is None:
            return None
        return len(unlike(found, want)) + len(unlike_names(found, want)), len(unlike_traits(found, want))

    def _better(self, changes: Changes, score: tuple[int, int]) -> list[Changes]:
        """One step from here, at the first place where one brings it closer."""
        content = self.content(changes)
        have = self.family.signature(content)
        assert have is not None  # only what was built is looked at again
        places = unlike(have, self.want) or [p for p in unlike_traits(have, self.want) if isinstance(p[1], str)]
        tried: set[Any] = set()
        found: list[Changes] = []
        for place in places:
            values = self._values(content, place, have.value(place), only_values=score[0] == 0)
            steps = [step for path, v in values if _key(step := {**changes, path: v}) not in tried]
            tried.update(map(_key, steps))
            for step in steps:
                reached = self._score(step)
                if reached is None:
                    self.refused = self.family.error
                    found += self._across(step, have, place, score)
                elif reached < score or reached[0] == 0:  # the modules' own values may be out of date
                    found.append(step)
            if found and score[0]:
                break
        return found

    def _across(self, step: Changes, have: Signature, place: Place, score: tuple[int, int]) -> list[Changes]:
        """A second change that makes a refused content one that is closer: heads beside the width that they divide."""
        size, wanted = have.value(place), self.want.value(place)
        pairs = []
        for lever in self.levers:
            value = lookup(self.content(step), lever.path)
            if lever.path not in step and type(value) is int and value * wanted % size == 0:
                pairs.append({**step, lever.path: value * wanted // size})
        return [pair for pair in pairs if (reached := self._score(pair)) is not None and reached < score]

    def _values(self, content: Content, place: Place, size: Any, *, only_values: bool) -> Iterator[tuple[Path, Any]]:
        """Entries that move a place, and what they may have to be; those that move no size, if ``only_values``."""
        for lever in self.levers:
            if place in lever.slopes and not (only_values and lever.moves_sizes):
                given = lookup(content, lever.path)
                yield from (
                    (lever.path, v) for v in _proposals(given, lever.slopes[place], size, self.want.value(place))
                )

    def _minimal(self, changes: Changes) -> dict[str, Any]:
        """The content without entries that were only written down to be able to turn others."""
        content = self.content(changes)
        made = self.family.signature(content)
        for path in self.pins:
            without = with_entries(content, {path: None})
            if path not in self.given:
                lookup(without, path[:-1]).pop(path[-1])
            content = without if self.family.signature(without) == made else content
        return content


def _proposals(given: Any, slope: int, size: Any, wanted: Any) -> Iterator[Any]:
    """Values of an entry that may turn a size into the wanted one."""
    if not is_whole(size) or not is_whole(wanted):
        return
    if given is None:
        yield wanted
    elif type(given) is float:
        yield from (given * wanted / size, given * wanted / size * NUDGE)
    else:
        parts = ((given * wanted, size), (given * size, wanted))  # widths grow with it, those of heads shrink
        found = {above // below for above, below in parts if above % below == 0}
        if slope and (wanted - size) % slope == 0:  # a sum, of which the entry is a part
            found.add(given + (wanted - size) // slope)
        yield from (one for one in sorted(found) if one > 0)


def _key(changes: Changes) -> Any:
    return frozenset(changes.items())
