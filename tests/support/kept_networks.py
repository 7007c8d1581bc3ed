"""Small networks in folders, and what is needed to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.saved import save_pruned
from amc.pruning.surgery import Surgeon, rank_channels, select_channels

TINY = {"target": "amc.models.cifar_resnet.CifarResNet", "stem": "auto", "arguments": {"blocks": 1}}
SHAPE = (3, 8, 8)


def randomly_cut(model: nn.Module, groups: tuple[LayerGroup, ...], seed: int = 0) -> tuple[nn.Module, PruningPlan]:
    """Random widths and channels for every group that can be pruned."""
    rng = np.random.default_rng(seed)
    free = [g for g in groups if g.frozen is None]
    plan = PruningPlan.make(groups, {g.name: g.step * int(rng.integers(1, g.channels // g.step + 1)) for g in free})
    ranking = {g.name: rank_channels(g, rng.random(g.channels)) for g in free}
    return Surgeon(model, groups).cut(select_channels(dict(plan.kept), ranking)), plan


def save(folder: Path, model: nn.Module, plan: PruningPlan, **changes: Any) -> None:
    given: dict[str, Any] = {
        "description": TINY, "image_shape": SHAPE, "num_classes": 10,
        "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "facts": {"val_accuracy": 0.75},
    }  # fmt: skip
    save_pruned(folder, model, plan=plan, **{**given, **changes})


def outputs(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)))
