"""Channel counts that a group may keep, and plans at a common sensitivity limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from amc.pruning.bisect import last_real, last_whole
from amc.pruning.bounds import Bounds, Counts
from amc.pruning.cost import CostModel

HALVINGS = 30
ROUNDING = 1e-6


def allowed_counts(bounds: Bounds, most: int | None = None) -> Counts:
    """Counts that a group may keep, ascending.

    Args:
        bounds: of the group.
        most: at most so many counts (at least two), spread evenly, the smallest and the largest among them.
    """
    counts = bounds.counts()
    if most is not None and len(counts) > most:
        counts = counts[np.unique(np.rint(np.linspace(0, len(counts) - 1, max(most, 2))).astype(int))]
    return counts


def fewest_within(
    counts: Mapping[str, Counts], harm: Mapping[str, npt.NDArray[np.float64]], limit: float
) -> dict[str, int]:
    """Of each group the fewest channels whose ``harm``, falling with the count, is no more than ``limit``.

    The most, if even that does more harm.
    """
    worse = {name: int(np.count_nonzero(harm[name] > limit)) for name in counts}
    return {name: int(options[min(worse[name], len(options) - 1)]) for name, options in counts.items()}


def smallest_limit(
    counts: Mapping[str, Counts],
    harm: Mapping[str, npt.NDArray[np.float64]],
    fits: Callable[[Mapping[str, int]], bool],
) -> float:
    """The smallest common limit on the harm with which the plan of :func:`fewest_within` fits.

    The plan changes only where the limit passes one of the harms, so only these are tried.
    """
    limits = np.unique(np.concatenate(list(harm.values())))
    # At the highest limit every group is at its minimum, which fits a reachable budget.
    too_dear = last_whole(lambda index: not fits(fewest_within(counts, harm, limits[index])), -1, len(limits) - 1)
    return float(limits[too_dear + 1])


def largest_between(
    cheap: Mapping[str, int],
    dear: Mapping[str, int],
    counts: Mapping[str, Counts],
    fits: Callable[[Mapping[str, int]], bool],
) -> dict[str, int]:
    """The largest plan that fits between ``cheap``, which does, and ``dear``; all groups move equally far.

    ``counts`` are each group's choices, ascending; no group has fewer channels in ``dear``.
    """

    def at(share: float) -> dict[str, int]:
        wanted = {name: cheap[name] + share * (dear[name] - cheap[name]) for name in counts}
        return {
            name: int(options[np.searchsorted(options, wanted[name] + ROUNDING, side="right") - 1])
            for name, options in counts.items()
        }

    return at(last_real(lambda share: fits(at(share)), 0.0, 1.0, HALVINGS))


def shares(cost_model: CostModel) -> dict[str, tuple[float, float]]:
    """Group name → the MACs and the parameters that depend on it, as fractions of the whole network's.

    They are those of the layers that make its channels and of the layers that read them, so all groups' shares add up
    to more than 1: nothing can be saved twice.
    """
    total = cost_model.cost()
    without = {g.name: cost_model.cost({g.name: 0}) for g in cost_model.groups}
    return {name: (1 - cost.macs / total.macs, 1 - cost.params / total.params) for name, cost in without.items()}
