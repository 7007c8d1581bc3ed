"""Agents on Stable-Baselines3's off-policy algorithms, played and trained one episode at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.base import Agent, Env, EpisodeOutcome
from agents.episodic import Episodic, one_thread
from agents.policy_files import write_policy
from agents.replay import EpisodeReplayBuffer
from agents.settings import Settings

LOSSES = ("actor_loss", "critic_loss", "ent_coef")


class LastStep(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the last step's info and reward, and hides every info from SB3, which would deep-copy them all."""

    info: Mapping[str, Any]
    reward: float

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if truncated and not terminated:
            raise ValueError("the environment truncated an episode; the critic would bootstrap past its end")
        self.info, self.reward = info, float(reward)
        return observation, reward, terminated, truncated, {}


class OffPolicyAgent(Agent):
    """Drives an :class:`Episodic` algorithm: one ``learn()`` per episode, with one update per collected step."""

    algorithm: ClassVar[type[Episodic]]
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, env: Env, seed: int, **settings: Any) -> None:
        """An untrained agent.

        Args:
            env: its reset info must hold ``steps``, the length of an episode.
            seed: of weights, exploration and replay.
            settings: fields of ``settings_type``.

        Raises:
            ValueError: a setting has a value that makes no sense.
        """
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        self.settings = self.settings_type(**given)
        self._env = LastStep(env)
        steps = int(env.reset(seed=seed)[1]["steps"])
        self._model = self._build(steps, seed)

    def _build(self, steps: int, seed: int) -> Episodic:
        s, rng = self.settings, np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
            model = self.algorithm(
                "MlpPolicy",
                DummyVecEnv([lambda: self._env]),  # made here, as SB3 would put a Monitor in between
                learning_rate=s.actor_learning_rate,
                buffer_size=s.buffer_episodes * steps,
                learning_starts=0,
                batch_size=s.batch_size,
                tau=s.tau,
                gamma=s.gamma,
                train_freq=(1, "episode"),
                gradient_steps=-1,
                replay_buffer_class=EpisodeReplayBuffer,
                replay_buffer_kwargs={"rng": rng, "baseline_decay": s.baseline_decay},
                policy_kwargs={"net_arch": list(s.hidden), "optimizer_kwargs": {"fused": True}},
                device="cpu",  # networks this small are faster there
                **self._algorithm_settings(),
            )
            model.torch_rng = torch.get_rng_state()
        model.rng, model.settings = rng, s
        model.set_logger(Logger(folder=None, output_formats=[]))
        return model

    def _algorithm_settings(self) -> dict[str, Any]:
        """Arguments that only this algorithm's constructor has."""
        return {}

    def _own_scalars(self) -> dict[str, float]:
        """What only this algorithm reports, for the episode about to be played."""
        return {}

    @property
    def _buffer(self) -> EpisodeReplayBuffer:
        assert isinstance(self._model.replay_buffer, EpisodeReplayBuffer)
        return self._model.replay_buffer

    @property
    def episodes(self) -> int:
        """How many episodes were played."""
        return self._model._episode_num

    def run_episode(self) -> EpisodeOutcome:
        logged = self._model.logger.name_to_value
        logged.clear()
        scalars = self._own_scalars()
        self._model.learn(total_timesteps=1, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        scalars["baseline"] = float(self._buffer.baseline or 0)
        scalars |= {name: float(logged[f"train/{name}"]) for name in LOSSES if f"train/{name}" in logged}
        return EpisodeOutcome(self._env.info, self._env.reward, scalars)

    def state(self) -> dict[str, Any]:
        model = self._model
        with one_thread():
            networks = _copy(model.get_parameters())
        return {
            "agent": self.name,
            "networks": networks,
            "tensors": {name: getattr(model, name).detach().clone() for name in self._loose_tensors()},
            "buffer": self._buffer.state(),
            "rng": model.rng.bit_generator.state,
            "torch_rng": model.torch_rng.clone(),
            "steps": model.num_timesteps,
            "episodes": model._episode_num,
            "updates": model._n_updates,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        model = self._model
        self._buffer.load_state(state["buffer"])
        model.set_parameters(_copy(state["networks"]), exact_match=True, device="cpu")
        for name in self._loose_tensors():
            getattr(model, name).data.copy_(state["tensors"][name])
        model.rng.bit_generator.state = state["rng"]
        model.torch_rng = state["torch_rng"].clone()
        model.num_timesteps, model._episode_num = state["steps"], state["episodes"]
        model._n_updates = state["updates"]
        model._last_obs = None  # learn() then begins with a reset

    def _loose_tensors(self) -> list[str]:
        """Attributes that SB3 would save beside the networks (SAC's entropy coefficient)."""
        return self._model._get_torch_save_params()[1]

    def save_policy(self, folder: str | Path) -> None:
        space = self._model.action_space
        assert isinstance(space, gym.spaces.Box)
        shapes = {name: list(tensor.shape) for name, tensor in self._model.actor.state_dict().items()}
        network = {
            "hidden": list(self.settings.hidden),
            "activation": "relu",
            "shapes": shapes,
            "output": f"tanh, then [-1, 1] to [{space.low.item():g}, {space.high.item():g}]",
        }
        details = {"network": network, "episodes": self.episodes}
        write_policy(folder, self.name, self._env, details, self._model.actor.state_dict())


def _copy(value: Any) -> Any:
    """Nested dicts and lists with every tensor cloned: training goes on in place."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
