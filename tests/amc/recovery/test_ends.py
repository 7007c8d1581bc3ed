from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.pruning.layers import record_calls
from amc.pruning.network import Network
from amc.recovery.ends import find_ends
from amc.recovery.rows import can_reconstruct
from tests.support import nets

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GetReady = Callable[[str], Network]


def joins(model: nn.Module, images: Tensor = IMAGES) -> dict[str, str | None]:
    """Layers that end in an addition, with the batch norm before it."""
    ends = find_ends(model, images)
    return {layer: end.norm for layer, end in ends.items() if end.shortcut_event is not None}


def joins_of(ready: Network) -> dict[str, str | None]:
    return joins(ready.model, torch.randn(2, *ready.example.shape[1:]))


def test_resnet18_joins_after_its_second_convolutions_or_its_downsampling(get_ready: GetReady) -> None:
    # a block that downsamples computes its shortcut last, so that is what can be fitted to the rest
    last = {f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)} - {f"layer{s}.0" for s in (2, 3, 4)}
    expected = {f"{block}.conv2": f"{block}.bn2" for block in last}
    expected |= {f"layer{s}.0.downsample.0": f"layer{s}.0.downsample.1" for s in (2, 3, 4)}
    assert joins_of(get_ready("resnet18")) == expected


def test_resnet50_joins(get_ready: GetReady) -> None:
    blocks = {1: 3, 2: 4, 3: 6, 4: 3}
    expected = {f"layer{s}.{b}.conv3": f"layer{s}.{b}.bn3" for s, n in blocks.items() for b in range(1, n)}
    expected |= {f"layer{s}.0.downsample.0": f"layer{s}.0.downsample.1" for s in blocks}
    assert joins_of(get_ready("resnet50")) == expected


def test_cifar_resnet_joins_in_every_block(get_ready: GetReady) -> None:
    """Option-A shortcuts have nothing to fit, so they are computed before the branch."""
    blocks = [f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1, 2)]
    assert joins_of(get_ready("resnet20")) == {f"{block}.conv2": f"{block}.bn2" for block in blocks}


def test_inverted_residuals_join(get_ready: GetReady) -> None:
    found = joins_of(get_ready("mobilenet_v2"))
    assert len(found) == 10
    assert found["features.3.conv.2"] == "features.3.conv.3"


def test_plain_networks_have_none(get_ready: GetReady) -> None:
    assert joins_of(get_ready("plain20")) == {}
    assert joins_of(get_ready("densenet121")) == {}


def limits_of(ready: Network) -> dict[str, tuple[float, float]]:
    ends = find_ends(ready.model, torch.randn(2, *ready.example.shape[1:]))
    return {layer: (end.low, end.high) for layer, end in ends.items()}


def test_activations_of_known_networks(get_ready: GetReady) -> None:
    inf = math.inf
    resnet = limits_of(get_ready("resnet18"))
    branches = [f"layer{s}.0.conv2" for s in (2, 3, 4)]  # they end before the addition
    assert {n for n, limits in resnet.items() if limits != (0, inf)} == {*branches, "fc"}
    mobile = limits_of(get_ready("mobilenet_v2"))
    assert mobile["features.2.conv.0.0"] == mobile["features.2.conv.1.0"] == (0, 6)
    assert mobile["features.2.conv.2"] == (-inf, inf)  # a linear bottleneck


def test_every_layer_has_an_end_in_the_order_of_the_calls(ready: Network) -> None:
    ends = find_ends(ready.model, torch.randn(2, *ready.example.shape[1:]))
    layers = [n for n in record_calls(ready.model, ready.example) if can_reconstruct(ready.model.get_submodule(n))]
    assert list(ends) == layers


class Adds(nn.Module):
    def __init__(self, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.conv, self.add = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), add

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.stem(x).relu()
        return self.add(self.conv(shortcut), shortcut).sum((2, 3))


@pytest.mark.parametrize(
    "add",
    [
        lambda a, b: a + b,
        lambda a, b: b + a,
        lambda a, b: a.add(b),
        lambda a, b: a.add_(b),
        torch.add,
        lambda a, b: a.__iadd__(b),
    ],
)
def test_every_way_to_add(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert joins(Adds(add)) == {"conv": None}
    end = find_ends(Adds(add), IMAGES)["conv"]
    assert end.shortcut_event < end.event


@pytest.mark.parametrize(
    "add",
    [
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a + 1,
        lambda a, b: a + a,
        lambda a, b: a.relu() + b,  # not the layer's own output any more
        lambda a, b: torch.add(a, b, alpha=0.5),
        lambda a, b: a + b.mean((2, 3), keepdim=True),  # not of one shape
        lambda a, b: (a + b) * a.mean(),  # more than the sum depends on the layer
    ],
)
def test_what_is_no_join(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert joins(Adds(add)) == {}


@pytest.mark.parametrize(
    ("act", "limits"),
    [
        (lambda x: x.relu(), (0, math.inf)),
        (lambda x: F.relu(x), (0, math.inf)),
        (lambda x: x.relu_(), (0, math.inf)),
        (nn.ReLU(inplace=True), (0, math.inf)),
        (nn.ReLU6(), (0, 6)),
        (nn.Hardtanh(-2, 3), (-2, 3)),
        (lambda x: x.relu() + x, (-math.inf, math.inf)),  # what the ReLU cuts off is read elsewhere
        (lambda x: torch.cat([x, x.relu()]), (-math.inf, math.inf)),
        (nn.SiLU(), (-math.inf, math.inf)),
        (lambda x: x, (-math.inf, math.inf)),
    ],
)
def test_activations(act: Callable[[Tensor], Tensor], limits: tuple[float, float]) -> None:
    end = find_ends(Adds(lambda a, b: act(a)), IMAGES)["conv"]
    assert (end.low, end.high) == limits


def test_norms_without_scale_cannot_be_undone() -> None:
    model = nets.residual()
    model.features[1].bn2 = nn.BatchNorm2d(8, affine=False)
    assert list(joins(model)) == ["features.2.conv2"]


def test_what_is_used_twice_is_left_out() -> None:
    class Twice(Adds):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(self.stem(x)))

    assert list(find_ends(Twice(torch.add), IMAGES)) == ["stem"]
    tied = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    tied[2].weight = tied[0].weight
    assert list(find_ends(tied, IMAGES)) == ["1"]


def test_the_model_is_left_as_it_is() -> None:
    model = nets.residual().train()
    find_ends(model, IMAGES)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
