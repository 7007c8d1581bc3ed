"""Stable-Baselines3's off-policy algorithms in episodes, with random numbers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import update_learning_rate

from agents.settings import Settings


class Episodic(OffPolicyAlgorithm):
    """Delta on an SB3 off-policy algorithm; put it before the algorithm among the base classes.

    * Warm-up counts episodes, not environment steps, and neither explores by the actor nor trains.
    * Actor and critic have a learning rate each.
    * Nothing reads or moves the global random states: numpy's is replaced by ``rng``, torch's is put aside while
      networks are built, asked and trained. What the environment draws doesn't change what the agent draws.
    """

    rng: np.random.Generator
    settings: Settings
    torch_rng: torch.Tensor

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        assert isinstance(self.action_space, gym.spaces.Box)
        if self._episode_num < self.settings.warmup_episodes:
            size = (n_envs, *self.action_space.shape)
            action = self.rng.uniform(self.action_space.low, self.action_space.high, size).astype(np.float32)
        else:
            action = self.explore()
        # SB3 keeps actions in [-1, 1] in the replay buffer.
        return action, self.policy.scale_action(action)

    def explore(self) -> npt.NDArray[np.float32]:
        """The action to try on the last observation, ``[1, 1]``; here a sample of the policy's own distribution."""
        assert self._last_obs is not None
        with self.own_torch_rng(), one_thread():
            return self.predict(self._last_obs, deterministic=False)[0]

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        if self._episode_num >= self.settings.warmup_episodes:
            with self.own_torch_rng(), one_thread():
                super().train(gradient_steps, batch_size)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        # Called with actor, critic and, in SAC, the entropy coefficient, which is fitted like a critic.
        rates = (self.settings.actor_learning_rate, *[self.settings.critic_learning_rate] * 2)
        for optimizer, rate in zip(optimizers if isinstance(optimizers, list) else [optimizers], rates, strict=False):
            update_learning_rate(optimizer, rate)

    @contextmanager
    def own_torch_rng(self) -> Iterator[None]:
        """Torch's global generator continues this agent's stream in the block, and the world's after it."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.torch_rng)
            yield
            self.torch_rng = torch.get_rng_state()


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small lose time by threads, and with one their sums come out the same whatever is configured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
