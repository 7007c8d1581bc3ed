"""A set of labelled images, held in memory on the device that will use it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from amc.core.errors import AmcError
from amc.data.examples import Examples, Triple, scaled
from amc.data.loader import read_loader
from amc.data.order import fixed_order


@dataclass(frozen=True, eq=False)
class ImageSet(Examples):
    """Images and labels, in an order that mixes the classes, so that any prefix is a fair sample.

    Attributes:
        images: ``[n, c, h, w]``, uint8 in 0 … 255, or float32 that was normalised already.
        labels: ``[n]``, int64 in 0 … ``num_classes`` − 1.
        num_classes: how many classes there are.
        mean, std: per channel, for images scaled to [0, 1]; not used for float images.

    Raises:
        AmcError: no images, shapes or types that don't fit, labels out of range, NaN or infinite images.
    """

    images: Tensor
    labels: Tensor
    num_classes: int
    mean: Triple = (0.0,)
    std: Triple = (1.0,)

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise AmcError("images: the set is empty; give at least one image")
        if self.images.ndim != 4 or self.images.dtype not in (torch.uint8, torch.float32):
            raise AmcError(
                f"images: shape {tuple(self.images.shape)} of {self.images.dtype}; "
                "give [n, c, h, w] of uint8 or float32"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != torch.int64:
            raise AmcError(
                f"labels: shape {tuple(self.labels.shape)} of {self.labels.dtype}; give one int64 class index per image"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.num_classes:
            hint = ", without images whose label is negative" if low < 0 else ""
            raise AmcError(
                f"labels: {low} … {high} for {self.num_classes} classes; give 0 … {self.num_classes - 1}{hint}"
            )
        if self.images.is_floating_point() and not bool(torch.isfinite(self.images).all()):
            bad = int((~torch.isfinite(self.images)).flatten(1).any(1).nonzero()[0])
            raise AmcError(f"images: image {bad} holds NaN or infinite values; check where it comes from")

    @classmethod
    def from_loader(
        cls, loader: Iterable[tuple[Tensor, Tensor]], num_classes: int | None = None, name: str = "loader"
    ) -> ImageSet:
        """All images of a ``DataLoader`` that yields (images ``[b, c, h, w]``, labels ``[b]``), put in a mixed order.

        Args:
            loader: read once; its images are taken as normalised unless they are uint8.
            num_classes: default: the largest label + 1.
            name: its name in errors.

        Raises:
            AmcError: anything wrong in what it yields, see :func:`amc.data.loader.read_loader`.
        """
        images, labels = read_loader(loader, name)
        order = torch.from_numpy(fixed_order(len(labels)))
        classes = max(int(labels.max()) + 1, 1) if num_classes is None else num_classes
        try:
            return cls(images[order.to(images.device)], labels[order.to(labels.device)], classes)
        except AmcError as error:
            raise AmcError(f"{name}: {error}") from error

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def raw(self) -> Tensor:
        return self.images

    @property
    def answers(self) -> Tensor:
        return self.labels

    def to(self, device: torch.device | str) -> ImageSet:
        return self._with(images=self.images.to(device), labels=self.labels.to(device))

    def own(self) -> ImageSet:
        if not self.images.is_inference():
            return self
        return self._with(images=self.images.clone(), labels=self.labels.clone())

    def select(self, indices: Tensor) -> ImageSet:
        return self._with(images=self.images[indices], labels=self.labels[indices])

    def with_images(self, images: Tensor) -> ImageSet:
        """The same labels with other images, of the same type, ``[n, c, h, w]``."""
        return self._with(images=images)

    def take(self, n: int | None) -> ImageSet:
        return self if n is None or n >= len(self) else self._part(0, n)

    def normalised(self, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> Tensor:
        """All images as the network's input, ``[n, c, h, w]``."""
        images = self.images if self.images.is_floating_point() else scaled(self.images, self.mean, self.std)
        return images.to(dtype, memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def _part(self, start: int, stop: int) -> ImageSet:
        return self._with(images=self.images[start:stop], labels=self.labels[start:stop])

    def fingerprint(self) -> str:
        """A hash of the images, labels and normalisation: equal for equal sets, wherever they came from."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.num_classes, self.mean, self.std)).encode())
        for tensor in (self.images, self.labels):
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).view(np.uint8).data)
        return digest.hexdigest()
