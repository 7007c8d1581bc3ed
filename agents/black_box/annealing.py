"""Simulated annealing (Kirkpatrick et al. 1983): a walk that goes uphill, and downhill less and less often."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from agents.black_box.base import BlackBoxAgent, Vector
from agents.settings import require


@dataclass(frozen=True)
class AnnealingSettings:
    """Settings of simulated annealing. Values with a first and a last fall geometrically over the episodes.

    Attributes:
        temperature, last_temperature: in standard deviations of the rewards seen so far: a step down by as much is
            taken with probability 1/e.
        step, last_step: standard deviation of a change, on logits.
        share: probability that a group's keep ratio is changed in a step.
    """

    temperature: float = 0.3
    last_temperature: float = 0.003
    step: float = 0.7
    last_step: float = 0.1
    share: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(field.name, value, type(value) in (int, float) and value > 0, "greater than 0")
        require("share", self.share, self.share <= 1, "in (0, 1]")


class Annealing:
    """Metropolis acceptance around one current point."""

    def __init__(self, size: int, episodes: int, settings: AnnealingSettings) -> None:
        self._settings, self._episodes = settings, episodes
        self._current, self._reward = np.zeros(size), -math.inf
        self._told, self._mean, self._squares = 0, 0.0, 0.0

    def _cooled(self, first: float, last: float) -> float:
        return float(first * (last / first) ** min(1.0, self._told / self._episodes))

    def ask(self, rng: np.random.Generator) -> Vector:
        size = len(self._current)
        changed = rng.random(size) < self._settings.share
        changed[rng.integers(size)] = True
        step = self._cooled(self._settings.step, self._settings.last_step)
        return self._current + np.where(changed, rng.normal(0, step, size), 0.0)

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        self._count(reward)
        if reward >= self._reward or rng.random() < self._probability(reward - self._reward):
            self._current, self._reward = point, reward

    def _probability(self, change: float) -> float:
        """Probability of accepting a step that changes the reward by ``change`` < 0."""
        spread = math.sqrt(self._squares / self._told)
        temperature = self._cooled(self._settings.temperature, self._settings.last_temperature)
        return math.exp(change / (temperature * spread)) if spread > 0 else 0.0

    def _count(self, reward: float) -> None:
        """Mean and squared deviations of all rewards (Welford 1962)."""
        self._told += 1
        before = reward - self._mean
        self._mean += before / self._told
        self._squares += before * (reward - self._mean)

    def scalars(self) -> dict[str, float]:
        s = self._settings
        return {"temperature": self._cooled(s.temperature, s.last_temperature)}


class AnnealingAgent(BlackBoxAgent):
    """Simulated annealing over whole plans."""

    name = "annealing"
    settings_type = AnnealingSettings
    searcher = Annealing
