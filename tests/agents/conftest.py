"""A toy environment whose best action at every step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces


class ToyEnv(gym.Env):
    """Reward at the end: −Σ (action − best)², which is 0 for the best actions and negative for all others."""

    def __init__(self, best: Sequence[float] = (0.2, 0.8, 0.5)) -> None:
        self.best = np.array(best)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (len(best) + 1,), np.float32)
        self.metadata = {**self.metadata, "policy": {"observation": {"layout": "toy", "version": 7}}}

    def _observe(self) -> np.ndarray:
        return np.eye(len(self.best) + 1, dtype=np.float32)[len(self.taken)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.taken: list[float] = []
        return self._observe(), {"steps": len(self.best), "uniform_action": 0.5, "min_keep": 0.2}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        self.taken.append(float(action[0]))
        if len(self.taken) < len(self.best):
            return self._observe(), 0.0, False, False, {}
        reward = -float(((np.array(self.taken) - self.best) ** 2).sum())
        return self._observe(), reward, True, False, {"actions": tuple(self.taken)}


@pytest.fixture
def make_env() -> Callable[..., ToyEnv]:
    return ToyEnv
