"""Costs outside the layers that are cut, as polynomials of the kept channels.

Matrix products outside of layers (attention, recurrent layers, free parameters) were seen while channels were followed:
each is a product of lengths, some of which are a group's channels. What the whole network is counted to have beyond
that (:mod:`amc.pruning.counting`) no plan changes. Networks with every group halved, and then with different shares,
are counted to confirm it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import nn

from amc.core.types import LayerGroup
from amc.pruning.cost import Axis, CostModel, CostTerms, Part, Rest, Term, TooManyGroupsError, expanded
from amc.pruning.counting import count_macs
from amc.pruning.groups import Traced
from amc.pruning.inputs import Example
from amc.pruning.layers import record_calls
from amc.pruning.surgery import Surgeon

IRREGULAR = "the network's MACs depend on it in a way that can't be predicted, or it does not run at every size"
SHARES = ((0.5,), (0.75, 0.375, 0.6))  # of the groups' channels, in turn, in the cuts that confirm


def priced(model: nn.Module, found: Traced, example: Example) -> tuple[tuple[LayerGroup, ...], Rest]:
    """Groups and costs beyond layers. Groups on which these depend in a way that can't be predicted come back frozen.

    Args:
        model: the dense network.
        found: by tracing it.
        example: the first input counts.
    """
    groups = found.groups
    dense = count_macs(model, example)
    while True:
        try:
            rest = _rest(found, groups, dense)
        except TooManyGroupsError as error:
            groups = _frozen(groups, error.groups[-1:], str(error))
            continue
        cost_model = CostModel(groups, found.layers, rest)
        wrong = _irregular(model, cost_model, example)
        if not wrong:
            return tuple(_with_costs(group, cost_model) for group in groups), rest
        groups = _frozen(groups, wrong, IRREGULAR)


def _rest(found: Traced, groups: Sequence[LayerGroup], dense: int) -> Rest:
    params = expanded(_tensor_terms(found, groups), groups)
    products = expanded(found.products, groups)
    known = CostModel(groups, found.layers, Rest(params, products))
    unknown = float(dense - known.macs(known.counts({})))
    return Rest(params, (*products, Part(CostTerms.none(len(groups), unknown))))


def _tensor_terms(found: Traced, groups: Sequence[LayerGroup]) -> Iterable[Term]:
    """The number of elements of each parameter outside of layers."""
    uses: dict[str, dict[int, list[tuple[str, float, int]]]] = {}
    for group in groups:
        for t in group.tensors:
            if t.tensor in found.other_params:
                use = (group.name, len(t.positions) / group.channels, len(t.positions))
                uses.setdefault(t.tensor, {}).setdefault(t.dim, []).append(use)
    for name, parameter in found.other_params.items():
        shape, dims = parameter.shape, uses.get(name, {})
        axes = tuple(
            Axis(shape[dim] - sum(count for *_, count in own), tuple((group, each) for group, each, _ in own))
            for dim, own in dims.items()
        )
        yield Term(math.prod(size for dim, size in enumerate(shape) if dim not in dims), axes, name)


def _irregular(model: nn.Module, cost_model: CostModel, example: Example) -> list[str]:
    """Groups whose cuts cost something else than predicted."""
    free = [g for g in cost_model.groups if g.frozen is None and g.channels > g.step * g.fewest]
    surgeon = Surgeon(model, cost_model.groups)

    def right(counts: dict[str, int]) -> bool:
        small = surgeon.cut({g.name: _spread(g, counts[g.name]) for g in free if g.name in counts})
        vector = cost_model.counts(counts)
        try:
            if sum(p.numel() for p in small.parameters()) != cost_model.params(vector):
                return False
            found = count_macs(small, example)
            return found == cost_model.macs(vector) or found == at_its_positions(
                model, cost_model, vector, small, example
            )
        except Exception:  # the network's own code may refuse some sizes
            return False

    trials = [_trial(free, shares, i) for i, shares in enumerate(SHARES)]
    if not free or all(right(counts) for counts in trials):
        return []
    alone = [g.name for g in free if not right({g.name: g.round_channels(0.5)})]
    return alone or [g.name for g in free]


def _trial(groups: Sequence[LayerGroup], shares: Sequence[float], number: int) -> dict[str, int]:
    """Channels by these shares in turn; of the branches every other one, a different half in the next trial."""
    widths, branches = ([g for g in groups if (g.branch is None) == is_width] for is_width in (True, False))
    counts = {g.name: g.round_channels(shares[i % len(shares)]) for i, g in enumerate(widths)}
    return {**counts, **{g.name: (i + number) % 2 for i, g in enumerate(branches)}}


def at_its_positions(
    model: nn.Module, cost_model: CostModel, counts: npt.NDArray[np.float64], small: nn.Module, example: Example
) -> int:
    """MACs of a plan as predicted, but with its network's layers at as many positions as they really see.

    A detector's second stage looks at as many regions as the first one has found, which depends on all weights.
    """
    before, after = (record_calls(m, example) for m in (model, small))
    total = float(cost_model.macs(counts))
    for layer, macs in zip(cost_model.layers, cost_model.layer_macs(counts), strict=True):
        if layer.name in before:
            seen = after[layer.name].positions if layer.name in after else 0
            total += macs * (seen / before[layer.name].positions - 1)
    return round(total)


def _with_costs(group: LayerGroup, cost_model: CostModel) -> LayerGroup:
    """A branch with all that it costs, attention as well."""
    if group.branch is None or group.frozen is not None:
        return group
    dense, without = cost_model.cost(), cost_model.cost({group.name: 0})
    return replace(group, macs=dense.macs - without.macs, params=dense.params - without.params)


def _frozen(groups: Sequence[LayerGroup], names: Iterable[str], reason: str) -> tuple[LayerGroup, ...]:
    gone = set(names)
    return tuple(replace(g, frozen=reason) if g.name in gone else g for g in groups)


def _spread(group: LayerGroup, count: int) -> npt.NDArray[np.int64]:
    """``count`` channels, equally many from each of the group's convolution groups."""
    block = group.channels // group.step
    within = np.arange(count // group.step)
    return (np.arange(group.step)[:, None] * block + within).reshape(-1).astype(np.int64)
