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

Images = ImageSet | DataLoader[Any]


@dataclass(frozen=True, eq=False)
class Task:
    """A trained network with its images.

    Attributes:
        name: of the network; in a joint search, also of its folder.
        model: its weights are left as they are.
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
        """A task from image sets or loaders of ``(images, labels)``; a loader is read once."""
        return cls(name, model, as_images(train), as_images(val), None if test is None else as_images(test), **more)

    def on(self, device: torch.device) -> Task:
        """The same on ``device``, loaders read into memory; the network itself is moved, not copied."""
        test = None if self.test is None else as_images(self.test).to(device)
        train, val = (as_images(images).to(device) for images in (self.train, self.val))
        return replace(self, model=self.model.to(device), train=train, val=val, test=test)


def as_images(images: Images) -> ImageSet:
    """The images in memory; a ``DataLoader`` is read once."""
    return images if isinstance(images, ImageSet) else ImageSet.from_loader(images)
