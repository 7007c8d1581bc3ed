"""Stages: neighbouring layer groups, few enough for one chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby

MOST = 8  # TensorBoard tells the curves of one run apart by their markers alone


def stages(names: Sequence[str], most: int = MOST) -> dict[str, list[str]]:
    """Stage → its groups, in walk order: the first part of the dotted name, divided further where that is too many.

    ``layer1.0.conv1`` is of ``layer1``; a network that is one long ``features`` becomes ``features.0 … features.5``
    and so on. Blocks stay whole where they can. Neighbours at the top that are single layers share a stage.

    Args:
        names: dotted names, each once.
        most: groups of one stage.
    """
    found: dict[str, list[str]] = {}
    for single, parts in groupby(_children(names, 0), key=lambda child: "." not in child[0]):
        if single:
            divided = _packed(list(parts), most, 0)
        else:
            divided = (piece for part in parts for piece in _divided(part, most, 0))
        for title, members in divided:
            found.setdefault(title, []).extend(members)
    return found


def _divided(names: list[str], most: int, depth: int) -> Iterator[tuple[str, list[str]]]:
    """``names``, which agree up to ``depth``, as one stage or as several."""
    if len(names) <= most:
        yield _prefix(names[0], depth), names
    else:
        yield from _packed(_children(names, depth + 1), most, depth + 1)


def _packed(children: list[list[str]], most: int, depth: int) -> Iterator[tuple[str, list[str]]]:
    """Neighbouring children together, as many as there is room for; one that is too large alone, divided."""
    pack: list[list[str]] = []
    for child in children:
        if pack and sum(map(len, pack)) + len(child) > most:
            yield _title(pack, depth), list(chain.from_iterable(pack))
            pack = []
        if len(child) > most:
            yield from _divided(child, most, depth)
        else:
            pack.append(child)
    if pack:
        yield _title(pack, depth), list(chain.from_iterable(pack))


def _children(names: Sequence[str], depth: int) -> list[list[str]]:
    return [list(members) for _, members in groupby(names, key=lambda name: _prefix(name, depth))]


def _prefix(name: str, depth: int) -> str:
    return ".".join(name.split(".")[: depth + 1])


def _title(pack: list[list[str]], depth: int) -> str:
    first, last = _prefix(pack[0][0], depth), _prefix(pack[-1][0], depth)
    return first if first == last else f"{first} … {last}"
