"""Agents that don't learn: what a learned policy has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import Agent, Env, EpisodeOutcome, play
from agents.policy_files import write_policy


class RandomAgent(Agent):
    """Plays actions drawn uniformly from [0, 1]; a surprisingly good search when the budget clips them."""

    name = "random"

    def __init__(self, env: Env, seed: int) -> None:
        self._env = env
        self._rng = np.random.default_rng(seed)

    def run_episode(self) -> EpisodeOutcome:
        return EpisodeOutcome(*play(self._env, lambda observation, start: self._rng.random()))

    def state(self) -> dict[str, Any]:
        return {"agent": self.name, "rng": self._rng.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        self._rng.bit_generator.state = state["rng"]

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env)


class UniformAgent(Agent):
    """Gives every group the same keep ratio; by default the largest with which the budget is met."""

    name = "uniform"

    def __init__(self, env: Env, seed: int, keep_ratio: float | None = None) -> None:
        """An agent that is the same for every ``seed``.

        Args:
            env: its reset info must hold ``uniform_action``, or ``min_keep`` when ``keep_ratio`` is given.
            seed: not used; every agent takes one.
            keep_ratio: of every group, in (0, 1]; raised to the environment's ``min_keep`` if it is smaller.

        Raises:
            ValueError: ``keep_ratio`` outside (0, 1].
        """
        if keep_ratio is not None and not 0 < keep_ratio <= 1:
            raise ValueError(f"agent.keep_ratio={keep_ratio}: give a fraction in (0, 1], or null for the budget's")
        self._env, self._keep_ratio = env, keep_ratio

    def _action(self, start: Mapping[str, Any]) -> float:
        if self._keep_ratio is None:
            return float(start["uniform_action"])
        smallest = float(start["min_keep"])
        return 1.0 if smallest == 1 else max(0.0, (self._keep_ratio - smallest) / (1 - smallest))

    def run_episode(self) -> EpisodeOutcome:
        return EpisodeOutcome(*play(self._env, lambda observation, start: self._action(start)))

    def state(self) -> dict[str, Any]:
        return {"agent": self.name}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env, {"keep_ratio": self._keep_ratio})
