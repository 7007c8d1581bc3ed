"""A segmentation data set from boxes: BCCD's blood cells as ellipses inside their boxes.

    python -m experiments.segmentation.make_masks --boxes bccd/BCCD --out bccd_masks

writes ``images/`` and ``masks/`` with ``train/``, ``val/`` and ``test/``, divided as BCCD itself is, for
``dataset=segmentation_folder dataset.path=bccd_masks``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from amc.data.parts import ROLES
from amc.data.readers import ExampleSplits, read_voc

# Of background, platelets, red cells, white cells; all 256, or Pillow would save fewer bits and lose the 255.
COLOURS = (0, 0, 0, 250, 220, 40, 210, 60, 60, 70, 60, 200) + (255,) * (3 * 252)
IGNORED = 255


def draw_mask(boxes: Sequence[Sequence[float]], labels: Sequence[int], size: tuple[int, int]) -> Image.Image:
    """Ellipses of the labels' numbers that fill their boxes; small cells lie on top of large ones.

    A ring of one pixel around each is ignored, as boxes say nothing of the true border.

    Args:
        boxes: x1, y1, x2, y2 in pixels.
        labels: a number from 1 for each box; 0 is what lies outside of all.
        size: (width, height).
    """
    mask = Image.new("L", size)
    pen = ImageDraw.Draw(mask)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    for place in np.argsort(areas)[::-1]:
        x1, y1, x2, y2 = boxes[place]
        pen.ellipse((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), fill=labels[place], outline=IGNORED)
    mask.putpalette(COLOURS)
    return mask


def write(splits: ExampleSplits, out: Path) -> dict[str, int]:
    """Writes images and masks of every part; returns how many. Each file's name is its place in the part."""
    counts = {}
    for role in ROLES:
        part: Any = getattr(splits, role)
        for kind in ("images", "masks"):
            (out / kind / role).mkdir(parents=True, exist_ok=True)
        for place, (image, target) in enumerate(zip(part.inputs, part.targets, strict=True)):
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            mask = draw_mask(target["boxes"].tolist(), target["labels"].tolist(), picture.size)
            picture.save(out / "images" / role / f"{place:04}.png")
            mask.save(out / "masks" / role / f"{place:04}.png")
        counts[role] = len(part)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", required=True, help="folder with JPEGImages/, Annotations/ and ImageSets/")
    parser.add_argument("--out", required=True, type=Path, help="folder to write to")
    given = parser.parse_args()
    splits = read_voc(given.boxes)
    print(f"{given.out}: {write(splits, given.out)}, classes 0 background, ", end="")
    print(", ".join(f"{number} {name}" for number, name in enumerate(splits.classes, 1)))


if __name__ == "__main__":
    main()
