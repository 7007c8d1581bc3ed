from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from amc.core.types import LayerGroup, PruningPlan
from amc.pruning.counting import count_macs
from amc.pruning.groups import trace
from amc.pruning.network import Network
from amc.pruning.surgery import Surgeon, rank_channels, resized, select_channels
from tests.support import nets

Kept = dict[str, np.ndarray]


def random_cut(groups: tuple[LayerGroup, ...], rng: np.random.Generator) -> tuple[PruningPlan, Kept]:
    """Random widths and random channels for every group that can be pruned."""
    free = [g for g in groups if g.frozen is None]
    plan = PruningPlan.make(groups, {g.name: g.step * int(rng.integers(1, g.channels // g.step + 1)) for g in free})
    return plan, select_channels(dict(plan.kept), {g.name: rank_channels(g, rng.random(g.channels)) for g in free})


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative to the largest output."""
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("seed", [0, 1])
def test_cut_is_zeroed_and_costs_what_was_predicted(ready: Network, seed: int) -> None:
    """Random plans without recovery, on every ready network."""
    rng = np.random.default_rng(seed)
    plan, kept = random_cut(ready.groups, rng)
    surgeon = Surgeon(ready.model, ready.groups)
    image = torch.randn(2, *ready.example.shape[1:])
    small = surgeon.cut(kept)
    cost = ready.cost_model.cost(plan)
    assert cost.macs == count_macs(small, image)
    assert cost.params == sum(p.numel() for p in small.parameters())
    with torch.no_grad():
        dense, cut, zeroed = (
            m.double()(image.double()) for m in (copy.deepcopy(ready.model), small, surgeon.zeroed(kept))
        )
    assert largest_difference(cut, zeroed) < 1e-5
    assert largest_difference(cut, dense) > 1e-3  # else the comparison would say nothing


@pytest.mark.parametrize("make", [nets.chain, nets.residual, nets.depthwise, nets.grouped, nets.flat])
@given(seed=st.integers(0, 2**32 - 1))
def test_any_channels_of_tiny_networks(make: Callable[[], nn.Module], seed: int) -> None:
    images = torch.randn(4, 3, 8, 8)
    model = nets.enliven(make(), images)
    groups = trace(model, images)
    _, kept = random_cut(groups, np.random.default_rng(seed))
    surgeon = Surgeon(model, groups)
    with torch.no_grad():
        assert torch.allclose(surgeon.cut(kept)(images), surgeon.zeroed(kept)(images), rtol=1e-4, atol=1e-5)


def test_cut_network_states_its_sizes() -> None:
    model = nets.grouped()
    groups = trace(model, torch.zeros(1, 3, 8, 8))
    kept = {g.name: np.array([0, 3, 4, 5, 8, 9][:6]) for g in groups if g.step == 3}
    kept = {name: np.array([0, 2, 5, 7, 8, 9]) for name in kept}  # two of each four
    small = Surgeon(model, groups).cut(kept)
    conv = small.get_submodule("features.1.0")
    assert (conv.in_channels, conv.out_channels, conv.groups) == (6, 6, 3)
    assert small.get_submodule("features.1.1").num_features == 6
    assert small.get_submodule("features.0.0").out_channels == 6
    assert small.get_submodule("features.2.0").in_channels == 6


def test_the_original_is_untouched_and_shares_nothing() -> None:
    model = nets.residual().train()
    model.fc.bias.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    groups = trace(model, torch.zeros(1, 3, 8, 8))
    surgeon = Surgeon(model, groups)
    mine = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    for kept in ({}, {"features.0.0": np.arange(4)}, {"features.1.conv1": np.arange(6)}):
        small = surgeon.cut(kept)
        assert mine.isdisjoint(t.untyped_storage().data_ptr() for t in small.state_dict().values())
        assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]
        with torch.no_grad():
            for tensor in small.state_dict().values():
                tensor.fill_(7)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(m.training for m in model.modules())


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[2].weight = model[0].weight
    small = Surgeon(model, ()).cut({})
    assert small[2].weight is small[0].weight
    assert small[0].weight is not model[0].weight


def test_cutting_ignores_the_global_random_state() -> None:
    model = nets.chain()
    groups = trace(model, torch.zeros(1, 3, 8, 8))
    kept = {"features.0.0": np.array([1, 4])}
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        states.append(Surgeon(model, groups).cut(kept).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert torch.equal(states[0]["features.0.0.weight"], model.features[0][0].weight[[1, 4]])


def test_cuts_name_the_device_of_every_index() -> None:
    """An index made on torch's default device would fail on a network that lies elsewhere."""
    for model in (nets.grouped(), nets.depthwise()):
        groups = trace(model, torch.zeros(1, 3, 8, 8))
        _, kept = random_cut(groups, np.random.default_rng(0))
        surgeon = Surgeon(model, groups)
        with torch.device("meta"):
            small, zeroed = surgeon.cut(kept), surgeon.zeroed(kept)
        assert {t.device.type for m in (small, zeroed) for t in m.state_dict().values()} == {"cpu"}


def test_ranking_by_hand() -> None:
    group = LayerGroup("a", "conv3x3", 6, 1, False, 3, 8, 8, 1, 3, 0, 0)
    assert rank_channels(group, np.array([1.0, 5, 3, 5, 0, 2])).tolist() == [1, 3, 2, 5, 0, 4]
    grouped = LayerGroup("a", "grouped3x3", 6, 2, False, 3, 8, 8, 1, 3, 0, 0)
    # best of the first convolution group, best of the second, and so on
    assert rank_channels(grouped, np.array([1.0, 5, 3, 5, 0, 2])).tolist() == [1, 3, 2, 5, 0, 4]
    assert rank_channels(grouped, np.array([9.0, 8, 7, 1, 2, 3])).tolist() == [0, 5, 1, 4, 2, 3]


@given(st.integers(1, 4), st.integers(1, 6), st.data())
def test_every_prefix_keeps_equally_many_of_each_convolution_group(step: int, width: int, data: st.DataObject) -> None:
    group = LayerGroup("a", "grouped3x3", step * width, step, False, 3, 8, 8, 1, 3, 0, 0)
    scores = data.draw(st.lists(st.floats(0, 1), min_size=step * width, max_size=step * width))
    ranking = rank_channels(group, np.array(scores))
    assert sorted(ranking) == list(range(step * width))
    for count in range(step, step * width + 1, step):
        assert np.bincount(ranking[:count] // width).tolist() == [count // step] * step


def test_selection_leaves_whole_groups_out() -> None:
    groups = [LayerGroup(n, "conv3x3", 4, 1, False, 3, 8, 8, 1, 3, 0, 0) for n in ("a", "b")]
    plan = PruningPlan.make(groups, {"a": 2})
    chosen = select_channels(dict(plan.kept), {"a": np.array([3, 0, 1, 2]), "b": np.arange(4)})
    assert list(chosen) == ["a"]
    assert chosen["a"].tolist() == [0, 3]


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "regnet_y_400mf", "vgg16_cifar", "densenet121"])
def test_resized_computes_what_the_cut_network_does(name: str, get_ready: Callable[[str], Network]) -> None:
    network = get_ready(name)
    kept = {g.name: _half(g) for g in network.groups if g.frozen is None}
    small = Surgeon(network.model, network.groups).cut(kept).eval()
    other = build_like(network.model)
    again = resized(other, small.state_dict()).eval()
    x = torch.randn(2, *network.example.shape[1:])
    with torch.no_grad():
        assert torch.equal(again(x), small(x))
    assert str(again) == str(small)  # every layer states its own size
    assert count_macs(again, x[:1]) == count_macs(small, x[:1])


def build_like(model: nn.Module) -> nn.Module:
    """The same architecture with other weights."""
    twin = copy.deepcopy(model)
    for tensor in twin.state_dict().values():
        tensor.zero_()
    return twin


def _half(group: LayerGroup) -> np.ndarray:
    width = group.channels // group.step
    return np.concatenate([np.arange(max(1, width // 2)) + i * width for i in range(group.step)])


def test_resized_refuses_another_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(4, 2))
    tensors = model.state_dict()
    with pytest.raises(ValueError, match="only one"):
        resized(model, {name: tensors[name] for name in list(tensors)[:-1]})
    with pytest.raises(ValueError, match="dimensions"):
        resized(model, {**tensors, "0.weight": torch.zeros(4, 1)})
