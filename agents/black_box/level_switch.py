"""Level switches (EvoPress, Sieberling et al. 2025, arXiv:2410.14649 §3): what one group gets, another gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agents.black_box.base import BlackBoxAgent, Vector
from agents.settings import require


@dataclass(frozen=True)
class LevelSwitchSettings:
    """Settings of the search by level switches.

    Attributes:
        switches: most pairs of groups that a mutation switches; as there, the smaller of two draws from 1 … switches.
        step: typical size of a switch, on logits; every now and then one is several times as large.
        start: the heuristic whose plan is the first parent.
    """

    switches: int = 3
    step: float = 0.5
    start: str = "uniform"

    def __post_init__(self) -> None:
        fits = type(self.switches) is int and self.switches >= 1
        require("switches", self.switches, fits, "that is a whole number, 1 or more")
        require("step", self.step, type(self.step) in (int, float) and self.step > 0, "greater than 0")


class LevelSwitch:
    """One parent; a child that is as good takes its place.

    A switch raises one group's logit and lowers another's by as much. What that changes in cost, the environment's
    enforcement evens out.
    """

    def __init__(self, size: int, episodes: int, settings: LevelSwitchSettings) -> None:
        self._settings = settings
        self._parent, self._reward = np.zeros(size), -math.inf

    def ask(self, rng: np.random.Generator) -> Vector:
        child: Vector = self._parent.copy()
        if len(child) == 1:
            child += self._settings.step * rng.standard_t(2, 1)
            return child
        for _ in range(int(rng.integers(1, self._settings.switches + 1, 2).min())):
            more, less = rng.choice(len(child), 2, replace=False)
            size = self._settings.step * abs(rng.standard_t(2))
            child[more] += size
            child[less] -= size
        return child

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        if reward >= self._reward:
            self._parent, self._reward = point, reward

    def scalars(self) -> dict[str, float]:
        return {"parent": self._reward} if math.isfinite(self._reward) else {}


class LevelSwitchAgent(BlackBoxAgent):
    """The best plan so far, with levels switched between its groups."""

    name = "level_switch"
    settings_type = LevelSwitchSettings
    searcher = LevelSwitch
