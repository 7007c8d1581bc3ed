"""Training recipes: learning-rate schedules and hyper-parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from amc.core.values import Flag, OneOf, Real, Whole, check_all
from amc.training.augment import NAMES as AUGMENTATIONS

WARM_UP = 0.3
START = 0.04


def one_cycle(progress: float) -> float:
    """Share of the highest learning rate: from 1/25 up during 30 % of the training, then down to 0 (Smith 2018)."""
    if progress < WARM_UP:
        return START + (1 - START) * (1 - cosine(progress / WARM_UP))
    return cosine((progress - WARM_UP) / (1 - WARM_UP))


def cosine(progress: float) -> float:
    """Half a cosine wave from 1 down to 0 as ``progress`` goes from 0 to 1."""
    return (1 + math.cos(math.pi * progress)) / 2


SCHEDULES = {"onecycle": one_cycle, "cosine": cosine}
KINDS: dict[str, Whole | Real | OneOf | Flag] = {
    "epochs": Whole(),
    "lr": Real(ends="(]"),
    "batch_size": Whole(low=2, hint=" (batch norm needs two values)"),
    "momentum": Real(high=1, ends="()"),
    "weight_decay": Real(),
    "schedule": OneOf(names=tuple(SCHEDULES)),
    "label_smoothing": Real(high=1, ends="[)"),
    "augment": OneOf(names=AUGMENTATIONS),
    "bf16": Flag(also=("auto",)),
    "ema": Real(high=1, ends="[)"),
}


@dataclass(frozen=True)
class Recipe:
    """Training recipe for SGD with Nesterov momentum.

    Attributes:
        epochs: passes over the training images.
        lr: the schedule's highest learning rate.
        batch_size: images per step; what is left over at the end of an epoch is skipped.
        schedule: ``onecycle`` (up for 30 % of the steps, then down) or ``cosine`` (only down).
        label_smoothing: share of each label that is spread over all classes, in [0, 1).
        augment: ``none``, ``shift`` or ``flip_shift``, see :func:`amc.training.augment.augment`.
        bf16: ``True``, ``False``, or ``auto``: bf16 autocast where the hardware has it.
        ema: decay per step of a moving average of the weights, which is then the result; 0: none.

    Raises:
        AmcError: a value of the wrong type or out of its range.
    """

    epochs: int = 10
    lr: float = 0.05
    batch_size: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "onecycle"
    label_smoothing: float = 0.0
    augment: str = "none"
    bf16: bool | str = "auto"
    ema: float = 0.0

    def __post_init__(self) -> None:
        check_all("training", vars(self), KINDS)
