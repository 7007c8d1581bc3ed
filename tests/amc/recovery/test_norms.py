from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from amc.pruning.network import Network
from amc.pruning.surgery import Surgeon
from amc.recovery import make_recovery
from amc.recovery.norms import fold_norms, following_norms, recalibrate, undo_norm
from tests.support import nets

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_which_norm_follows_which_layer() -> None:
    assert following_norms(nets.residual(), IMAGES) == {
        "features.0.0": "features.0.1",
        "features.1.conv1": "features.1.bn1",
        "features.1.conv2": "features.1.bn2",
        "features.2.conv1": "features.2.bn1",
        "features.2.conv2": "features.2.bn2",
    }


class Shared(nn.Module):
    """What must not be taken for a pair: an output read twice, a norm used twice, a norm without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.bn, self.reader = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.a, self.b, self.both = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.c, self.batch_only = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)
        self.d, self.fine = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.read_twice(x)
        x = self.bn(made) + self.reader(made)
        return self.fine(self.d(self.batch_only(self.c(self.both(self.a(x)) + self.both(self.b(x))))))


def test_only_exclusive_pairs_count() -> None:
    assert following_norms(Shared().train(), IMAGES) == {"d": "fine"}


@pytest.mark.parametrize("make", [nets.residual, nets.grouped, nets.depthwise, nets.flat, Shared])
def test_folding_keeps_the_outputs(make: Callable[[], nn.Module]) -> None:
    model = nets.enliven(make(), IMAGES)
    norms = following_norms(model, IMAGES)
    with torch.no_grad():
        expected = model(IMAGES)
        fold_norms(model, norms)
        torch.testing.assert_close(model(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert norms
    assert all(isinstance(model.get_submodule(norm), nn.Identity) for norm in norms.values())


def test_folding_a_linear_layer() -> None:
    model = nets.enliven(nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5)), IMAGES)
    with torch.no_grad():
        expected = model(IMAGES)
        fold_norms(model, following_norms(model, IMAGES))
        torch.testing.assert_close(model(IMAGES), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_recalibrated_statistics_by_hand() -> None:
    model = nets.chain()
    model.features[1][1].momentum = 0.3
    recalibrate(model, [IMAGES])
    conv, norm = model.features[0][0], model.features[0][1]
    values = conv(IMAGES).transpose(0, 1).flatten(1)  # [c, everything]
    torch.testing.assert_close(norm.running_mean, values.mean(1))
    torch.testing.assert_close(norm.running_var, values.var(1))
    second = model.features[1][0](model.features[0](IMAGES)).transpose(0, 1).flatten(1)
    # the second norm saw the first one normalise by the batch, not by running statistics: nearly the same
    torch.testing.assert_close(model.features[1][1].running_mean, second.mean(1), rtol=1e-2, atol=1e-2)
    assert model.features[1][1].momentum == 0.3
    assert not model.training


@torch.no_grad()
def test_batches_are_averaged() -> None:
    model = nets.chain()
    recalibrate(model, IMAGES.split(4))
    per_batch = torch.stack([model.features[0][0](b).mean((0, 2, 3)) for b in IMAGES.split(4)])
    torch.testing.assert_close(model.features[0][1].running_mean, per_batch.mean(0))


def test_no_batch_is_left_with_a_single_image() -> None:
    """One value for each channel has no variance: 9 images in batches of 8 must not end in 8 + 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).eval()
    make_recovery("bn", Surgeon(model, ()), (), {}, IMAGES[:9], batch_size=8)(model, {})
    assert torch.isfinite(model[2].running_var).all()
    assert not torch.equal(model[2].running_var, torch.ones(5))


@torch.no_grad()
def test_undoing_a_norm() -> None:
    norm = nn.BatchNorm1d(4).eval()
    norm.weight.copy_(torch.tensor([1.0, -0.5, 0.0, 1e-9]))
    norm.bias.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    x = torch.randn(6, 4)
    found = undo_norm(norm, norm(x), 1e-2)
    torch.testing.assert_close(found[:, :2], x[:, :2])
    assert torch.isfinite(found).all()  # a channel that the norm erases can't be known


def test_all_ready_networks_can_be_folded(ready: Network) -> None:
    model = Surgeon(ready.model, ()).cut({}).double()
    images = torch.randn(2, *ready.example.shape[1:], dtype=torch.float64)
    norms = following_norms(model, images)
    with torch.no_grad():
        expected = model(images)
        fold_norms(model, norms)
        torch.testing.assert_close(model(images), expected, rtol=1e-6, atol=1e-6)
