"""Turns the run folders of one experiment into its committed results: a table, the numbers, and the figures.

    python -m experiments.common.searches experiments/resnet56_cifar10 runs/resnet56_cifar10
    python -m experiments.common.searches experiments/recovery_uniform runs/recovery_uniform recovery

Compares agents, or whatever else of ``summary.json`` the third argument names. Reads ``<runs>/*/`` and writes
``results.csv``, ``results.md`` and, of searches, ``search.png``, ``plan.png`` and ``keep_ratios.png`` into the
experiment's folder. Runs that are not finished are left out.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

from amc.reporting.figures import save_figure
from amc.tracking import read_episodes
from experiments.common.figures import search_figure
from experiments.common.lines import Line, grouped, write_lines
from experiments.common.runs import finished, scores, summary_of
from experiments.common.stats import publish, spread, table

SECONDS = ("wall_seconds", "forward_seconds", "recovery_seconds", "agent_seconds")
HEADS = ("agent", "seeds", "val top-1 %", "test top-1 %", "MACs", "parameters", "wall s")


def read_run(folder: Path) -> Line:
    """One line of the results."""
    summary = summary_of(folder)
    best, base = summary["best"], summary["baseline"]
    return {
        **{key: summary[key] for key in ("agent", "recovery", "seed", "episodes")},
        **scores(base, best),
        "latency_ratio": best["latency_ms"] / base["latency_ms"],
        **{key: summary[key] for key in SECONDS},
    }


def table_of(lines: list[Line], by: str) -> str:
    """The results as Markdown, a row for each value of the column ``by``."""
    return table(HEADS, (row_of(label, runs) for label, runs in grouped(lines, by).items()))


def row_of(label: str, runs: list[Line]) -> tuple[object, ...]:
    val, test, wall = ([run[key] for run in runs] for key in ("val_accuracy", "test_accuracy", "wall_seconds"))
    macs, params = (f"× {mean(run[key] for run in runs):.3f}" for key in ("macs_ratio", "params_ratio"))
    return label, len(runs), spread(val, 100), spread(test, 100), macs, params, spread(wall)


def draw(experiment: Path, lines: list[Line], folders: list[Path], by: str) -> None:
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
    folders = finished(runs)
    if not folders:
        sys.exit(f"{runs}: no finished runs yet")
    lines = [read_run(folder) for folder in folders]
    write_lines(experiment / "results.csv", lines)
    if max(line["episodes"] for line in lines) > 1:
        draw(experiment, lines, folders, by)
    publish(experiment / "results.md", table_of(lines, by))


if __name__ == "__main__":
    main()
