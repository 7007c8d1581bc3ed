"""A traced network: its groups and cost model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from amc.core.types import LayerGroup, Uncounted
from amc.pruning.cost import CostModel, CostTerms, Rest
from amc.pruning.counting import uncounted_operations
from amc.pruning.groups import trace
from amc.pruning.latency import LatencyCostModel, measure_tables
from amc.pruning.layers import LayerShape, layer_shapes, record_calls
from amc.pruning.rest import IrregularError, rest_macs


@dataclass(frozen=True)
class Network:
    """A traced network: its groups and cost model."""

    model: nn.Module
    groups: tuple[LayerGroup, ...]
    cost_model: CostModel
    example: torch.Tensor  # one normalised input, [1, c, h, w]
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)  # operations whose MACs nobody knows


def trace_network(
    model: nn.Module,
    example: torch.Tensor,
    *,
    prune_residual: bool = True,
    freeze: Iterable[str] = (),
    latency: bool | Mapping[str, Any] = False,
) -> Network:
    """Groups and cost model of ``model``.

    Args:
        model: any network; left as it is but for being put into evaluation mode.
        example: one normalised input ``[1, c, h, w]``.
        prune_residual: ``False`` freezes residual streams.
        freeze: names or patterns of layers that stay whole.
        latency: measure a latency table, or use one that an earlier part of the run measured.

    Raises:
        AmcError: the network's graph can't be followed.
    """
    model.eval()
    groups = trace(model, example, prune_residual=prune_residual, freeze=freeze)
    layers, params = layer_shapes(model, record_calls(model, example))
    groups, macs = _rest_macs(model, groups, layers, example)
    rest, unseen = Rest(params, macs), uncounted_operations(model, example)
    if not latency:
        return Network(model, groups, CostModel(groups, layers, rest), example, unseen)
    if isinstance(latency, Mapping):
        tables, total_ms = latency["tables"], latency["total_ms"]
    else:
        tables, total_ms = measure_tables(model, example)
    return Network(model, groups, LatencyCostModel(groups, layers, rest, tables, total_ms), example, unseen)


def _rest_macs(
    model: nn.Module, groups: tuple[LayerGroup, ...], layers: Sequence[LayerShape], example: torch.Tensor
) -> tuple[tuple[LayerGroup, ...], CostTerms]:
    """MACs outside ``layers``. Groups on which they depend in a way that can't be predicted come back frozen."""
    try:
        return groups, rest_macs(model, CostModel(groups, layers), example)
    except IrregularError as error:
        frozen = tuple(replace(g, frozen=str(error)) if g.name in error.groups else g for g in groups)
        return _rest_macs(model, frozen, layers, example)
