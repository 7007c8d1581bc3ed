"""Images with a class for each pixel, from folders of images and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from amc.core.checks import shown
from amc.core.errors import AmcError
from amc.core.memory import require_memory
from amc.core.values import Flag, Kind, Nullable, Whole, check_all
from amc.data.decode import Picture, for_each, opened, size_of
from amc.data.form import Form
from amc.data.parts import ROLES, Division, Rule, divide, given_folder, part_folders
from amc.data.readers.common import ExampleSplits, Look, Work, image_sets, splits_of
from amc.data.sources import image_files

NAME = "segmentation_folder"
IGNORE = 255  # in files: pixels of this value are neither trained on nor scored
IGNORED = -100  # the same in targets, as torch's losses have it
BYTES = 8  # of a pixel's target, which torch's losses take as int64
MODES = ("1", "L", "P")  # Pillow's modes whose numbers are class indices
LAYOUT = "It needs images/ and masks/ with files of the same names, each in train/, val/ and test/ or in one folder."
KINDS: dict[str, Kind] = {"num_classes": Nullable(Whole(low=2, high=IGNORE)), "binary": Flag()}


@dataclass(frozen=True)
class Masks:
    """What the numbers in masks mean.

    Attributes:
        num_classes: default: the largest class in any mask + 1.
        binary: every value but 0 is class 1, nothing is ignored.
    """

    num_classes: int | None = None
    binary: bool = False

    def __post_init__(self) -> None:
        check_all("dataset", vars(self), KINDS)


@dataclass(frozen=True)
class Masked:
    """An image, and the image whose pixels are the classes of its own."""

    image: Picture
    mask: Picture


def read_segmentation(
    path: str | Path,
    rule: Rule | None = None,
    look: Look | None = None,
    masks: Masks | None = None,
    work: Work | None = None,
) -> ExampleSplits:
    """Reads ``images/`` and ``masks/``; files with the same name before the suffix belong together.

    Both hold ``train/``, ``val/`` and ``test/`` (or two of them), or the files themselves; or there are ``train/`` …
    that hold ``images/`` and ``masks/``. Masks are PNG files of class indices, grey or with a palette; 255 is ignored.
    Inputs are images ``[n, c, h, w]``, targets int64 masks ``[n, h, w]``, −100 where
    they are ignored.

    Args:
        path: the folder.
        rule: how examples are divided.
        look: how images are shown to the network; masks go with them, by nearest pixels, and a border is ignored.
        masks: what their numbers mean.
        work: cache and progress.

    Raises:
        AmcError: an image without mask or the other way round, a mask of another size or of colours, a class beyond
            ``num_classes``, anything that :func:`amc.data.parts.divide` or the decoding of images refuses.
    """
    folder = given_folder(path, NAME, LAYOUT)
    division = divide({role: _pairs(*both) for role, both in _folders(folder).items()}, rule or Rule())
    return masked_splits(NAME, division, look or Look(), masks or Masks(), work or Work())


def masked_splits(name: str, division: Division[Masked], look: Look, masks: Masks, work: Work) -> ExampleSplits:
    """Decodes images and masks; arguments and errors as of :func:`read_segmentation`."""
    form = look.form
    pictures = {role: [pair.image for pair in division.examples[role]] for role in ROLES}
    targets = {role: read_masks(division.examples[role], form, masks.binary) for role in ROLES}
    largest = {role: _largest(held) for role, held in targets.items()}
    classes = max(largest.values()) + 1 if masks.num_classes is None else masks.num_classes
    if classes < 2:
        raise AmcError(
            f"dataset={name}: masks hold class 0 and ignored pixels (255) alone; "
            "give dataset.binary=true if 255 is a class"
        )
    for role, held in targets.items():
        if largest[role] >= classes:
            row = int((held.flatten(1) * (held.flatten(1) != IGNORE)).amax(1).argmax())
            mask = division.examples[role][row].mask
            raise AmcError(
                f"{shown('dataset.num_classes', classes)}: mask {mask} holds the class {largest[role]}; give more"
            )
    wide = {role: held.long().masked_fill_(held == IGNORE, IGNORED) for role, held in targets.items()}
    return splits_of(name, image_sets(pictures, wide, look, work), division, num_classes=classes)


def read_masks(pairs: Sequence[Masked], form: Form, binary: bool = False) -> torch.Tensor:
    """The masks, uint8 ``[n, h, w]``, placed as their images.

    Raises:
        AmcError: a mask that can't be read, of colours, or of another size than its image or than the first.
    """
    first = _mask(pairs[0], form, binary)
    height, width = first.shape
    needed = len(pairs) * first.size * (1 + BYTES)
    require_memory(f"{len(pairs)} masks of {width}×{height} pixels", needed, "give fewer, or a smaller image_size")
    masks = np.empty((len(pairs), height, width), dtype=np.uint8)

    def work(row: int) -> None:
        mask = _mask(pairs[row], form, binary)
        if mask.shape != first.shape:
            sizes = [f"{one.shape[1]}×{one.shape[0]}" for one in (mask, first)]
            raise AmcError(
                f"mask {pairs[row].mask}: {sizes[0]} pixels, {pairs[0].mask} has {sizes[1]}; give dataset.image_size"
            )
        masks[row] = mask

    for_each(len(pairs), work)
    return torch.from_numpy(masks)


def _mask(pair: Masked, form: Form, binary: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    mask, size = opened(pair.mask), size_of(pair.image)
    if mask.mode not in MODES:
        raise AmcError(
            f"mask {pair.mask}: is an image of colours or more than 8 bits (mode {mask.mode}); "
            "give a PNG whose pixels are class indices, grey or with a palette"
        )
    if mask.size != size:
        sizes = ["×".join(map(str, one)) for one in (mask.size, size)]
        raise AmcError(f"mask {pair.mask}: {sizes[0]} pixels, its image has {sizes[1]}; make them equal")
    indices = np.asarray(mask).astype(np.uint8)
    if binary:
        indices = (indices > 0).astype(np.uint8)
    placement = form.place(*size)
    return np.asarray(placement.image(Image.fromarray(indices), Image.Resampling.NEAREST, IGNORE))


def _largest(masks: torch.Tensor) -> int:
    """The largest class that isn't ignored; 0 if there is none."""
    counts = torch.bincount(masks.flatten(), minlength=IGNORE + 1)[:IGNORE].nonzero()
    return int(counts.max()) if len(counts) else 0


def _folders(folder: Path) -> Mapping[str, tuple[Path, Path]]:
    """Role → folder of images, folder of masks."""
    outer = part_folders(folder)
    if outer:
        found = {role: (part / "images", part / "masks") for role, part in outer.items()}
    else:
        images, masks = folder / "images", folder / "masks"
        inner = part_folders(images) if images.is_dir() else {}
        found = {role: (part, masks / part.name) for role, part in inner.items()} or {"train": (images, masks)}
    for both in found.values():
        for needed in both:
            if not needed.is_dir():
                raise AmcError(f"{needed}: no such folder. {LAYOUT}")
    return found


def _pairs(images: Path, masks: Path) -> list[Masked]:
    """Images with their masks, in the order of their names."""
    by_name = {file.relative_to(masks).with_suffix(""): file for file in image_files(masks)}
    found = []
    for image in image_files(images):
        mask = by_name.pop(image.relative_to(images).with_suffix(""), None)
        if mask is None:
            raise AmcError(f"image {image}: no mask of this name in {masks}; add it or remove the image")
        found.append(Masked(image, mask))
    for mask in by_name.values():
        raise AmcError(f"mask {mask}: no image of this name in {images}; add it or remove the mask")
    return found
