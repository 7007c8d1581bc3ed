"""Residual branches as groups: kept or dropped as a whole, beside the groups of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from amc.core.places import Branch
from amc.core.types import LayerGroup
from amc.pruning.layers import is_inside

KIND = "branch"


def with_branches(
    model: nn.Module, groups: Sequence[LayerGroup], residual: Sequence[Branch], macs: Mapping[str, float]
) -> list[LayerGroup]:
    """``groups`` with one for each branch, before the first that lies within it.

    Args:
        model: dense.
        groups: of channels.
        residual: the branches, in the order in which they are added.
        macs: of each layer.
    """
    around = [[b.name for b in residual if _holds(b, group)] for group in groups]
    result = [replace(group, within=tuple(names)) for group, names in zip(groups, around, strict=True)]
    for branch in residual:
        inside = [group for group, names in zip(groups, around, strict=True) if branch.name in names]
        places = [i for i, group in enumerate(result) if branch.name in group.within]
        result.insert(places[0] if places else len(result), _group(model, branch, inside or groups[:1], macs))
    return result


def modules_in(model: nn.Module, branch: Branch) -> list[str]:
    """Paths of all modules that are skipped without it."""
    return [name for name, _ in model.named_modules() if is_inside(name, branch.modules)]


def _holds(branch: Branch, group: LayerGroup) -> bool:
    """Whether all places of a group's channels lie in the branch."""
    places = [*(s.layer for s in group.slices), *(t.tensor for t in group.tensors)]
    return bool(places) and all(is_inside(place, branch.modules) for place in places)


def _group(model: nn.Module, branch: Branch, inside: Sequence[LayerGroup], macs: Mapping[str, float]) -> LayerGroup:
    first, names = inside[0], modules_in(model, branch)
    parameters = {p for path in branch.modules for p in model.get_submodule(path).parameters()}
    return LayerGroup(
        name=branch.name,
        kind=KIND,
        channels=1,
        step=1,
        residual=False,
        in_channels=first.in_channels,
        height=first.height,
        width=first.width,
        stride=1,
        kernel=1,
        macs=round(sum(macs.get(name, 0.0) for name in names)),
        params=sum(p.numel() for p in parameters),
        branch=branch,
    )
