"""A network and the images it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from amc.data import ImageSet, Splits

Images = ImageSet | DataLoader[Any]


def as_images(images: Images, device: torch.device) -> ImageSet:
    """The images on ``device``; a ``DataLoader`` is read once."""
    found = images if isinstance(images, ImageSet) else ImageSet.from_loader(images)
    return found.to(device)


@dataclass(frozen=True, eq=False)
class Task:
    """A network and the images it is for.

    Attributes:
        model: on the device of the images, in evaluation mode.
        splits: training, validation and test images.
        imported_weights: whether the weights come from elsewhere and may have seen every training image.
        source: where the weights come from, for people.
        description: what :func:`amc.models.build` takes to make the network, without its weights: ``target``, ``stem``
            and ``arguments``.
    """

    model: nn.Module
    splits: Splits
    imported_weights: bool
    source: str
    description: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """What ``summary.json`` says about weights and images."""
        splits = self.splits
        return {
            "weights": self.source,
            "dataset": splits.name,
            "val_from": splits.val_from,
            "images": {name: len(getattr(splits, name)) for name in ("train", "val", "test")},
        }
