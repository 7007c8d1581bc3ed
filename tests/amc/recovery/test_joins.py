from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from amc.problem import Network
from amc.recovery.joins import find_joins
from tests.amc import nets

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
GetReady = Callable[[str], Network]


def joins_of(ready: Network) -> dict[str, str | None]:
    images = torch.randn(2, *ready.example.shape[1:])
    return {layer: join.norm for layer, join in find_joins(ready.model, images).items()}


def test_resnet18_joins_after_its_second_convolutions_or_its_downsampling(get_ready: GetReady) -> None:
    joins = joins_of(get_ready("resnet18"))
    # a block that downsamples computes its shortcut last, so that is what can be fitted to the rest
    last = {f"layer{s}.{b}" for s in (1, 2, 3, 4) for b in (0, 1)} - {f"layer{s}.0" for s in (2, 3, 4)}
    expected = {f"{block}.conv2": f"{block}.bn2" for block in last}
    expected |= {f"layer{s}.0.downsample.0": f"layer{s}.0.downsample.1" for s in (2, 3, 4)}
    assert joins == expected


def test_resnet50_joins(get_ready: GetReady) -> None:
    joins = joins_of(get_ready("resnet50"))
    blocks = {1: 3, 2: 4, 3: 6, 4: 3}
    expected = {f"layer{s}.{b}.conv3": f"layer{s}.{b}.bn3" for s, n in blocks.items() for b in range(1, n)}
    expected |= {f"layer{s}.0.downsample.0": f"layer{s}.0.downsample.1" for s in blocks}
    assert joins == expected


def test_cifar_resnet_joins_where_shortcuts_are_known_first(get_ready: GetReady) -> None:
    """Option-A shortcuts have no parameters, but those that pad run after the branch."""
    joins = joins_of(get_ready("resnet20"))
    plain = [f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1, 2) if (s, b) not in ((2, 0), (3, 0))]
    assert {f"{block}.conv2": f"{block}.bn2" for block in plain}.items() <= joins.items()


def test_inverted_residuals_join(get_ready: GetReady) -> None:
    joins = joins_of(get_ready("mobilenet_v2"))
    assert len(joins) == 10
    assert joins["features.3.conv.2"] == "features.3.conv.3"


def test_plain_networks_have_none(get_ready: GetReady) -> None:
    assert joins_of(get_ready("plain20")) == {}
    assert joins_of(get_ready("densenet121")) == {}


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
    joins = find_joins(Adds(add), IMAGES)
    assert list(joins) == ["conv"]
    assert joins["conv"].norm is None
    assert joins["conv"].shortcut_event < joins["conv"].add_event


@pytest.mark.parametrize(
    "add",
    [
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a + 1,
        lambda a, b: a.relu() + b,  # not the layer's own output any more
        lambda a, b: torch.add(a, b, alpha=0.5),
        lambda a, b: a + b.mean((2, 3), keepdim=True),  # not of one shape
    ],
)
def test_what_is_no_join(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert find_joins(Adds(add), IMAGES) == {}


def test_norms_without_scale_cannot_be_undone() -> None:
    model = nets.residual()
    model.features[1].bn2 = nn.BatchNorm2d(8, affine=False)
    assert list(find_joins(model, IMAGES)) == ["features.2.conv2"]


def test_the_model_is_left_as_it_is() -> None:
    model = nets.residual().train()
    find_joins(model, IMAGES)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
