"""Pruning method: importance, recovery and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amc import importance as importances
from amc import recovery as recoveries
from amc.core.checks import one_of, refuse_unknown
from amc.core.values import check_all
from amc.recovery.calibration import Calibration
from amc.task.settings import EVALUATE, SEED


@dataclass(frozen=True)
class Method:
    """Importance, recovery and their calibration; validated on construction.

    Attributes:
        importance: which channels go first, one of :data:`amc.importance.NAMES`.
        recovery: what is done to the weights after a cut, one of :data:`amc.recovery.NAMES`.
        seed: of everything sampled: calibration positions, ``importance=random``.
        calibration_images: number of training images, the first ones, for importance and recovery.
        recovery_settings: of the recovery, such as ``positions``.

    Raises:
        AmcError: an unknown name, or an impossible number.
    """

    importance: str = "l1"
    recovery: str = "least_squares"
    seed: int = 0
    calibration_images: int = 512
    recovery_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("importance", self.importance, importances.NAMES)
        one_of("recovery", self.recovery, recoveries.NAMES)
        SEED.check("seed", self.seed)
        EVALUATE["calibration_images"].check("evaluate.calibration_images", self.calibration_images)
        refuse_unknown("recovery", self.recovery_settings, recoveries.KINDS)
        check_all("recovery", self.recovery_settings, recoveries.KINDS)

    def ranking_calibration(self, batch_size: int) -> Calibration:
        """Of the importance: ``batch_size`` examples in one pass; more positions if recovery is told to see more."""
        positions = max(Calibration.positions, self.recovery_settings.get("positions") or 0)
        return Calibration(positions, batch_size=batch_size, seed=self.seed)

    @property
    def facts(self) -> dict[str, Any]:
        """Entries of ``summary.json``."""
        return {"importance": self.importance, "recovery": self.recovery, "seed": self.seed}
