"""AMC's pattern, over seeds: are 3×3 convolutions cut harder than 1×1 convolutions (AMC §4.2)?

    python -m experiments.does_rl_help.pattern runs/does_rl_help/resnet50-0.3-100

Reads the plans of ResNet-50 in that folder; writes ``<task>-pattern.md``, a line per agent, and ``<task>-pattern.png``,
the mean keep ratio of every group, beside itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from amc.core.files import read_json
from amc.core.types import LayerGroup, PruningPlan
from amc.models import build
from amc.pruning.network import trace_network
from amc.reporting.figures import COLOURS, kind_label, mean_keep_ratios, save_figure
from experiments.common.figures import tidy
from experiments.common.runs import finished, name_and_seed
from experiments.common.stats import publish, spread, table

HERE = Path(__file__).parent
DIGITS, SHAPE = 10, (1, 8, 8)
KINDS = ("3×3 convolution", "1×1 convolution")


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
        tidy(axes, "y")
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, title="mean keep ratio")
    axes.set(xlabel="layer group, in the order of the walk")
    return figure


def plans_in(task: Path, groups: Sequence[LayerGroup]) -> dict[str, list[PruningPlan]]:
    """Agent → the plans that its finished searches found."""
    plans: dict[str, list[PruningPlan]] = {}
    for folder in finished(task, "*-seed*"):
        plan = PruningPlan.from_json(read_json(folder / "plan.json"), groups)
        plans.setdefault(name_and_seed(folder)[0], []).append(plan)
    return plans


def row_of(agent: str, groups: list[LayerGroup], found: list[PruningPlan]) -> tuple[object, ...]:
    means = [mean_keep_ratios(groups, plan) for plan in found]
    cells = [spread(m[kind][weighted] for m in means) for weighted in (0, 1) for kind in KINDS]
    return agent, len(found), *cells


def main() -> None:
    task = Path(sys.argv[1])
    model = build("torchvision.models.resnet50", DIGITS, SHAPE)
    every = trace_network(model, torch.zeros(1, *SHAPE)).groups
    groups = [g for g in every if g.frozen is None]
    plans = plans_in(task, every)
    if not plans:
        sys.exit(f"{task}: no finished runs yet")
    heads = ["agent", "seeds", *KINDS, *(f"{kind}, weighted by MACs" for kind in KINDS)]
    text = table(heads, [row_of(agent, groups, found) for agent, found in plans.items()])
    save_figure(HERE / f"{task.name}-pattern.png", figure_of(groups, plans))
    publish(HERE / f"{task.name}-pattern.md", text)


if __name__ == "__main__":
    main()
