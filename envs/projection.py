"""Projection of a whole vector of actions onto the budget, and the heuristics made this way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from amc.core.types import LayerGroup
from amc.pruning.bisect import last_real
from amc.pruning.budget import Budget
from envs.actions import asked_plan, keep_ratio

EDGE = 1e-3  # actions nearer to 0 or 1 count as this far away: their logits stay finite
FAR = 16.0  # logits: so far beyond both edges that every group is at its smallest or at its largest


def project(actions: Sequence[float], budget: Budget) -> dict[str, int]:
    """The plan that meets the budget, as near to it as whole channels allow, with one common shift of all logits.

    Clipping (AMC, Algorithm 1) makes the last groups of the walk pay for what earlier ones asked; here all pay alike.
    A plan below the budget is moved up to it. What rounding leaves of the budget goes to the groups that were rounded
    down most.

    Args:
        actions: one for each group of the budget, in [0, 1].
        budget: without a limit, the actions are taken as they are.

    Returns:
        Group name → kept channels.
    """
    if budget.keep is None:
        return asked_plan(actions, budget)
    inside = np.clip(np.asarray(actions, dtype=np.float64), EDGE, 1 - EDGE)
    logits = np.log(inside / (1 - inside))

    def shifted(shift: float) -> dict[str, int]:
        return asked_plan(_sigmoid(logits + shift), budget)

    # −FAR fits: everything is at its smallest there, and Budget refuses what that exceeds.
    shift = last_real(lambda candidate: budget.fits(shifted(candidate)), -FAR, FAR)
    kept = shifted(shift)
    wanted = {
        g.name: (keep_ratio(a, budget.least_keep) * g.channels - kept[g.name]) / budget.bounds[g.name].unit
        for g, a in zip(budget.groups, _sigmoid(logits + shift), strict=True)
    }
    return _filled(kept, sorted(budget.groups, key=lambda g: -wanted[g.name]), budget)


def _filled(kept: dict[str, int], order: Sequence[LayerGroup], budget: Budget) -> dict[str, int]:
    """``kept`` with one more unit for each group in turn, until no group can have another."""
    open_groups = list(order)
    while open_groups:
        still_open = []
        for group in open_groups:
            more = {**kept, group.name: budget.bounds[group.name].more(kept[group.name])}
            if more != kept and budget.fits(more):
                kept = more
                still_open.append(group)
        open_groups = still_open
    return kept


def ask_for(kept: Mapping[str, int], budget: Budget) -> tuple[float, ...]:
    """The actions that ask for just these channels, one for each group of the budget."""
    least = budget.least_keep
    span = max(1 - least, EDGE)  # with min_keep=1 every action asks for everything
    return tuple(float(np.clip((kept[g.name] / g.channels - least) / span, 0, 1)) for g in budget.groups)


def ramp(groups: int, rising: bool) -> tuple[float, ...]:
    """Actions that rise (AMC's *shallow*: the first layers pay) or fall (*deep*) evenly along the walk."""
    steps = tuple((i + 1) / (groups + 1) for i in range(groups))
    return steps if rising else steps[::-1]


def in_proportion(amounts: Sequence[float]) -> tuple[float, ...]:
    """Actions a whose odds a / (1 − a) are in proportion to ``amounts``, all greater than 0."""
    logs = np.log(np.asarray(amounts, dtype=np.float64))
    return tuple(_sigmoid(logs - logs.mean()).tolist())


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return result
