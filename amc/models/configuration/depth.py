"""Fewer blocks: the entry that counts them, lists with an entry for each, and the numbers of those that stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import nn

from amc.core.errors import AmcError
from amc.models.configuration.family import APART, Content, Family, Path, entries, levels, lookup, with_entries
from amc.models.configuration.signature import Signature, unlike_names

NUMBERING = ("layer", "block", "idx", "index", "indices")  # in names of lists of blocks' numbers


@dataclass(frozen=True)
class Blocks:
    """Blocks of one list that are left out.

    Attributes:
        container: path of the list.
        count: how many blocks it had.
        dropped: the numbers of those that do nothing any more.
    """

    container: str
    count: int
    dropped: frozenset[int]

    @property
    def numbers(self) -> Mapping[int, int]:
        """Number in the dense network → number among those that stay."""
        return {old: new for new, old in enumerate(i for i in range(self.count) if i not in self.dropped)}


def blocks_of(model: nn.Module, dropped: Collection[str]) -> tuple[Blocks, ...]:
    """The lists that ``dropped`` names blocks of.

    Raises:
        AmcError: a path is none of a block in a list.
    """
    by_list: dict[str, set[int]] = {}
    counts: dict[str, int] = {}
    modules = dict(model.named_modules())
    for path in dropped:
        container, _, number = path.rpartition(".")
        blocks = modules.get(container)
        if blocks is None or not number.isdigit() or number not in blocks._modules:
            raise AmcError(f"{path}: no block of a list of blocks; only such blocks can be left out of a configuration")
        by_list.setdefault(container, set()).add(int(number))
        counts[container] = len(blocks._modules)  # children() would pass over a module that stands for several
    return tuple(Blocks(name, counts[name], frozenset(numbers)) for name, numbers in by_list.items())


def renamed(name: str, blocks: Sequence[Blocks]) -> str | None:
    """What a tensor or module is called once blocks are gone; ``None`` if it goes with one."""
    by_list = {one.container: one.numbers for one in blocks}
    parts = name.split(".")
    new = list(parts)
    for i, part in enumerate(parts):
        numbers = by_list.get(".".join(parts[:i]))
        if numbers is not None and part.isdigit():
            if int(part) not in numbers:
                return None
            new[i] = str(numbers[int(part)])
    return ".".join(new)


def without(signature: Signature, blocks: Sequence[Blocks]) -> Signature:
    """The signature with the remaining blocks numbered in order."""
    sizes = {renamed(name, blocks): size for name, size in signature.sizes.items()}
    traits = {(renamed(path, blocks), own): value for (path, own), value in signature.traits.items()}
    return Signature(
        {name: size for name, size in sizes.items() if name is not None},
        {(path, own): value for (path, own), value in traits.items() if path is not None},
    )


def shallower(family: Family, content: Content, blocks: Sequence[Blocks]) -> list[dict[str, Any]]:
    """Contents that describe the network without the blocks; several where a list may mean blocks or something else.

    Raises:
        AmcError: no entry makes a list of blocks shorter.
    """
    found = [dict(content)]
    for one in blocks:
        reasons: list[str] = []
        found = [made for start in found for made in _with_fewer(family, start, one, reasons)]
        if not found:
            which = ", ".join(map(str, sorted(one.dropped)))
            reason = min(reasons, key=len, default=f"no entry of {family.config_class.__name__} counts them")
            raise AmcError(
                f"{family.model_class.__name__}: block {which} of the {one.count} in {one.container} can't be left out "
                f"({reason}); keep it"
            )
    return found


def _with_fewer(family: Family, content: Content, blocks: Blocks, reasons: list[str]) -> list[dict[str, Any]]:
    """Contents that leave the blocks out, the likeliest first; adds to ``reasons`` why others don't."""
    before = family.signature(content)
    if before is None:
        return []
    want, left = without(before, [blocks]), blocks.count - len(blocks.dropped)
    for path, value in entries(content):
        if value != blocks.count or type(value) is not int:
            continue
        made = []
        for lists in _lists(content, path, blocks):
            changed = with_entries(content, {**lists, path: left})
            signature = family.signature(changed)
            if signature is None:
                continue
            odd = unlike_names(signature, want)
            if not odd:
                made.append(changed)
            elif not any(name.startswith(f"{blocks.container}.{left}.") for name in signature.sizes):
                reasons.append(f"of {left}, {odd[0]} is {'left over' if odd[0] in want.sizes else 'lacking'}")
        if made:
            return made
    return []


def _lists(content: Content, counter: Path, blocks: Blocks) -> Iterator[dict[Path, Any]]:
    """Lists beside the entry that counts blocks, as they may have to be.

    They may have an entry for each block, or hold the numbers of some blocks, or be about something else.
    """
    level = max((one for one in levels(content) if counter[: len(one)] == one), key=len)
    each: dict[Path, Any] = {}
    some: dict[Path, Any] = {}
    for key, value in lookup(content, level).items():
        path = (*level, key)
        if not isinstance(value, list) or key in APART or counter[:-1] == path:
            continue
        if len(value) == blocks.count:
            each[path] = [entry for i, entry in enumerate(value) if i not in blocks.dropped]
        elif any(word in key for word in NUMBERING) and all(v in range(blocks.count) for v in value):
            some[path] = [blocks.numbers[v] for v in value if v in blocks.numbers]
    alone = [{path: value} for path, value in each.items()] if len(each) > 1 else []
    for numbers, lists in product([some, {}] if some else [{}], [each, {}, *alone] if each else [{}]):
        yield {**numbers, **lists}
