"""Layer groups of a small network."""

from __future__ import annotations

import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.pruning.groups import trace

IMAGE = torch.zeros(1, 3, 8, 8)


def by_name(model: nn.Module, **kwargs: object) -> dict[str, LayerGroup]:
    return {g.name: g for g in trace(model, IMAGE, **kwargs)}  # type: ignore[arg-type]


def prunable(groups: dict[str, LayerGroup] | tuple[LayerGroup, ...]) -> list[str]:
    every = groups.values() if isinstance(groups, dict) else groups
    return [g.name for g in every if g.frozen is None]
