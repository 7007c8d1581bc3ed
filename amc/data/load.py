"""Data sets by name, split so that training, validation and test images never overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amc.core.checks import refuse_unknown
from amc.core.errors import AmcError
from amc.core.files import cache_folder
from amc.core.values import Kind, Nullable, OneOf, Text, Whole, check_all
from amc.data.decode import Progress, as_images
from amc.data.examples import Examples, Triple
from amc.data.form import KINDS as LOOKS
from amc.data.form import Form, Size, statistics
from amc.data.images import ImageSet
from amc.data.order import fixed_order
from amc.data.sources import FolderSource, Indices, Source, cifar10_download, digits

DIGITS_STATS = ((0.305,) * 3, (0.376,) * 3)
VAL_FROM = ("auto", "train", "test", "val")
NAMES = ("digits", "cifar10", "imagenet", "imagefolder")
SOME_IMAGES = Nullable(Whole())
KINDS: dict[str, Kind] = {
    "name": OneOf(names=NAMES),
    "root": Text(also=(None,), what="a folder"),
    "val_from": OneOf(names=VAL_FROM),
    "train_images": SOME_IMAGES,
    "val_images": SOME_IMAGES,
    "test_images": SOME_IMAGES,
    **LOOKS,
}


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: ``train`` to fit weights, ``val`` to score plans, ``test`` for the report alone.

    Attributes:
        val_from: where validation images come from: ``train`` (taken out of the training images), ``test`` (one fixed
            half of the test images; ``test`` is the other) or ``val`` (a folder of its own).
        origins: split → where its images come from, for people, where that is not clear from ``val_from``.
        num_classes: of the labels; ``None`` where there are none.
    """

    name: str
    train: Examples
    val: Examples
    test: Examples | None
    num_classes: int | None
    val_from: str
    origins: Mapping[str, str] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Splits:
        test = None if self.test is None else self.test.to(device)
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=test)


@dataclass(frozen=True)
class Limits:
    """Largest number of images used of each split; ``None``: all."""

    train_images: int | None = None
    val_images: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        check_all("dataset", vars(self), KINDS)


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    val_from: str = "auto",
    imported_weights: bool = False,
    train_images: int | None = None,
    val_images: int | None = None,
    test_images: int | None = None,
    image_size: int | Size | None = None,
    fit: str = "crop",
    channels: int = 3,
    mean: Triple | None = None,
    std: Triple | None = None,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    **unknown: Any,
) -> Splits:
    """Loads ``digits``, ``cifar10``, ``imagenet`` or ``imagefolder`` into memory.

    The splits depend on the data alone, not on a seed. Each is in an order that mixes the classes.

    Args:
        name: which data set.
        root: folder with ``train/`` and ``test/`` (or ``val/``), each with a folder per class. Not for digits;
            without it cifar10 is downloaded.
        val_from: ``train``, ``test`` or ``val``, see :class:`Splits`. ``auto``: ``val`` where imagefolder has both
            ``val/`` and ``test/``; else ``test`` with imported weights, because these have seen all training
            images, and ``train`` without.
        imported_weights: whether the weights to be judged were trained elsewhere.
        train_images, val_images, test_images: at most so many of each. ``val_images`` is needed for ``val_from=train``.
        image_size: height and width, or both in one number, to resize image files to.
        fit, channels: how, and whether in colour, see :class:`amc.data.form.Form`. Grey images (``channels=1``) may
            have 16 bits; they are normalised once and held as float32.
        mean, std: normalisation per channel, of images in [0, 1]; default: ImageNet's, or for digits their own.
        cache_dir: see :func:`amc.core.files.cache_folder`.
        progress: called with (files decoded, files) while image files are read.
        **unknown: refused.

    Raises:
        AmcError: unknown name or setting, a value of the wrong type or range, missing folder, empty class, broken
            image, or more validation images than there are.
    """
    refuse_unknown("dataset", unknown, KINDS)
    check_all("dataset", {"val_from": val_from}, KINDS)
    form = Form.of(image_size, fit, channels)
    if name == "digits":
        mean, std = mean or DIGITS_STATS[0], std or DIGITS_STATS[1]
    stats = statistics(mean, std, form.channels)
    limits = Limits(train_images, val_images, test_images)
    train, test, val = _sources(name, root, form, cache_folder(cache_dir), progress)
    if val_from == "auto":
        val_from = "val" if val is not None else "test" if imported_weights else "train"
    if val_from == "train":
        first, rest = _divide(train, limits.val_images, limits.train_images, stats)
        return Splits(name, rest, first, _whole(test, limits.test_images, stats), len(train.classes), val_from)
    whole = _whole(train, limits.train_images, stats)
    if val_from == "test":
        first, rest = _halve(test, limits.val_images, limits.test_images, stats)
        return Splits(name, whole, first, rest, len(train.classes), val_from)
    if val is None:
        raise AmcError(
            "dataset.val_from=val: needs dataset=imagefolder with train/, val/ and test/; give train or test"
        )
    tested = _whole(test, limits.test_images, stats)
    return Splits(name, whole, _whole(val, limits.val_images, stats), tested, len(train.classes), val_from)


def _sources(
    name: str, root: str | Path | None, form: Form, cache_dir: Path, progress: Progress | None
) -> tuple[Source, Source, Source | None]:
    """Training, test and, if it has a folder of its own, validation source."""
    if name == "digits":
        return (*digits(), None)
    if name == "cifar10" and root is None:
        return (*cifar10_download(cache_dir), None)
    if name not in LAYOUTS:
        raise AmcError(f"dataset={name}: unknown; give one of digits, {', '.join(LAYOUTS)}")
    if root is None:
        raise AmcError(f"dataset={name}: needs dataset.root=FOLDER. {LAYOUTS[name][1]}")
    return _folders(
        name,
        Path(root).expanduser(),
        lambda folder, classes: FolderSource.open(folder, form, cache_dir, progress, classes),
    )


# The folders that can hold the test images, in order of preference, and what to tell users about the layout.
LAYOUTS = {
    "cifar10": (("test",), "CIFAR-10 needs train/ and test/ with a folder per class."),
    "imagenet": (("val",), "ImageNet needs train/ and val/ with a folder per class."),
    "imagefolder": (("test", "val"), "An image folder needs train/ and test/ (or val/) with a folder per class."),
}


def _folders(
    name: str, root: Path, open_folder: Callable[[Path, tuple[str, ...] | None], FolderSource]
) -> tuple[Source, Source, Source | None]:
    test_names, layout = LAYOUTS[name]
    if not root.is_dir():
        raise AmcError(f"dataset.root={root}: no such folder. {layout}")
    held = [folder for folder in test_names if (root / folder).is_dir()]
    for folder, there in (("train", (root / "train").is_dir()), (test_names[0], bool(held))):
        if not there:
            raise AmcError(f"dataset.root={root}: no folder {folder!r}. {layout}")
    train = open_folder(root / "train", None)
    others = [replace(open_folder(root / folder, train.classes), like=train.files[0]) for folder in held]
    return train, others[0], others[1] if len(others) > 1 else None


def _divide(
    source: Source, first: int | None, rest: int | None, stats: tuple[Triple, Triple]
) -> tuple[ImageSet, ImageSet]:
    """The first ``first`` images in the fixed order, and at most ``rest`` of those after them."""
    if first is None:
        raise AmcError("dataset.val_images=null: how many training images to validate on? give a number")
    n = len(source.labels)
    if first >= n:
        raise AmcError(f"dataset.val_images={first}: there are only {n} images to take them from; give fewer")
    both = _fetch(source, fixed_order(n)[: None if rest is None else first + rest], stats)
    return _part(both, 0, first), _part(both, first, len(both))


def _halve(
    source: Source, first: int | None, rest: int | None, stats: tuple[Triple, Triple]
) -> tuple[ImageSet, ImageSet]:
    """At most ``first`` images of one half and at most ``rest`` of the other, each in the fixed order."""
    order = fixed_order(len(source.labels))
    half = len(order) // 2
    if half == 0:
        raise AmcError("dataset.val_from=test: one test image can't be halved; give dataset.val_from=train")
    chosen = np.concatenate([order[:half][:first], order[half:][:rest]])
    both = _fetch(source, chosen, stats)
    middle = len(order[:half][:first])
    return _part(both, 0, middle), _part(both, middle, len(both))


def _whole(source: Source, limit: int | None, stats: tuple[Triple, Triple]) -> ImageSet:
    return _fetch(source, fixed_order(len(source.labels))[:limit], stats)


def _fetch(source: Source, indices: Indices, stats: tuple[Triple, Triple]) -> ImageSet:
    images, mean, _ = as_images(source.fetch(indices), *stats)
    labels = torch.from_numpy(source.labels[indices])
    if mean is None:
        return ImageSet(images, labels, len(source.classes))
    return ImageSet(images, labels, len(source.classes), *stats)


def _part(images: ImageSet, start: int, stop: int) -> ImageSet:
    part = slice(start, stop)
    return ImageSet(images.images[part], images.labels[part], images.num_classes, images.mean, images.std)
