"""Trains a network by SGD, and scores it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from amc.data import Examples
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.evaluation.scoring import measure
from amc.training.recipe import Recipe
from amc.training.trainer import Epoch, Objective, Trainer

__all__ = ["Epoch", "Recipe", "TrainResult", "evaluate", "train"]


@dataclass(frozen=True)
class TrainResult:
    """Training history by epoch; ``seconds`` is its wall time."""

    history: tuple[Epoch, ...]
    seconds: float

    @property
    def last(self) -> Epoch:
        return self.history[-1]


@torch.inference_mode(mode=False)
def train(
    model: nn.Module,
    train: Examples,
    val: Examples | None = None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    objective: Objective | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainResult:
    """Trains ``model`` in place, on the device that holds the images, and leaves it in evaluation mode.

    Args:
        model: gives what the loss takes, such as logits ``[n, classes]``.
        train: at least two images.
        val: scored after every epoch; nothing is chosen by it.
        recipe: default: :class:`Recipe`.
        seed: of the order of images, augmentation and dropout; the global random state is left alone.
        objective: loss, metric, teacher and penalty; by default cross-entropy and top-1.
        on_epoch: called after every epoch.

    Raises:
        AmcError: fewer than two images, or a loss that is no longer finite.
    """
    started = time.perf_counter()
    trainer = Trainer(model, train, val, recipe or Recipe(), objective, seed)
    history: list[Epoch] = []
    while not trainer.finished:
        history.append(trainer.epoch())
        if on_epoch is not None:
            on_epoch(history[-1])
    if trainer.trained is not model:
        model.load_state_dict(trainer.trained.state_dict())
    model.eval()
    return TrainResult(tuple(history), time.perf_counter() - started)


def evaluate(
    model: nn.Module, images: Examples, *, batch_size: int = 250, criterion: Criterion = CLASSIFICATION
) -> tuple[float, float]:
    """Score as a fraction and mean loss, by default top-1 and cross-entropy, on the device that holds the images."""
    found = measure(model, images, batch_size, criterion=criterion)
    return found.score, found.loss
