"""Actions in [0, 1] as channel counts, and the uniform action that meets a budget."""

from __future__ import annotations

from collections.abc import Iterable

from amc.core.types import LayerGroup
from amc.pruning.bisect import last_whole
from amc.pruning.budget import Budget

STEPS = 2**20  # uniform actions are multiples of 1 / STEPS: float32, the action space's type, holds them exactly


def keep_ratio(action: float, min_keep: float) -> float:
    """[0, 1] → [min_keep, 1], linear, so that no action is lost below the smallest allowed keep ratio."""
    return min_keep + action * (1 - min_keep)


def asked_channels(group: LayerGroup, action: float, budget: Budget) -> int:
    """The channels that ``action`` asks for in ``group``, within its bounds, before the budget's clipping."""
    return budget.bounds[group.name].nearest(keep_ratio(action, budget.least_keep))


def asked_plan(actions: Iterable[float], budget: Budget) -> dict[str, int]:
    """Group name → the channels that an action for each group asks for, within its bounds."""
    return {g.name: asked_channels(g, action, budget) for g, action in zip(budget.groups, actions, strict=True)}


def uniform_action(budget: Budget) -> float:
    """The largest action that, given to every group, yields a plan within the budget; 1.0 without a budget.

    Such a plan is never clipped: each of its partial plans costs less still. Found by bisection, for which more
    channels must never cost less.
    """
    return 1.0 if budget.keep is None else _largest_action(budget, budget.limit)


def uniform_plan(budget: Budget, limit: float) -> dict[str, int]:
    """Group name → the channels of one keep ratio for all, the largest whose plan costs no more than ``limit``.

    A group whose bounds don't allow the ratio keeps the nearest number of channels that they do.

    Args:
        budget: its cost and the groups' bounds; not its own limit.
        limit: in the unit of the budget's cost.
    """
    return asked_plan([_largest_action(budget, limit)] * len(budget.groups), budget)


def _largest_action(budget: Budget, limit: float) -> float:
    def fits(step: int) -> bool:
        return budget.value(asked_plan([step / STEPS] * len(budget.groups), budget)) <= limit

    # 0 fits: Budget refuses a limit that the smallest plan exceeds.
    return 1.0 if fits(STEPS) else last_whole(fits, 0, STEPS) / STEPS
