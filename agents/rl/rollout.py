"""A rollout buffer that is filled episode by episode."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

SAMPLED = ("observations", "actions", "values", "log_probs", "advantages", "returns")  # SB3's order
ARRAYS = (*SAMPLED, "rewards", "episode_starts")


class EpisodesRolloutBuffer(RolloutBuffer):
    """SB3's buffer with two differences; for one environment.

    * Whole episodes are appended, with their advantages and returns.
    * The order of minibatches is drawn from a given generator, not from numpy's global one.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        gae_lambda: float = 1,
        gamma: float = 1,
        n_envs: int = 1,
        *,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs)
        self._rng = rng

    def append(self, episode: RolloutBuffer) -> None:
        """Copies a full buffer's steps behind those that are there."""
        end = self.pos + episode.buffer_size
        for name in ARRAYS:
            getattr(self, name)[self.pos : end] = getattr(episode, name)
        self.pos, self.full = end, end == self.buffer_size

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Every step once, in minibatches: observations and actions ``[batch, …]``, all else ``[batch]``."""
        order = self._rng.permutation(self.buffer_size)
        for chosen in np.split(order, range(batch_size or len(order), len(order), batch_size or len(order))):
            arrays = (getattr(self, name)[chosen, 0] for name in SAMPLED)
            yield RolloutBufferSamples(*(self.to_torch(array) for array in arrays))

    def state(self) -> dict[str, Any]:
        """A copy of the filled part, between two episodes."""
        return {"arrays": {name: torch.from_numpy(getattr(self, name)[: self.pos].copy()) for name in ARRAYS}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` if the buffer that gave ``state`` can't have been of this size."""
        for name in ARRAYS:
            array, saved = getattr(self, name), state["arrays"][name].numpy()
            if len(saved) >= len(array) or saved.shape[1:] != array.shape[1:]:
                raise ValueError(f"agent state: a rollout of shape {saved.shape} for a buffer of shape {array.shape}")
            array[: len(saved)] = saved
        self.pos, self.full = len(saved), False
