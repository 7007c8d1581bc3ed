"""A user's loader → images and labels, every batch checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from amc.core.errors import AmcError, first_line

PAIR = "it must yield (images [b, c, h, w], labels [b]) tensors"
MOST_IMAGES = 2_000_000  # of a loader that doesn't know its length; ImageNet has 1.3 million
SHOWN = 4  # items of a batch that are named
MEMORY_SHARE = 0.8  # of the machine's, that images may take


def read_loader(loader: Iterable[Any], name: str) -> tuple[Tensor, Tensor]:
    """All images and labels in the loader's order: uint8 or float32 ``[n, c, h, w]``, and int64 ``[n]``.

    Raises:
        AmcError: no loader, an empty or endless one, batches that are no such pairs, labels that are no class indices,
            images of several shapes, or whatever goes wrong in its own code.
    """
    images: list[Tensor] = []
    labels: list[Tensor] = []
    held = 0
    for x, y in _pairs(loader, name):
        images.append(pixels(x, name, held))
        labels.append(class_indices(y, len(x), name))
        if images[-1].shape[1:] != images[0].shape[1:] or images[-1].dtype != images[0].dtype:
            shapes = " and ".join(f"{tuple(part.shape[1:])} of {part.dtype}" for part in (images[0], images[-1]))
            raise AmcError(f"{name}: yields images of several shapes or types, {shapes}; make them alike")
        held += len(x)
        check_amount(loader, name, held, images[-1])
    if not held:
        raise AmcError(f"{name}: the set is empty; give at least one image")
    return torch.cat(images), torch.cat(labels)


def _pairs(loader: Iterable[Any], name: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Its batches as (images, labels), whatever types the two have."""
    refuse_dataset(loader, name)
    try:
        for batch in loader:
            yield _pair(batch, name)
    except AmcError:
        raise
    except Exception as error:  # the loader's own code may raise anything
        raise AmcError(f"{name}: reading it failed ({said_by(error)}); {PAIR}") from error


def refuse_dataset(loader: object, name: str) -> None:
    """Raises ``AmcError`` for a ``Dataset`` in the place of a loader."""
    if isinstance(loader, Dataset):
        raise AmcError(f"{name}: is a {type(loader).__name__}; give a DataLoader of it, with a batch size")


def said_by(error: Exception) -> str:
    """One line of what a loader's own code raised."""
    text = str(error).strip()
    # What a worker process raised comes with its whole traceback.
    return text.splitlines()[-1] if "Traceback" in text else f"{type(error).__name__}: {first_line(error)}"


def _pair(batch: Any, name: str) -> tuple[Tensor, Tensor]:
    if isinstance(batch, Mapping):
        keys = ", ".join(repr(key) for key in batch)
        raise AmcError(
            f"{name}: yields a {type(batch).__name__} with {keys}; {PAIR}, which a collate_fn can make of it"
        )
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        x, y = batch
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return x, y
        if isinstance(y, (tuple, list)) and y and isinstance(y[0], str):
            raise AmcError(f"{name}: labels are text, such as {y[0]!r}; give the number of each class, 0, 1, 2 …")
    if isinstance(batch, (tuple, list)):
        kinds = ", ".join([type(item).__name__ for item in batch[:SHOWN]] + ["…"] * (len(batch) > SHOWN))
        raise AmcError(f"{name}: yields {len(batch)} items ({kinds}); {PAIR}")
    raise AmcError(f"{name}: yields {type(batch).__name__}; {PAIR}")


def pixels(images: Tensor, name: str, before: int) -> Tensor:
    """uint8 or float32; ``before`` counts the images of earlier batches."""
    shape = list(images.shape)
    if images.ndim != 4:
        hint = "; x[:, None] adds the channel of grey images" if images.ndim == 3 else ""
        raise AmcError(f"{name}: images have the shape {shape}, needed is [b, c, h, w]{hint}")
    if not (images.is_floating_point() or images.dtype == torch.uint8) or images.layout != torch.strided:
        raise AmcError(
            f"{name}: images are {images.dtype}, {images.layout}; give uint8 in 0 … 255, or floats that are normalised"
        )
    if images.dtype == torch.uint8:
        return images
    bad = (~torch.isfinite(images)).flatten(1).any(1).nonzero()
    if len(bad):
        raise AmcError(f"{name}: image {before + int(bad[0])} holds NaN or infinite values; check where it comes from")
    return images.float()


def class_indices(labels: Tensor, images: int, name: str) -> Tensor:
    """Labels as int64 ``[n]``, one for each of ``images``. Raises ``AmcError`` that says what to do."""
    shape, one = list(labels.shape), "needed is one class index for each image, [b]"
    if labels.ndim == 2 and labels.shape[1] == 1:
        raise AmcError(f"{name}: labels have the shape {shape}, {one}; give labels.squeeze(1)")
    if labels.ndim == 2 and is_one_hot(labels):
        raise AmcError(
            f"{name}: labels are one-hot, of the shape {shape}, {one}; give labels.argmax(1), or task=multilabel"
        )
    if labels.ndim != 1:
        raise AmcError(f"{name}: labels have the shape {shape}, {one}; for targets of another kind give another task=")
    if len(labels) != images:
        raise AmcError(f"{name}: yields {images} images with {len(labels)} labels; give one for each")
    if labels.is_floating_point() or labels.is_complex():
        example = f", such as {labels[0].item():g}" if len(labels) and not labels.is_complex() else ""
        raise AmcError(
            f"{name}: labels are {labels.dtype}{example}; class indices are whole numbers: give labels.long()"
        )
    return labels.long()


def is_one_hot(labels: Tensor) -> bool:
    """Whether each row ``[n, classes]`` has a single 1, and else 0."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def check_amount(loader: Iterable[Any], name: str, held: int, last: Tensor) -> None:
    """Stops at an endless loader, and before the machine's memory is full. Raises ``AmcError``."""
    if held > MOST_IMAGES and _length(loader) is None:
        raise AmcError(
            f"{name}: has yielded {held} images and has no length; if it is endless, give one that ends, such as "
            "itertools.islice(loader, 100)"
        )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = held * last[:1].nbytes
    if last.device.type == "cpu" and needed > MEMORY_SHARE * memory:
        raise AmcError(
            f"{name}: {held} images already take {needed / 2**30:.0f} GiB of {memory / 2**30:.0f} GiB memory, in which "
            "all must fit; give fewer, smaller or uint8 ones"
        )


def _length(loader: Iterable[Any]) -> int | None:
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, AttributeError, NotImplementedError):
        return None
