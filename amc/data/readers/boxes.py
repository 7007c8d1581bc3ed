"""Images with boxes: what COCO's and Pascal VOC's files become."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from amc.core.errors import AmcError
from amc.data.decode import size_of
from amc.data.form import Boxes, Form
from amc.data.parts import ROLES, Division
from amc.data.readers.common import ExampleSplits, Look, Work, image_sets, splits_of

FITS = ("pad", "stretch")
UNIT = ((0.0,), (1.0,))  # detectors of torchvision normalise by themselves and take images in [0, 1]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Boxed:
    """An image with its boxes.

    Attributes:
        image: the file.
        boxes: float32 ``[k, 4]``: x1, y1, x2, y2 in pixels from the upper left corner.
        labels: ``[k]``: 1 … classes; 0 is the background.
        source: file that the boxes come from, for errors.
    """

    image: Path
    boxes: Boxes
    labels: tuple[int, ...]
    source: Path


def boxed_splits(name: str, division: Division[Boxed], classes: Sequence[str], look: Look, work: Work) -> ExampleSplits:
    """Images ``[n, c, h, w]``, in [0, 1] unless ``look`` has mean and std, with a dict of boxes and labels for each.

    Boxes are clipped to the image, and go with it when it is resized; those without area are left out, with a warning.

    Args:
        name: of the reader.
        division: the examples.
        classes: names of the classes 1 … K.
        look: how images are shown to the network; a crop would lose boxes and is refused.
        work: cache and progress.

    Raises:
        AmcError: no class, a ``fit`` that loses boxes, or what the decoding of images refuses.
    """
    if look.fit not in FITS:
        raise AmcError(f"dataset.fit={look.fit}: would cut boxes off; give one of {', '.join(FITS)}")
    if not classes:
        raise AmcError(f"dataset={name}: there are no boxes at all; check its annotations")
    if look.mean is None and look.std is None:
        look = replace(look, mean=UNIT[0] * look.channels, std=UNIT[1] * look.channels)
    pictures: dict[str, list[Path]] = {role: [one.image for one in division.examples[role]] for role in ROLES}
    targets = {role: tuple(_target(one, look.form) for one in division.examples[role]) for role in ROLES}
    lost = sum(len(one.labels) for role in ROLES for one in division.examples[role])
    lost -= sum(len(target["labels"]) for found in targets.values() for target in found)
    if lost:
        log.warning("dataset=%s: %d boxes without area inside their images are left out", name, lost)
    sets = image_sets(pictures, targets, look, work)
    return splits_of(name, sets, division, classes, num_classes=len(classes) + 1)


def _target(example: Boxed, form: Form) -> Mapping[str, torch.Tensor]:
    """``boxes`` float32 ``[k, 4]`` and ``labels`` int64 ``[k]`` in the frame."""
    width, height = size_of(example.image)
    boxes = np.clip(example.boxes, 0, np.array([width, height] * 2, dtype=np.float32))
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    placed = form.place(width, height).boxes(boxes[keep])
    labels = np.array(example.labels, dtype=np.int64)[keep]
    return {"boxes": torch.from_numpy(placed), "labels": torch.from_numpy(labels)}


def as_boxes(rows: Sequence[Sequence[float]]) -> Boxes:
    """Float32 ``[k, 4]``, also of no rows. Raises ``ValueError`` for numbers that are not finite."""
    boxes: Boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        raise ValueError("a box with NaN or infinite numbers")
    return boxes
