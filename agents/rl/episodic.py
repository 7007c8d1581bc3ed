"""Stable-Baselines3's off-policy algorithms in episodes, with random numbers of their own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import update_learning_rate

from agents.rl.actor_start import fit_to_best
from agents.rl.last_step import LastStep
from agents.rl.replay import EpisodeReplayBuffer
from agents.rl.warm_up import rule_action, rule_vectors
from agents.settings import Settings
from agents.streams import TorchStream, one_thread


class Episodic(OffPolicyAlgorithm):
    """Delta on an SB3 off-policy algorithm; put it before the algorithm among the base classes.

    * Warm-up counts episodes, not environment steps, and neither explores by the actor nor trains. It plays random
      actions or, with ``warmup=rules``, those of the environment's heuristics.
    * When warm-up is over, the actor can be fitted to the best of its episodes (``actor_start``).
    * Actor and critic have a learning rate each; a collected step is worth ``updates_per_step`` updates.
    * Nothing reads or moves the global random states: numpy's is replaced by ``rng``, torch's is put aside while
      networks are built, asked and trained. What the environment draws doesn't change what the agent draws.
    """

    rng: np.random.Generator
    settings: Settings
    stream: TorchStream
    walk: LastStep

    @property
    def warmup_episodes(self) -> int:
        """As set, or one per heuristic and network; all networks have equally many heuristics."""
        if self.settings.warmup_episodes is not None:
            return self.settings.warmup_episodes
        return len(self.walk.start["rules"]) * int(self.walk.start.get("networks", 1))

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        warm = self._episode_num < self.warmup_episodes
        action = self.warm_up() if warm else self.explore()
        # SB3 keeps actions in [-1, 1] in the replay buffer.
        return action, self.policy.scale_action(action)

    def warm_up(self) -> npt.NDArray[np.float32]:
        """The action to play before learning begins, ``[1, 1]``."""
        assert isinstance(self.action_space, gym.spaces.Box)
        if self.settings.warmup == "rules":
            assert isinstance(self.replay_buffer, EpisodeReplayBuffer)
            rules, turn = rule_vectors(self.walk.start), int(self.walk.start.get("turn", self._episode_num))
            action = rule_action(rules, turn, self.replay_buffer.held, self.settings.warmup_sigma, self.rng)
            return np.full((1, *self.action_space.shape), action, dtype=np.float32)
        size = (1, *self.action_space.shape)
        return self.rng.uniform(self.action_space.low, self.action_space.high, size).astype(np.float32)

    def explore(self) -> npt.NDArray[np.float32]:
        """The action to try on the last observation, ``[1, 1]``; here a sample of the policy's own distribution."""
        assert self._last_obs is not None
        with self.stream.running(), one_thread():
            return self.predict(self._last_obs, deterministic=False)[0]

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        if self._episode_num >= self.warmup_episodes:
            if self._episode_num == self.warmup_episodes and self._starts_at_best():
                self._start_at_best()
            with self.stream.running(), one_thread():
                super().train(gradient_steps * self.settings.updates_per_step, batch_size)

    def _starts_at_best(self) -> bool:
        wanted = self.settings.actor_start
        return wanted == "best" or (wanted == "auto" and bool(self.walk.start.get("static_observation", False)))

    def _start_at_best(self) -> None:
        """Fits the actor, and its target, to the best episodes of the warm-up."""
        assert isinstance(self.replay_buffer, EpisodeReplayBuffer)
        fit_to_best(self.policy, self.replay_buffer)
        for name, network in self.policy.named_children():
            if name.startswith("actor"):
                network.load_state_dict(self.policy.get_submodule("actor").state_dict())

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        # Called with actor, critic and, in SAC, the entropy coefficient, which is fitted like a critic.
        rates = (self.settings.actor_learning_rate, *[self.settings.critic_learning_rate] * 2)
        for optimizer, rate in zip(optimizers if isinstance(optimizers, list) else [optimizers], rates, strict=False):
            update_learning_rate(optimizer, rate)
