"""Training epoch by epoch, resumable after any of them with exactly the same result."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from amc.core.checks import whole
from amc.core.device import autocast, resolve_bf16
from amc.core.errors import AmcError
from amc.core.types import Loss, Metrics
from amc.data import Examples, ImageSet
from amc.data.examples import Inputs, Targets
from amc.evaluation.losses import loss_name, mean_loss
from amc.evaluation.metrics import CLASSIFICATION, Criterion
from amc.evaluation.outputs import check_trainable
from amc.evaluation.scoring import measure
from amc.training.augment import augment
from amc.training.distillation import Teacher
from amc.training.recipe import SCHEDULES, Recipe
from amc.training.regularise import Penalty

CHECK_STEPS = 100  # between looks at the loss: a GPU waits for each


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. ``number`` counts from 1; ``val`` is ``None`` without validation images."""

    number: int
    epochs: int
    train_loss: float
    val: Metrics | None
    lr: float
    seconds: float

    def __str__(self) -> str:
        """One line, for a progress bar."""
        text = f"loss {self.train_loss:.3f}"
        return text if self.val is None else f"{text}, validation {self.val.metric} {self.val}"

    def to_json(self) -> dict[str, Any]:
        """Plain data, for ``train.json``."""
        val = {} if self.val is None else {f"val_{self.val.metric}": self.val.value, "val_loss": self.val.loss}
        return {
            "number": self.number, "epochs": self.epochs, "train_loss": self.train_loss, **val, "lr": self.lr,
            "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True)
class Objective:
    """What a training minimises.

    Attributes:
        criterion: the loss, and the metric that validation images are scored by.
        teacher: source of soft labels, besides the labels.
        penalty: added to the loss.
    """

    criterion: Criterion = CLASSIFICATION
    teacher: Teacher | None = None
    penalty: Penalty | None = None


class Trainer:
    """Trains a network in place, on the device that holds the images.

    ``trained`` is the network to use: the one given or, with a moving average, that of its weights.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Examples,
        val: Examples | None,
        recipe: Recipe,
        objective: Objective | None = None,
        seed: int = 0,
    ) -> None:
        """Args as in :func:`amc.training.fit.train`.

        Raises:
            AmcError: fewer than two images, a network that can't be trained on them, or labels to smooth with a loss
                that can't.
        """
        if len(train) < 2:
            raise AmcError(f"training: {len(train)} training image; give at least 2")
        self._objective = objective or Objective()
        check_trainable(model.to(train.device), train, self._objective.criterion)
        self._model = model.to(memory_format=torch.channels_last)
        self._train, self._val, self._recipe = train, val, recipe
        self._smoothing = smoothing_of(self._objective.criterion.loss, recipe.label_smoothing)
        self._optimizer = torch.optim.SGD(
            model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True, fused=True
        )
        self._steps = max(1, len(train) // recipe.batch_size)
        shape, total = SCHEDULES[recipe.schedule], recipe.epochs * self._steps
        self._schedule = LambdaLR(self._optimizer, lambda step: shape(step / total))
        self._generator = torch.Generator().manual_seed(seed)
        self._average = None
        if recipe.ema > 0:
            self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
        with torch.random.fork_rng(devices=self._cards()):
            torch.manual_seed(seed)
            self._random = self._global_state()  # of dropout
        self._done = 0

    @property
    def trained(self) -> nn.Module:
        return self._model if self._average is None else self._average.module

    @property
    def finished(self) -> bool:
        return self._done >= self._recipe.epochs

    def epoch(self) -> Epoch:
        """Trains for one epoch and scores the result on the validation images.

        Raises:
            AmcError: the loss or a weight is no longer finite.
        """
        begun, lr = time.perf_counter(), float(self._schedule.get_last_lr()[0])
        with self._own_random_state():
            loss = self._pass()
        self._done += 1
        if not all(bool(tensor.isfinite().all()) for tensor in self._model.state_dict().values()):
            raise self._diverged("weights became infinite or NaN")
        val = None
        if self._val is not None:
            val = measure(self.trained, self._val, 250, criterion=self._objective.criterion)
        return Epoch(self._done, self._recipe.epochs, loss, val, lr, time.perf_counter() - begun)

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`load_state` needs, plain data and tensors."""
        return {
            "epochs": self._done,
            "model": self._model.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": {k: v for k, v in self._schedule.state_dict().items() if k != "lr_lambdas"},
            "generator": self._generator.get_state(),
            "random": self._random,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resumes from the :meth:`state` of a trainer made in the same way."""
        self._model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict({**state["schedule"], "lr_lambdas": [None]})
        self._generator.set_state(state["generator"].cpu())
        self._random = [part.cpu() for part in state["random"]]
        self._done = whole(state["epochs"])

    def _pass(self) -> float:
        """One pass over the images; what does not fill a batch at its end is skipped. Returns the mean loss."""
        recipe, images = self._recipe, self._train
        bf16 = resolve_bf16(recipe.bf16, images.device)
        total = torch.zeros((), device=images.device)
        size = min(recipe.batch_size, len(images))
        order = torch.randperm(len(images), generator=self._generator)
        self._model.train()
        for step in range(self._steps):
            chosen = order[step * size : (step + 1) * size].to(images.device)
            some = images.select(chosen)
            if isinstance(some, ImageSet) and recipe.augment != "none":
                some = some.with_images(augment(some.images, recipe.augment, self._generator))
            loss = self._loss(some.normalised(), some.answers, bf16)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._schedule.step()
            if self._average is not None:
                self._average.update_parameters(self._model)
            total += loss.detach()
            if step % CHECK_STEPS == CHECK_STEPS - 1 or step == self._steps - 1:
                mean = float(total) / (step + 1)
                if not math.isfinite(mean):
                    raise self._diverged(f"the loss is {mean}")
        return mean

    def _loss(self, x: Inputs, targets: Targets, bf16: bool) -> torch.Tensor:
        objective = self._objective
        with autocast(self._train.device, bf16):
            outputs = objective.criterion.judged(self._model, x) if objective.criterion.has_loss else None
        if outputs is None:
            loss, _ = objective.criterion.objective(self._model, x, targets)
        else:
            loss = mean_loss(objective.criterion.loss, outputs, targets, **self._smoothing)
            if objective.teacher is not None:
                loss = objective.teacher.loss(x, targets, outputs, loss)
        total: torch.Tensor = loss if objective.penalty is None else loss + objective.penalty(self._model)
        return total

    def _diverged(self, what: str) -> AmcError:
        return AmcError(
            f"training: {what} in epoch {self._done + 1}; lower the learning rate, now up to {self._recipe.lr:g}, "
            "or check the images"
        )

    def _cards(self) -> list[torch.device]:
        return [self._train.device] if self._train.device.type == "cuda" else []

    def _global_state(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(card) for card in self._cards())]

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Uses this training's random state globally in the block, then restores the previous one."""
        with torch.random.fork_rng(devices=self._cards()):
            torch.set_rng_state(self._random[0])
            for card, state in zip(self._cards(), self._random[1:], strict=True):
                torch.cuda.set_rng_state(state, card)
            yield
            self._random = self._global_state()


def smoothing_of(loss: Loss, label_smoothing: float) -> dict[str, float]:
    """The keyword that smooths labels. Raises ``AmcError`` if ``loss`` has none."""
    if label_smoothing == 0:
        return {}
    if "label_smoothing" not in inspect.signature(loss).parameters:
        raise AmcError(
            f"training.label_smoothing={label_smoothing:g}: {loss_name(loss)} has no labels to smooth; give 0"
        )
    return {"label_smoothing": label_smoothing}
