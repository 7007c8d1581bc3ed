"""Recovery of a pruned network before evaluation: none, batch-norm recalibration, least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from amc.core.checks import one_of, refuse_unknown, require
from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.surgery import Ranking, Recover, Surgeon
from amc.recovery.norms import recalibrate
from amc.recovery.sequential import SequentialLeastSquares
from amc.recovery.static import StaticLeastSquares

NAMES = ("none", "bn", "least_squares", "sequential")
POSITIONS = {"least_squares": 32, "sequential": 20}


def make_recovery(
    name: str,
    surgeon: Surgeon,
    groups: Sequence[LayerGroup],
    ranking: Ranking,
    images: torch.Tensor,
    *,
    positions: int | None = None,
    damping: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
    **unknown: Any,
) -> Recover:
    """A function that recovers a network cut by the given surgeon, in place. What needs no plan is computed here.

    Args:
        name: one of :data:`NAMES`.
        surgeon: of the dense model.
        groups: the model's groups.
        ranking: group name → channels by falling importance.
        images: normalised calibration images ``[n, c, h, w]``, never validation or test images.
        positions: output positions sampled from each image; by default 32 (static) or 20 (sequential).
        damping: ridge strength relative to the mean diagonal of the Gram matrix.
        batch_size: images in one forward pass, where they needn't all go at once.
        seed: of the sampled positions.
        **unknown: refused.

    Raises:
        AmcError: unknown name or setting, a number out of its range, or calibration activations that are not finite.
    """
    one_of("recovery", name, NAMES)
    refuse_unknown("recovery", unknown, ("positions", "damping", "batch_size"))
    positions = POSITIONS.get(name, 1) if positions is None else positions
    require("recovery.positions", positions, int, 1)
    require("recovery.damping", damping, float, 0)
    require("recovery.batch_size", batch_size, int, 1)
    try:
        if name == "least_squares":
            return StaticLeastSquares(
                surgeon, groups, ranking, images,
                positions=positions, damping=damping, batch_size=batch_size, seed=seed,
            ).recover  # fmt: skip
        if name == "sequential":
            return SequentialLeastSquares(
                surgeon, images, positions=positions, damping=damping, batch_size=batch_size, seed=seed
            ).recover
    except ValueError as error:
        raise AmcError(f"recovery={name}: {error}; check the model's weights and the images") from error
    if name == "bn":
        batches = math.ceil(len(images) / batch_size)  # of equal size: none is left with a single image
        return lambda small, _: recalibrate(small, images.tensor_split(batches))
    return lambda small, _: None
