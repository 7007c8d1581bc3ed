"""AMC's pattern, over seeds: are 3×3 convolutions cut harder than 1×1 convolutions (AMC §4.2)?

    python experiments/does_rl_help/pattern.py runs/does_rl_help/resnet50-0.3-100

Reads the plans of ResNet-50 in that folder; writes ``<task>-pattern.md``, a line per agent, and ``<task>-pattern.png``,
the mean keep ratio of every group, beside itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from amc.core.types import LayerGroup, PruningPlan
from amc.models import build
from amc.pruning.network import trace_network
from amc.reporting.figures import COLOURS, GRID, kind_label, mean_keep_ratios, save_figure

HERE = Path(__file__).parent
DIGITS, SHAPE = 10, (1, 8, 8)
KINDS = ("3×3 convolution", "1×1 convolution")


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def figure_of(groups: list[LayerGroup], plans: dict[str, list[PruningPlan]]) -> Figure:
    """A panel per agent: mean keep ratio of every group over the seeds, whiskers from the smallest to the largest."""
    figure = Figure(figsize=(11, 2.6 * len(plans) + 0.6), layout="constrained")
    for axes, (agent, found) in zip(
        np.atleast_1d(figure.subplots(len(plans), 1, sharex=True)), plans.items(), strict=True
    ):
        kept = np.array([[plan.keep_ratios()[g.name] for g in groups] for plan in found])
        mean, places = kept.mean(axis=0), np.arange(len(groups))
        colours = [COLOURS[kind_label(g.kind)] for g in groups]
        axes.bar(places, mean, color=colours, width=0.8)
        axes.vlines(places, kept.min(axis=0), kept.max(axis=0), color="black", linewidth=0.9)
        for kind in KINDS:
            level = np.mean([mean_keep_ratios(groups, plan)[kind][0] for plan in found])
            axes.axhline(level, color=COLOURS[kind], linestyle="--", linewidth=1.2, label=f"{kind}: {level:.2f}")
        axes.set(ylim=(0, 1), ylabel="keep ratio")
        axes.set_title(f"{agent}, {len(found)} seeds", loc="left", fontsize=10)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, title="mean keep ratio")
    axes.set(xlabel="layer group, in the order of the walk")
    return figure


def main() -> None:
    task = Path(sys.argv[1])
    model = build("torchvision.models.resnet50", DIGITS, SHAPE)
    every = trace_network(model, torch.zeros(1, *SHAPE)).groups
    groups = [g for g in every if g.frozen is None]
    plans: dict[str, list[PruningPlan]] = {}
    for file in sorted(task.glob("*-seed*/summary.json")):
        agent = file.parent.name.rpartition("-seed")[0]
        plan = json.loads((file.parent / "plan.json").read_text())
        plans.setdefault(agent, []).append(PruningPlan.from_json(plan, every))
    heads = [*KINDS, *(f"{kind}, weighted by MACs" for kind in KINDS)]
    rows = [f"| agent | seeds | {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for agent, found in plans.items():
        means = [mean_keep_ratios(groups, plan) for plan in found]
        cells = [spread([m[kind][weighted] for m in means]) for weighted in (0, 1) for kind in KINDS]
        rows.append(f"| {agent} | {len(found)} | {' | '.join(cells)} |")
    text = "\n".join(rows) + "\n"
    (HERE / f"{task.name}-pattern.md").write_text(text)
    save_figure(HERE / f"{task.name}-pattern.png", figure_of(groups, plans))
    print(text)


if __name__ == "__main__":
    main()
