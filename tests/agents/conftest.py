"""A toy environment whose best action at every step is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces


class ToyEnv(gym.Env):
    """Reward at the end: −Σ weight · (action − best)², which is 0 for the best actions and negative for all others.

    A group costs its keep ratio, 0.2 + 0.8 · action; the budget is 0.6 of it all, which the uniform action 0.5 meets:
    0.2 + 0.8 · 0.5 = 0.6. Nothing enforces it.
    """

    def __init__(
        self,
        best: Sequence[float] = (0.2, 0.8, 0.5),
        weights: Sequence[float] | None = None,
        rules: Sequence[str] = ("uniform", "shallow", "deep", "response", "price", "threshold", "size_aware"),
    ) -> None:
        self.best = np.array(best)
        n = len(best)
        self.weights = np.array(weights or [1.0] * n)
        rising = np.linspace(0.25, 0.75, n)
        known = {
            "uniform": np.full(n, 0.5),
            "shallow": rising,
            "deep": rising[::-1],
            "response": (2 * rising + 3 * 0.5) / 5,
            "price": (rising + 4 * 0.5) / 5,
            "threshold": (rising + 0.5) / 2,
            "size_aware": (rising[::-1] + 0.5) / 2,
        }
        self.rules = {name: tuple(known[name].tolist()) for name in rules}
        self.start = {
            "steps": n,
            "min_keep": 0.2,
            "uniform_action": 0.5,
            "rules": self.rules,
            "keep": 0.6,
            "cost_fraction": lambda actions: 0.2 + 0.8 * float(np.mean(actions)),
        }
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (n + 1,), np.float32)
        observation = {"layout": "toy", "version": 7, "features": [f"step {i}" for i in range(n + 1)]}
        action = {"meaning": "the action itself", "min_keep": 0.2}
        self.metadata = {
            **self.metadata,
            "policy": {"observation": observation, "action": action, "budget_cost": "mean action"},
        }

    def _observe(self) -> np.ndarray:
        return np.eye(len(self.best) + 1, dtype=np.float32)[len(self.taken)]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.taken: list[float] = []
        return self._observe(), dict(self.start)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        self.taken.append(float(action[0]))
        if len(self.taken) < len(self.best):
            return self._observe(), 0.0, False, False, {}
        reward = -float((self.weights * (np.array(self.taken) - self.best) ** 2).sum())
        return self._observe(), reward, True, False, {"actions": tuple(self.taken)}


@pytest.fixture
def make_env() -> Callable[..., ToyEnv]:
    return ToyEnv
