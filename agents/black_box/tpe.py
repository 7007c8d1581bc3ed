"""TPE (Bergstra et al. 2011; multivariate: Falkner et al. 2018): where good plans are dense and bad ones are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.black_box.base import BlackBoxAgent, Vector
from agents.optional import import_package
from agents.settings import require


@dataclass(frozen=True)
class TPESettings:
    """Settings of TPE.

    Attributes:
        startup: plans drawn at random before the densities are fitted.
        sigma: standard deviation of those, on logits.
        reach: largest distance from the uniform plan, on logits. The densities' widths are proportional to it.
        candidates: drawn from the good plans' density at each proposal; the one with the best ratio is played.
    """

    startup: int = 20
    sigma: float = 0.7
    reach: float = 2.0
    candidates: int = 24

    def __post_init__(self) -> None:
        for name in ("startup", "candidates"):
            value = getattr(self, name)
            require(name, value, type(value) is int and value >= 1, "that is a whole number, 1 or more")
        for name in ("sigma", "reach"):
            value = getattr(self, name)
            require(name, value, type(value) in (int, float) and value > 0, "greater than 0")


class TPE:
    """Optuna's multivariate TPE sampler, asked anew for every plan; its study holds only told rewards."""

    def __init__(self, size: int, episodes: int, settings: TPESettings) -> None:
        self._settings, self._told = settings, 0
        self._optuna = import_package("tpe", "optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)  # else it writes a line per study
        interval = self._optuna.distributions.FloatDistribution(-settings.reach, settings.reach)
        self._space = {f"{group:04d}": interval for group in range(size)}
        self._study = self._optuna.create_study(study_name="tpe", direction="maximize")
        # The sampler wants the trial it samples for, and looks at it only where several are sampled at a time.
        self._unused = self._optuna.trial.create_trial(state=self._optuna.trial.TrialState.WAITING)

    def ask(self, rng: np.random.Generator) -> Vector:
        if self._told < self._settings.startup:
            drawn = rng.normal(0, self._settings.sigma, len(self._space))
            return np.clip(drawn, -self._settings.reach, self._settings.reach)
        sampler = self._optuna.samplers.TPESampler(
            multivariate=True,
            constant_liar=False,
            n_startup_trials=0,
            n_ei_candidates=self._settings.candidates,
            seed=int(rng.integers(2**32)),
        )
        sampled = sampler.sample_relative(self._study, self._unused, self._space)
        return np.array([sampled[name] for name in self._space])

    def tell(self, point: Vector, reward: float, rng: np.random.Generator) -> None:
        params = dict(zip(self._space, point.tolist(), strict=True))
        self._study.add_trial(self._optuna.trial.create_trial(params=params, distributions=self._space, value=reward))
        self._told += 1

    def scalars(self) -> dict[str, float]:
        return {}


class TPEAgent(BlackBoxAgent):
    """TPE over whole plans."""

    name = "tpe"
    settings_type = TPESettings
    searcher = TPE
