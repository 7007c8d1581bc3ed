"""What all readers take and give."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from amc.core.files import cache_folder
from amc.data.decode import Picture, Progress, as_images, check_like, decode_cached
from amc.data.examples import Examples, ExampleSet, Targets, Triple
from amc.data.form import Form, statistics
from amc.data.images import ImageSet
from amc.data.load import Splits
from amc.data.parts import ROLES, Division

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExampleSplits:
    """A data set of any task: ``train`` to fit and calibrate on, ``val`` to score plans, ``test`` for the report alone.

    Attributes:
        name: of the reader.
        train, val, test: its examples.
        val_from: where validation examples come from, see :class:`amc.data.parts.Rule`.
        origins: ``train``, ``val`` and ``test`` → where its examples come from, for people.
        classes: names of the classes, if there are any.
        num_classes: how many values a target's class can have: of detection with the background, which is 0; of text
            the size of the vocabulary; 0 where targets are no classes.
        facts: what else a user of the network needs to know of its data, as plain types.
    """

    name: str
    train: Examples
    val: Examples
    test: Examples
    val_from: str
    origins: Mapping[str, str]
    classes: tuple[str, ...] = ()
    num_classes: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> ExampleSplits:
        """The same on ``device``."""
        train, val, test = (part.to(device) for part in (self.train, self.val, self.test))
        more = (self.val_from, self.origins, self.classes, self.num_classes, self.facts)
        return ExampleSplits(self.name, train, val, test, *more)

    def for_commands(self) -> Splits:
        """The same as the commands take it."""
        return Splits(self.name, self.train, self.val, self.test, self.num_classes or None, self.val_from, self.origins)

    @property
    def line(self) -> str:
        """One line on what each part is for, for display."""
        uses = {"train": "trains and calibrates", "val": "is searched on", "test": "is reported"}
        return "; ".join(
            f"{role} {uses[role]}: {len(getattr(self, role))} examples ({self.origins[role]})" for role in ROLES
        )


@dataclass(frozen=True)
class Look:
    """How images are shown to the network.

    Attributes:
        image_size: height and width, or both in one number; ``None``: as they are, which must then all be equal.
        fit, channels: see :class:`amc.data.form.Form`.
        mean, std: per channel, of images in [0, 1]; ``None``: ImageNet's.
    """

    image_size: int | tuple[int, int] | None = None
    fit: str = "pad"
    channels: int = 3
    mean: Triple | None = None
    std: Triple | None = None

    @property
    def form(self) -> Form:
        """What each image becomes. Raises ``AmcError`` for a setting that can't be."""
        return Form.of(self.image_size, self.fit, self.channels)

    @property
    def statistics(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation per channel. Raises ``AmcError`` for a setting that can't be."""
        return statistics(self.mean, self.std, self.channels)


@dataclass(frozen=True)
class Work:
    """Where decoded images are kept (see :func:`amc.core.files.cache_folder`), and who hears of the progress."""

    cache_dir: str | Path | None = None
    progress: Progress | None = None


def image_sets(
    pictures: Mapping[str, Sequence[Picture]], targets: Mapping[str, Targets], look: Look, work: Work
) -> dict[str, ExampleSet]:
    """Sets of images, decoded (from the cache, if they were before), with their targets.

    That an image of the test is also in another part is logged.

    Args:
        pictures: role → image files.
        targets: role → targets, in the same order.
        look: how they are shown to the network.
        work: cache and progress.

    Raises:
        AmcError: an image that can't be read or has another size or depth than the first of ``train``.
    """
    form, (mean, std) = look.form, look.statistics
    found: dict[str, ExampleSet] = {}
    seen: dict[str, set[bytes]] = {}
    for role in ROLES:
        files = pictures[role]
        pixels = decode_cached(files, form, cache_folder(work.cache_dir), work.progress)
        check_like(pixels, files[0], pictures["train"][0], form)
        seen[role] = {hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels}
        images, *left = as_images(pixels, mean, std)
        found[role] = ExampleSet(images, targets[role], *left)
    for role in ("train", "val"):
        if shared := len(seen[role] & seen["test"]):
            log.warning(
                "test: %d of its images are also in %s, so the report is not of new ones; remove them", shared, role
            )
    return found


def labelled(sets: Mapping[str, ExampleSet], num_classes: int) -> dict[str, ImageSet]:
    """Sets of images ``[n, c, h, w]`` with an int64 label each, as the kind that classification trains with.

    Raises:
        AmcError: labels out of range.
    """
    found = {}
    for role, one in sets.items():
        images, labels = one.inputs, one.targets
        assert isinstance(images, torch.Tensor)
        assert isinstance(labels, torch.Tensor)
        stats = () if one.mean is None or one.std is None else (one.mean, one.std)
        found[role] = ImageSet(images, labels, num_classes, *stats)
    return found


def splits_of(
    name: str, sets: Mapping[str, Examples], division: Division[Any], classes: Sequence[str] = (), **more: Any
) -> ExampleSplits:
    """The sets as one data set; ``more``: further attributes of :class:`ExampleSplits`."""
    train, val, test = (sets[role] for role in ROLES)
    return ExampleSplits(name, train, val, test, division.val_from, division.origins, tuple(classes), **more)
