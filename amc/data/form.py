"""How images of any size become arrays of one shape: sizes, fits, channels, and where boxes go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from amc.core.checks import shown
from amc.core.errors import AmcError
from amc.core.values import LARGEST_REAL, Kind, Many, OneOf, Real, Whole, check_all
from amc.data.examples import Triple

LARGEST_IMAGE = 4096  # pixels a side
SMALL = 64  # up to this, nothing is cut off around the centre
Size = tuple[int, int]
Boxes = npt.NDArray[np.float32]
COLOUR_STATS: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's
GREY_STATS: tuple[Triple, Triple] = ((0.449,), (0.226,))  # their means over the three colours
BORDER: dict[int, Any] = {3: (124, 116, 104), 1: 114}  # ImageNet's mean colour, which normalisation makes zero


@dataclass(frozen=True)
class ImageSize:
    """What ``image_size`` can be: one number, height and width, or ``None``."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if ``value``, given for the setting ``name``, can't be."""
        side = Whole(high=LARGEST_IMAGE)
        if isinstance(value, (list, tuple)):
            Many(entry=side, least=2, most=2, example="[96,128]").check(name, value)
        else:
            Whole(also=(None,), high=LARGEST_IMAGE, hint=", or two: [height,width]").check(name, value)


@dataclass(frozen=True)
class Channels:
    """What ``channels`` can be."""

    def check(self, name: str, value: Any) -> None:
        """Raises ``AmcError`` if ``value``, given for the setting ``name``, can't be."""
        if isinstance(value, bool) or value not in (1, 3):
            raise AmcError(f"{shown(name, value)}: give 3 for colour, or 1 for grey")


FITS = ("crop", "pad", "stretch")
KINDS: dict[str, Kind] = {
    "image_size": ImageSize(),
    "fit": OneOf(names=FITS),
    "channels": Channels(),
    "mean": Many(also=(None,), entry=Real(low=-LARGEST_REAL), least=1, most=3, example="[0.5,0.5,0.5]"),
    "std": Many(also=(None,), entry=Real(ends="(]"), least=1, most=3, example="[0.5,0.5,0.5]"),
}


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the frame: it is resized, then seen through a window.

    Attributes:
        before: (width, height) of the image.
        resized: the same afterwards.
        left, top: of the window in the resized image, in pixels.
        window: (width, height) of the window; beyond the image there is a border.
    """

    before: Size
    resized: Size
    left: int
    top: int
    window: Size

    def image(self, image: Image.Image, resample: Image.Resampling, border: Any) -> Image.Image:
        """``image`` in the frame, surrounded by the colour ``border``."""
        if image.size != self.resized:
            image = image.resize(self.resized, resample)
        if self.window[0] <= self.resized[0] and self.window[1] <= self.resized[1]:
            return image.crop((self.left, self.top, self.left + self.window[0], self.top + self.window[1]))
        framed = Image.new(image.mode, self.window, border)
        if image.mode == "P":
            framed.putpalette(image.getpalette() or [])
        framed.paste(image, (-self.left, -self.top))
        return framed

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes ``[k, 4]`` (x1, y1, x2, y2) in pixels of the image → in pixels of the frame."""
        scale = np.array([self.resized[0] / self.before[0], self.resized[1] / self.before[1]], dtype=np.float32)
        moved: Boxes = boxes * np.tile(scale, 2) - np.array([self.left, self.top] * 2, dtype=np.float32)
        return moved


@dataclass(frozen=True)
class Form:
    """What every image becomes.

    Attributes:
        size: (height, width); ``None``: as the images are, which must then all be equal.
        fit: ``crop``: resized to fill the frame, of frames above 64 pixels to 8/7 of it (256 for 224), then the centre
            is cut out; ``pad``: resized to lie within the frame, in its upper left corner; ``stretch``: resized to the
            frame, whatever becomes of its proportions.
        channels: 3 for colour, 1 for grey.
    """

    size: Size | None = None
    fit: str = "crop"
    channels: int = 3

    @classmethod
    def of(cls, image_size: Any = None, fit: str = "crop", channels: int = 3) -> Form:
        """From settings as users write them: ``image_size`` is one number, two (height, width), or ``None``.

        Raises:
            AmcError: one of them can't be.
        """
        check_all("dataset", {"image_size": image_size, "fit": fit, "channels": channels}, KINDS)
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        return cls(None if size is None else (int(size[0]), int(size[1])), fit, int(channels))

    @property
    def key(self) -> str:
        """Tells the forms apart in names of cached files; square colour crops are called as they always were."""
        if self.size is not None and (self.size[0] != self.size[1] or self.fit != "crop" or self.channels != 3):
            return f"{self.size[0]}x{self.size[1]} {self.fit} {self.channels}"
        return str(None if self.size is None else self.size[0]) + (" grey" if self.channels == 1 else "")

    @property
    def named(self) -> str:
        """``image_size`` as users write it."""
        if self.size is None or self.size[0] == self.size[1]:
            return shown("dataset.image_size", None if self.size is None else self.size[0])
        return f"dataset.image_size=[{self.size[0]},{self.size[1]}]"

    def place(self, width: int, height: int) -> Placement:
        """Where an image of this size lies in the frame."""
        if self.size is None or self.size == (height, width):
            return Placement((width, height), (width, height), 0, 0, (width, height))
        high, wide = self.size
        if self.fit == "stretch":
            return Placement((width, height), (wide, high), 0, 0, (wide, high))
        if self.fit == "pad":
            scale = min(high / height, wide / width)
            resized = max(1, round(width * scale)), max(1, round(height * scale))
            return Placement((width, height), resized, 0, 0, (wide, high))
        # Resize 256, centre crop 224, scaled to the frame: how torchvision's ImageNet weights expect their images.
        zoom = 8 / 7 if min(high, wide) > SMALL else 1
        scale = max(round(high * zoom) / height, round(wide * zoom) / width)
        resized = max(wide, round(width * scale)), max(high, round(height * scale))
        return Placement(
            (width, height), resized, round((resized[0] - wide) / 2), round((resized[1] - high) / 2), (wide, high)
        )


def statistics(mean: Any, std: Any, channels: int) -> tuple[Triple, Triple]:
    """Mean and standard deviation per channel, of images in [0, 1]; ``None``: ImageNet's.

    Raises:
        AmcError: not as many numbers as channels, or no such numbers.
    """
    example = "[0.5,0.5,0.5]" if channels == 3 else "[0.5]"
    kinds: dict[str, Kind] = {
        "mean": Many(also=(None,), entry=Real(low=-LARGEST_REAL), least=channels, most=channels, example=example),
        "std": Many(also=(None,), entry=Real(ends="(]"), least=channels, most=channels, example=example),
    }
    check_all("dataset", {"mean": mean, "std": std}, kinds)
    means, deviations = COLOUR_STATS if channels == 3 else GREY_STATS
    return tuple(map(float, mean or means)), tuple(map(float, std or deviations))
