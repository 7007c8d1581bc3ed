"""Predicted costs of networks with other operations than layers, against what the cut network really has."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.pruning.budget import Budget
from amc.pruning.counting import count_macs
from amc.pruning.network import Network, trace_network
from amc.pruning.rest import IRREGULAR
from amc.pruning.surgery import Surgeon
from tests.support.costly import NETWORKS, Stem

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@cache
def traced(name: str) -> Network:
    torch.manual_seed(0)
    return trace_network(NETWORKS[name](), X)


@pytest.mark.parametrize("name", list(NETWORKS))
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_predicted_is_counted_on_the_cut_network(name: str, data: st.DataObject) -> None:
    network = traced(name)
    # An einsum over a single channel is no matrix product any more.
    kept = {g.name: data.draw(st.integers(min(2, g.channels), g.channels)) for g in network.groups if g.frozen is None}
    small = Surgeon(network.model, network.groups).cut({n: np.arange(count) for n, count in kept.items()})
    cost = network.cost_model.cost(kept)
    assert cost.macs == count_macs(small, X)
    assert cost.params == sum(p.numel() for p in small.parameters())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_polynomial_of_budgets_is_the_cost(name: str) -> None:
    model = traced(name).cost_model
    for share in (0.2, 0.6, 1.0):
        counts = model.counts({g.name: g.round_channels(share) for g in model.groups if g.frozen is None})
        assert model.terms("macs").value(counts) == pytest.approx(model.macs(counts), abs=0.5)


def test_a_product_of_pruned_activations_follows_the_plan() -> None:
    network = traced("weighted")
    rest = network.cost_model.rest
    assert rest.constant("macs") == pytest.approx(0, abs=1e-6)
    linear = sum(part.terms.linear for part in rest.macs)
    by_group = dict(zip([g.name for g in network.groups], linear, strict=True))
    assert by_group["second"] == pytest.approx(5 * 64)  # MACs for each of the second's channels
    assert sum(by_group.values()) == by_group["second"]


def test_a_budget_below_the_constant_part_names_the_smallest_share() -> None:
    model = trace_network(NETWORKS["attention"](), X, freeze="head*").cost_model
    with pytest.raises(
        AmcError, match=r"the smallest reachable value is 0\.[0-9]+ of the macs \(0\.[0-9]+ are attention"
    ):
        Budget(model, keep=0.3)
    assert Budget(model, keep=0.9).limit == 0.9 * model.cost().macs


class Cubic(nn.Module):
    """Costs that grow with the third power of the channels: no polynomial of second degree."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        wide = torch.ones(x.shape[1] ** 2, x.shape[1])
        return self.fc(x + 0 * (wide @ x.T).mean())  # type: ignore[no-any-return]


def test_what_can_not_be_predicted_stays_whole() -> None:
    groups = {g.name: g.frozen for g in trace_network(Stem(Cubic()).eval(), X).groups}
    assert groups["first"] is None
    assert groups["second"] == IRREGULAR
