"""Draws the comparison of agents from whatever runs are finished.

    python experiments/does_rl_help/analyse.py runs/does_rl_help

Reads ``<runs>/<network>-<budget>-<evaluations>/<agent>-seed<n>/``; writes ``results.csv`` (a line per run),
``results.md`` (tables, significance) and ``<task>.png`` beside itself.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import trim_mean, wilcoxon

from amc.figures import CURVES, GRID, save_figure
from amc.tracking import read_episodes

HERE = Path(__file__).parent
REFERENCE = "ddpg"
DRAWS = 2000  # bootstrap samples of the seeds
COLUMNS = ("task", "agent", "seed", "evaluations", "val_accuracy", "test_accuracy", "macs_ratio", "wall_seconds")
Line = dict[str, Any]


def read_line(folder: Path) -> Line:
    summary = json.loads((folder / "summary.json").read_text())
    best = summary["best"]
    return {
        "task": folder.parent.name,
        "agent": folder.name.rpartition("-seed")[0],
        "seed": summary["seed"],
        "evaluations": summary["episodes"],
        "val_accuracy": best["val"]["accuracy"],
        "test_accuracy": best["test"]["accuracy"],
        "macs_ratio": best["macs"] / summary["baseline"]["macs"],
        "wall_seconds": summary["wall_seconds"],
    }


def best_so_far(folder: Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Best validation accuracy within the budget after each evaluation, and the seconds up to it; ``[length]`` each.

    A search that ends early keeps its best.
    """
    rows = read_episodes(folder / "episodes.csv")
    found = np.array([row["accuracy"] if row.get("within_budget", 1) else np.nan for row in rows])
    best = np.fmax.accumulate(found)
    seconds = np.cumsum([row["seconds"] for row in rows])
    missing = length - len(rows)
    return np.pad(best, (0, missing), mode="edge"), np.pad(seconds, (0, missing), mode="edge")


def confidence(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % of the bootstrapped means over seeds; ``curves`` is ``[seeds, evaluations]``."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(curves), size=(DRAWS, len(curves)))
    means = curves[chosen].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def figure_of(task: Path, agents: list[str]) -> Figure:
    """Best validation accuracy so far, against evaluations and against wall time."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    length = int(task.name.rpartition("-")[2])
    floor = []
    for i, agent in enumerate(agents):
        runs = [best_so_far(f.parent, length) for f in sorted(task.glob(f"{agent}-seed*/summary.json"))]
        accuracies = 100 * np.array([accuracy for accuracy, _ in runs])
        mean, seconds = accuracies.mean(axis=0), np.mean([s for _, s in runs], axis=0)
        colour, style = CURVES[i % len(CURVES)], ("-", "--", ":")[i // len(CURVES) % 3]
        label = f"{agent}: {mean[-1]:.2f}" + (f" ({len(runs)} seeds)" if len(runs) > 1 else "")
        left.plot(np.arange(1, length + 1), mean, style, color=colour, label=label, linewidth=1.6)
        right.plot(seconds / 60, mean, style, color=colour, linewidth=1.6)
        if len(runs) > 1:
            low, high = confidence(accuracies)
            left.fill_between(np.arange(1, length + 1), low, high, color=colour, alpha=0.12, linewidth=0)
        floor.append(mean[-1])
    low = float(np.median(floor))  # what ends far below the others is named in the legend and not drawn
    for axes in (left, right):
        axes.set_ylim(low - 4 * (max(floor) - low) - 0.5, max(floor) + 0.5 * (max(floor) - low) + 0.2)
        axes.grid(color=GRID, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    left.set(xlabel="evaluations", ylabel="best validation top-1 so far, %")
    right.set(xlabel="minutes, without loading and calibration")
    best_first = np.argsort([-value for value in floor])
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        [handles[i] for i in best_first], [labels[i] for i in best_first],
        loc="outside right upper", frameon=False, fontsize=8,
    )  # fmt: skip
    figure.suptitle(task.name, fontsize=11)
    return figure


def table(lines: list[Line]) -> str:
    """Markdown: an agent a row, the best mean test accuracy first, with its distance to the reference per seed."""
    by_agent: dict[str, dict[int, Line]] = {}
    for line in lines:
        by_agent.setdefault(line["agent"], {})[line["seed"]] = line
    reference = by_agent.get(REFERENCE, {})
    rows = [
        "| agent | seeds | test top-1 % | interquartile mean | val top-1 % | evaluations | minutes | minus DDPG |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ordered = sorted(by_agent.items(), key=lambda item: -np.mean([r["test_accuracy"] for r in item[1].values()]))
    for agent, runs in ordered:
        test, val, minutes, evaluations = (
            np.array([run[key] for run in runs.values()], dtype=float) * scale
            for key, scale in (
                ("test_accuracy", 100),
                ("val_accuracy", 100),
                ("wall_seconds", 1 / 60),
                ("evaluations", 1),
            )
        )
        shared = sorted(set(runs) & set(reference)) if agent != REFERENCE else []
        gaps = [100 * (runs[s]["test_accuracy"] - reference[s]["test_accuracy"]) for s in shared]
        rows.append(
            f"| {agent} | {len(runs)} | {spread(test)} | {trim_mean(test, 0.25):.2f} | {spread(val)} | "
            f"{evaluations.mean():.0f} | {minutes.mean():.1f} | {spread(np.array(gaps), '+') if gaps else ''} |"
        )
    return "\n".join(rows) + "\n"


def spread(values: np.ndarray, sign: str = "") -> str:
    text = f"{values.mean():{sign}.2f}"
    return f"{text} ± {values.std(ddof=1):.2f}" if len(values) > 1 else text


def significance(lines: list[Line]) -> str:
    """Each agent against the reference over all tasks and seeds that both have (Wilcoxon's signed-rank test)."""
    reference = {(r["task"], r["seed"]): r["test_accuracy"] for r in lines if r["agent"] == REFERENCE}
    rows = ["| agent against DDPG | pairs | mean difference, points | p |", "|---|---|---|---|"]
    for agent in dict.fromkeys(r["agent"] for r in lines if r["agent"] != REFERENCE):
        gaps = np.array(
            [
                100 * (r["test_accuracy"] - reference[r["task"], r["seed"]])
                for r in lines
                if r["agent"] == agent and (r["task"], r["seed"]) in reference
            ]
        )
        if len(gaps) >= 5 and gaps.any():
            rows.append(f"| {agent} | {len(gaps)} | {gaps.mean():+.2f} | {wilcoxon(gaps).pvalue:.3g} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def main() -> None:
    runs = Path(sys.argv[1])
    tasks = [task for task in sorted(runs.iterdir()) if any(task.glob("*/summary.json"))]
    if not tasks:
        sys.exit(f"{runs}: no finished runs yet")
    lines = [read_line(f.parent) for task in tasks for f in sorted(task.glob("*/summary.json"))]
    text = ""
    for task in tasks:
        own = [line for line in lines if line["task"] == task.name]
        agents = list(dict.fromkeys(line["agent"] for line in own))
        save_figure(HERE / f"{task.name}.png", figure_of(task, agents))
        text += f"## {task.name}\n\n{table(own)}\n![]({task.name}.png)\n\n"
    over_all = significance(lines)
    text += f"## Over all tasks\n\n{over_all}" if over_all else ""
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    (HERE / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
