"""Small image files made on the fly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(path: Path, value: int = 0, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    """A file of one colour; ``size`` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour: Any = (value,) * 3 if mode == "RGB" else value
    Image.new(mode, size, colour).save(path)
    return path


def mask(path: Path, rows: Sequence[Sequence[int]], palette: bool = False) -> Path:
    """A PNG of class indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(rows, dtype=np.uint8))
    if palette:
        image.putpalette([(37 * i) % 256 for i in range(768)])
    image.save(path)
    return path


def segmented(root: Path, counts: Mapping[str, int], classes: int = 3) -> Path:
    """``images/`` and ``masks/``: image v has the colour v and, on its left, the class v modulo ``classes``."""
    value = 0
    for part, count in counts.items():
        for _ in range(count):
            picture(root / "images" / part / f"{value}.png", value)
            rows = [[value % classes] * 4 + [255] * 4] * 6
            mask(root / "masks" / part / f"{value}.png", rows, palette=value % 2 == 0)
            value += 1
    return root
