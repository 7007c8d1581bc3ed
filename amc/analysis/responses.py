"""Response of a layer group: change of the outputs when it alone keeps a quarter of its channels. No labels."""

from __future__ import annotations

from amc.analysis.divergence import SMALLEST, CutOneByOne
from amc.task.problem import Problem

KEEP_RATIO = 0.25  # of the group that is cut; at one half, robust groups can't be told apart


def measure_responses(problem: Problem, *, verbose: bool = False) -> dict[str, float]:
    """Each group's response: change of the outputs when this group alone keeps a quarter of its channels.

    Within and across networks it ranks groups much as the keep ratios of searches at half the MACs do, whatever the
    architecture (measured in ``experiments/transfer``). Recovery is the search's own.

    Args:
        problem: its first training images are the inputs; labels are not used.
        verbose: show the progress.

    Returns:
        Group name → root mean square change of the log probabilities, in nats (of numbers: in standard
        deviations of the outputs), of every group that can be pruned.

    Raises:
        AmcError: NaN or infinite outputs.
    """
    cuts = CutOneByOne(problem, {})
    fewer = {g.name: g.round_channels(KEEP_RATIO) for g in problem.network.groups if g.frozen is None}
    found = cuts.measure(fewer, lambda now: cuts.readout.change(cuts.dense, now), "response", verbose=verbose)
    return {name: max(response, SMALLEST) for name, response in found.items()}
