"""What a search can be told beside network and data, checked before anything expensive starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import agents
from amc import importance as importances
from amc import recovery as recoveries
from amc.budget import COSTS
from amc.checks import refuse_unknown, require
from amc.errors import AmcError
from amc.evaluate import PRECISIONS
from amc.rewards import Reward, get_reward


@dataclass(frozen=True)
class Settings:
    """What is seldom changed.

    Attributes:
        cost: what the budget limits: ``macs``, ``params`` or ``latency_ms`` (measures a table first).
        min_keep: smallest keep ratio of any group.
        channel_round: kept counts are multiples of it.
        rule: how the budget is enforced. ``clip``: each action so that the groups to come can still meet it (AMC,
            Algorithm 1); ``project``: the finished walk is moved onto it by one common shift of the actions' logits.
        observation: ``amc`` (as in the paper) or ``portable`` (the same meaning on every network).
        prune_residual: ``False`` keeps residual streams whole.
        freeze: names or patterns of layers that stay whole, with what they read and write.
        calibration_images: training images for importance and recovery.
        images: validation images that each plan is scored on; ``None``: all.
        batch_size: images in one forward pass.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 on hardware that has it if accuracy stays the same.
        refine_top: so many of the best plans are judged again at the end, with sequential recovery and on all
            validation images; the best of them is the result. 0: the best by the search's own reward.
        agent: settings of the agent, such as ``warmup_episodes``.
        recovery: settings of the recovery, such as ``positions``.
    """

    cost: str = "macs"
    min_keep: float = 0.1
    channel_round: int = 1
    rule: Literal["clip", "project"] = "clip"
    observation: Literal["amc", "portable"] = "amc"
    prune_residual: bool = True
    freeze: Sequence[str] = ()
    calibration_images: int = 512
    images: int | None = 1000
    batch_size: int = 125
    precision: str = "auto"
    refine_top: int = 0
    agent: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("budget.cost", self.cost, COSTS)
        _one_of("budget.rule", self.rule, ("clip", "project"))
        _one_of("observation", self.observation, ("amc", "portable"))
        _one_of("evaluate.precision", self.precision, PRECISIONS)
        require("evaluate.calibration_images", self.calibration_images, int, 1)
        require("evaluate.batch_size", self.batch_size, int, 1)
        require("refine_top", self.refine_top, int, 0)
        require("prune_residual", self.prune_residual, bool)
        refuse_unknown("recovery", self.recovery, ("positions", "damping", "batch_size"))
        if self.images is not None:
            require("evaluate.images", self.images, int, 1)


def check_choices(reward: str | Reward, importance: str, recovery: str, agent: str, episodes: int, seed: int) -> Reward:
    """Refuses unknown names and impossible numbers, and resolves the reward.

    Raises:
        AmcError: names the setting and what can be given.
    """
    check_cutting(importance, recovery, seed)
    _one_of("agent", agent, agents.NAMES)
    require("episodes", episodes, int, 1)
    return get_reward(reward) if isinstance(reward, str) else reward


def check_cutting(importance: str, recovery: str, seed: int) -> None:
    """The part of :func:`check_choices` that every command which cuts networks shares."""
    _one_of("importance", importance, importances.NAMES)
    _one_of("recovery", recovery, recoveries.NAMES)
    require("seed", seed, int, 0)


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise AmcError(f"{name}={value}: unknown; give one of {', '.join(choices)}")
