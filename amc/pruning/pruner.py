"""Pruner: plan → pruned network, by choosing channels, slicing and recovery."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.surgery import Kept, Ranking, Recover, Surgeon, select_channels


def member_counts(plan: PruningPlan, groups: Iterable[LayerGroup]) -> dict[str, int]:
    """Name of each group that is cut → kept channels; tied groups give theirs to every member."""
    return {member.name: plan[group.name] for group in groups for member in group.members}


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
        return select_channels(member_counts(plan, self.groups), self.ranking)

    def cut(self, plan: PruningPlan) -> nn.Module:
        """The cut and recovered network, in float32; shares no tensor with the original."""
        kept = self.kept(plan)
        small = self.surgeon.cut(kept)
        self.recover(small, kept)
        return small
