"""Settings for gathering and solving least-squares systems."""

from __future__ import annotations

from dataclasses import dataclass

from amc.core.values import Real, Whole, check_all

KINDS = {"positions": Whole(), "damping": Real(), "batch_size": Whole()}


@dataclass(frozen=True)
class Calibration:
    """Calibration of a reconstruction; validated on construction.

    Attributes:
        positions: output positions sampled from each image, in each layer.
        damping: ridge strength relative to the mean diagonal of the Gram matrix.
        batch_size: images in one forward pass, where they needn't all go at once.
        seed: of the sampled positions.

    Raises:
        AmcError: a number out of its range.
    """

    positions: int = 32
    damping: float = 1e-3
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        check_all("recovery", vars(self), KINDS)
