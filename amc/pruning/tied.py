"""Groups that keep equally much: what all blocks of a network have in common, as one group for each axis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from amc.core.types import LayerGroup
from amc.pruning.cost import CostTerms, Part, Rest
from amc.pruning.coupling.branches import SUFFIX

NUMBER = re.compile(r"(?<![^.:])\d+(?=[.:]|$)")  # of a block, in a path


def tied(groups: Sequence[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Groups of the same name but for a block's number, and of the same size, as one; a block's branches as one.

    The channels that are kept are each member's own, only their number is shared. A group stays whole if a member must.

    Args:
        groups: in forward order; each is a member of one of the result's, and they come in the order of the first.
    """
    members: dict[tuple[object, ...], list[LayerGroup]] = {}
    for group in groups:
        members.setdefault(_alike(group), []).append(group)
    names = [_shared_name(own[0]) for own in members.values()]
    return tuple(
        _one(own, name if names.count(name) == 1 else own[0].name)
        for own, name in zip(members.values(), names, strict=True)
    )


def tied_rest(rest: Rest, groups: Sequence[LayerGroup], ties: Sequence[LayerGroup]) -> Rest:
    """``rest``, a polynomial of the counts of ``groups``, as one of the counts of ``ties``."""
    number = {member.name: i for i, tie in enumerate(ties) for member in tie.members}
    column = np.array([number[group.name] for group in groups])
    sums = np.zeros((len(groups), len(ties)))
    sums[np.arange(len(groups)), column] = 1

    def of(part: Part) -> Part:
        terms, both = part.terms, sums.T @ part.terms.pairwise @ sums
        folded = np.triu(both) + np.tril(both, -1).T
        branches = tuple(dict.fromkeys(int(column[i]) for i in part.branches))
        return Part(CostTerms(terms.constant, sums.T @ terms.linear, folded), branches)

    return Rest(tuple(map(of, rest.params)), tuple(map(of, rest.macs)))


def _alike(group: LayerGroup) -> tuple[object, ...]:
    """Equal for groups that become one."""
    if group.branch is not None:
        return ("branch", _block(group.name))
    places: list[tuple[str, str, int]] = [(_general(s.layer), s.axis, len(s.positions)) for s in group.slices]
    places += [(_general(t.tensor), str(t.dim), len(t.positions)) for t in group.tensors]
    return (_general(group.name), group.kind, group.channels, group.step, tuple(sorted(places)))


def _general(path: str) -> str:
    return NUMBER.sub("*", path)


def _block(name: str) -> str:
    """The path up to its last number; the whole path without one."""
    found = list(NUMBER.finditer(name))
    return name[: found[-1].end()] if found else name.partition(":")[0]


def _shared_name(group: LayerGroup) -> str:
    return f"{_block(group.name)}{SUFFIX}" if group.branch is not None else _general(group.name)


def _one(members: Sequence[LayerGroup], name: str) -> LayerGroup:
    first = members[0]
    branches = [m.branch for m in members if m.branch is not None]
    modules = {path: form for branch in branches for path, form in branch.modules.items()}
    return replace(
        first,
        name=name,
        macs=sum(m.macs for m in members),
        params=sum(m.params for m in members),
        slices=tuple(s for m in members for s in m.slices),
        tensors=tuple(t for m in members for t in m.tensors),
        sizes=tuple(s for m in members for s in m.sizes),
        frozen=next((m.frozen for m in members if m.frozen is not None), None),
        branch=replace(branches[0], name=name, modules=modules) if branches else None,
        within=(),
        parts=tuple(members),
    )
