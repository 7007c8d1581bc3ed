"""Iterative pruning: the plans between the dense network and the last one, and the channels that go next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from amc.core.checks import Interval, require
from amc.core.errors import AmcError
from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.bisect import HALVINGS, last_real
from amc.pruning.cost import CostModel
from amc.pruning.surgery import Ranking

CLOSE = 0.02  # a stage this near to the plan's MACs (as a share of them) is the plan


def stage_plans(plan: PruningPlan, cost_model: CostModel, macs_ratios: Sequence[float]) -> tuple[PruningPlan, ...]:
    """The plans of all stages; the last one is always ``plan``.

    A stage's keep ratios lie between 1 and the plan's, all groups equally far, with the MACs that are asked for.

    Args:
        plan: the last stage.
        cost_model: of the dense network.
        macs_ratios: MACs of the stages before it, as fractions of the dense network's, falling. A last one that is
            the plan's own (within 2 %) may be written down too.

    Raises:
        AmcError: ratios that don't fall from below 1 to the plan's.
    """
    total = cost_model.cost().macs
    target = cost_model.cost(plan).macs / total
    ratios = list(macs_ratios)
    for ratio in ratios:
        require("stages", ratio, float, Interval(0, 1, ends="()"))
    if ratios and abs(ratios[-1] - target) <= CLOSE * target:
        ratios.pop()
    for before, ratio in zip([1.0, *ratios], [*ratios, target], strict=True):
        if ratio >= before:
            raise AmcError(
                f"stages={[*map(float, macs_ratios)]}: give MACs ratios that fall from below 1 to the plan's "
                f"{target:.3f}; {ratio:.3f} is not below {before:.3f}"
            )
    return (*(_between(plan, cost_model, ratio * total) for ratio in ratios), plan)


def _between(plan: PruningPlan, cost_model: CostModel, macs: float) -> PruningPlan:
    """The plan on the way to ``plan`` with the most MACs up to ``macs``."""

    def too_dear(share: float) -> bool:
        return cost_model.cost(_on_the_way(plan, cost_model.groups, share)).macs > macs

    share = last_real(too_dear, 0.0, 1.0)  # of the way; at 1 it is the plan, which stays below ``macs``
    return _on_the_way(plan, cost_model.groups, share + 0.5**HALVINGS)


def _on_the_way(plan: PruningPlan, groups: Sequence[LayerGroup], share: float) -> PruningPlan:
    ratios = plan.keep_ratios()
    kept = {}
    for group in groups:
        ratio = 1 - share * (1 - ratios[group.name])
        kept[group.name] = max(plan[group.name], group.round_channels(ratio))
    return PruningPlan.make(groups, kept)


def doomed_channels(counts: Mapping[str, int], ranking: Ranking) -> dict[str, npt.NDArray[np.int64]]:
    """Group name → channels that the next stage, which keeps ``counts``, removes; by the current network's ranking."""
    gone = {name: np.sort(channels[counts[name] :]) for name, channels in ranking.items() if name in counts}
    return {name: channels for name, channels in gone.items() if len(channels)}
