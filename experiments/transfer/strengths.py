"""Responses and prices as rules, at several strengths: which of them still ranks the groups where a budget is tight?

    python -m experiments.transfer.strengths NAME [OVERRIDES…]

``NAME`` of the network in the figure; the overrides are ``amc.transfer``'s, such as ``model=resnet56``. Each plan's
logits are so many times the logarithms of what was measured, moved onto the budget; 1 is the rule. Adds to
``strengths.csv`` beside itself and draws ``strengths.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hydra import compose, initialize_config_module
from matplotlib.figure import Figure

from amc.analysis.measured import measure_groups
from amc.cli.command import plain_of
from amc.core.types import PruningPlan
from amc.reporting.figures import CURVES, save_figure
from amc.task.load import load_trained
from amc.task.settings import Settings
from envs.projection import in_proportion, project
from experiments.common.figures import tidy
from experiments.common.lines import Line, grouped, merge
from experiments.common.networks import problem_of

HERE = Path(__file__).parent
NAME = ("network", "keep", "rule", "strength")
COLUMNS = (*NAME, "accuracy", "loss")
KEEPS = (0.5, 0.3)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
IMAGES = 2500  # of the validation split


def lines_of(name: str, overrides: list[str]) -> list[Line]:
    with initialize_config_module("conf", version_base=None):
        config = plain_of(compose("transfer", overrides=overrides))
        task = load_trained(config).task(config)
    settings, found = Settings(images=IMAGES, responses=True, prices=True), []
    for keep in KEEPS:
        problem = problem_of(task, keep, settings)
        measure_groups(problem)
        for rule, amounts in problem.measured.items():
            for strength in STRENGTHS:
                actions = in_proportion([amounts[group.name] ** strength for group in problem.budget.groups])
                kept = project(actions, problem.budget)
                metrics = problem.evaluator.in_full(PruningPlan.make(problem.network.groups, kept))
                scores = {"accuracy": metrics.score, "loss": metrics.loss}
                found.append({"network": name, "keep": keep, "rule": rule, "strength": strength, **scores})
                print(found[-1], flush=True)
    return found


def draw(lines: list[Line]) -> Figure:
    networks, curves = list(grouped(lines, "network")), grouped(lines, "network", "keep", "rule")
    figure = Figure(figsize=(3.6 * len(networks), 5.2), layout="constrained")
    axes = figure.subplots(len(KEEPS), len(networks), sharex=True, squeeze=False)
    for (row, keep), (column, network) in ((r, c) for r in enumerate(KEEPS) for c in enumerate(networks)):
        panel = axes[row][column]
        for colour, rule in zip(CURVES, ("response", "price"), strict=False):
            points = sorted((x["strength"], 100 * x["accuracy"]) for x in curves.get((network, keep, rule), ()))
            panel.plot([s for s, _ in points], [a - points[0][1] for _, a in points], "o-", color=colour, label=rule)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set_title(f"{network}, {keep:.0%} of the MACs", fontsize=10)
        tidy(panel)
    axes[0][0].legend(frameon=False)
    figure.supxlabel("strength of the rule (0: the uniform plan)", fontsize=10)
    figure.supylabel("accuracy minus uniform, points", fontsize=10)
    return figure


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("give the network's name in the figure, then overrides, such as model=resnet56 dataset=cifar10")
    lines = merge(HERE / "strengths.csv", COLUMNS, NAME, lines_of(sys.argv[1], sys.argv[2:]))
    save_figure(HERE / "strengths.png", draw(lines))


if __name__ == "__main__":
    main()
