"""Access to an environment's last step, beyond what Stable-Baselines3 passes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym


class LastStep(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps each reset's info and the last step's info and reward.

    Every info is hidden from SB3, which would deep-copy them all.
    """

    start: Mapping[str, Any]
    info: Mapping[str, Any]
    reward: float

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, self.start = self.env.reset(seed=seed, options=options)
        return observation, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if truncated and not terminated:
            raise ValueError("the environment truncated an episode; the critic would bootstrap past its end")
        self.info, self.reward = info, float(reward)
        return observation, reward, terminated, truncated, {}
