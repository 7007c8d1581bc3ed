"""Price of a layer group: output divergence per saved cost when it is halved in the uniform plan of a budget."""

from __future__ import annotations

import math
from statistics import mean, median

from amc.analysis.divergence import SMALLEST, CutOneByOne
from amc.task.problem import Problem
from envs.projection import project

KEEP_RATIO = 0.5  # of what the uniform plan keeps of the group
NOISE = 0.1  # of the median change in divergence: an increase below it is not distinguishable from none
FLAT = 1e-3  # of the largest saving: less means that a latency table is flat, which doesn't help to meet a budget


def measure_prices(problem: Problem, *, verbose: bool = False) -> dict[str, float]:
    """Each group's price: output divergence per saved cost when this group alone is halved in the uniform plan.

    The price is the root of a ratio: the increase of the mean Kullback-Leibler divergence from the dense network's
    outputs (of numbers: the squared error over their variance) over the saved fraction of the plan's cost. In the best
    plan of a budget no trade between groups pays: all
    slopes are equal (Shoham and Gersho 1988, for bits). A response, of a group cut alone in the dense network, says
    less the smaller the budget (measured in ``experiments/transfer``).

    Args:
        problem: its first training images are the inputs, labels are not used; without a limit each group is halved in
            the dense network.
        verbose: show the progress.

    Returns:
        Group name → price, in the root of nats per whole cost, greater than 0, of every group that can be pruned. Where
        divergence hardly rises, or hardly anything is saved (a flat stretch of a latency table), a floor counts; a
        group that keeps a single channel gets the geometric mean of the others; where no group saves anything all
        prices are 1.

    Raises:
        AmcError: NaN or infinite outputs.
    """
    costs, budget = problem.network.cost_model, problem.budget
    kept = {g.name: g.channels for g in budget.groups}
    if budget.keep is not None:
        kept = project([0.5] * len(kept), budget)
    fewer = {g.name: g.round_channels(KEEP_RATIO * kept[g.name] / g.channels) for g in budget.groups}
    cuts = CutOneByOne(problem, kept)

    distance = cuts.readout.distance
    before, full = distance(cuts.dense, cuts.outputs), costs.value(budget.cost, costs.counts(kept))
    fewer = {name: n for name, n in fewer.items() if n < kept[name]}  # a single channel can't be halved
    saved = {name: 1 - costs.value(budget.cost, costs.counts({**kept, name: n})) / full for name, n in fewer.items()}
    flat = FLAT * max(saved.values(), default=0.0)
    if flat <= 0:
        return dict.fromkeys(kept, 1.0)
    lost = cuts.measure(fewer, lambda now: distance(cuts.dense, now) - before, "price", verbose=verbose)
    least = max(NOISE * median(map(abs, lost.values())), SMALLEST)
    found = {name: math.sqrt(max(lost[name], least) / max(saved[name], flat)) for name in fewer}
    middle = math.exp(mean(map(math.log, found.values())))
    return {name: found.get(name, middle) for name in kept}
