"""Pruner: plan → pruned network, by choosing channels, slicing and recovery."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.surgery import Kept, Ranking, Recover, Surgeon, select_channels


@dataclass(frozen=True)
class Pruner:
    """Prunes one network by any number of plans.

    Attributes:
        groups: of the network; one count each.
        surgeon: of the network.
        ranking: group name → channels by falling importance.
        recover: recovery of the cut network's weights.
    """

    groups: tuple[LayerGroup, ...]
    surgeon: Surgeon
    ranking: Ranking
    recover: Recover

    def kept(self, plan: PruningPlan) -> Kept:
        """The channels that each group keeps, of tied groups each member for itself."""
        counts = {member.name: plan[group.name] for group in self.groups for member in group.members}
        return select_channels(counts, self.ranking)

    def cut(self, plan: PruningPlan) -> nn.Module:
        """The cut and recovered network, in float32; shares no tensor with the original."""
        kept = self.kept(plan)
        small = self.surgeon.cut(kept)
        self.recover(small, kept)
        return small
