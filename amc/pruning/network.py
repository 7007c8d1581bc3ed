"""A traced network: its groups and cost model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from amc.core.types import LayerGroup, Uncounted
from amc.pruning.cost import CostModel
from amc.pruning.counting import uncounted_operations
from amc.pruning.groups import HEADS, traced
from amc.pruning.inputs import Example
from amc.pruning.latency import LatencyCostModel, measure_tables
from amc.pruning.rest import priced
from amc.pruning.tied import tied, tied_rest


@dataclass(frozen=True)
class Network:
    """A traced network: its groups and cost model."""

    model: nn.Module
    groups: tuple[LayerGroup, ...]  # one action each
    cost_model: CostModel
    example: Any  # one normalised input, [1, c, h, w]; or the arguments of a call
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)  # operations whose MACs nobody knows

    @property
    def members(self) -> tuple[LayerGroup, ...]:
        """The groups that are cut: ``groups``, those that are tied each for itself."""
        return tuple(member for group in self.groups for member in group.members)


def trace_network(
    model: nn.Module,
    example: Example,
    *,
    prune_residual: bool = True,
    prune_depth: bool = False,
    uniform_per_axis: bool = False,
    head_unit: str = HEADS,
    freeze: Iterable[str] = (),
    latency: bool | Mapping[str, Any] = False,
) -> Network:
    """Groups and cost model of ``model``.

    Args:
        model: any network; left as it is but for being put into evaluation mode.
        example: one normalised input ``[1, c, h, w]``; or the arguments of one call, a tuple or a dict.
        prune_residual: ``False`` freezes residual streams.
        prune_depth: whether residual branches may be dropped.
        uniform_per_axis: whether groups that blocks have in common are tied, see :func:`amc.pruning.tied.tied`.
        head_unit: see :func:`amc.pruning.groups.traced`.
        freeze: names or patterns of layers that stay whole.
        latency: measure a latency table, or use one that an earlier part of the run measured.

    Raises:
        AmcError: the network's graph can't be followed.
    """
    model.eval()
    found = traced(
        model, example, prune_residual=prune_residual, prune_depth=prune_depth, head_unit=head_unit, freeze=freeze
    )
    groups, rest = priced(model, found, example)
    if uniform_per_axis:
        ties = tied(groups)
        groups, rest = ties, tied_rest(rest, groups, ties)
    unseen = uncounted_operations(model, example)
    if not latency:
        return Network(model, groups, CostModel(groups, found.layers, rest), example, unseen)
    if isinstance(latency, Mapping):
        tables, total_ms = latency["tables"], latency["total_ms"]
    else:
        tables, total_ms = measure_tables(model, example)
    return Network(model, groups, LatencyCostModel(groups, found.layers, rest, tables, total_ms), example, unseen)
