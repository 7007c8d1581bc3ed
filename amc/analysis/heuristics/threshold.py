"""The threshold heuristic: every group is cut until its own sensitivity curve loses a given accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amc.analysis.curves import Curves, prunable
from amc.analysis.heuristics.counts import fewest_within, largest_between, smallest_limit
from amc.core.checks import Interval, require
from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.budget import Budget
from amc.pruning.constraints import Limits
from amc.pruning.cost import CostModel

TOLERANCE = 1e-9  # of the accuracy drop: exactly the threshold is within it


def threshold_plan(
    curves: Curves,
    groups: Sequence[LayerGroup],
    accuracy_drop: float,
    limits: Limits | None = None,
) -> PruningPlan:
    """Each group keeps the fewest channels with which it alone would lose no more than ``accuracy_drop``.

    Or the most that ``limits`` allow, if it loses more even so.

    The curves are made monotone and interpolated linearly between measured values. Drops at least add up (see
    :mod:`amc.analysis.interactions`): the plan's own drop is larger.

    Args:
        curves: of the network.
        groups: of the network; a group without a curve keeps everything.
        accuracy_drop: as a fraction in [0, 1]: 0.01 is one point.
        limits: what bounds the counts; by default no group keeps less than a tenth.

    Raises:
        AmcError: impossible numbers, or limits that contradict each other.
    """
    require("accuracy_drop", accuracy_drop, float, Interval(0, 1))
    free = prunable(groups)
    counts = {name: bounds.counts() for name, bounds in (limits or Limits()).of(groups).items()}
    drops = {g.name: curves.score_drop(g.name, counts[g.name] / g.channels) for g in free}
    return PruningPlan.make(groups, fewest_within(counts, drops, accuracy_drop + TOLERANCE))


def threshold_plan_for_budget(curves: Curves, budget: Budget, cost_model: CostModel) -> tuple[PruningPlan, float]:
    """The plan of the smallest accuracy drop that meets the budget; and that drop.

    Accuracy has steps of one image, so many groups may tie at this drop, and cutting all of them to it may save more
    than is needed. The rest of the budget goes back to them, all equally far towards the plan of the next smaller drop.

    Args:
        curves: of the network.
        budget: largest cost, with the groups' bounds.
        cost_model: of the network.
    """
    counts = {name: bounds.counts() for name, bounds in budget.bounds.items()}
    drops = {g.name: curves.score_drop(g.name, counts[g.name] / g.channels) for g in budget.groups}
    drop = smallest_limit(counts, drops, budget.fits)
    smaller = [d for d in np.concatenate(list(drops.values())) if d < drop]
    cheap, dear = fewest_within(counts, drops, drop), {name: int(options[-1]) for name, options in counts.items()}
    if smaller:
        dear = fewest_within(counts, drops, max(smaller))
    kept = cheap if budget.keep is None else largest_between(cheap, dear, counts, budget.fits)
    return PruningPlan.make(cost_model.groups, kept), drop
