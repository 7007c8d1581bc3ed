"""Agent interface: plays episodes, can be stopped between two of them, and resumes exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

Env = gym.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class EpisodeOutcome:
    """One finished episode.

    Attributes:
        info: the environment's info of the last step.
        reward: the last step's reward; steps before it give none.
        scalars: values that the agent logs, such as ``sigma``, ``actor_loss``, ``critic_loss``, ``baseline``.
    """

    info: Mapping[str, Any]
    reward: float
    scalars: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Agent(ABC):
    """Plays one environment whose actions are one number in [0, 1] and whose reward comes with the last step.

    Episodes must not depend on the episodes before them; then an agent that was saved and restored between two
    episodes plays on as if it had never stopped.
    """

    name: ClassVar[str]
    free_budget: ClassVar[bool] = False
    """Whether the agent meets the budget by itself: its environment then enforces nothing."""

    @property
    def finished(self) -> bool:
        """Whether the agent has nothing more to propose; further episodes would only repeat the last plan."""
        return False

    @abstractmethod
    def run_episode(self) -> EpisodeOutcome:
        """Plays one episode, and learns from it if the agent learns."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """A copy of everything that the next episode depends on: tensors and plain Python data only.

        ``torch.load(weights_only=True)`` reads it back.
        """

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continues from ``state``, a saved agent's.

        Raises:
            ValueError: the state of another kind of agent.
        """

    @abstractmethod
    def save_policy(self, folder: str | Path) -> None:
        """Writes ``policy.json``, and the weights as safetensors if there are any; no pickle.

        What the policy reads and writes (observation layout …) is the environment's own ``metadata["policy"]``.
        ``folder`` is made if need be.
        """

    def _check(self, state: Mapping[str, Any]) -> None:
        if state.get("agent") != self.name:
            raise ValueError(f"agent state: it is {state.get('agent')!r}'s, this agent is {self.name!r}")


def play(env: Env, act: Callable[[npt.NDArray[np.float32], Mapping[str, Any]], float]) -> tuple[dict[str, Any], float]:
    """One episode of a policy that doesn't learn.

    Args:
        env: the environment.
        act: (observation, info of the reset) → action.

    Returns:
        Info and reward of the last step.
    """
    observation, start = env.reset()
    finished = False
    while not finished:
        action = np.array([act(observation, start)], dtype=np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        finished = terminated or truncated
    return info, float(reward)


def play_actions(env: Env, actions: Iterable[float]) -> EpisodeOutcome:
    """One episode whose actions were all chosen before it began; one action in [0, 1] for each step."""
    following = iter(actions)
    return EpisodeOutcome(*play(env, lambda observation, start: next(following)))
