"""Draws one big step against several, from the run folders ``<runs>/<way>-seed<n>``."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from amc.reporting.figures import CURVES, save_figure

HERE = Path(__file__).parent


def main() -> None:
    ways: dict[str, list[dict]] = defaultdict(list)
    for file in sorted(Path(sys.argv[1]).glob("*-seed*/summary.json")):
        ways[file.parent.name.rpartition("-seed")[0]].append(json.loads(file.read_text()))
    lines = ["| way | seeds | test top-1 % | epochs |", "|---|---|---|---|"]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for (way, runs), colour in zip(ways.items(), CURVES, strict=False):
        accuracies = [100 * run["tuned"]["test"]["accuracy"] for run in runs]
        spread = f" ± {stdev(accuracies):.2f}" if len(runs) > 1 else ""
        lines.append(f"| {way} | {len(runs)} | {mean(accuracies):.2f}{spread} | {runs[0]['settings']['epochs']} |")
        for i, run in enumerate(runs):
            trained, places, values = 0, [], []
            for row in run["history"]:
                trained += row["epoch"] > 0
                places.append(trained)
                values.append(100 * row["val_accuracy"])
            axes.plot(places, values, color=colour, label=way if i == 0 else None)
    axes.set_xlabel("epochs (vertical drops: a further cut)")
    axes.set_ylabel("validation accuracy, %")
    axes.grid(axis="y", color="#E4E4E4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save_figure(HERE / "steps.png", figure)
    (HERE / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
