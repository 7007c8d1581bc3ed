"""How many images does a search need? What DDPG had found after equal work with ever more images a plan.

    python -m experiments.faster_looks.equal_work --data … --checkpoint … runs/faster_looks/equal_work

Reads ``<runs>/<images>-<stop|no>-seed<n>/`` of ``equal_work.sh`` into ``equal_work.csv`` beside itself, where what
earlier calls found is kept, and draws ``equal_work.md`` from it. Work is counted in images: a plan costs those that
were looked at and as much as OVERHEAD_IMAGES for all the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from amc.core.types import Episode
from amc.tracking.plans import best_episode, episodes_in
from experiments.common.lines import Line, grouped, merge
from experiments.common.networks import inputs, judges, load
from experiments.common.runs import finished, name_and_seed
from experiments.common.stats import publish, spread, table
from experiments.faster_looks.conclude import OVERHEAD_IMAGES

HERE = Path(__file__).parent
WORK = (60_000, 120_000, 240_000)  # images
KEYS = ("images", "early_stop", "seed", "work")
COLUMNS = (*KEYS, "plans", "images_a_plan", "val_accuracy", "val_5000_accuracy", "test_accuracy")
HEADS = (
    "images in all", "`evaluate.images`", "early stop", "seeds", "plans", "images a plan", "val top-1 %, as seen",
    "val top-1 % on 5,000", "test top-1 %",
)  # fmt: skip


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
    on_val, on_test = judges(network, splits)
    for folder in folders:
        run = episodes_in(folder / "episodes.csv", network.groups)
        name, seed = name_and_seed(folder)
        images, stop = name.split("-")
        for work in WORK:
            played = by(work, run)
            if not played:
                continue
            best = best_episode(played)
            yield {
                **dict(zip(KEYS, (int(images), stop, seed, work), strict=True)),
                "plans": len(played),
                "images_a_plan": round(mean(episode.metrics.images for episode in played)),
                "val_accuracy": best.metrics.score,
                "val_5000_accuracy": on_val(best.plan).score,
                "test_accuracy": on_test(best.plan).score,
            }


def table_of(lines: list[Line]) -> str:
    """A row for each amount of work and way to look."""
    by_way = grouped(lines, "work", "images", "early_stop")
    return table(HEADS, (row_of(way, by_way[way]) for way in sorted(by_way)))


def row_of(way: tuple[int, int, str], own: list[Line]) -> tuple[object, ...]:
    work, images, stop = way
    plans, images_a_plan = (f"{mean(line[key] for line in own):.0f}" for key in ("plans", "images_a_plan"))
    found = (spread((line[key] for line in own), 100) for key in COLUMNS[-3:])
    return f"{work:,}", images, "on" if stop == "stop" else "off", len(own), plans, images_a_plan, *found


def main() -> None:
    parser = inputs(__doc__, "ResNet-20")
    parser.add_argument("runs", type=Path)
    arguments = parser.parse_args()
    folders = finished(arguments.runs, "*-seed*")
    fresh = list(found(folders, arguments.data, arguments.checkpoint)) if folders else []
    publish(HERE / "equal_work.md", table_of(merge(HERE / "equal_work.csv", COLUMNS, KEYS, fresh)))


if __name__ == "__main__":
    main()
