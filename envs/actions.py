"""What an action in [0, 1] asks for, and the one action that meets a budget everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from amc.core.types import LayerGroup
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel

STEPS = 2**20  # uniform actions are multiples of 1 / STEPS: float32, the action space's type, holds them exactly


def keep_ratio(action: float, min_keep: float) -> float:
    """[0, 1] → [min_keep, 1], linear, so that no action is lost below the smallest allowed keep ratio."""
    return min_keep + action * (1 - min_keep)


def asked_channels(group: LayerGroup, action: float, budget: Budget) -> int:
    """The channels that ``action`` asks for in ``group``, in whole rounding units, before the budget's clipping."""
    return group.round_channels(keep_ratio(action, budget.min_keep), budget.channel_round)


def asked_plan(actions: Iterable[float], budget: Budget) -> dict[str, int]:
    """Group name → the channels that an action for each group asks for, no fewer than ``min_keep`` allows."""
    groups = zip(budget.groups, actions, strict=True)
    return {g.name: max(asked_channels(g, action, budget), budget.floor[g.name]) for g, action in groups}


def uniform_action(cost_model: CostModel, budget: Budget) -> float:
    """The largest action that, given to every group, yields a plan within the budget; 1.0 without a budget.

    Such a plan is never clipped: each of its partial plans costs less still. Found by bisection, for which more
    channels must never cost less.
    """

    def fits(step: int) -> bool:
        kept = asked_plan([step / STEPS] * len(budget.groups), budget)
        return cost_model.value(budget.cost, cost_model.counts(kept)) <= budget.limit

    if budget.keep is None or fits(STEPS):
        return 1.0
    low, high = 0, STEPS  # low fits: Budget refuses a limit that the smallest plan exceeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low / STEPS
