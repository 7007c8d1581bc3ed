"""Steady-state evolution strategy: (µ+1) selection, uniform crossover (Syswerda 1989), Gaussian mutation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.black_box.base import BlackBoxAgent, Vector
from agents.settings import require


@dataclass(frozen=True)
class EvolutionSettings:
    """Settings of the evolution.

    Attributes:
        parents: µ, how many of the best plans so far have children.
        sigma: standard deviation of the first µ plans around the uniform one, on logits.
        mutation: standard deviation of a mutation, on logits.
        share: probability that a group's keep ratio is mutated.
    """

    parents: int = 10
    sigma: float = 0.7
    mutation: float = 0.3
    share: float = 0.2

    def __post_init__(self) -> None:
        fits = type(self.parents) is int and self.parents >= 2
        require("parents", self.parents, fits, "that is a whole number, 2 or more")
        for name in ("sigma", "mutation", "share"):
            value = getattr(self, name)
            require(name, value, type(value) in (int, float) and value > 0, "greater than 0")
        require("share", self.share, self.share <= 1, "in (0, 1]")


class Evolution:
    """The best plans, whose children replace the worst of them."""

    def __init__(self, size: int, episodes: int, settings: EvolutionSettings) -> None:
        self._size, self._settings = size, settings
        self._parents: list[tuple[float, Vector]] = []  # by falling reward

    def ask(self, rng: np.random.Generator) -> Vector:
        if len(self._parents) < self._settings.parents:
            return rng.normal(0, self._settings.sigma, self._size)
        first, second = rng.choice(len(self._parents), 2, replace=False)
        child: Vector = np.where(rng.random(self._size) < 0.5, self._parents[first][1], self._parents[second][1])
        mutated = rng.random(self._size) < self._settings.share
        mutated[rng.integers(self._size)] = True
        child[mutated] += rng.normal(0, self._settings.mutation, self._size)[mutated]
        return child

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        self._parents.append((reward, point))
        self._parents.sort(key=lambda parent: -parent[0])  # stable: of equals the older survives
        del self._parents[self._settings.parents :]

    def scalars(self) -> dict[str, float]:
        return {"worst_parent": self._parents[-1][0]} if self._parents else {}


class EvolutionAgent(BlackBoxAgent):
    """An evolution strategy over whole plans."""

    name = "evolution"
    settings_type = EvolutionSettings
    searcher = Evolution
