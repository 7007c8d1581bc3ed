"""Black-box searchers as agents: propose a whole plan, play it, report its reward.

A plan is a point x in R^n, one number per group: action = sigmoid(x + logit(uniform action)), so that x = 0 is the
uniform plan and no bounds are needed. Every searcher's first proposal is the uniform plan; so none ends worse than it.
A searcher whose settings have a ``start`` begins with that heuristic's plan instead of the uniform one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch

from agents.base import Agent, Env, EpisodeOutcome, play_actions
from agents.logits import around
from agents.policy.files import write_policy
from agents.rules import rule_actions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Vector = npt.NDArray[np.float64]
UNIFORM = "uniform"
DEFAULT_EPISODES = 400  # as in AMC §4, for a searcher without a number of episodes


class Searcher(Protocol):
    """Maximises a function on R^n.

    Its state depends on the told rewards alone: randomness comes with the calls, so telling the same again, without
    asking, restores it exactly.
    """

    def ask(self, rng: np.random.Generator) -> Vector:
        """The point to try next, ``[n]``."""

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        """The reward of a point, ``[n]``, that need not be one the searcher proposed."""

    def scalars(self) -> dict[str, float]:
        """Scalars that the searcher logs."""


class MakeSearcher(Protocol):
    """Constructor of a searcher."""

    def __call__(self, size: int, episodes: int, settings: Any) -> Searcher:
        """A searcher in R^size that will be asked ``episodes`` times; ``settings``: of its ``settings_type``."""


class BlackBoxAgent(Agent):
    """Plays what its searcher proposes. Subclasses name the searcher and its settings."""

    settings_type: ClassVar[type[DataclassInstance]]
    searcher: ClassVar[MakeSearcher]

    def __init__(self, env: Env, seed: int, episodes: int | None = None, **settings: Any) -> None:
        """An agent before its first episode.

        Args:
            env: its reset info must hold ``steps`` and ``uniform_action``, and, for another start, ``rules``.
            seed: of the searcher.
            episodes: how many will be played; ``None``: 400.
            settings: fields of ``settings_type``.

        Raises:
            ValueError: a setting has a value that makes no sense, or a package is missing.
        """
        self.settings = self.settings_type(**settings)
        start = env.reset(seed=seed)[1]
        self._env, self._seed, self._size = env, seed, int(start["steps"])
        self._centre = [float(start["uniform_action"])] * self._size
        rule = getattr(self.settings, "start", UNIFORM)
        if rule != UNIFORM:
            self._centre = rule_actions(start, rule, f"agent.start={rule}")
        self._episodes = episodes or DEFAULT_EPISODES
        self._forget()

    def _forget(self) -> None:
        self._points: list[Vector] = []
        self._rewards: list[float] = []
        self._search = type(self).searcher(self._size, self._episodes, self.settings)

    def _tell(self, point: Vector, reward: float) -> None:
        self._search.tell(point, reward, np.random.default_rng([self._seed, len(self._points), 1]))
        self._points.append(point)
        self._rewards.append(reward)

    def _actions(self, index: int, point: Vector) -> list[float]:
        # Not by way of the logit: the first plan is the uniform one to the last bit.
        return self._centre if index == 0 else around(self._centre, point)

    def run_episode(self) -> EpisodeOutcome:
        index = len(self._points)
        rng = np.random.default_rng([self._seed, index, 0])
        point = np.zeros(self._size) if index == 0 else self._search.ask(rng)
        scalars = self._search.scalars()
        outcome = play_actions(self._env, self._actions(index, point))
        self._tell(point, outcome.reward)
        return EpisodeOutcome(outcome.info, outcome.reward, scalars)

    def state(self) -> dict[str, Any]:
        points = np.array(self._points).reshape(-1, self._size)  # [episodes, n]
        return {
            "agent": self.name,
            "seed": self._seed,
            "points": torch.from_numpy(points),
            "rewards": torch.tensor(self._rewards, dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._check(state)
        points, rewards = state["points"].numpy(), state["rewards"].tolist()
        if points.shape[1] != self._size:
            raise ValueError(f"agent state: plans for {points.shape[1]} groups, this environment has {self._size}")
        self._seed = state["seed"]
        self._forget()
        for point, reward in zip(points, rewards, strict=True):
            self._tell(point.copy(), reward)

    def save_policy(self, folder: str | Path) -> None:
        details: dict[str, Any] = {"settings": asdict(self.settings), "episodes": len(self._points)}
        if self._points:
            best = int(np.argmax(self._rewards))
            details |= {"actions": self._actions(best, self._points[best]), "reward": self._rewards[best]}
        write_policy(folder, self.name, self._env, details)
