"""Draws what the dense and the pruned detector find on a few test images, beside the true boxes.

    python -m experiments.detection.boxes --data bccd/BCCD --runs runs/detection

Reads ``dense/`` and ``finetuned-ddpg-seed0/`` of the runs; writes ``boxes.png``. The images are evenly spaced in the
test's list: chosen by no one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from amc.data.readers import ExampleSplits, Look, read_voc
from amc.reporting.figures import save_figure
from experiments.common.beside import dense_and_tuned, spaced
from experiments.detection.network import HEIGHT, WIDTH, small_retinanet

HERE = Path(__file__).parent
COLOURS = {1: "#e0a500", 2: "#b3202a", 3: "#2347b0"}  # platelets, red cells, white cells
CONFIDENT = 0.4  # boxes of smaller scores are not drawn
Boxes = dict[str, Tensor]


def confident(found: Boxes) -> Boxes:
    kept = found["scores"] > CONFIDENT
    return {name: tensor[kept] for name, tensor in found.items()}


def draw_boxes(axes: Axes, image: Tensor, boxes: Boxes) -> None:
    """An image ``[3, h, w]`` of values in [0, 1] below its boxes."""
    axes.imshow(image.permute(1, 2, 0).numpy())
    for (x1, y1, x2, y2), label in zip(boxes["boxes"].tolist(), boxes["labels"].tolist(), strict=True):
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=1.2, edgecolor=COLOURS[label]))
    axes.set(xticks=[], yticks=[])


def draw(splits: ExampleSplits, networks: dict[str, nn.Module], count: int = 4) -> Figure:
    """A row for each image: the true boxes, and those of each network."""
    some = spaced(splits.test, count)
    images: Any = some.normalised()
    truths: Any = some.answers
    figure = Figure(figsize=(9.6, 2.5 * count), dpi=100, layout="constrained")
    grid = figure.subplots(count, 1 + len(networks), squeeze=False)
    for row, image, truth in zip(grid, images, truths, strict=True):
        draw_boxes(row[0], image, truth)
        for axes, network in zip(row[1:], networks.values(), strict=True):
            with torch.no_grad():
                draw_boxes(axes, image, confident(network(image[None])[0]))
    for axes, title in zip(grid[0], ("true", *networks), strict=True):
        axes.set_title(title, fontsize=10)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour) for colour in COLOURS.values()]
    figure.legend(handles, splits.classes, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with JPEGImages/, Annotations/ and ImageSets/")
    parser.add_argument("--runs", required=True, type=Path, help="folder with dense/ and finetuned-ddpg-seed0/")
    given = parser.parse_args()
    networks = dense_and_tuned(given.runs, small_retinanet, "mAP50")
    save_figure(HERE / "boxes.png", draw(read_voc(given.data, look=Look(image_size=(HEIGHT, WIDTH))), networks))


if __name__ == "__main__":
    main()
