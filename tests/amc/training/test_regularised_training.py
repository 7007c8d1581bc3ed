"""What training with each regulariser does to a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from amc.core.types import LayerGroup
from amc.data import ImageSet, load_dataset
from amc.pruning.groups import trace
from amc.pruning.surgery import Surgeon
from amc.training.fit import evaluate, train
from amc.training.recipe import Recipe
from amc.training.regularise import make_penalty
from amc.training.trainer import Objective
from tests.support import nets

Channels = dict[str, np.ndarray]
STRENGTHS = {"none": 0.0, "l2": 0.03, "l1": 0.003, "bn_l1": 0.03, "group_lasso": 0.003}


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, ImageSet]:
    splits = load_dataset("digits", val_images=360)
    return splits.train.take(1024), splits.val


def digits_net() -> nn.Module:
    """12 and 16 channels; the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nets.norm_conv(3, 12), nn.MaxPool2d(2), nets.norm_conv(12, 16),
            nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


def trained(
    digits: tuple[ImageSet, ImageSet], name: str, groups: Sequence[LayerGroup] = (), doomed: Channels | None = None
) -> nn.Module:
    """160 steps that end in a network which knows its digits."""
    model = digits_net()
    penalty = make_penalty(name, STRENGTHS[name], model, groups, doomed)
    train(model, digits[0], None, Recipe(epochs=10, lr=0.1, bf16=False), objective=Objective(penalty=penalty))
    assert evaluate(model, digits[1])[0] > 0.95
    return model


def small_share(model: nn.Module, kinds: tuple[type[nn.Module], ...], threshold: float) -> float:
    numbers = torch.cat([m.weight.detach().flatten() for m in model.modules() if isinstance(m, kinds)])
    return float((numbers.abs() < threshold).float().mean())


@pytest.mark.parametrize(
    ("name", "kinds", "threshold"),
    [("l2", (nn.Conv2d, nn.Linear), 0.01), ("l1", (nn.Conv2d, nn.Linear), 0.001), ("bn_l1", (nn.BatchNorm2d,), 0.1)],
)
def test_training_makes_more_weights_small(
    digits: tuple[ImageSet, ImageSet], name: str, kinds: tuple[type[nn.Module], ...], threshold: float
) -> None:
    free, pushed = (small_share(trained(digits, n), kinds, threshold) for n in ("none", name))
    assert pushed > 2 * free + 0.05


def test_training_shrinks_doomed_channels_and_no_others(digits: tuple[ImageSet, ImageSet]) -> None:
    groups = trace(digits_net(), digits[0].take(1).normalised())
    doomed = {"0.0": np.arange(4), "2.0": np.arange(6)}
    stay = {"0.0": np.arange(4, 12), "2.0": np.arange(6, 16)}
    free, pushed = (trained(digits, name, groups, doomed) for name in ("none", "group_lasso"))

    def size(model: nn.Module, channels: Channels) -> float:
        with torch.no_grad():
            return float(make_penalty("group_lasso", 1.0, model, groups, channels)(model))

    def lost(model: nn.Module) -> float:
        """Nats that the cut costs, with nothing recovered."""
        return evaluate(Surgeon(model, groups).cut(stay), digits[1])[1] - evaluate(model, digits[1])[1]

    assert size(pushed, doomed) < 0.1 * size(free, doomed)
    assert size(pushed, stay) > 0.8 * size(free, stay)
    assert abs(lost(pushed)) < 0.1 * lost(free)
