"""Recovery of a pruned network before evaluation: none, batch-norm recalibration, least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from amc.core.checks import one_of, refuse_unknown
from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.core.values import Kind, Nullable
from amc.pruning.inputs import Example, count, split
from amc.pruning.surgery import Ranking, Recover, Surgeon
from amc.recovery.calibration import KINDS as _KINDS
from amc.recovery.calibration import Calibration
from amc.recovery.norms import recalibrate
from amc.recovery.sequential import SequentialLeastSquares
from amc.recovery.static import StaticLeastSquares

NAMES = ("none", "bn", "least_squares", "sequential")
KINDS: dict[str, Kind] = {**_KINDS, "positions": Nullable(_KINDS["positions"])}  # null: as below
POSITIONS = {"least_squares": 32, "sequential": 20}


def make_recovery(
    name: str,
    surgeon: Surgeon,
    groups: Sequence[LayerGroup],
    ranking: Ranking,
    images: Example,
    **settings: Any,
) -> Recover:
    """A function that recovers a network cut by the given surgeon, in place. Work that needs no plan is done here.

    Args:
        name: one of :data:`NAMES`.
        surgeon: of the dense model.
        groups: the model's groups.
        ranking: group name → channels by falling importance.
        images: calibration inputs, normalised, never those of validation or test.
        **settings: of :class:`Calibration`; ``positions`` is by default 32 (static) or 20 (sequential).

    Raises:
        AmcError: unknown name or setting, a number out of its range, or calibration activations that are not finite.
    """
    one_of("recovery", name, NAMES)
    refuse_unknown("recovery", {k: v for k, v in settings.items() if k != "seed"}, KINDS)
    if settings.get("positions") is None:
        settings["positions"] = POSITIONS.get(name, 1)
    calibration = Calibration(**settings)
    try:
        if name == "least_squares":
            return StaticLeastSquares(surgeon, groups, ranking, images, calibration).recover
        if name == "sequential":
            return SequentialLeastSquares(surgeon, images, calibration).recover
    except ValueError as error:
        raise AmcError(f"recovery={name}: {error}; check the model's weights and the images") from error
    if name == "bn":
        batches = math.ceil(count(images) / calibration.batch_size)
        size = math.ceil(count(images) / batches)  # about equal: none is left with a single image
        return lambda small, _: recalibrate(small, split(images, size))
    return lambda small, _: None
