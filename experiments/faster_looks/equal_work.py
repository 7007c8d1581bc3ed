"""How many images does a search need? What DDPG had found after equal work with ever more images a plan.

Reads ``<runs>/<images>-<stop|no>-seed<n>/`` of ``equal_work.sh`` into ``equal_work.csv`` beside itself, where what
earlier calls found is kept, and draws ``equal_work.md`` from it. Work is counted in images: a plan costs those that
were looked at and as much as OVERHEAD_IMAGES for all the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from common import load
from conclude import OVERHEAD_IMAGES

from amc.core.types import Episode
from amc.evaluation.evaluator import Evaluator
from amc.task.problem import make_pruner
from amc.tracking.plans import best_episode, episodes_in
from experiments.kept import Line, merge

HERE = Path(__file__).parent
WORK = (60_000, 120_000, 240_000)  # images
KEYS = ("images", "early_stop", "seed", "work")
COLUMNS = (*KEYS, "plans", "images_a_plan", "val_accuracy", "val_5000_accuracy", "test_accuracy")


def by(work: float, run: list[Episode]) -> list[Episode]:
    """The episodes played by then; none for a search that ended earlier."""
    spent = 0.0
    for number, episode in enumerate(run):
        spent += OVERHEAD_IMAGES + episode.metrics.images
        if spent > work:
            return run[:number]
    return []


def found(folders: list[Path], data: str, checkpoint: str) -> Iterator[Line]:
    """What each run had at each of WORK, on all validation images and on the test images."""
    network, splits = load("resnet20", data, checkpoint)
    pruner = make_pruner(network, splits.train, "l1", "least_squares", calibration_images=512, seed=0)
    judges = [Evaluator(pruner, part, batch_size=250, precision="fp32") for part in (splits.val, splits.test)]
    for folder in folders:
        run = episodes_in(folder / "episodes.csv", network.groups)
        images, stop, seed = folder.name.replace("seed", "").split("-")
        for work in WORK:
            played = by(work, run)
            if not played:
                continue
            best = best_episode(played)
            val, test = (judge(best.plan).accuracy for judge in judges)
            yield {
                **dict(zip(KEYS, (int(images), stop, int(seed), work), strict=True)),
                "plans": len(played),
                "images_a_plan": round(mean(episode.metrics.images for episode in played)),
                "val_accuracy": best.metrics.accuracy,
                "val_5000_accuracy": val,
                "test_accuracy": test,
            }


def spread(rows: list[Line], column: str) -> str:
    values = [100 * row[column] for row in rows]
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def table(rows: list[Line]) -> str:
    text = [
        "| images in all | `evaluate.images` | early stop | seeds | plans | images a plan | val top-1 %, as seen | "
        "val top-1 % on 5,000 | test top-1 % |",
        "|---" * 9 + "|",
    ]
    for work, images, stop in sorted({(r["work"], r["images"], r["early_stop"]) for r in rows}):
        own = [r for r in rows if (r["work"], r["images"], r["early_stop"]) == (work, images, stop)]
        text.append(
            f"| {work:,} | {images} | {'on' if stop == 'stop' else 'off'} | {len(own)} | "
            f"{mean(r['plans'] for r in own):.0f} | {mean(r['images_a_plan'] for r in own):.0f} | "
            f"{spread(own, 'val_accuracy')} | {spread(own, 'val_5000_accuracy')} | {spread(own, 'test_accuracy')} |"
        )
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoint", required=True, help="ResNet-20's weights")
    arguments = parser.parse_args()
    folders = [file.parent for file in sorted(arguments.runs.glob("*-seed*/summary.json"))]
    fresh = list(found(folders, arguments.data, arguments.checkpoint)) if folders else []
    text = table(merge(HERE / "equal_work.csv", COLUMNS, KEYS, fresh))
    (HERE / "equal_work.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
