from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x0_5
from torchvision.ops import FrozenBatchNorm2d

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.groups import RESIDUAL, trace
from amc.pruning.network import Network
from amc.pruning.proof import OUTPUT
from amc.pruning.surgery import Surgeon
from tests.support import nets
from tests.support.groups import IMAGE, by_name, prunable

GetReady = Callable[[str], Network]


def places(group: LayerGroup) -> set[tuple[str, str]]:
    return {(s.layer, s.axis) for s in group.slices}


def test_groups_of_a_chain() -> None:
    groups = by_name(nets.chain())
    assert list(groups) == ["features.0.0", "features.1.0", "fc"]
    first = groups["features.0.0"]
    assert places(first) == {("features.0.0", "out"), ("features.0.1", "out"), ("features.1.0", "in")}
    assert (first.kind, first.channels, first.step, first.residual) == ("conv3x3", 8, 1, False)
    assert (first.in_channels, first.height, first.width, first.stride, first.kernel) == (3, 8, 8, 1, 3)
    assert (first.macs, first.params) == (64 * 9 * 3 * 8, 9 * 3 * 8)
    assert groups["fc"].frozen == OUTPUT
    assert prunable(groups) == ["features.0.0", "features.1.0"]


def test_a_residual_stream_is_one_action() -> None:
    groups = by_name(nets.residual())
    assert list(groups) == ["features.0.0", "features.1.conv1", "features.2.conv1", "fc"]
    stream = groups["features.0.0"]
    assert stream.residual
    assert {("features.1.conv2", "out"), ("features.2.conv2", "out"), ("fc", "in")} < places(stream)
    assert stream.macs == 64 * 9 * (3 * 8 + 2 * 6 * 8)
    assert not groups["features.1.conv1"].residual
    assert prunable(groups) == list(groups)[:3]


def test_residual_streams_can_be_frozen() -> None:
    groups = by_name(nets.residual(), prune_residual=False)
    assert groups["features.0.0"].frozen == RESIDUAL
    assert prunable(groups) == ["features.1.conv1", "features.2.conv1"]


def test_a_depthwise_layer_carries_its_neighbours_channels() -> None:
    groups = by_name(nets.depthwise())
    assert list(groups) == ["features.0.0", "features.2.0", "fc"]
    first = groups["features.0.0"]
    assert {("features.1.0", "out"), ("features.1.1", "out"), ("features.2.0", "in")} < places(first)
    assert (first.kind, first.step, first.residual) == ("conv3x3", 1, False)
    assert first.macs == 64 * 9 * (3 * 8 + 8)


def test_grouped_convolutions_give_the_step() -> None:
    groups = by_name(nets.grouped())
    assert prunable(groups) == [g.name for g in groups.values()][:-1]
    reached = [g for g in groups.values() if any(s.layer == "features.1.0" for s in g.slices)]
    assert {g.step for g in reached} == {3}
    assert groups["features.2.0"].step == 1


def test_several_inputs_of_a_channel_behind_a_flatten() -> None:
    (conv, hidden, output) = trace(nets.flat(), IMAGE)
    (behind,) = [s for s in conv.slices if s.layer == "3"]
    assert behind.positions.tolist() == list(range(24))
    assert behind.channels.tolist() == [c for c in range(6) for _ in range(4)]
    assert (conv.frozen, hidden.frozen, output.frozen) == (None, None, OUTPUT)


def test_concatenated_channels_keep_their_places() -> None:
    class Concat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 5, 1)
            self.bn, self.fc = nn.BatchNorm2d(10), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            joined = torch.cat([self.a(x), self.b(x)], 1)
            return self.fc(self.c(self.bn(joined).relu()).mean((2, 3)))

    groups = by_name(Concat())
    assert prunable(groups) == ["a", "b", "c"]
    for name, first in (("a", 0), ("b", 4)):
        places_in = {s.layer: s.positions.tolist() for s in groups[name].slices if s.layer in ("bn", "c")}
        expected = list(range(first, first + groups[name].channels))
        assert places_in == {"bn": expected, "c": expected}


@pytest.mark.parametrize("freeze", ["layer1.*", "layer1.0.conv1"])
def test_frozen_layers_stay_whole(get_ready: GetReady, freeze: str) -> None:
    ready = get_ready("resnet18")
    groups = trace(ready.model, ready.example, freeze=[freeze])
    frozen = {g.name: g.frozen for g in groups if g.frozen is not None and g.frozen != OUTPUT}
    assert frozen["layer1.0.conv1"] == f"frozen by the user ({freeze})"
    assert "layer2.0.conv1" not in frozen


def test_a_freeze_pattern_that_matches_nothing_is_a_mistake() -> None:
    with pytest.raises(AmcError, match=r"freeze: 'layer9\.\*' matches no layer"):
        trace(nets.chain(), IMAGE, freeze=["layer9.*"])


def test_channels_in_another_order_are_followed() -> None:
    model = nets.chain(nets.Flips())
    first, _, _ = trace(model, IMAGE)
    assert first.frozen is None
    (consumer,) = (s for s in first.slices if s.axis == "in")
    assert consumer.channels.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_group_and_instance_norms() -> None:
    first, second, _ = trace(nets.chain(nn.GroupNorm(2, 8)), IMAGE)
    assert (first.frozen, first.channels, first.kind) == (None, 2, "conv3x3 x4")  # whole groups of the norm
    assert second.frozen is None
    (one, *_) = trace(nets.chain(nn.GroupNorm(1, 8)), IMAGE)
    assert (one.frozen, one.channels) == (None, 8)
    assert prunable(trace(nets.chain(nn.InstanceNorm2d(8, affine=True)), IMAGE)) == ["features.0.0", "features.2.0"]


def test_a_slope_shared_by_all_channels_stays() -> None:
    one, each = (trace(nets.chain(nn.PReLU(count)).eval(), IMAGE) for count in (1, 8))
    assert [g.frozen for g in one] == [g.frozen for g in each] == [None, None, OUTPUT]
    assert "features.1" not in {s.layer for s in one[0].slices}
    assert "features.1" in {s.layer for s in each[0].slices}


def test_frozen_batch_norms_are_cut_with_their_layer() -> None:
    norm = FrozenBatchNorm2d(8)
    norm.weight.uniform_(0.5, 1.5)
    norm.running_mean.normal_()
    model = nets.chain(norm).eval()
    groups = trace(model, IMAGE)
    assert [g.frozen for g in groups] == [None, None, OUTPUT]
    small = Surgeon(model, groups).cut({groups[0].name: np.array([1, 4, 6])})
    assert torch.equal(small.get_buffer("features.1.running_mean"), norm.running_mean[[1, 4, 6]])
    assert small(IMAGE).shape == (1, 4)


def test_free_parameters_are_cut_with_their_channels() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(8, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gamma

    model = nets.chain(Scaled())
    groups = trace(model, IMAGE)
    assert [g.frozen for g in groups] == [None, None, OUTPUT]
    small = Surgeon(model, groups).cut({groups[0].name: np.array([1, 4, 6])})
    assert small.get_parameter("features.1.gamma").shape == (3, 1, 1)
    assert small(IMAGE).shape == (1, 4)


def test_one_channel_cannot_be_cut() -> None:
    model = nets.Classifier(nn.Sequential(nets.norm_conv(3, 1), nets.norm_conv(1, 4)), 4)
    assert [g.frozen for g in trace(model, IMAGE)] == ["has only 1 channel, the fewest that can be kept", None, OUTPUT]


def test_intermediate_outputs_are_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fc = nets.norm_conv(3, 8), nets.norm_conv(8, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.a(x)
            return features, self.fc(self.b(features).mean((2, 3)))

    first, second, _ = trace(Two(), IMAGE)
    assert first.frozen == OUTPUT
    assert second.frozen is None


def test_the_model_is_left_as_it_is() -> None:
    model = nets.residual().train()
    model.features[1].eval()
    model.fc.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    learns = [p.requires_grad for p in model.parameters()]
    trace(model, torch.randn(2, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == learns
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    model = nets.grouped()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = trace(model, IMAGE)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert [(g.name, g.frozen) for g in trace(model, IMAGE)] == [(g.name, g.frozen) for g in first]


def test_channel_shuffles_are_followed() -> None:
    groups = trace(shufflenet_v2_x0_5(num_classes=4).eval(), torch.zeros(1, 3, 32, 32))
    free = [g for g in groups if g.frozen is None]
    assert len(free) >= 20
    assert all("trial cut" not in (g.frozen or "") for g in groups)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_refused(value: float) -> None:
    model = nets.chain()
    with torch.no_grad():
        model.features[1][0].weight[2, 1, 0, 0] = value
    with pytest.raises(AmcError, match=r"features\.1\.0\.weight has NaN or infinite"):
        trace(model, IMAGE)


def test_option_a_shortcuts_freeze_the_streams_alone(get_ready: GetReady) -> None:
    groups = {g.name: g for g in get_ready("resnet20").groups}
    reason = groups["conv1"].frozen
    assert reason is not None
    assert "padding" in reason
    inside = [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1, 2)]
    assert prunable(get_ready("resnet20").groups) == inside
    assert groups["linear"].frozen == OUTPUT


@pytest.mark.parametrize(
    ("name", "groups", "residual"),
    [
        ("resnet18", 12, 4),  # 8 in-block convolutions and 4 streams
        ("resnet50", 37, 4),  # 32 in-block convolutions, 4 streams and the stem
        ("vgg16_bn", 15, 0),
        ("googlenet", 57, 0),
        ("densenet121", 120, 0),
        ("mobilenet_v2", 25, 5),
    ],
)
def test_everything_but_the_output_can_be_pruned(get_ready: GetReady, name: str, groups: int, residual: int) -> None:
    ready = get_ready(name)
    assert len(prunable(ready.groups)) == groups
    assert [g.frozen for g in ready.groups if g.frozen is not None] == [OUTPUT]
    assert sum(g.residual for g in ready.groups) == residual


def test_squeeze_and_excitation_follows_the_block(get_ready: GetReady) -> None:
    groups = {g.name: g for g in get_ready("efficientnet_b0").groups}
    expand = groups["features.2.0.block.0.0"]
    excitation = "features.2.0.block.2"
    assert {(f"{excitation}.fc1", "in"), (f"{excitation}.fc2", "out")} < places(expand)
    assert groups[f"{excitation}.fc1"].frozen is None


def test_regnet_keeps_a_multiple_of_its_convolution_groups(get_ready: GetReady) -> None:
    ready = get_ready("regnet_y_400mf")
    steps = {g.name: g.step for g in ready.groups}
    grouped = {n: m.groups for n, m in ready.model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    assert grouped
    for layer, convolution_groups in grouped.items():
        coupled = [g.name for g in ready.groups if any(s.layer == layer for s in g.slices)]
        assert {steps[name] for name in coupled} == {convolution_groups}


def test_one_pattern_may_be_a_plain_string_or_a_number() -> None:
    for freeze in ("features.0.*", ["features.0.*"]):
        assert prunable(by_name(nets.chain(), freeze=freeze)) == ["features.1.0"]
    assert prunable(trace(nets.flat(), IMAGE, freeze=[5])) == ["0.0"]  # type: ignore[list-item]
