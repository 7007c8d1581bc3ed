"""Exploration around a deterministic actor, for DDPG and TD3 (AMC §3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from agents.rl.episodic import Episodic
from agents.rl.exploration import truncated_normal
from agents.rl.off_policy import OffPolicyAgent
from agents.settings import Settings, require


@dataclass(frozen=True)
class ExplorationSettings(Settings):
    """Settings of an agent that explores around a deterministic actor.

    Attributes:
        sigma: standard deviation on the action's [0, 1] in the first episode after warm-up.
        sigma_decay: its factor per episode from then on.
    """

    sigma: float = 0.5
    sigma_decay: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        require("sigma", self.sigma, self.sigma >= 0, "of 0 or more")
        require("sigma_decay", self.sigma_decay, 0 <= self.sigma_decay <= 1, "in [0, 1]")


class TruncatedNormalExploration(Episodic):
    """Delta on :class:`Episodic`: explores by a truncated normal around the actor's action.

    SB3's noise objects never see the actor's action, so they can't truncate around it; and they work in [−1, 1].
    """

    settings: ExplorationSettings

    @property
    def sigma(self) -> float | None:
        """Standard deviation in the episode to come, in the action's [0, 1]; ``None`` during warm-up."""
        explored = self._episode_num - self.warmup_episodes
        return None if explored < 0 else self.settings.sigma * self.settings.sigma_decay**explored

    def explore(self) -> npt.NDArray[np.float32]:
        assert isinstance(self.action_space, gym.spaces.Box)
        assert self.sigma is not None
        low, span = self.action_space.low, self.action_space.high - self.action_space.low
        mean = (super().explore().astype(np.float64) - low) / span
        action: npt.NDArray[np.float32] = low + span * truncated_normal(mean, self.sigma, self.rng).astype(np.float32)
        return action


class ExploringAgent(OffPolicyAgent):
    """An agent that explores around a deterministic actor; reports its ``sigma``."""

    settings_type = ExplorationSettings

    def _scalars_before(self) -> dict[str, float]:
        assert isinstance(self._model, TruncatedNormalExploration)
        return {} if self._model.sigma is None else {"sigma": self._model.sigma}
