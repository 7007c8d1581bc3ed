"""A toy environment whose best action at every step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces


class ToyEnv(gym.Env):
    """Reward at the end: −Σ (action − best)², which is 0 for the best actions and negative for all others.

    Costs the mean action, of which 0.5 may be spent; no rule is the best one.
    """

    def __init__(self, best: Sequence[float] = (0.2, 0.8, 0.5)) -> None:
        self.best = np.array(best)
        n = len(best)
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (n + 1,), np.float32)
        observation = {"layout": "toy", "version": 7, "features": [f"step {i}" for i in range(n + 1)]}
        action = {"meaning": "the action itself", "min_keep": 0.2}
        self.metadata = {
            **self.metadata,
            "policy": {"observation": observation, "action": action, "budget_cost": "mean action"},
        }
        ramp = np.linspace(0.25, 0.75, n)
        self.rules = {"uniform": (0.5,) * n, "shallow": tuple(ramp.tolist()), "deep": tuple(ramp[::-1].tolist())}

    def _observe(self) -> np.ndarray:
        return np.eye(len(self.best) + 1, dtype=np.float32)[len(self.taken)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.taken: list[float] = []
        info = {
            "steps": len(self.best),
            "min_keep": 0.2,
            "uniform_action": 0.5,
            "rules": dict(self.rules),
            "keep": 0.5,
            "cost_fraction": lambda actions: float(np.mean(actions)),
        }
        return self._observe(), info

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
