"""A hand-made network of three layers whose costs can be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup, Metrics, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel
from amc.pruning.layers import LayerShape
from amc.rewards import accuracy
from envs.channel_pruning import ChannelPruningEnv


def place(layer: str, axis: str, channels: int) -> ChannelSlice:
    return ChannelSlice(layer, axis, np.arange(channels), np.arange(channels))


def small_network() -> CostModel:
    """3 → a (3×3, 8 channels, 8×8) → b (1×1, 16 channels, 4×4) → fc (10).

    MACs: a 64 · 9 · 3 · 8 = 13,824; b 16 · 8 · 16 = 2,048; fc 16 · 10 = 160; together 16,032.
    """
    groups = (
        LayerGroup("a", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 13_824, 216,
                   (place("a", "out", 8), place("b", "in", 8))),
        LayerGroup("b", "conv1x1", 16, 4, False, 8, 4, 4, 2, 1, 2_048, 128,
                   (place("b", "out", 16), place("fc", "in", 16))),
        LayerGroup("fc", "linear", 10, 1, False, 16, 1, 1, 1, 1, 160, 160, (place("fc", "out", 10),),
                   frozen="network output"),
    )  # fmt: skip
    layers = (
        LayerShape("a", 8, 3, macs_per_pair=576, params_per_pair=9),
        LayerShape("b", 16, 8, macs_per_pair=16, params_per_pair=1),
        LayerShape("fc", 10, 16, macs_per_pair=1, params_per_pair=1),
    )
    return CostModel(groups, layers)


class CountingEvaluate:
    """Stands in for the evaluator: accuracy is the mean keep ratio."""

    def __init__(self) -> None:
        self.plans: list[PruningPlan] = []

    def __call__(self, plan: PruningPlan) -> Metrics:
        self.plans.append(plan)
        return Metrics(float(np.mean(list(plan.keep_ratios().values()))), 1.0, 100)


@pytest.fixture(scope="session")
def cost_model() -> CostModel:
    return small_network()


@pytest.fixture
def make_env() -> Callable[..., ChannelPruningEnv]:
    def make(observation: str = "amc", **budget: Any) -> ChannelPruningEnv:
        model = small_network()
        return ChannelPruningEnv(model, Budget(model, **budget), CountingEvaluate(), accuracy, observation)

    return make
