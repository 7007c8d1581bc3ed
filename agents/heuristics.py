"""Heuristics and random search: the agents that a learned policy has to beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import Agent, Env, EpisodeOutcome, play, play_actions
from agents.logits import around
from agents.policy.files import write_policy
from agents.rules import rule_actions
from agents.settings import require


class RandomAgent(Agent):
    """Plays random actions; a surprisingly good search when the budget clips them."""

    name = "random"

    def __init__(self, env: Env, seed: int, spread: float | None = None) -> None:
        """An agent that doesn't learn.

        Args:
            env: its reset info must hold ``uniform_action`` when ``spread`` is given.
            seed: of the actions.
            spread: standard deviation of the actions' logits around the uniform action; ``None``: actions drawn
                uniformly from [0, 1].

        Raises:
            ValueError: ``spread`` is no number greater than 0.
        """
        self.check(spread)
        self._env, self._spread = env, spread
        self._rng = np.random.default_rng(seed)

    @staticmethod
    def check(spread: float | None = None) -> None:
        """Raises ``ValueError`` as the constructor does."""
        if spread is not None:
            require("spread", spread, type(spread) in (int, float) and spread > 0, "greater than 0, or null")

    def _action(self, start: Mapping[str, Any]) -> float:
        if self._spread is None:
            return self._rng.random()
        return around(start["uniform_action"], [self._rng.normal(0, self._spread)])[0]

    def run_episode(self) -> EpisodeOutcome:
        return EpisodeOutcome(*play(self._env, lambda observation, start: self._action(start)))

    def state(self) -> dict[str, Any]:
        return {"agent": self.name, "rng": self._rng.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        self._rng.bit_generator.state = state["rng"]

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env, {"spread": self._spread})


class OnePlanAgent(Agent):
    """Proposes a single plan, then is finished."""

    _played = False

    @property
    def finished(self) -> bool:
        return self._played

    @abstractmethod
    def _play(self) -> EpisodeOutcome:
        """Plays the plan."""

    def run_episode(self) -> EpisodeOutcome:
        self._played = True
        return self._play()

    def state(self) -> dict[str, Any]:
        return {"agent": self.name, "played": self._played}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        self._played = state["played"]


class UniformAgent(OnePlanAgent):
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
        self.check(keep_ratio)
        self._env, self._keep_ratio = env, keep_ratio

    @staticmethod
    def check(keep_ratio: float | None = None) -> None:
        """Raises ``ValueError`` as the constructor does."""
        if keep_ratio is not None:
            fits = type(keep_ratio) in (int, float) and 0 < keep_ratio <= 1
            require("keep_ratio", keep_ratio, fits, "in (0, 1], or null for the budget's")

    def _action(self, start: Mapping[str, Any]) -> float:
        if self._keep_ratio is None:
            return float(start["uniform_action"])
        smallest = float(start["min_keep"])
        return 1.0 if smallest == 1 else max(0.0, (self._keep_ratio - smallest) / (1 - smallest))

    def _play(self) -> EpisodeOutcome:
        return EpisodeOutcome(*play(self._env, lambda observation, start: self._action(start)))

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env, {"keep_ratio": self._keep_ratio})


class RuleAgent(OnePlanAgent):
    """Plays the actions of one of the environment's heuristics.

    Heuristics belong to the environment, as only it knows the network; their actions meet the budget. AMC's §4.1
    compares with *uniform*, *shallow* and *deep*.
    """

    def __init__(self, env: Env, seed: int) -> None:
        """An agent that is the same for every ``seed``.

        Args:
            env: its reset info must hold the heuristic's actions, ``rules[name]``.
            seed: not used; every agent takes one.

        Raises:
            ValueError: the environment has no such heuristic.
        """
        self._env, self._actions = env, rule_actions(env.reset(seed=seed)[1], self.name, f"agent={self.name}")

    def _play(self) -> EpisodeOutcome:
        return play_actions(self._env, self._actions)

    def save_policy(self, folder: str | Path) -> None:
        write_policy(folder, self.name, self._env, {"actions": self._actions})


class ShallowAgent(RuleAgent):
    """Cuts the shallow groups, those near the input, more than the deep ones."""

    name = "shallow"


class DeepAgent(RuleAgent):
    """Cuts the deep groups, those near the output, more than the shallow ones."""

    name = "deep"


class ResponseAgent(RuleAgent):
    """Cuts groups of low output divergence: the odds of keeping a channel are in proportion to the group's response."""

    name = "response"


class PriceAgent(RuleAgent):
    """Cuts groups of low divergence per saved cost: the odds of keeping a channel are in proportion to the price."""

    name = "price"


class ThresholdAgent(RuleAgent):
    """Cuts every channel whose importance is below one threshold for the whole network."""

    name = "threshold"


class SizeAwareAgent(RuleAgent):
    """Cuts large groups more than small ones."""

    name = "size_aware"
