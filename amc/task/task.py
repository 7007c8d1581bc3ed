"""A network and its images: the input of every command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from amc.data import ImageSet
from amc.evaluation.metrics import CLASSIFICATION, Criterion, Metric
from amc.models.given import check_model
from amc.task.checks import checked

Images = ImageSet | DataLoader[Any]


@dataclass(frozen=True, eq=False)
class Task:
    """A trained network with its images.

    Attributes:
        name: of the network; in a joint search, also of its folder.
        model: left as it is; :meth:`on` makes the copy that is worked with.
        train: calibration images for importance and recovery; training images of fine-tuning.
        val: images that plans are scored on.
        test: images for the final report only.
        description: how the network is built, see :func:`amc.pruning.saved.save_pruned`.
        config: of this network alone, for commands that continue from its folder.
        facts: further entries for its ``summary.json``.
        criterion: metric and loss of its predictions.
    """

    name: str
    model: nn.Module
    train: ImageSet
    val: ImageSet
    test: ImageSet | None = None
    description: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    criterion: Criterion = CLASSIFICATION

    @property
    def metric(self) -> Metric:
        """Metric of its predictions."""
        return self.criterion.metric

    @classmethod
    def make(
        cls, name: str, model: nn.Module, train: Images, val: Images, test: Images | None = None, **more: Any
    ) -> Task:
        """A task from image sets or loaders of ``(images, labels)``; a loader is read once.

        Raises:
            AmcError: a network that can't be pruned, or a loader that yields something else.
        """
        check_model(model)
        tested = None if test is None else as_images(test, "test")
        return cls(name, model, as_images(train, "train"), as_images(val, "val"), tested, **more)

    def on(self, device: torch.device) -> Task:
        """The same on ``device``, loaders read, with a copy of the network; see :func:`amc.task.checks.checked`.

        Raises:
            AmcError: network, images and labels don't fit together; says what came, what is needed and what to do.
        """
        given = {"train": self.train, "val": self.val, **({} if self.test is None else {"test": self.test})}
        images = {name: as_images(split, name).to(device) for name, split in given.items()}
        model, fitting = checked(self.model, images, self.criterion, device)
        return replace(self, model=model, train=fitting["train"], val=fitting["val"], test=fitting.get("test"))


def as_images(images: Images, name: str = "loader") -> ImageSet:
    """The images in memory; a ``DataLoader`` is read once. ``name`` is its name in errors."""
    if not isinstance(images, ImageSet):
        return ImageSet.from_loader(images, name=name)
    if images.images.is_inference():  # nothing could be trained on them
        return replace(images, images=images.images.clone(), labels=images.labels.clone())
    return images
