"""A replay buffer for episodes whose reward comes at the end (AMC §3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from agents.rl.running_std import RunningStd

ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "networks")
BEST = 0.1  # the episodes that count as the best: a tenth of the buffered ones of each network, at least one


class EpisodeReplayBuffer(ReplayBuffer):
    """SB3's buffer with four differences.

    * An episode is held back until it is done; then every one of its steps gets the episode's final reward.
    * Sampled rewards are relative to the baseline, a moving average of the episodes' rewards as it is *now*: all
      samples of a batch are measured by the same yardstick, however old they are. If asked for, they are divided by
      the standard deviation of all episodes' rewards so far, likewise as it is now.
    * If asked for, a share of each batch comes from the best tenth of the buffered episodes alone.
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
        scale_rewards: bool = False,
        best_share: float = 0.0,
        network: Callable[[], int] = lambda: 0,
    ) -> None:
        """An empty buffer.

        Args:
            buffer_size: in transitions.
            observation_space, action_space, device, n_envs, optimize_memory_usage: SB3's; one environment only.
            rng: draws the samples.
            baseline_decay: share of the old baseline that remains at each episode.
            scale_rewards: divide the sampled rewards by the standard deviation of the episodes' rewards.
            best_share: share of each batch from the best tenth of the episodes.
            network: gives the number of the network being played: rewards of different networks don't compare.
        """
        if n_envs != 1 or optimize_memory_usage:
            raise ValueError("EpisodeReplayBuffer: one environment, and no memory optimisation")
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.baseline: float | None = None
        self.spread = RunningStd()
        self.networks = np.zeros((buffer_size, 1), dtype=np.int64)
        self._network = network
        self._rng, self._decay, self._scaled, self._best_share = rng, baseline_decay, scale_rewards, best_share
        self._episode: list[tuple[Any, ...]] = []
        self._best: npt.NDArray[np.int64] | None = None  # best_transitions(), until the next episode

    @property
    def held(self) -> int:
        """Steps of the episode that is being played."""
        return len(self._episode)

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
        if not self._episode:
            self._place = self._network()  # at the end of an episode the environment has moved on to the next already
        self._episode.append((obs.copy(), next_obs.copy(), action.copy(), done.copy(), infos))
        if not done[0]:
            return
        for step_obs, step_next, step_action, step_done, step_infos in self._episode:
            self.networks[self.pos] = self._place
            super().add(step_obs, step_next, step_action, reward, step_done, step_infos)
        self._episode.clear()
        self._best = None
        final = float(reward[0])
        self.baseline = final if self.baseline is None else self._decay * self.baseline + (1 - self._decay) * final
        self.spread.add(final)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Transitions drawn with replacement, but for the best episodes' share uniformly: ``[batch_size, …]`` each."""
        i = self._rng.integers(self.size(), size=batch_size)
        favoured = round(self._best_share * batch_size)
        if favoured:
            if self._best is None:
                self._best = self.best_transitions()
            i[:favoured] = self._best[self._rng.integers(len(self._best), size=favoured)]
        relative = self.rewards[i] - np.float32(self.baseline or 0)
        if self._scaled:
            relative /= np.float32(self.spread.std or 1)
        arrays = (self.observations[i, 0], self.actions[i, 0], self.next_observations[i, 0], self.dones[i], relative)
        return ReplayBufferSamples(*(self.to_torch(array) for array in arrays))

    def best_transitions(self) -> npt.NDArray[np.int64]:
        """Positions of the transitions of each network's best tenth of episodes; of equal episodes the older."""
        oldest_first = (np.arange(self.size()) + (self.pos if self.full else 0)) % self.buffer_size
        ends = self.dones[oldest_first, 0] == 1
        episode = np.cumsum(ends) - ends  # of each transition
        rewards, networks = self.rewards[oldest_first[ends], 0], self.networks[oldest_first[ends], 0]  # of each episode
        best: list[int] = []
        for network in np.unique(networks):
            own = np.flatnonzero(networks == network)
            best += own[np.argsort(-rewards[own], kind="stable")[: math.ceil(BEST * len(own))]].tolist()
        return oldest_first[np.isin(episode, best)]

    def state(self) -> dict[str, Any]:
        """A copy of the filled part, between two episodes."""
        arrays = {name: torch.from_numpy(getattr(self, name)[: self.size()].copy()) for name in ARRAYS}
        return {
            "arrays": arrays,
            "position": self.pos,
            "full": self.full,
            "baseline": self.baseline,
            "spread": self.spread.state(),
        }

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
        baseline = state["baseline"]
        self.pos, self.full = int(state["position"]) % self.buffer_size, bool(state["full"])
        self.baseline = None if baseline is None else float(baseline)
        self.spread.load_state(state["spread"])
        self._episode.clear()
        self._best = None
