"""Draws the masks of the dense and the pruned network on a few test images, beside the true ones.

    python -m experiments.segmentation.masks --masks bccd_masks --runs runs/segmentation

Reads ``dense/`` and ``finetuned-ddpg-seed0/`` of the runs; writes ``masks.png`` and prints each class's overlap with
the true masks. The images are evenly spaced in the test's list: chosen by no one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from amc.data import Examples
from amc.data.readers import Look, read_segmentation
from amc.reporting.figures import save_figure
from experiments.common.beside import dense_and_tuned, spaced
from experiments.segmentation.make_masks import COLOURS
from experiments.segmentation.network import small_unet

HERE = Path(__file__).parent
SIZE = (96, 128)
PALETTE = np.array(COLOURS, dtype=np.uint8).reshape(-1, 3)


def coloured(mask: Tensor) -> npt.NDArray[np.uint8]:
    """A mask ``[h, w]`` in the colours of the data set's files; what is ignored is white."""
    picture: npt.NDArray[np.uint8] = PALETTE[mask.where(mask >= 0, 255).numpy()]
    return picture


def draw(test: Examples, networks: dict[str, nn.Module], count: int = 4) -> Figure:
    """A row for each image: the image, the true mask, and that of each network."""
    some: Any = spaced(test, count)
    columns: dict[str, Any] = {
        "image": some.inputs.permute(0, 2, 3, 1).numpy(),
        "true (white: ignored)": map(coloured, some.answers),
    }
    for name, network in networks.items():
        with torch.no_grad():
            columns[name] = map(coloured, network(some.normalised()).argmax(1))
    figure = Figure(figsize=(10, 2 * count), dpi=100, layout="constrained")
    for axes, (title, pictures) in zip(figure.subplots(count, len(columns)).T, columns.items(), strict=True):
        axes[0].set_title(title, fontsize=9)
        for place, picture in zip(axes, pictures, strict=True):
            place.imshow(picture)
            place.set(xticks=[], yticks=[])
    return figure


def overlaps(test: Examples, network: nn.Module, classes: int = 4) -> list[float]:
    """Intersection / union of each class over all images."""
    truth: Any = test.answers
    with torch.no_grad():
        found = network(test.normalised()).argmax(1).where(truth >= 0, -1)
    return [
        float(((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum().clamp(min=1))
        for c in range(classes)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", required=True, help="folder that make_masks wrote")
    parser.add_argument("--runs", required=True, type=Path, help="folder with dense/ and finetuned-ddpg-seed0/")
    given = parser.parse_args()
    test = read_segmentation(given.masks, look=Look(image_size=SIZE)).test
    networks = dense_and_tuned(given.runs, small_unet, "mIoU")
    for name, network in networks.items():
        print(f"{name}; IoU of {', '.join(f'{value:.3f}' for value in overlaps(test, network))}")
    save_figure(HERE / "masks.png", draw(test, networks))


if __name__ == "__main__":
    main()
