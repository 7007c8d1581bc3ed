"""Draws the comparison of agents from whatever runs are finished.

    python -m experiments.does_rl_help.analyse runs/does_rl_help

Reads ``<runs>/<network>-<budget>-<evaluations>/<agent>-seed<n>/`` into ``results.csv`` (a line per run) and
``curves.csv`` (each improvement that a search made) beside itself, where what earlier calls found is kept; draws
``results.md`` (tables, significance) and ``<task>.png`` from these two.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import trim_mean

from amc.reporting.figures import CURVES, save_figure
from amc.tracking import read_episodes
from experiments.common.figures import tidy
from experiments.common.lines import Line, grouped, merge
from experiments.common.runs import finished, name_and_seed, scores, summary_of
from experiments.common.stats import p_value, publish, spread, table

HERE = Path(__file__).parent
REFERENCE = "ddpg"
LONG = "-400"
DRAWS = 2000  # bootstrap samples of the seeds
BANDS = 3  # so many of the best agents are drawn with their confidence bands
RUN = ("task", "agent", "seed")
COLUMNS = (*RUN, "evaluations", "val_accuracy", "test_accuracy", "macs_ratio", "wall_seconds")
HEADS = (
    "agent", "seeds", "test top-1 %", "interquartile mean", "val top-1 %", "evaluations", "minutes", "minus DDPG",
)  # fmt: skip
CURVE_COLUMNS = (*RUN, "evaluation", "seconds", "best")


def read_run(folder: Path) -> Line:
    summary = summary_of(folder)
    found = scores(summary["baseline"], summary["best"])
    return {
        **run_of(folder),
        "evaluations": summary["episodes"],
        **{name: found[name] for name in ("val_accuracy", "test_accuracy", "macs_ratio")},
        "wall_seconds": summary["wall_seconds"],
    }


def run_of(folder: Path) -> Line:
    agent, seed = name_and_seed(folder)
    return {"task": folder.parent.name, "agent": agent, "seed": seed}


def read_improvements(folder: Path) -> list[Line]:
    """The evaluations of a search that were better than all before, and the last one, with the seconds up to them.

    Accuracies are of validation images; only plans within the budget count.
    """
    seconds, best, lines = 0.0, -1.0, []
    rows = read_episodes(folder / "episodes.csv")
    for number, row in enumerate(rows, start=1):
        seconds += row["seconds"]
        better = row.get("within_budget", 1) and row["accuracy"] > best
        best = row["accuracy"] if better else best
        if (better or number == len(rows)) and best >= 0:
            lines.append({**run_of(folder), "evaluation": number, "seconds": round(seconds, 1), "best": best})
    return lines


def curve(improvements: list[Line], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Best accuracy after each evaluation, NaN before the first within the budget, and the seconds up to it.

    Both ``[length]``; a search that ends early keeps its best.
    """
    numbers = [line["evaluation"] for line in improvements]
    steps = np.arange(1, length + 1)
    where = np.searchsorted(numbers, steps, side="right") - 1
    best = np.where(where >= 0, np.array([line["best"] for line in improvements])[where], np.nan)
    return best, np.interp(steps, [0, *numbers], [0.0, *(line["seconds"] for line in improvements)])


def confidence(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % of the bootstrapped means over seeds; ``curves`` is ``[seeds, evaluations]``."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(curves), size=(DRAWS, len(curves)))
    means = curves[chosen].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low, high


def figure_of(task: str, improvements: list[Line], agents: list[str]) -> Figure:
    """Best validation accuracy so far, against evaluations and against wall time.

    An agent's colour is its place in ``agents``; the first few and the reference have their band.
    """
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    length = int(task.rpartition("-")[2])
    steps = np.arange(1, length + 1)
    by_agent = {agent: grouped(own, "seed") for agent, own in grouped(improvements, "agent").items()}
    means, times, bands = {}, {}, {}
    for agent, by_seed in by_agent.items():
        runs = [curve(lines, length) for lines in by_seed.values()]
        accuracies = 100 * np.array([accuracy for accuracy, _ in runs])
        means[agent], times[agent] = accuracies.mean(axis=0), np.mean([seconds for _, seconds in runs], axis=0)
        if len(runs) > 1:
            bands[agent] = confidence(accuracies)
    order = sorted(means, key=lambda agent: -means[agent][-1])
    for agent in order:
        index = agents.index(agent)
        look: Any = {
            "color": CURVES[index % len(CURVES)],
            "linestyle": ("-", "--", ":", "-.")[index // len(CURVES) % 4],
            "linewidth": 2.6 if agent == REFERENCE else 1.4,
        }
        seeds = f" ({len(by_agent[agent])} seeds)" if agent in bands else ""
        left.plot(steps, means[agent], label=f"{agent}: {means[agent][-1]:.2f}{seeds}", **look)
        right.plot(times[agent] / 60, means[agent], **look)
        if agent in bands and agent in {REFERENCE, *order[:BANDS]}:
            left.fill_between(steps, *bands[agent], color=look["color"], alpha=0.12, linewidth=0)
    ends = [means[agent][-1] for agent in order]
    best, middle = ends[0], float(np.median(ends))
    for axes in (left, right):  # what ends far below the others is named in the legend and not drawn
        axes.set_ylim(middle - 4 * (best - middle) - 0.5, best + 0.5 * (best - middle) + 0.2)
        tidy(axes)
    left.set(xlabel="evaluations", ylabel="best validation top-1 so far, %")
    right.set(xlabel="minutes, without loading and calibration")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(task, fontsize=11)
    return figure


def table_of(lines: list[Line]) -> str:
    """Markdown: an agent a row, the best mean test accuracy first, with its distance to the reference per seed."""
    by_agent = {agent: {line["seed"]: line for line in own} for agent, own in grouped(lines, "agent").items()}
    reference = by_agent.get(REFERENCE, {})
    ordered = sorted(by_agent.items(), key=lambda item: -np.mean([r["test_accuracy"] for r in item[1].values()]))
    return table(HEADS, (row_of(agent, runs, {} if agent == REFERENCE else reference) for agent, runs in ordered))


def row_of(agent: str, runs: dict[int, Line], reference: dict[int, Line]) -> tuple[object, ...]:
    """Seed → line of an agent and of what it is compared with, as a row of the table."""
    test, val, seconds, evaluations = (
        np.array([run[key] for run in runs.values()], dtype=float)
        for key in ("test_accuracy", "val_accuracy", "wall_seconds", "evaluations")
    )
    shared = sorted(set(runs) & set(reference))
    gaps = [100 * (runs[seed]["test_accuracy"] - reference[seed]["test_accuracy"]) for seed in shared]
    return (
        agent,
        len(runs),
        spread(100 * test),
        f"{trim_mean(100 * test, 0.25):.2f}",
        spread(100 * val),
        f"{evaluations.mean():.0f}",
        f"{seconds.mean() / 60:.1f}",
        spread(gaps, sign="+"),
    )


def significance(lines: list[Line]) -> str:
    """Each agent against the reference over all tasks and seeds that both have (Wilcoxon's signed-rank test)."""
    by_agent = grouped(lines, "agent")
    reference = {(r["task"], r["seed"]): r["test_accuracy"] for r in by_agent.pop(REFERENCE, [])}
    rows = []
    for agent, own in by_agent.items():
        pairs = [(r["test_accuracy"], reference.get((r["task"], r["seed"]))) for r in own]
        gaps = np.array([100 * (test - other) for test, other in pairs if other is not None])
        if len(gaps) >= 5 and gaps.any():
            rows.append((agent, len(gaps), f"{gaps.mean():+.2f}", f"{p_value(gaps):.3g}"))
    return table(("agent against DDPG", "pairs", "mean difference, points", "p"), rows) if rows else ""


def main() -> None:
    folders = finished(Path(sys.argv[1]), "*/*-seed*")
    lines = merge(HERE / "results.csv", COLUMNS, RUN, [read_run(folder) for folder in folders])
    found = [line for folder in folders for line in read_improvements(folder)]
    curves = merge(HERE / "curves.csv", CURVE_COLUMNS, RUN, found)
    if not lines:
        sys.exit(f"{sys.argv[1]}: no finished runs yet")
    agents = sorted({line["agent"] for line in curves})
    text = ""
    improvements = grouped(curves, "task")
    for task, own in grouped(lines, "task").items():
        text += f"## {task}\n\n{table_of(own)}\n"
        if task in improvements:
            save_figure(HERE / f"{task}.png", figure_of(task, improvements[task], agents))
            text += f"![]({task}.png)\n\n"
    # A search of 100 evaluations is the beginning of one of 400, and no further pair.
    over_all = significance([line for line in lines if line["task"].endswith(LONG)])
    text += f"## Over all tasks of 400 evaluations\n\n{over_all}" if over_all else ""
    publish(HERE / "results.md", text)


if __name__ == "__main__":
    main()
