"""Draws one big step against several, from the run folders ``<runs>/<way>-seed<n>``.

python -m experiments.steps.figure runs/steps
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amc.reporting.figures import CURVES, save_figure
from experiments.common.figures import tidy
from experiments.common.runs import finished, name_and_seed, summary_of
from experiments.common.stats import publish, spread, table

HERE = Path(__file__).parent
Summary = dict[str, Any]


def row_of(way: str, runs: list[Summary]) -> tuple[object, ...]:
    test = spread((run["tuned"]["test"]["accuracy"] for run in runs), 100)
    return way, len(runs), test, runs[0]["settings"]["epochs"]


def draw(ways: Mapping[str, list[Summary]]) -> Figure:
    """Validation accuracy over the epochs; a further cut costs no epoch."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (way, runs), colour in zip(ways.items(), CURVES, strict=False):
        for i, run in enumerate(runs):
            draw_run(axes, run, colour, way if i == 0 else None)
    axes.set_xlabel("epochs (vertical drops: a further cut)")
    axes.set_ylabel("validation accuracy, %")
    tidy(axes, "y")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_run(axes: Axes, run: Summary, colour: str, label: str | None) -> None:
    trained, places, values = 0, [], []
    for row in run["history"]:
        trained += row["epoch"] > 0
        places.append(trained)
        values.append(100 * row["val_accuracy"])
    axes.plot(places, values, color=colour, label=label)


def main() -> None:
    ways: dict[str, list[Summary]] = defaultdict(list)
    for folder in finished(Path(sys.argv[1]), "*-seed*"):
        ways[name_and_seed(folder)[0]].append(summary_of(folder))
    if not ways:
        sys.exit(f"{sys.argv[1]}: no finished runs yet")
    save_figure(HERE / "steps.png", draw(ways))
    rows = [row_of(way, runs) for way, runs in ways.items()]
    publish(HERE / "results.md", table(("way", "seeds", "test top-1 %", "epochs"), rows))


if __name__ == "__main__":
    main()
