"""Trains a classifier by SGD, and scores it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from amc.data import ImageSet
from amc.evaluation.scoring import measure
from amc.training.distillation import Teacher
from amc.training.recipe import Recipe
from amc.training.regularise import Penalty
from amc.training.trainer import Epoch, Trainer

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
    train: ImageSet,
    val: ImageSet | None = None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    teacher: Teacher | None = None,
    penalty: Penalty | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainResult:
    """Trains ``model`` in place, on the device that holds the images, and leaves it in evaluation mode.

    Args:
        model: maps images ``[n, c, h, w]`` to logits ``[n, classes]``.
        train: at least two images.
        val: scored after every epoch; nothing is chosen by it.
        recipe: default: :class:`Recipe`.
        seed: of the order of images, augmentation and dropout; the global random state is left alone.
        teacher: source of soft labels, besides the labels.
        penalty: added to the loss, from :func:`amc.training.regularise.make_penalty`.
        on_epoch: called after every epoch.

    Raises:
        AmcError: fewer than two images, or a loss that is no longer finite.
    """
    started = time.perf_counter()
    trainer = Trainer(model, train, val, recipe or Recipe(), seed=seed, teacher=teacher, penalty=penalty)
    history: list[Epoch] = []
    while not trainer.finished:
        history.append(trainer.epoch())
        if on_epoch is not None:
            on_epoch(history[-1])
    if trainer.trained is not model:
        model.load_state_dict(trainer.trained.state_dict())
    model.eval()
    return TrainResult(tuple(history), time.perf_counter() - started)


def evaluate(model: nn.Module, images: ImageSet, *, batch_size: int = 250) -> tuple[float, float]:
    """Top-1 accuracy as a fraction and mean cross-entropy in nats, on the device that holds the images."""
    found = measure(model, images, batch_size)
    return found.accuracy, found.loss
