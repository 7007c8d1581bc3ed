"""Plans by ranking channels over the whole network, printed as ``constraints`` of ``amc.search``.

    python -m experiments.vision_transformer.ranking isomorphic WEIGHTS 0.5
    python -m experiments.vision_transformer.ranking global WEIGHTS 0.5

``isomorphic``: as in Isomorphic Pruning (Fang et al. 2024, §3.2), channels are compared with those of structures that
are built alike (the heads of all blocks, the feed-forward neurons of all blocks, the stream), and of each kind the
same share stays. ``global``: all channels are compared with each other. Scores are those of ``importance=l1``, over
their group's mean; the share is the largest that meets the budget, and no group keeps less than a tenth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from amc.core.types import LayerGroup, PruningPlan
from amc.importance.magnitude import magnitude_scores
from amc.models import build
from amc.pruning.bisect import last_real
from amc.pruning.network import Network, trace_network
from amc.pruning.tied import tied
from experiments.common.networks import macs_ratio
from experiments.vision_transformer.network_task import TARGET

CLASSES, SHAPE = 10, (3, 32, 32)
LEAST = 0.1  # of each group, as budget.min_keep
Scores = Mapping[str, npt.NDArray[np.float64]]


def pools_of(groups: Sequence[LayerGroup], way: str) -> list[list[LayerGroup]]:
    """The groups whose channels are compared with each other."""
    return [list(groups)] if way == "global" else [list(tie.members) for tie in tied(groups)]


def kept_of(pool: Sequence[LayerGroup], scores: Scores, share: float) -> dict[str, int]:
    """Group name → channels that are among the best ``share`` of the pool's."""
    every = np.sort(np.concatenate([scores[g.name] for g in pool]))[::-1]
    threshold = every[max(0, round(share * len(every)) - 1)]
    return {g.name: max(g.min_channels(LEAST), int((scores[g.name] >= threshold).sum())) for g in pool}


def plan_by_rank(network: Network, way: str, keep: float) -> PruningPlan:
    """The plan of the largest share that keeps at most ``keep`` of the MACs."""
    groups = [g for g in network.groups if g.frozen is None]
    scores, pools = magnitude_scores("l1", network.model, groups), pools_of(groups, way)

    def plan(share: float) -> PruningPlan:
        kept = {name: n for pool in pools for name, n in kept_of(pool, scores, share).items()}
        return PruningPlan.make(network.groups, kept)

    return plan(last_real(lambda share: macs_ratio(network, plan(share)) <= keep, 0.0, 1.0))


def main() -> None:
    if len(sys.argv) != 4 or sys.argv[1] not in ("isomorphic", "global"):
        sys.exit("give isomorphic or global, the file with the weights, and the budget, such as 0.5")
    way, weights, keep = sys.argv[1], sys.argv[2], float(sys.argv[3])
    network = trace_network(build(TARGET, CLASSES, SHAPE, checkpoint=weights), torch.zeros(1, *SHAPE))
    ratios = plan_by_rank(network, way, keep).keep_ratios()
    free = [g.name for g in network.groups if g.frozen is None]
    print(json.dumps({name: {"keep": ratios[name]} for name in free}))


if __name__ == "__main__":
    main()
