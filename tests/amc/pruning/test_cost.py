from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from amc.core.errors import AmcError
from amc.core.places import ChannelSlice
from amc.core.types import Cost, LayerGroup, PruningPlan
from amc.pruning.cost import CostModel, CostTerms, Part, Rest
from amc.pruning.counting import count_macs
from amc.pruning.layers import LayerShape
from amc.pruning.network import Network, trace_network
from amc.pruning.surgery import Surgeon
from tests.support import nets


def group(name: str, channels: int, slices: list[tuple[str, str]]) -> LayerGroup:
    every = np.arange(channels)
    where = tuple(ChannelSlice(layer, axis, every, every) for layer, axis in slices)  # type: ignore[arg-type]
    return LayerGroup(name, "conv3x3", channels, 1, False, 3, 8, 8, 1, 3, 0, 0, where)


def two_layers() -> CostModel:
    """A 3×3 convolution 3 → 8 on 8×8 positions with bias, batch norm, then linear 8 → 10 with bias."""
    layers = (
        LayerShape("conv", 8, 3, macs_per_pair=64 * 9, params_per_pair=9, params_per_out=1),
        LayerShape("bn", 8, 0, params_per_out=2),
        LayerShape("fc", 10, 8, macs_per_pair=1, params_per_pair=1, params_per_out=1),
    )
    return CostModel(
        [group("conv", 8, [("conv", "out"), ("bn", "out"), ("fc", "in")])], layers, Rest((Part(CostTerms.none(1, 5)),))
    )


def test_cost_of_two_layers() -> None:
    model = two_layers()
    # 64 · 9 · 3 · 8 + 8 · 10; 9 · 3 · 8 + 8 + 2 · 8 + 8 · 10 + 10 + 5
    assert model.cost() == Cost(13_904, 335)
    # half the channels: 64 · 9 · 3 · 4 + 4 · 10; 9 · 3 · 4 + 4 + 2 · 4 + 4 · 10 + 10 + 5
    assert model.cost({"conv": 4}) == Cost(6_952, 175)
    assert model.cost(PruningPlan.make(model.groups, {"conv": 4})) == Cost(6_952, 175)
    assert model.layer_macs(model.counts({"conv": 4})).tolist() == [6912, 0, 40]
    assert model.value("params", model.counts({"conv": 4})) == 175.0


def test_both_ends_of_a_residual_convolution_shrink() -> None:
    layers = (LayerShape("conv", 8, 8, macs_per_pair=9, params_per_pair=9),)
    model = CostModel([group("stem", 8, [("conv", "out"), ("conv", "in")])], layers)
    assert [model.cost({"stem": n}).macs for n in (8, 4, 1)] == [9 * 64, 9 * 16, 9]


def test_several_positions_of_one_channel() -> None:
    """Behind a flatten of 2 × 2 positions a channel is four inputs."""
    spread = ChannelSlice("fc", "in", np.arange(24), np.repeat(np.arange(6), 4))
    made = group("conv", 6, [("conv", "out")])
    layers = (LayerShape("conv", 6, 3, 1, 1), LayerShape("fc", 5, 24, 1, 1))
    model = CostModel([LayerGroup("conv", "conv1x1", 6, 1, False, 3, 2, 2, 1, 1, 0, 0, (*made.slices, spread))], layers)
    assert model.cost({"conv": 2}).macs == 2 * 3 + 5 * 8


def test_unknown_groups_are_no_silent_no_op() -> None:
    with pytest.raises(KeyError):
        two_layers().counts({"typo": 1})


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6))
def test_predicted_is_counted_on_a_residual_network(stream: int, first: int, second: int) -> None:
    model, image = nets.residual().eval(), torch.zeros(1, 3, 5, 7)
    network = trace_network(model, image)
    kept = {
        "features.0.0": np.arange(stream),
        "features.1.conv1": np.arange(first),
        "features.2.conv1": np.arange(second),
    }
    small = Surgeon(model, network.groups).cut(kept)
    cost = network.cost_model.cost({n: len(k) for n, k in kept.items()})
    # 35 positions, 3×3 convolutions; fc: stream → 4
    blocks = 2 * 9 * stream * (first + second)
    assert cost.macs == 35 * (9 * 3 * stream + blocks) + 4 * stream == count_macs(small, image)
    assert cost.params == sum(p.numel() for p in small.parameters())


def test_transposed_convolutions_are_counted_exactly() -> None:
    """Every input position meets every tap, however the output is padded."""
    up = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1)
    model, image = (
        nets.Classifier(nn.Sequential(nets.norm_conv(3, 8), up, nn.ReLU()), 6).eval(),
        torch.zeros(1, 3, 5, 5),
    )
    cost_model = trace_network(model, image).cost_model
    assert cost_model.cost().macs == 25 * 9 * 3 * 8 + 25 * 9 * 8 * 6 + 6 * 4 == count_macs(model, image)


def test_tied_weights_are_counted_once_and_run_twice() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[2].weight, model[2].bias = model[0].weight, model[0].bias
    network = trace_network(model, torch.randn(1, 8))
    assert network.cost_model.cost() == Cost(8 * 8 + 8 * 8 + 8 * 4, 8 * 8 + 8 + 8 * 4 + 4)


def test_terms_of_two_layers() -> None:
    # c channels: macs 64 · 9 · 3 · c + c · 10; params 9 · 3 · c + c + 2 · c + c · 10 + 10 + 5
    macs, params = two_layers().terms("macs"), two_layers().terms("params")
    assert (macs.constant, macs.linear.tolist(), macs.pairwise.tolist()) == (0, [1738], [[0]])
    assert (params.constant, params.linear.tolist(), params.pairwise.tolist()) == (15, [40], [[0]])


def test_terms_of_a_stream_at_both_ends_of_a_layer() -> None:
    layers = (LayerShape("conv", 8, 8, macs_per_pair=9), LayerShape("next", 4, 8, macs_per_pair=2))
    stem = group("stem", 8, [("conv", "out"), ("conv", "in"), ("next", "in")])
    terms = CostModel([stem, group("next", 4, [("next", "out")])], layers).terms("macs")
    assert (terms.constant, terms.linear.tolist()) == (0, [0, 0])
    assert terms.pairwise.tolist() == [[9, 2], [0, 0]]


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenet_v2", "densenet121", "vgg16_cifar"])
@pytest.mark.parametrize("cost", ["macs", "params"])
def test_terms_are_the_cost(get_ready: Callable[[str], Network], name: str, cost: str) -> None:
    model = get_ready(name).cost_model
    terms = model.terms(cost)
    random = np.random.default_rng(0)
    for _ in range(20):
        counts = np.array([random.integers(1, g.channels + 1) // g.step * g.step for g in model.groups], dtype=float)
        assert terms.value(counts) == pytest.approx(model.value(cost, counts), abs=0.5, rel=1e-12)


def test_a_latency_has_no_terms() -> None:
    with pytest.raises(AmcError, match=r"budget\.cost=latency_ms: .*give macs or params"):
        two_layers().terms("latency_ms")
