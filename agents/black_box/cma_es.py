"""CMA-ES (Hansen & Ostermeier 2001; Hansen 2016, arXiv:1604.00772): a normal distribution that adapts its shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.black_box.base import BlackBoxAgent, Vector
from agents.optional import import_package
from agents.settings import require

SMALLEST_POPULATION = 4  # with fewer, a single parent remains and the covariance has no rank-µ update


@dataclass(frozen=True)
class CMAESSettings:
    """Settings of CMA-ES.

    Attributes:
        sigma: standard deviation at the start, on logits.
        population: plans per generation; ``None``: 4 + ⌊3 ln n⌋ for n groups.
        start: the heuristic whose plan is the first mean.
    """

    sigma: float = 0.7
    population: int | None = None
    start: str = "uniform"

    def __post_init__(self) -> None:
        require("sigma", self.sigma, type(self.sigma) in (int, float) and self.sigma > 0, "greater than 0")
        if self.population is not None:
            fits = type(self.population) is int and self.population >= SMALLEST_POPULATION
            require("population", self.population, fits, f"that is a whole number, {SMALLEST_POPULATION} or more")


class CMAES:
    """The package ``cmaes``, which updates its distribution when a whole generation has been told."""

    def __init__(self, size: int, episodes: int, settings: CMAESSettings) -> None:
        cmaes = import_package("cma_es", "cmaes")
        self._cma = cmaes.CMA(np.zeros(size), float(settings.sigma), population_size=settings.population, seed=0)
        self._generation: list[tuple[Vector, float]] = []

    def ask(self, rng: np.random.Generator) -> Vector:
        self._cma.reseed_rng(int(rng.integers(2**32)))
        point: Vector = self._cma.ask()
        return point

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        self._generation.append((point, -reward))  # it minimises
        if len(self._generation) == self._cma.population_size:
            self._cma.tell(self._generation)
            self._generation = []

    def scalars(self) -> dict[str, float]:
        return {"sigma": float(self._cma._sigma), "generation": float(self._cma.generation)}


class CMAESAgent(BlackBoxAgent):
    """CMA-ES over whole plans."""

    name = "cma_es"
    settings_type = CMAESSettings
    searcher = CMAES
