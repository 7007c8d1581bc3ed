"""Image sources. A source knows its labels at once and fetches pixels by index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from amc.core.errors import AmcError
from amc.data.decode import Picture, Pixels, Progress, check_like, decode_cached
from amc.data.form import Form
from amc.data.order import fixed_order

Indices = npt.NDArray[np.int64]
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


class Source(Protocol):
    """``labels`` is ``[n]`` int64; ``classes`` the class names; ``fetch`` gives pixels ``[len(indices), c, h, w]``."""

    @property
    def labels(self) -> Indices: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def fetch(self, indices: Indices) -> Pixels: ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Pixels that are in memory already, ``[n, c, h, w]``."""

    pixels: Pixels
    labels: Indices
    classes: tuple[str, ...]

    def fetch(self, indices: Indices) -> Pixels:
        return self.pixels[indices]


@dataclass(frozen=True, eq=False)
class FolderSource:
    """A folder with a folder of image files per class; files are decoded when fetched."""

    files: tuple[Path, ...]
    labels: Indices
    classes: tuple[str, ...]
    form: Form
    cache_dir: Path
    progress: Progress | None = None
    like: Picture | None = None  # an image of another split, whose size and depth these must have

    @classmethod
    def open(
        cls,
        folder: Path,
        form: Form,
        cache_dir: Path,
        progress: Progress | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> FolderSource:
        """Lists the files; nothing is decoded yet.

        Args:
            folder: holds the class folders.
            form, progress: see :func:`amc.data.decode.decode`.
            cache_dir: where decoded images are kept.
            classes: the class folders that must be there, default: those that are.

        Raises:
            AmcError: fewer than two class folders, an empty one, other classes than ``classes``, something that is no
                file among the images, or a folder that can't be read.
        """
        found = _class_folders(folder)
        if classes is not None and found != classes:
            odd = min(set(found) ^ set(classes))
            raise AmcError(
                f"{folder}: class folder {odd!r} is not in both this and the training folder; make them equal"
            )
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(found):
            images = image_files(folder / name)
            files += images
            labels += [label] * len(images)
        return cls(tuple(files), np.array(labels, dtype=np.int64), found, form, cache_dir, progress)

    def fetch(self, indices: Indices) -> Pixels:
        chosen = [self.files[i] for i in indices]
        pixels = decode_cached(chosen, self.form, self.cache_dir, self.progress)
        if self.like is not None:
            check_like(pixels, chosen[0], self.like, self.form)
        return pixels


def _class_folders(folder: Path) -> tuple[str, ...]:
    try:
        found = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    except OSError as error:
        raise AmcError(f"{folder}: can't be read ({error.strerror}); give a folder that can") from error
    if not found:
        raise AmcError(f"{folder}: no class folders; put each class's images in a folder of its own")
    if len(found) == 1:
        raise AmcError(f"{folder}: only one class folder, {found[0]!r}; images of two or more classes are needed")
    return found


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and those below it, in a fixed order.

    Raises:
        AmcError: there are none, or one is no regular file.
    """
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    for path in images:
        if not path.is_file():  # to read a pipe, a socket or a device could take forever
            raise AmcError(f"image {path}: is no file but a pipe, socket, device or broken link; remove it")
    if not images:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise AmcError(f"{folder}: no images ({kinds}); add some or remove the folder")
    return images


def digits() -> tuple[ArraySource, ArraySource]:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels: 1,437 to train and validate on, 360 to test on."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The file is ordered by writer: cut as it stands, the test images would be other hands than the validation images.
    order = fixed_order(len(bunch.target))
    grey = np.rint(bunch.images[order] * (255 / 16)).astype(np.uint8)  # [n, 8, 8], values 0 … 16 in the file
    pixels = np.repeat(grey[:, None], 3, axis=1)
    labels = bunch.target[order].astype(np.int64)
    classes = tuple(str(c) for c in range(10))
    first = 1437
    return ArraySource(pixels[:first], labels[:first], classes), ArraySource(pixels[first:], labels[first:], classes)


def cifar10_download(cache_dir: Path) -> tuple[ArraySource, ArraySource]:
    """CIFAR-10 as torchvision downloads it: 50,000 training and 10,000 test images of 32×32.

    Raises:
        AmcError: it isn't in ``cache_dir`` and can't be downloaded.
    """
    from torchvision.datasets import CIFAR10

    sources = []
    for train in (True, False):
        try:
            data = CIFAR10(cache_dir / "cifar10", train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise AmcError(
                f"dataset=cifar10: can't be downloaded ({error}); give dataset.root=FOLDER with train/ and test/, "
                "each with a folder per class"
            ) from error
        pixels = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
        sources.append(ArraySource(pixels, np.array(data.targets, dtype=np.int64), tuple(data.classes)))
    return sources[0], sources[1]
