"""Fine-tuning settings, validated on construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from amc import recovery as recoveries
from amc.core.checks import refuse_unknown
from amc.core.errors import AmcError
from amc.core.values import Kind, Many, OneOf, Real, Whole, check_all
from amc.task.method import Method
from amc.task.settings import SCOPE
from amc.training.regularise import NAMES as REGULARISERS

SCHEDULES = ("oneshot", "iterative")
# The kinds of the settings below, and of those in sections on the command line.
KINDS: dict[str, Kind] = {
    "epochs": Whole(),
    "lr_scale": Real(high=1, ends="(]"),
    "schedule": OneOf(names=SCHEDULES),
    "stages": Many(entry=Real(high=1, ends="()"), example="[0.8,0.65]"),
    "calibration_images": Whole(),
    **SCOPE,
}
SECTIONS: dict[str, dict[str, Kind]] = {
    "refine": {"plans": Whole(), "epochs": Whole()},
    "distill": {"weight": Real(high=1), "temperature": Real(low=1)},
}
REGULARISER: dict[str, Kind] = {"name": OneOf(names=REGULARISERS), "strength": Real()}


@dataclass(frozen=True)
class FineTuneSettings:
    """Fine-tuning settings, validated on construction.

    Attributes:
        epochs: passes over the training images in all, shared evenly by the stages.
        lr_scale: highest learning rate as a fraction of the original training's.
        schedule: ``oneshot``: cut to the plan, then train; ``iterative``: in the steps that ``stages`` names.
        stages: MACs ratios before the plan's own, falling, see :func:`amc.finetune.stages.stage_plans`.
        refine_plans: how many plans of the search to try for ``refine_epochs`` each before the best goes on.
        importance: ranks the channels; computed anew at each stage, on its weights.
        recovery: reconstruction of the weights before training.
        recovery_settings: such as ``positions``.
        calibration_images: training images for both.
        prune_residual, prune_depth, uniform_per_axis, head_unit, freeze: as in the search.
        distill_weight: share of the dense network's soft labels in the loss, in [0, 1]; 0: labels alone.
        distill_temperature: softens both networks' outputs.
        regulariser, regulariser_strength: one of :data:`amc.training.regularise.NAMES`, in the training before a
            further step.
    """

    epochs: int = 20
    lr_scale: float = 0.1
    schedule: str = "oneshot"
    stages: Sequence[float] = ()
    refine_plans: int = 1
    refine_epochs: int = 1
    importance: str = "l1"
    recovery: str = "sequential"
    recovery_settings: Mapping[str, Any] = field(default_factory=dict)
    calibration_images: int = 2048
    prune_residual: bool = True
    prune_depth: bool = False
    uniform_per_axis: bool = False
    head_unit: str = "heads"
    freeze: Sequence[str] = ()
    distill_weight: float = 0.0
    distill_temperature: float = 4.0
    regulariser: str = "none"
    regulariser_strength: float = 0.0

    def __post_init__(self) -> None:
        check_all("", vars(self), KINDS)
        for section, kinds in SECTIONS.items():
            for key, kind in kinds.items():
                kind.check(f"{section}.{key}", getattr(self, f"{section}_{key}"))
        REGULARISER["name"].check("regulariser", self.regulariser)
        REGULARISER["strength"].check("regulariser.strength", self.regulariser_strength)
        refuse_unknown("recovery", self.recovery_settings, recoveries.KINDS)
        if self.schedule == "iterative" and not self.stages:
            raise AmcError("schedule=iterative: needs stages, MACs ratios such as stages=[0.8,0.65]")
        if any(later >= earlier for earlier, later in pairwise(self.stages)):
            raise AmcError(f"stages={list(self.stages)}: give them in falling order, each once")
        if self.schedule == "oneshot" and self.stages:
            raise AmcError(f"stages={list(self.stages)}: these need schedule=iterative")

    def method(self, seed: int) -> Method:
        """Importance and recovery for the pruner. Raises ``AmcError`` for an unknown importance or recovery."""
        return Method(self.importance, self.recovery, seed, self.calibration_images, self.recovery_settings)
