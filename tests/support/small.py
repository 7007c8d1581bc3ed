"""Small networks with images, and policies whose actions are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import agents
from agents.policy.policy import Policy
from amc.analysis.measured import measure_groups
from amc.core.types import Metrics
from amc.pruning.budget import Budget
from amc.rewards import accuracy
from amc.task.method import Method
from amc.task.problem import Problem, assemble
from amc.task.settings import Settings
from amc.task.task import Task, as_images
from amc.tracking.run import Run
from envs.channel_pruning import ChannelPruningEnv
from envs.observations import FEATURES, LAYOUT_VERSION
from tests.support.chains import chain as chain_costs
from tests.support.nets import Classifier, enliven, norm_conv

QUICK = Settings(images=32, calibration_images=32, observation="portable", precision="fp32")


def images(count: int, seed: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Noise of 4 classes, each with a mean of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    means = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(9))
    return DataLoader(TensorDataset(means[labels] + torch.randn(count, 3, 8, 8, generator=generator), labels), 16)


def noise_problem(
    model: nn.Module,
    settings: Settings = QUICK,
    *,
    budget: float | None = 0.5,
    recovery: str = "none",
    images_each: tuple[int, int] = (32, 32),
) -> Problem:
    """``model`` with noise, and with what ``settings`` want measured."""
    train, val = (as_images(images(count, seed)) for seed, count in enumerate(images_each, 1))
    whole = assemble(Task("noise", model, train, val), Method(recovery=recovery), settings, budget)
    measure_groups(whole, Run(verbose=False))
    return whole


def equal_layers(layers: int, width: int = 8) -> nn.Module:
    """``layers`` 3×3 convolutions of equal width, with random weights and lively batch norms."""
    torch.manual_seed(layers)
    convs = [norm_conv(3 if i == 0 else width, width) for i in range(layers)]
    return enliven(Classifier(nn.Sequential(*convs), width), torch.randn(16, 3, 8, 8))


def known_policy(
    slope: float = 0.0, start: float = 0.0, min_keep: float = 0.1, layout: str = "portable", **changed: Any
) -> Policy:
    """Its action is ``(tanh(start + slope · place) + 1) / 2``, with the place in the walk in (0, 1)."""
    first = torch.zeros(1, len(FEATURES))
    first[0, 0] = 1.0
    facts: dict[str, Any] = {
        "agent": "ddpg", "agent_class": "DDPGAgent", "episodes": 3, "hidden": (1,), "actor_layers": ("mu.0", "mu.2"),
        "layout": layout, "layout_version": LAYOUT_VERSION, "features": FEATURES, "action": {"min_keep": min_keep},
        "budget": {}, "trained_on": {"models": ["known"]},
        "weights": {
            "actor.mu.0.weight": first, "actor.mu.0.bias": torch.zeros(1),
            "actor.mu.2.weight": torch.tensor([[slope]]), "actor.mu.2.bias": torch.tensor([start]),
        },
    }  # fmt: skip
    return Policy(**{**facts, **changed})


def saved_policy(folder: Path, agent: str = "ddpg", **env: Any) -> Path:
    """``folder``, with an untrained policy of an agent with two hidden layers of 4 units."""
    costs = chain_costs([4, 4])
    walk = ChannelPruningEnv(
        costs, Budget(costs), lambda plan: Metrics(0.5, 1.0, 1), accuracy, **{"observation": "portable", **env}
    )
    agents.make(agent, walk, 0, hidden=[4, 4]).save_policy(folder)
    return folder
