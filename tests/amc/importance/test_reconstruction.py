from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amc.importance.reconstruction import reconstruction_scores
from amc.pruning.groups import trace
from amc.recovery.calibration import Calibration
from tests.support import nets

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 4
DAMPING = 1e-3


@pytest.fixture(autouse=True)
def _the_same_networks_each_time() -> None:
    """In some random networks a channel is dead by chance, and goes before one of two identical ones."""
    torch.manual_seed(1)


def order_of(model: nn.Module, name: str, **settings: float) -> list[int]:
    """In which order the group's channels go, with all output positions of all images."""
    groups = [g for g in trace(model, IMAGES) if g.frozen is None]
    scores = reconstruction_scores(model, groups, IMAGES, Calibration(positions=1000, **settings))  # type: ignore[arg-type]
    return np.argsort(scores[name]).tolist()


def rows_of(model: nn.Module, layer: str) -> Tensor:
    """What a layer sees of its inputs, ``[rows, inputs · taps]``, by ``unfold``."""
    seen: list[Tensor] = []
    module = model.get_submodule(layer)
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(IMAGES)
    handle.remove()
    if isinstance(module, nn.Linear):
        return seen[0].double()
    assert isinstance(module, nn.Conv2d)
    columns = F.unfold(seen[0], module.kernel_size, module.dilation, module.padding, module.stride)
    return columns.transpose(1, 2).flatten(0, 1).double()


class BruteForce:
    """A consumer of all its inputs, refitted by ``lstsq`` on its explicit rows: weights, and a bias if it has one."""

    def __init__(self, x: Tensor, weight: Tensor, features: list[list[int]], bias: bool) -> None:
        """``x`` ``[n, p]``, ``weight`` ``[p, out]``, ``features`` of each channel."""
        self.x = x - x.mean(0) if bias else x
        self.weight, self.features = weight.double(), features
        self.energy = float((self.x @ self.weight).square().sum())
        ridge = DAMPING * float(self.x.square().sum(0).mean())
        self.rows = torch.cat([self.x, ridge**0.5 * torch.eye(x.shape[1], dtype=torch.float64)])

    def error(self, gone: list[int]) -> float:
        removed = [f for c in gone for f in self.features[c]]
        stays = [f for f in range(self.x.shape[1]) if f not in removed]
        target = self.rows @ self.weight
        found = torch.linalg.lstsq(self.rows[:, stays], target).solution
        return float((target - self.rows[:, stays] @ found).square().sum())


def greedy(consumers: list[list[BruteForce]], channels: int) -> list[int]:
    """Consumers as lists of their convolution groups; errors relative to the consumer's energy."""
    gone: list[int] = []

    def cost(c: int) -> float:
        return sum(
            sum(part.error([*gone, c]) for part in parts) / sum(part.energy for part in parts) for parts in consumers
        )

    while len(gone) < channels:
        gone.append(min((c for c in range(channels) if c not in gone), key=cost))
    return gone


def taps(channels: int, each: int) -> list[list[int]]:
    return [list(range(c * each, (c + 1) * each)) for c in range(channels)]


CONSUMERS = {
    "norm": (nn.Sequential(nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)), "1.0", "1.1"),
    "norm without scale": (
        nn.Sequential(nn.Conv2d(6, 5, 1), nn.BatchNorm2d(5, affine=False)), "1.0", "1.1",
    ),
    "bias": (nn.Conv2d(6, 5, 3, stride=2, padding=1), "1", None),
    "no bias": (nn.Conv2d(6, 5, (3, 1), dilation=(2, 1), bias=False), "1", None),
    "linear": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)), "1.2", None),
    "flatten": (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)), "1.2", None),
}  # fmt: skip


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_channels_go_as_least_squares_on_the_rows_has_it(consumer: str) -> None:
    middle, layer, norm = CONSUMERS[consumer]
    flat = isinstance(middle, nn.Sequential) and isinstance(middle[-1], nn.Linear)
    head = [nn.ReLU()] if flat else [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nets.enliven(nn.Sequential(nets.norm_conv(3, 6), middle, *head, nn.Linear(5, 4)), IMAGES)
    module = model.get_submodule(layer)
    weight = module.weight.detach().flatten(1).T.double()
    if norm is not None:
        scales = model.get_submodule(norm)
        weight = weight / torch.sqrt(scales.running_var + scales.eps)
        if scales.affine:
            weight = weight * scales.weight.detach()
    x = rows_of(model, layer)
    brute = BruteForce(x, weight, taps(6, x.shape[1] // 6), bias=norm is not None or module.bias is not None)
    assert order_of(model, "0.0", damping=DAMPING) == greedy([[brute]], 6)


def test_a_grouped_consumer_has_a_system_for_each_convolution_group() -> None:
    """Its parts share one scale, beside another consumer of the same channels."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nets.norm_conv(3, 6)
            self.grouped = nn.Conv2d(6, 6, 3, groups=2)
            self.other = nn.Conv2d(6, 6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return (self.grouped(x) + self.other(x)).mean((2, 3))

    model = nets.enliven(Two(), IMAGES)
    halves = rows_of(model, "grouped").chunk(2, dim=1)
    weights = [w.flatten(1).T for w in model.grouped.weight.detach().chunk(2)]
    empty: list[list[int]] = [[]] * 3
    features = [taps(3, 9) + empty, empty + taps(3, 9)]
    parts = [BruteForce(x, w, f, bias=True) for x, w, f in zip(halves, weights, features, strict=True)]
    other = BruteForce(rows_of(model, "other"), model.other.weight.detach().flatten(1).T, taps(6, 9), bias=True)
    consumers, gone = [parts, [other]], []
    for _ in range(3):  # one of each half goes in each round
        rest = [c for c in range(6) if c not in gone]
        first = next(c for c in _by_cost(consumers, gone, rest))
        second = next(c for c in _by_cost(consumers, [*gone, first], [c for c in rest if c // 3 != first // 3]))
        gone += [first, second]
    group = next(g for g in trace(model, IMAGES) if g.name == "first.0")
    assert group.step == 2
    assert order_of(model, "first.0", damping=DAMPING) == gone


def _by_cost(consumers: list[list[BruteForce]], gone: list[int], candidates: list[int]) -> list[int]:
    return sorted(
        candidates,
        key=lambda c: sum(
            sum(p.error([*gone, c]) for p in parts) / sum(p.energy for p in parts) for parts in consumers
        ),
    )


def test_what_other_groups_bring_to_a_consumer_counts_as_there() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nets.norm_conv(3, 4), nets.norm_conv(3, 5)
            self.last = nn.Conv2d(9, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.left(x), self.right(x)], dim=1)).mean((2, 3))

    model = nets.enliven(Joined(), IMAGES)
    x, weight = rows_of(model, "last"), model.last.weight.detach().flatten(1).T
    for name, features in (("left.0", taps(9, 1)[:4]), ("right.0", taps(9, 1)[4:])):
        brute = BruteForce(x, weight, features, bias=True)
        assert order_of(model, name, damping=DAMPING) == greedy([[brute]], len(features))


@torch.no_grad()
def _copy_channel(model: nn.Sequential, source: int, target: int) -> None:
    conv, norm = model.features[0][0], model.features[0][1]
    for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor[target] = tensor[source]


def test_one_of_two_identical_channels_goes_first() -> None:
    """The other one takes over, and is then worth as much as any."""
    for make in (nets.chain, nets.residual, nets.depthwise):
        model = nets.enliven(make(), IMAGES)
        if make is nets.depthwise:
            for tensor in (*model.features[1].parameters(), *model.features[1].buffers()):
                if tensor.dim():
                    tensor.data[5] = tensor.data[2]
        _copy_channel(model, 2, 5)
        order = order_of(model, "features.0.0")
        assert order[0] in (2, 5)
        assert order[1] not in (2, 5)


def test_a_channel_that_is_never_active_goes_first() -> None:
    for channel in (0, 4, 7):
        model = nets.enliven(nets.chain(), IMAGES)
        with torch.no_grad():
            norm = model.features[0][1]
            norm.weight[channel], norm.bias[channel], norm.running_mean[channel] = 0, -1, 0
        assert order_of(model, "features.0.0")[0] == channel


def test_a_constant_channel_goes_first_where_a_bias_can_stand_for_it() -> None:
    """And not where none can: it is the largest one."""
    for bias in (True, False):
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1, bias=bias), nn.Flatten())
        with torch.no_grad():
            model[0].weight[2], model[0].bias[2] = 0, 3
            model[2].weight[:, 2] = 2
        assert (order_of(model, "0")[0] == 2) == bias


@pytest.mark.parametrize("make", [nets.grouped, nets.residual, nets.depthwise, nets.flat])
def test_all_channels_get_a_place(make: Callable[[], nn.Module]) -> None:
    model = nets.enliven(make(), IMAGES)
    groups = [g for g in trace(model, IMAGES) if g.frozen is None]
    first, second = (reconstruction_scores(model, groups, IMAGES, Calibration(positions=7, seed=3)) for _ in range(2))
    assert set(first) == {g.name for g in groups}
    for g in groups:
        assert sorted(first[g.name]) == list(range(g.channels))
        np.testing.assert_array_equal(first[g.name], second[g.name])
