from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from amc.core.errors import AmcError
from amc.data import ImageSet
from amc.importance import NAMES, score_channels
from amc.pruning.network import Network, trace_network
from amc.recovery.calibration import Calibration
from tests.support import nets

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4
FIRST = "features.0.0"


def scores_of(name: str, model: nn.Module, **kwargs: object) -> dict[str, np.ndarray]:
    images, training = ImageSet(IMAGES, LABELS, num_classes=4), model.training
    network = trace_network(model, IMAGES[:1])
    model.train(training)
    return score_channels(name, network, images, **kwargs)  # type: ignore[arg-type]


@torch.no_grad()
def with_dead_channel(make: Callable[[], nn.Module], channel: int) -> nn.Module:
    """The first convolution's channel is never active, and nobody would listen."""
    model = nets.enliven(make(), IMAGES)
    conv, norm = model.features[0][0], model.features[0][1]
    conv.weight[channel] = 0
    norm.weight[channel], norm.bias[channel], norm.running_mean[channel] = 0, -1, 0
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 8:
            layer.weight[:, channel] = 0
    return model


@pytest.mark.parametrize("name", ["l1", "l2", "bn_scale", "taylor", "activation"])
@pytest.mark.parametrize("channel", [0, 5])
def test_a_dead_channel_comes_last(name: str, channel: int) -> None:
    scores = scores_of(name, with_dead_channel(nets.chain, channel))[FIRST]
    assert scores.shape == (8,)
    assert np.argmin(scores) == channel
    assert np.sum(scores == scores.min()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_nothing_but_zeros_gets_numbers(name: str) -> None:
    model = nets.chain()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(np.isfinite(s).all() for s in scores_of(name, model).values())


@torch.no_grad()
def test_geometric_median_drops_what_others_can_stand_for() -> None:
    """Seven filters far from each other and one in their middle: large, but replaceable."""
    model = nets.chain()
    first, second = model.features[0][0], model.features[1][0]
    second.weight.fill_(0.1)  # consumers see no difference
    first.weight.zero_()
    for channel in range(7):
        first.weight[channel].view(-1)[channel] = 2.0
    first.weight[7].view(-1)[:7] = 2.0 / np.sqrt(7)
    assert np.argmin(scores_of("fpgm", model)[FIRST]) == 7
    assert np.argmin(scores_of("l1", model)[FIRST]) != 7


@torch.no_grad()
def test_activation_is_the_share_of_positive_values() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight.copy_(torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1))
    model[0].bias.zero_()
    images = torch.tensor([1.0, 2.0, 3.0, -1.0]).view(1, 1, 2, 2)
    one = ImageSet(images, torch.zeros(1, dtype=torch.int64), num_classes=2)
    scores = score_channels("activation", trace_network(model, images), one)
    assert scores["0"].tolist() == [0.75, 0.25, 0.0]


def test_activation_averages_images_not_batches() -> None:
    model = nets.enliven(nets.flat(), IMAGES)
    whole, parts = (scores_of("activation", model, calibration=Calibration(batch_size=size)) for size in (8, 3))
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected)


def test_taylor_accumulates_batches() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    whole, parts = (scores_of("taylor", model, calibration=Calibration(batch_size=size)) for size in (8, 3))
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected, rtol=1e-3)


def test_without_batch_norm_bn_scale_falls_back_to_l1() -> None:
    model = nets.flat()
    by_scale, by_l1 = scores_of("bn_scale", model), scores_of("l1", model)
    np.testing.assert_array_equal(by_scale["3"], by_l1["3"])
    assert not np.array_equal(by_scale["0.0"], by_l1["0.0"])


def test_random_scores_follow_their_seed() -> None:
    model = nets.chain()
    first, same, other = (scores_of("random", model, calibration=Calibration(seed=seed))[FIRST] for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_no_criterion_looks_at_the_global_random_state(name: str) -> None:
    model = nets.residual().train()
    before = copy.deepcopy(model.state_dict())
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        state = torch.get_rng_state()
        results.append(scores_of(name, model))
        assert torch.equal(torch.get_rng_state(), state)
    assert results[0].keys() == {FIRST, "features.1.conv1", "features.2.conv1"}
    for group, values in results[0].items():
        np.testing.assert_array_equal(values, results[1][group])
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("network", "criterion"),
    [
        (network, criterion)
        for network in ("densenet121", "regnet_y_400mf", "efficientnet_b0", "googlenet")
        for criterion in NAMES
        if (network, criterion)
        != ("densenet121", "reconstruction")  # half a minute, for concatenations as in googlenet
    ],
)
def test_every_criterion_scores_every_family(get_ready: Callable[[str], Network], network: str, criterion: str) -> None:
    ready = get_ready(network)
    images = ImageSet(torch.randn(2, *ready.example.shape[1:]), torch.tensor([0, 1]), num_classes=10)
    scores = score_channels(criterion, ready, images)
    assert {n: len(s) for n, s in scores.items()} == {g.name: g.channels for g in ready.groups if g.frozen is None}
    assert all(np.isfinite(s).all() and (s >= 0).all() for s in scores.values())
    assert any(len(np.unique(s)) > 1 for s in scores.values())


def test_unknown_criteria_are_refused() -> None:
    with pytest.raises(AmcError, match=r"importance=l3: unknown; give one of l1, l2"):
        scores_of("l3", nets.chain())
