"""What each regulariser adds to the loss: its value, its pull, what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.groups import trace
from amc.pruning.surgery import Surgeon, rank_channels
from amc.training.regularise import NAMES, make_penalty
from tests.support import nets

Channels = dict[str, np.ndarray]
Masks = dict[str, Tensor]

IMAGE = torch.zeros(1, 3, 8, 8)


class OntoItself(nn.Module):
    """A stream of 8 channels to which a convolution of the stream is added: its inputs and outputs are one group."""

    def __init__(self, conv_groups: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.loop = nn.Conv2d(8, 8, 3, padding=1, groups=conv_groups)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + torch.relu(self.loop(x))).mean((2, 3))


class Joined(nn.Module):
    """A convolution that reads two groups, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)
        self.c, self.d = nn.Conv2d(13, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        return self.d(torch.relu(self.c(torch.cat([a, self.b(x), a], 1))))


class Tied(nn.Module):
    """Two convolutions with one weight and a bias each make the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.a(x) + self.b(-x)))


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.ConvTranspose2d(6, 5, 2, 2), nn.ReLU(), nn.Conv2d(5, 4, 1))


def grouped_onto_itself() -> nn.Module:
    return OntoItself(2)


MAKERS = (
    nets.chain, nets.residual, nets.depthwise, nets.grouped, nets.flat,
    transposed, OntoItself, grouped_onto_itself, Joined, Tied,
)  # fmt: skip


def some_doomed(groups: Sequence[LayerGroup], rng: np.random.Generator) -> tuple[Channels, Channels]:
    """Random doomed channels of random groups, equally many of each convolution group, and those that stay."""
    doomed, kept = {}, {}
    for g in groups:
        if g.frozen is None:
            count = g.step * int(rng.integers(1, g.channels // g.step + 1))
            ranking = rank_channels(g, rng.random(g.channels))
            doomed[g.name], kept[g.name] = ranking[count:], np.sort(ranking[:count])
    return doomed, kept


def removed(model: nn.Module, groups: Sequence[LayerGroup], kept: Channels) -> Masks:
    """What a cut takes of each parameter: every number is replaced by one of its own, and looked for afterwards."""
    twin = copy.deepcopy(model)
    start = 0
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(torch.arange(start, start + parameter.numel()).view_as(parameter))
            start += parameter.numel()
    assert start < 2**24  # float32 counts no further
    small = dict(Surgeon(twin, groups).cut(kept).named_parameters())
    return {name: ~torch.isin(p, small[name]) for name, p in twin.named_parameters()}


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("make", MAKERS)
@given(seed=st.integers(0, 2**32 - 1))
def test_group_lasso_pulls_at_what_a_cut_removes_and_at_nothing_else(make: Callable[[], nn.Module], seed: int) -> None:
    model = make()
    groups = trace(model, IMAGE)
    doomed, kept = some_doomed(groups, np.random.default_rng(seed))
    penalty = make_penalty("group_lasso", 1.0, model, groups, doomed)
    gone = removed(model, groups, kept)
    if penalty is None:
        assert not any(mask.any() for mask in gone.values())
        return
    with torch.no_grad():
        for parameter in model.parameters():  # batch-norm biases start at zero, where there is no pull
            parameter.copy_(torch.randn_like(parameter).sign() * (1 + torch.rand_like(parameter)))
    pulled = {name: gradient != 0 for name, gradient in gradients(model, penalty(model)).items()}
    assert all(torch.equal(pulled[name], mask) for name, mask in gone.items())


@pytest.mark.parametrize("make", [m for m in MAKERS if m not in (nets.grouped, grouped_onto_itself)])
def test_group_lasso_is_the_norm_of_what_a_cut_removes(make: Callable[[], nn.Module]) -> None:
    model = make()
    groups = trace(model, IMAGE)
    for group in (g for g in groups if g.frozen is None):
        expected = []
        for channel in (1, group.channels - 1):
            stay = np.delete(np.arange(group.channels), channel)
            gone = removed(model, groups, {group.name: stay})
            numbers = torch.cat([p[gone[name]] for name, p in model.named_parameters()])
            expected.append(len(numbers) ** 0.5 * float(numbers.detach().norm()))
        penalty = make_penalty("group_lasso", 0.5, model, groups, {group.name: np.array([group.channels - 1, 1, 1])})
        assert float(penalty(model).detach()) == pytest.approx(0.5 * sum(expected), rel=1e-5)


def test_group_lasso_of_a_grouped_convolution() -> None:
    """12 channels in 3 convolution groups: channel 6 is input 2 of the second, which makes channels 4 … 7."""
    model = nets.grouped()
    groups = trace(model, IMAGE)
    before, conv, after = (model.get_submodule(f"features.{i}.0").weight for i in range(3))
    norms = [model.get_submodule(f"features.{i}.1") for i in range(2)]
    with torch.no_grad():
        for norm in norms:
            norm.bias.normal_()
    read = [before[6], norms[0].weight[6], norms[0].bias[6], conv[4:8, 2]]  # 3 + 1 + 1 + 4·9 = 41 numbers
    made = [conv[6], norms[1].weight[6], norms[1].bias[6], after[:, 6]]  # 4·9 + 1 + 1 + 6 = 44
    for name, numbers, size in (("features.0.0", read, 41), ("features.1.0", made, 44)):
        value = make_penalty("group_lasso", 1.0, model, groups, {name: np.array([6])})(model)
        norm = torch.cat([n.flatten() for n in numbers]).norm()
        torch.testing.assert_close(value, size**0.5 * norm)


def test_group_lasso_by_arithmetic() -> None:
    # Channel 0: weights 3 and 0, bias 4, read with 12: √4 · √(9 + 0 + 16 + 144) = 2 · 13. Channel 1 is all zeros.
    # Channel 2 is large, but stays.
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0], [0, 0], [9, 9]]))
        model[0].bias.copy_(torch.tensor([4.0, 0, 9]))
        model[2].weight.copy_(torch.tensor([[12.0, 0, 9]]))
    groups = trace(model, torch.zeros(1, 2))
    value = make_penalty("group_lasso", 0.5, model, groups, {"0": np.array([0, 1])})(model)
    assert value.shape == ()
    assert float(value.detach()) == pytest.approx(13)
    pull = gradients(model, value)  # 0.5 · 2 · w / 13, and 0 for the channel that is zero already
    torch.testing.assert_close(pull["0.weight"], torch.tensor([[3 / 13, 0], [0, 0], [0, 0]]))
    torch.testing.assert_close(pull["0.bias"], torch.tensor([4 / 13, 0, 0]))
    torch.testing.assert_close(pull["2.weight"], torch.tensor([[12 / 13, 0, 0]]))
    assert torch.equal(pull["2.bias"], torch.zeros(1))


def test_sums_over_weights_by_arithmetic() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -2]).view(2, 1, 1, 1))
        model[1].weight.copy_(torch.tensor([-5.0, 7]))
        model[3].weight.copy_(torch.tensor([[3.0, 0]]))
        for layer in (model[0], model[1], model[3]):
            layer.bias.fill_(100)  # looked at by none
    expected = {"l2": 0.1 / 2 * (1 + 4 + 9), "l1": 0.1 * (1 + 2 + 3), "bn_l1": 0.1 * (5 + 7)}
    pulls = {
        "l2": {"0.weight": [0.1, -0.2], "3.weight": [0.3, 0]},
        "l1": {"0.weight": [0.1, -0.1], "3.weight": [0.1, 0]},
        "bn_l1": {"1.weight": [-0.1, 0.1]},
    }
    for name, value in expected.items():
        found = make_penalty(name, 0.1, model)(model)
        assert found.shape == ()
        assert float(found.detach()) == pytest.approx(value)
        for parameter, pull in gradients(model, found).items():
            wanted = pulls[name].get(parameter, [0.0] * pull.numel())
            torch.testing.assert_close(pull.flatten(), torch.tensor(wanted))


@pytest.mark.parametrize("name", NAMES[1:])
def test_gradients_are_those_of_the_value(name: str) -> None:
    model = nets.enliven(nets.residual(), torch.randn(4, 3, 8, 8)).double()
    groups = trace(model, IMAGE.double())
    doomed = {g.name: np.array([0, 3]) for g in groups if g.frozen is None}
    penalty = make_penalty(name, 0.7, model, groups, doomed)
    # gradcheck moves the parameters themselves, so that the model is what it is called with
    assert torch.autograd.gradcheck(lambda *_: penalty(model), tuple(model.parameters()), fast_mode=True)


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[2].weight = model[0].weight
    nn.init.constant_(model[0].weight, -3)
    assert float(make_penalty("l1", 1.0, model)(model).detach()) == 12
    shared = nn.Linear(2, 2, bias=False)
    nn.init.constant_(shared.weight, 2)
    twice = nn.Sequential(shared, nn.ReLU(), shared)
    assert float(make_penalty("l2", 1.0, twice)(twice).detach()) == 8


def test_a_model_that_is_one_layer() -> None:
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, 3)
    assert float(make_penalty("l1", 1.0, model)(model).detach()) == 6


def test_nothing_to_add() -> None:
    model = nets.chain()
    groups = trace(model, IMAGE)
    assert make_penalty("none", 1.0, model) is None
    assert all(make_penalty(name, 0, model) is None for name in NAMES)
    assert make_penalty("group_lasso", 1.0, model, groups, {"features.0.0": np.arange(0)}) is None


def test_follows_the_model_to_another_device() -> None:
    """An index made on torch's default device would fail on a network that lies elsewhere, and so would one left."""
    model = OntoItself()
    groups = trace(model, IMAGE)
    doomed = {"stem": np.array([0, 3])}
    before = make_penalty("group_lasso", 1.0, model, groups, doomed)
    with torch.device("meta"):
        assert torch.equal(make_penalty("group_lasso", 1.0, model, groups, doomed)(model), before(model))
    assert before(model.to("meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("name", "strength", "doomed", "message"),
    [
        ("ridge", 1.0, None, "regulariser=ridge: unknown; give one of none, l2, l1, bn_l1, group_lasso"),
        ("l1", -1e-4, None, "regulariser.strength=-0.0001: give a number of at least 0"),
        ("l2", float("nan"), None, "regulariser.strength=nan"),
        ("bn_l1", float("inf"), None, "regulariser.strength=inf"),
        ("none", "much", None, "regulariser.strength=much"),
        ("group_lasso", 1.0, None, "give groups and doomed"),
        ("group_lasso", 1.0, {"nowhere": [0]}, "no group 'nowhere'"),
        (
            "group_lasso",
            1.0,
            {"features.0.0": [8, 0]},
            "channels 0 … 8 of group features.0.0 are doomed; give .* 0 … 7",
        ),
        ("group_lasso", 1.0, {"features.0.0": [-1]}, "give channels of 0 … 7"),
        ("group_lasso", 1.0, {"fc": [0]}, "group fc can't be pruned"),
    ],
)
def test_refuses(name: str, strength: float, doomed: Channels | None, message: str) -> None:
    model = nets.chain()
    with pytest.raises(AmcError, match=message):
        make_penalty(name, strength, model, trace(model, IMAGE), doomed)


def test_refuses_models_without_what_is_looked_at() -> None:
    plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    with pytest.raises(AmcError, match="regulariser=bn_l1: the model has no batch norm"):
        make_penalty("bn_l1", 1.0, plain)
    with pytest.raises(AmcError, match="regulariser=l1: the model has no convolution or linear layer"):
        make_penalty("l1", 1.0, nn.BatchNorm1d(2))
    model = nets.chain()
    groups = trace(model, IMAGE)
    with pytest.raises(AmcError, match="give groups and doomed"):
        make_penalty("group_lasso", 1.0, model, (), {"features.0.0": np.array([0])})
    small = Surgeon(model, groups).cut({"features.0.0": np.arange(4)})
    for other in (small, plain):
        with pytest.raises(AmcError, match=r"group features\.0\.0 doesn't fit layer .*; give groups of this model"):
            make_penalty("group_lasso", 1.0, other, groups, {"features.0.0": np.array([0])})
