"""Agents on Stable-Baselines3's off-policy algorithms, played and trained one episode at a time."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.rl.episodic import Episodic
from agents.rl.learning import LearningAgent, Weights
from agents.rl.replay import EpisodeReplayBuffer
from agents.rl.warm_up import rule_vectors
from agents.settings import STEP_BYTES, Settings, need_memory


class OffPolicyAgent(LearningAgent):
    """Drives an :class:`Episodic` algorithm: one ``learn()`` per episode."""

    algorithm: ClassVar[type[Episodic]]
    settings_type: ClassVar[type[Settings]] = Settings
    losses = {name: f"train/{name}" for name in ("actor_loss", "critic_loss", "ent_coef")}  # noqa: RUF012
    settings: Settings
    _model: Episodic

    def _build(self, env: DummyVecEnv, steps: int) -> Episodic:
        s = self.settings
        if s.warmup == "rules":
            rule_vectors(self._env.start)  # there are some, or the user hears of it before the first episode
        need_memory("buffer_episodes", s.buffer_episodes, STEP_BYTES * s.buffer_episodes * steps)
        model = self.algorithm(
            "MlpPolicy",
            env,
            learning_rate=s.actor_learning_rate,
            buffer_size=s.buffer_episodes * steps,
            learning_starts=0,
            batch_size=s.batch_size,
            tau=s.tau,
            gamma=s.gamma,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            replay_buffer_class=EpisodeReplayBuffer,
            replay_buffer_kwargs={
                "rng": self._rng,
                "baseline_decay": s.baseline_decay,
                "scale_rewards": s.reward_scale == "std",
                "best_share": s.best_share,
                "network": lambda: int(self._env.start.get("place", 0)),
            },
            policy_kwargs={"net_arch": list(s.hidden), "optimizer_kwargs": {"fused": True}},
            device="cpu",
            **self._algorithm_settings(),
        )
        model.rng, model.stream, model.settings, model.walk = self._rng, self._stream, s, self._env
        return model

    def _algorithm_settings(self) -> dict[str, Any]:
        """Arguments that only this algorithm's constructor has."""
        return {}

    @property
    def _buffer(self) -> EpisodeReplayBuffer:
        assert isinstance(self._model.replay_buffer, EpisodeReplayBuffer)
        return self._model.replay_buffer

    def _scalars_after(self) -> dict[str, float]:
        return {"baseline": float(self._buffer.baseline or 0)}

    def _weights(self) -> tuple[Weights, Weights]:
        actor, critic = (self._model.policy.get_submodule(name).state_dict() for name in ("actor", "critic"))
        return actor, critic

    def _load_weights(self, actor: Weights, critic: Weights) -> None:
        for name, network in self._model.policy.named_children():  # the targets, too
            network.load_state_dict(actor if name.startswith("actor") else critic)

    def _actor_layers(self) -> list[str]:
        layers = self._model.policy.get_submodule("actor").named_modules()
        return [name for name, layer in layers if isinstance(layer, torch.nn.Linear) and name != "log_std"]
