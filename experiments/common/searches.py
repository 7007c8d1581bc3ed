"""Turns the run folders of one experiment into its committed results: a table, the numbers, and the figures.

    python experiments/collect.py experiments/resnet56_cifar10 runs/resnet56_cifar10
    python experiments/collect.py experiments/recovery_uniform runs/recovery_uniform recovery

Compares agents, or whatever else of ``summary.json`` the third argument names. Reads ``<runs>/*/`` and writes
``results.csv``, ``results.md`` and, of searches, ``search.png``, ``plan.png`` and ``keep_ratios.png`` into the
experiment's folder. Runs that are not finished are left out.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from amc.reporting.figures import save_figure, search_figure
from amc.tracking import read_episodes

COLUMNS = (
    "agent", "recovery", "seed", "episodes", "val_accuracy", "test_accuracy", "macs_ratio", "params_ratio",
    "latency_ratio", "wall_seconds", "forward_seconds", "recovery_seconds", "agent_seconds",
)  # fmt: skip


def read_run(folder: Path) -> dict[str, Any]:
    """One line of the results."""
    summary = json.loads((folder / "summary.json").read_text())
    best, base = summary["best"], summary["baseline"]
    return {
        "agent": summary["agent"],
        "recovery": summary["recovery"],
        "seed": summary["seed"],
        "episodes": summary["episodes"],
        "val_accuracy": best["val"]["accuracy"],
        "test_accuracy": best["test"]["accuracy"],
        "macs_ratio": best["macs"] / base["macs"],
        "params_ratio": best["params"] / base["params"],
        "latency_ratio": best["latency_ms"] / base["latency_ms"],
        **{key: summary[key] for key in COLUMNS if key.endswith("_seconds")},
    }


def spread(values: list[float], scale: float = 100) -> str:
    """Mean ± standard deviation over seeds."""
    text = f"{scale * mean(values):.2f}"
    return f"{text} ± {scale * stdev(values):.2f}" if len(values) > 1 else text


def table(lines: list[dict[str, Any]], by: str) -> str:
    """The results as Markdown, a row for each value of the column ``by``."""
    compared = defaultdict(list)
    for line in lines:
        compared[line[by]].append(line)
    rows = [
        "| agent | seeds | val top-1 % | test top-1 % | MACs | parameters | wall s |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, runs in compared.items():
        val, test, wall = ([r[k] for r in runs] for k in ("val_accuracy", "test_accuracy", "wall_seconds"))
        macs, params = (mean(r[k] for r in runs) for k in ("macs_ratio", "params_ratio"))
        rows.append(
            f"| {label} | {len(runs)} | {spread(val)} | {spread(test)} | × {macs:.3f} | × {params:.3f} "
            f"| {spread(wall, 1)} |"
        )
    return "\n".join(rows) + "\n"


def draw(experiment: Path, lines: list[dict[str, Any]], folders: list[Path], by: str) -> None:
    """The searches' curves, and the pictures of the first DDPG run (else of the first run)."""
    curves = defaultdict(list)
    for line, folder in zip(lines, folders, strict=True):
        curves[line[by]].append([row["accuracy"] for row in read_episodes(folder / "episodes.csv")])
    figure = search_figure(curves, "best validation top-1 so far", experiment.name.replace("_", " "))
    save_figure(experiment / "search.png", figure)
    shown = next((f for line, f in zip(lines, folders, strict=True) if line["agent"] in ("ddpg", "amc")), folders[0])
    for picture, name in (("best_plan.png", "plan.png"), ("keep_ratios.png", "keep_ratios.png")):
        shutil.copy(shown / picture, experiment / name)


def main() -> None:
    experiment, runs = Path(sys.argv[1]), Path(sys.argv[2])
    by = sys.argv[3] if len(sys.argv) > 3 else "agent"
    folders = sorted(p.parent for p in runs.glob("*/summary.json"))
    lines = [read_run(folder) for folder in folders]
    with (experiment / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (experiment / "results.md").write_text(table(lines, by))
    if max(line["episodes"] for line in lines) > 1:
        draw(experiment, lines, folders, by)
    print(table(lines, by))


if __name__ == "__main__":
    main()
