"""How many images does a search need? What DDPG had found after equal work with ever more images a plan.

Reads ``<runs>/<images>-<stop|no>-seed<n>/`` of ``equal_work.sh`` into ``equal_work.csv`` beside itself, where what
earlier calls found is kept, and draws ``equal_work.md`` from it. Work is counted in images: a plan costs those that
were looked at and as much as OVERHEAD_IMAGES for all the rest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from common import load, plan_of
from conclude import OVERHEAD_IMAGES

from amc.evaluate import Evaluator
from amc.problem import make_cutter
from amc.tracking import read_episodes
from experiments.kept import Line, merge

HERE = Path(__file__).parent
WORK = (60_000, 120_000, 240_000)  # images
KEYS = ("images", "early_stop", "seed", "work")
COLUMNS = (*KEYS, "plans", "images_a_plan", "val_accuracy", "val_5000_accuracy", "test_accuracy")
RATIO = "keep_ratio/"


def best_by(work: float, run: list[Line]) -> tuple[int, Line] | None:
    """How many plans were seen by then, and the best of those seen to the end; None for a search that ended earlier."""
    spent, best, whole = 0.0, None, max(row["images"] for row in run)
    for number, row in enumerate(run):
        spent += OVERHEAD_IMAGES + row["images"]
        if spent > work:
            return (number, best) if best else None
        if row["within_budget"] and row["images"] == whole and (best is None or row["accuracy"] > best["accuracy"]):
            best = row
    return None


def found(folders: list[Path], data: str, checkpoint: str) -> Iterator[Line]:
    """What each run had at each of WORK, on all validation images and on the test images."""
    network, splits = load("resnet20", data, checkpoint)
    cutter = make_cutter(network, splits.train, "l1", "least_squares", calibration_images=512, seed=0)
    judges = [Evaluator(cutter, part, batch_size=250, precision="fp32") for part in (splits.val, splits.test)]
    runs = [read_episodes(folder / "episodes.csv") for folder in folders]
    known: dict[str, list[float]] = {}
    for folder, run in zip(folders, runs, strict=True):
        images, stop, seed = folder.name.replace("seed", "").split("-")
        for work in WORK:
            if (at := best_by(work, run)) is None:
                continue
            plans, best = at
            ratios = {name.removeprefix(RATIO): value for name, value in best.items() if name.startswith(RATIO)}
            name = json.dumps(ratios)
            if name not in known:
                known[name] = [judge(plan_of(network, ratios)).accuracy for judge in judges]
            yield {
                **dict(zip(KEYS, (int(images), stop, int(seed), work), strict=True)),
                "plans": plans,
                "images_a_plan": round(mean(row["images"] for row in run[:plans])),
                "val_accuracy": best["accuracy"],
                "val_5000_accuracy": known[name][0],
                "test_accuracy": known[name][1],
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
