"""Trains a classifier by SGD, and scores it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from amc.augment import NAMES as AUGMENTATIONS
from amc.augment import augment
from amc.checks import require
from amc.data import ImageSet
from amc.errors import AmcError
from amc.precision import autocast, resolve_bf16
from amc.scoring import score

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


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum.

    Attributes:
        epochs: passes over the training images.
        lr: the schedule's highest learning rate.
        batch_size: images per step; what is left over at the end of an epoch is skipped.
        schedule: ``onecycle`` (up for 30 % of the steps, then down) or ``cosine`` (only down).
        label_smoothing: share of each label that is spread over all classes, in [0, 1).
        augment: ``none``, ``shift`` or ``flip_shift``, see :func:`amc.augment.augment`.
        bf16: ``True``, ``False``, or ``auto``: bf16 autocast where the hardware has it.

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

    def __post_init__(self) -> None:
        require("training.epochs", self.epochs, int, 1)
        require("training.lr", self.lr, float, 0, ends="(]")
        require("training.batch_size", self.batch_size, int, 2, hint=" (batch norm needs two values)")
        require("training.momentum", self.momentum, float, 0, 1, ends="()")
        require("training.weight_decay", self.weight_decay, float, 0)
        require("training.label_smoothing", self.label_smoothing, float, 0, 1, ends="[)")
        if self.bf16 != "auto":
            require("training.bf16", self.bf16, bool, hint=", or auto")
        for name, choices in (("schedule", tuple(SCHEDULES)), ("augment", AUGMENTATIONS)):
            if getattr(self, name) not in choices:
                raise AmcError(f"training.{name}={getattr(self, name)}: give {' or '.join(choices)}")


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. ``number`` counts from 1; accuracies are fractions, losses in nats."""

    number: int
    epochs: int
    train_loss: float
    val_accuracy: float | None
    val_loss: float | None
    lr: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """What a training did, epoch by epoch; ``seconds`` is its wall time."""

    history: tuple[Epoch, ...]
    seconds: float

    @property
    def last(self) -> Epoch:
        return self.history[-1]


def train(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet | None = None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainResult:
    """Trains ``model`` in place, on the device that holds the images, and leaves it in evaluation mode.

    Args:
        model: maps images ``[n, c, h, w]`` to logits ``[n, classes]``.
        train: at least two images.
        val: scored after every epoch; nothing is chosen by it.
        recipe: default: :class:`Recipe`.
        seed: of the order of images, augmentation and dropout; the global random state is left alone.
        on_epoch: called after every epoch.

    Raises:
        AmcError: fewer than two images, or a loss that is no longer finite.
    """
    recipe = recipe or Recipe()
    if len(train) < 2:
        raise AmcError(f"training: {len(train)} training image; give at least 2")
    started = time.perf_counter()
    model.to(train.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True, fused=True
    )
    schedule = _schedule(optimizer, recipe, _steps(train, recipe))
    generator = torch.Generator().manual_seed(seed)
    history: list[Epoch] = []
    cards = [train.device] if train.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(seed)  # of dropout
        for number in range(1, recipe.epochs + 1):
            begun, lr = time.perf_counter(), float(schedule.get_last_lr()[0])
            loss = _epoch(model, train, recipe, optimizer, schedule, generator)
            if not math.isfinite(loss):
                raise AmcError(
                    f"training: the loss is {loss} in epoch {number}; lower training.lr={recipe.lr}, "
                    "or check the images"
                )
            accuracy, val_loss = (None, None) if val is None else evaluate(model, val)
            seconds = time.perf_counter() - begun
            history.append(Epoch(number, recipe.epochs, loss, accuracy, val_loss, lr, seconds))
            if on_epoch is not None:
                on_epoch(history[-1])
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise AmcError(f"training: the last step made weights infinite or NaN; lower training.lr={recipe.lr}")
    model.eval()
    return TrainResult(tuple(history), time.perf_counter() - started)


def evaluate(model: nn.Module, images: ImageSet, *, batch_size: int = 250) -> tuple[float, float]:
    """Top-1 accuracy as a fraction and mean cross-entropy in nats, on the device that holds the images."""
    right, loss = score(model, images, batch_size)
    return int(right.sum()) / len(images), loss


def _epoch(
    model: nn.Module,
    images: ImageSet,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    generator: torch.Generator,
) -> float:
    """One pass; the mean loss, which is read once at the end so that a GPU never waits for it."""
    bf16 = resolve_bf16(recipe.bf16, images.device)
    total = torch.zeros((), device=images.device)
    size = min(recipe.batch_size, len(images))
    order = torch.randperm(len(images), generator=generator)
    model.train()
    for step in range(_steps(images, recipe)):
        chosen = order[step * size : (step + 1) * size].to(images.device)
        x = images.normalise(augment(images.images[chosen], recipe.augment, generator))
        with autocast(images.device, bf16):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), images.labels[chosen], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.detach()
    return float(total) / _steps(images, recipe)


def _steps(images: ImageSet, recipe: Recipe) -> int:
    return max(1, len(images) // recipe.batch_size)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> LambdaLR:
    shape = SCHEDULES[recipe.schedule]
    total = recipe.epochs * steps
    return LambdaLR(optimizer, lambda step: shape(step / total))
