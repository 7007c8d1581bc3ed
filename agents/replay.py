"""A replay buffer for episodes whose reward comes at the end (AMC §3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones")


class EpisodeReplayBuffer(ReplayBuffer):
    """SB3's buffer with three differences.

    * An episode is held back until it is done; then every one of its steps gets the episode's final reward.
    * Sampled rewards are relative to the baseline, a moving average of the episodes' rewards as it is *now*: all
      samples of a batch are measured by the same yardstick, however old they are.
    * Indices are drawn from a given generator, not from numpy's global one.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        rng: np.random.Generator,
        baseline_decay: float,
    ) -> None:
        """``baseline_decay``: share of the old baseline that remains at each episode."""
        if n_envs != 1 or optimize_memory_usage:
            raise ValueError("EpisodeReplayBuffer: one environment, and no memory optimisation")
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.baseline: float | None = None
        self._rng, self._decay = rng, baseline_decay
        self._episode: list[tuple[Any, ...]] = []

    def add(
        self,
        obs: np.ndarray[Any, Any],
        next_obs: np.ndarray[Any, Any],
        action: np.ndarray[Any, Any],
        reward: np.ndarray[Any, Any],
        done: np.ndarray[Any, Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Holds a step back; at the end of the episode writes all its steps. Each array is ``[1, …]``."""
        self._episode.append((obs.copy(), next_obs.copy(), action.copy(), done.copy(), infos))
        if not done[0]:
            return
        for step_obs, step_next, step_action, step_done, step_infos in self._episode:
            super().add(step_obs, step_next, step_action, reward, step_done, step_infos)
        self._episode.clear()
        final = float(reward[0])
        self.baseline = final if self.baseline is None else self._decay * self.baseline + (1 - self._decay) * final

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Transitions drawn uniformly with replacement: each tensor ``[batch_size, features]``."""
        i = self._rng.integers(self.size(), size=batch_size)
        relative = self.rewards[i] - np.float32(self.baseline or 0)
        arrays = (self.observations[i, 0], self.actions[i, 0], self.next_observations[i, 0], self.dones[i], relative)
        return ReplayBufferSamples(*(self.to_torch(array) for array in arrays))

    def state(self) -> dict[str, Any]:
        """A copy of the filled part, between two episodes."""
        arrays = {name: torch.from_numpy(getattr(self, name)[: self.size()].copy()) for name in ARRAYS}
        return {"arrays": arrays, "position": self.pos, "full": self.full, "baseline": self.baseline}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` if the buffer that gave ``state`` was of another size."""
        for name in ARRAYS:
            array, saved = getattr(self, name), state["arrays"][name].numpy()
            if (
                len(saved) > len(array)
                or saved.shape[1:] != array.shape[1:]
                or state["full"] != (len(saved) == len(array))
            ):
                raise ValueError(f"agent state: a replay buffer of shape {saved.shape} for one of shape {array.shape}")
            array[: len(saved)] = saved
        self.pos, self.full, self.baseline = state["position"], state["full"], state["baseline"]
        self._episode.clear()
