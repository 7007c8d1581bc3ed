"""What it costs a network's answers to save at one layer group, where a budget has already cut them all."""

from __future__ import annotations

import math
from statistics import mean, median

from amc.budget import Budget
from amc.data import ImageSet
from amc.evaluate import Evaluator
from amc.outputs import SMALLEST, CutOneByOne, divergence
from amc.problem import Network
from envs.projection import project

KEEP_RATIO = 0.5  # of what the uniform plan keeps of the group
NOISE = 0.1  # of the median increase: differences below can't be told from none


def measure_prices(
    network: Network, evaluator: Evaluator, budget: Budget, train: ImageSet, *, verbose: bool = False
) -> dict[str, float]:
    """Each group's price: what the outputs lose for what is saved when this group alone is halved in the uniform plan.

    The loss is the increase of the mean Kullback-Leibler divergence from the uncut network's outputs, what is saved a
    fraction of the plan's cost, the price the root of their ratio. In the best plan of a budget no group can be traded
    for another with profit: all slopes are equal (Shoham and Gersho 1988, for bits). A group alone cut in a whole
    network, a response, says less the more the budget takes from all (measured in ``experiments/transfer``).

    Args:
        network: uncut.
        evaluator: of this network.
        budget: that the uniform plan meets; without a limit each group is halved in the whole network.
        train: its first images are looked at; labels are not.
        verbose: show the progress.

    Returns:
        Group name → price, in the root of nats per whole cost, greater than 0, of every group that can be pruned; where
        halving saves nothing, the geometric mean of the others.

    Raises:
        AmcError: the outputs are no numbers.
    """
    costs, kept = network.cost_model, {g.name: g.channels for g in budget.groups}
    if budget.keep is not None:
        kept = project([0.5] * len(kept), costs, budget)
    fewer = {g.name: g.round_channels(KEEP_RATIO * kept[g.name] / g.channels) for g in budget.groups}
    cuts = CutOneByOne(network, evaluator, train, kept)

    before, full = divergence(cuts.uncut, cuts.outputs), costs.value(budget.cost, costs.counts(kept))
    lost = cuts.measure(fewer, lambda now: divergence(cuts.uncut, now) - before, "price", verbose=verbose)
    least = max(NOISE * median(lost.values()), SMALLEST)
    saved = {name: 1 - costs.value(budget.cost, costs.counts({**kept, name: n})) / full for name, n in fewer.items()}
    found = {name: math.sqrt(max(lost[name], least) / saved[name]) for name in fewer if saved[name] > 0}
    middle = math.exp(mean(map(math.log, found.values()))) if found else 1.0  # of a single channel there is no half
    return {name: found.get(name, middle) for name in fewer}
