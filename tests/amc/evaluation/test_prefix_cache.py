from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from amc.data import ImageSet
from amc.evaluation import prefix_cache as prefix_cache
from amc.evaluation.prefix_cache import PrefixCache
from amc.evaluation.scoring import score
from tests.support import nets

IMAGES = torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SET = ImageSet(IMAGES, torch.arange(30) % 4, num_classes=4)
BATCH = 8  # 8, 8, 8, 6


def lender(model: nn.Module) -> PrefixCache:
    return PrefixCache(copy.deepcopy(model), SET, BATCH, torch.float32)


@torch.inference_mode()
def answers(model: nn.Module) -> Tensor:
    return torch.cat([model(x) for x, _ in SET.batches(BATCH)])


@torch.no_grad()
def changed(model: nn.Module, layer: str) -> nn.Module:
    """A copy in which one layer has other weights."""
    other = copy.deepcopy(model)
    weight = other.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    weight.mul_(-0.7)
    return other


def layers(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]


class Dense(nn.Module):
    """Every layer reads all before it, so that no one output is enough to go on from."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class InPlace(nn.Module):
    """Adds to what a module returned, which a memory must not take part in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(c, 8, 3, padding=1) for c in (3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        stream = self.first(x)
        stream += 1.0
        other = F.relu(self.second(stream), inplace=True)
        other += stream
        return self.third(other)


class Twice(nn.Module):
    """One layer called twice, one module that returns two tensors, one that turns images into channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.same = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.halves, self.last = Halves(), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(F.relu(self.same(self.stem(x))))
        first, second = self.halves(x)
        return self.last(first * second)


class Halves(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, 1)
        return first, second


class Careful(nn.Module):
    """Refuses what is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not x.isfinite().all():
            raise ValueError("not finite")
        return self.last(self.norm(x))


class Leaves(nn.Module):
    """Keeps its input on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        self.left = x.mean()
        return self.conv(x)


class ByTheBack(nn.Module):
    """Reads what a module left on itself beside what it returned."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves, self.last = Leaves(), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.leaves(x)) * self.leaves.left


NETWORKS = {
    "residual": nets.residual,
    "depthwise": nets.depthwise,
    "grouped": nets.grouped,
    "flat": nets.flat,
    "dense": lambda: nets.Classifier(Dense(), 19),
    "in place": lambda: nets.Classifier(InPlace(), 8),
    "twice": lambda: nets.Classifier(Twice(), 8),
    "careful": lambda: nets.Classifier(Careful(), 8),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_the_same_with_a_borrowed_start(name: str) -> None:
    model = nets.enliven(NETWORKS[name](), IMAGES)
    start, lent = lender(model), {}
    for layer in [*layers(model), *reversed(layers(model))]:  # both ways: the memory is made again, or gone on from
        other = changed(model, layer)
        expected = answers(other)
        lent[layer] = start.lend(other)
        assert torch.equal(answers(other), expected), layer
    first, *_, last = layers(model)
    assert not lent[first]  # nothing is shared
    assert lent[last]


def test_what_a_module_hands_on_by_itself_is_not_lost() -> None:
    model = nets.enliven(nets.Classifier(ByTheBack(), 8), IMAGES)
    start, other = lender(model), changed(model, "features.last")
    expected = answers(other)
    start.lend(other)
    assert torch.equal(answers(other), expected)


def test_what_is_shared_is_not_computed_again() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    start, other = lender(model), changed(model, "features.2.conv2")
    assert start.lend(other)
    with FlopCounterMode(display=False) as counted:
        answers(other)
    assert counted.get_total_flops() == 2 * 30 * (8 * 6 * 9 * 64 + 8 * 4)  # the changed layer and the classifier


def test_smaller_networks_borrow_too() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    start, other = lender(model), copy.deepcopy(model)
    block = nets.enliven(nets.Block(8, 3), torch.randn(8, 8, 8, 8))
    other.features[2] = block  # type: ignore[index, operator]
    expected = score(other, SET, BATCH).worth
    assert start.lend(other)
    actual = score(other, SET, BATCH).worth
    assert torch.equal(torch.as_tensor(actual), torch.as_tensor(expected))


def test_equal_networks_need_not_borrow() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    assert not lender(model).lend(copy.deepcopy(model))


def test_too_much_to_remember_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    held = 30 * (8 + 6) * 8 * 8 * 4  # images × (the stream and what is inside the block) × positions × bytes
    for limit, expected in ((held, True), (held - 1, False)):
        monkeypatch.setattr(prefix_cache, "LARGEST_BYTES", limit)
        other = changed(model, "features.2.conv2")
        assert lender(model).lend(other) is expected
        assert torch.equal(answers(other), answers(changed(model, "features.2.conv2")))


def test_in_half_precision() -> None:
    model = nets.enliven(nets.residual(), IMAGES).to(torch.bfloat16)
    start = PrefixCache(copy.deepcopy(model), SET, BATCH, torch.bfloat16)
    other = changed(model, "features.2.conv1")
    expected = score(other, SET, BATCH, torch.bfloat16)
    assert start.lend(other)
    actual = score(other, SET, BATCH, torch.bfloat16)
    assert torch.equal(torch.as_tensor(actual.worth), torch.as_tensor(expected.worth))
    assert actual.loss == expected.loss


@torch.no_grad()
def test_outputs_that_are_no_numbers_are_not_borrowed() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    last = layers(model)[-1]
    model.get_submodule(last).bias[0] = torch.nan  # type: ignore[index, operator]
    other = changed(model, last)
    assert not lender(model).lend(other)
    assert answers(other).isnan().any()
