"""Base of all Stable-Baselines3 agents, on-policy or off: one ``learn()`` per episode."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.base import Agent, Env, EpisodeOutcome
from agents.policy.files import write_policy
from agents.policy.policy import Policy
from agents.rl.actor_start import start_at
from agents.rl.last_step import LastStep
from agents.settings import NetworkSettings, as_settings
from agents.streams import TorchStream, one_thread

Weights = dict[str, torch.Tensor]


class LearningAgent(Agent):
    """An SB3 algorithm that plays and learns episode by episode, with random numbers of its own."""

    settings_type: ClassVar[type[NetworkSettings]]
    losses: ClassVar[Mapping[str, str]]
    """Scalars logged after an update: name here → name in SB3's log."""

    def __init__(self, env: Env, seed: int, **settings: Any) -> None:
        """An untrained agent.

        Args:
            env: its reset info must hold ``steps``, the length of an episode (and ``longest``, if episodes differ in
                it); ``uniform_action`` and ``rules`` for the settings that begin with them.
            seed: of weights, exploration and updates.
            settings: fields of ``settings_type``.

        Raises:
            ValueError: a setting has a value that makes no sense, or the environment lacks what it needs.
        """
        self.settings = self.settings_type(**as_settings(settings))
        self._env = LastStep(env)
        self._env.reset(seed=seed)
        self._rng, self._stream = np.random.default_rng(seed), TorchStream(seed)
        with self._stream.running():
            # The vectorised environment is made here, as SB3 would put a Monitor in between.
            longest = int(self._env.start.get("longest", self._env.start["steps"]))
            self._model = self._build(DummyVecEnv([lambda: self._env]), longest)
        self._model.set_logger(Logger(folder=None, output_formats=[]))
        if self.settings.actor_start != "default":
            self._start_uniform()

    @abstractmethod
    def _build(self, env: DummyVecEnv, steps: int) -> BaseAlgorithm:
        """The untrained algorithm, on the CPU, where networks this small are faster; episodes have ``steps``."""

    @abstractmethod
    def _weights(self) -> tuple[Weights, Weights]:
        """The actor's weights and the critic's."""

    @abstractmethod
    def _load_weights(self, actor: Weights, critic: Weights) -> None:
        """Takes weights like those of :meth:`_weights`, for the targets as well."""

    @abstractmethod
    def _actor_layers(self) -> list[str]:
        """The names of the linear layers from observation to action, in the actor's weights."""

    def _scalars_before(self) -> dict[str, float]:
        """Scalars known before the episode is played."""
        return {}

    def _scalars_after(self) -> dict[str, float]:
        """Scalars known after playing and learning."""
        return {}

    @property
    def episodes(self) -> int:
        """Number of episodes played."""
        return self._model._episode_num

    def run_episode(self) -> EpisodeOutcome:
        logged = self._model.logger.name_to_value
        logged.clear()
        scalars = self._scalars_before()
        self._model.learn(total_timesteps=1, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        scalars |= self._scalars_after()
        scalars |= {name: float(logged[key]) for name, key in self.losses.items() if key in logged}
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
            "rng": self._rng.bit_generator.state,
            "torch_rng": self._stream.state.clone(),
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
        self._rng.bit_generator.state = state["rng"]
        self._stream.state = state["torch_rng"].clone()
        model.num_timesteps, model._episode_num = int(state["steps"]), int(state["episodes"])
        model._n_updates = int(state["updates"])
        model._last_obs = None  # learn() then begins with a reset

    @property
    @abstractmethod
    def _buffer(self) -> Any:
        """The algorithm's buffer; it has ``state()`` and ``load_state()``."""

    def _loose_tensors(self) -> list[str]:
        """Attributes that SB3 would save beside the networks (SAC's entropy coefficient)."""
        return self._model._get_torch_save_params()[1]

    def _start_uniform(self) -> None:
        if "uniform_action" not in self._env.start:
            raise ValueError(
                f"agent.actor_start={self.settings.actor_start}: the environment's reset info has no 'uniform_action'"
            )
        actor, critic = self._weights()
        start_at(actor, self._actor_layers()[-1], float(self._env.start["uniform_action"]))
        self._load_weights(actor, critic)

    def save_policy(self, folder: str | Path) -> None:
        actor, critic = self._weights()
        weights = {f"actor.{name}": value for name, value in actor.items()}
        weights |= {f"critic.{name}": value for name, value in critic.items()}
        network = {
            "hidden": list(self.settings.hidden),
            "activation": "relu",
            "output": "tanh, then [-1, 1] to [0, 1]",
            "actor_layers": self._actor_layers(),
            "shapes": {name: list(value.shape) for name, value in weights.items()},
        }
        details = {"agent_class": type(self).__name__, "episodes": self.episodes, "network": network}
        write_policy(folder, self.name, self._env, details, weights)

    def load_policy(self, policy: Policy) -> None:
        """Starts from a policy's actor and critic (targets too) instead of random weights.

        Nothing else moves: random numbers, warm-up, buffer and optimisers are those of a new agent.

        Raises:
            ValueError: this agent has played already, or the policy is another agent class's, of another observation,
                or its networks have other sizes.
        """
        if self.episodes:
            raise ValueError(
                f"load_policy: this agent has played {self.episodes} episodes; give the policy to a new one"
            )
        if policy.agent_class != type(self).__name__:
            raise ValueError(
                f"load_policy: a policy of {policy.agent_class} for {type(self).__name__}; take that agent"
            )
        policy.require_observation(self._env.metadata.get("policy", {}).get("observation", {}))
        for own, prefix in zip(self._weights(), ("actor", "critic"), strict=True):
            if _shapes(policy.part(prefix)) != _shapes(own):
                raise ValueError(
                    f"load_policy: the policy's {prefix} has other sizes than this agent's; "
                    f"set agent.hidden={list(policy.hidden)}"
                )
        self._load_weights(policy.part("actor"), policy.part("critic"))


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _copy(value: Any) -> Any:
    """Nested dicts and lists with every tensor cloned, as training continues in place."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
