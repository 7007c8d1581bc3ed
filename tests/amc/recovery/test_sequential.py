from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.pruning.groups import trace
from amc.pruning.network import Network
from amc.pruning.surgery import Surgeon
from amc.recovery import ends, make_recovery
from amc.recovery.calibration import Calibration
from amc.recovery.sequential import SequentialLeastSquares
from tests.support import nets

IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
UNSEEN = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def cut_and_recover(name: str, model: nn.Module, kept: dict[str, np.ndarray], **settings: object) -> nn.Module:
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    small = surgeon.cut(kept)
    ranking = {g.name: np.arange(g.channels) for g in groups}
    make_recovery(name, surgeon, groups, ranking, IMAGES, **settings)(small, kept)  # type: ignore[arg-type]
    return small


@torch.no_grad()
def logit_error(dense: nn.Module, small: nn.Module, images: Tensor = IMAGES) -> float:
    return float((small(images) - dense(images)).square().mean())


@pytest.mark.parametrize(
    "kept",
    [
        {"features.1.conv1": np.arange(3), "features.2.conv1": np.arange(3)},
        {"features.0.0": np.arange(6), "features.1.conv1": np.arange(4)},
    ],
)
def test_it_comes_closer_to_the_dense_network(kept: dict[str, np.ndarray]) -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    errors = {name: logit_error(model, cut_and_recover(name, model, kept)) for name in ("none", "sequential")}
    assert errors["sequential"] < 0.5 * errors["none"]
    unseen = {n: logit_error(model, cut_and_recover(n, model, kept), UNSEEN) for n in ("none", "sequential")}
    assert unseen["sequential"] < unseen["none"]


def test_it_beats_static_where_errors_add_up() -> None:
    """Four layers deep, each sees what pruning did to those before it."""
    model = nets.enliven(nets.Classifier(nn.Sequential(*(nets.norm_conv(c, 8) for c in (3, 8, 8, 8))), 8), IMAGES)
    kept = {f"features.{i}.0": np.arange(4) for i in range(4)}
    found = {n: logit_error(model, cut_and_recover(n, model, kept)) for n in ("none", "least_squares", "sequential")}
    assert found["sequential"] < found["least_squares"] < found["none"]


@torch.no_grad()
def test_a_joined_layer_makes_up_for_its_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """With joins the last layer of a block aims at the block's output, without them at its own."""
    model = nets.enliven(nets.residual(), IMAGES)
    kept = {"features.1.conv1": np.arange(1), "features.2.conv1": np.arange(5)}
    joined = cut_and_recover("sequential", model, kept, positions=64).features(IMAGES)
    monkeypatch.setattr(ends, "ADDITIONS", ())
    apart = cut_and_recover("sequential", model, kept, positions=64).features(IMAGES)
    dense = model.features(IMAGES)
    assert (joined - dense).square().mean() < 0.9 * (apart - dense).square().mean()


@pytest.mark.parametrize("make", [nets.chain, nets.depthwise, nets.grouped, nets.flat, nets.residual])
@torch.no_grad()
def test_a_duplicate_channel_costs_nothing(make: Callable[[], nn.Module]) -> None:
    model = nets.enliven(make(), IMAGES)
    groups = trace(model, IMAGES)
    first = groups[0]
    width = first.channels // first.step
    twins = [i * width for i in range(first.step)]  # one of each convolution group is its neighbour twice over
    for s in first.slices:
        layer = model.get_submodule(s.layer)
        if s.axis == "out":
            for tensor in layer.state_dict().values():
                if tensor.dim() > 0:
                    tensor[twins] = tensor[[t + 1 for t in twins]]
    kept = {first.name: np.delete(np.arange(first.channels), twins)}
    left = logit_error(model, cut_and_recover("none", model, kept))
    assert logit_error(model, cut_and_recover("sequential", model, kept, damping=1e-6)) < 1e-3 * left


def test_nothing_cut_is_nothing_changed() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    small = cut_and_recover("sequential", model, {})
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in small.state_dict().items())


def test_layers_before_the_first_cut_are_left_alone() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    small = cut_and_recover("sequential", model, {"features.2.conv1": np.arange(2)})
    before = ("features.0.", "features.1.")
    state = model.state_dict()
    assert all(torch.equal(v, state[n]) for n, v in small.state_dict().items() if n.startswith(before))
    assert not torch.equal(small.features[2].conv2.weight, model.features[2].conv2.weight[:, :2])


def test_branches_that_start_at_one_shortcut() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            first = (self.a(x) + x).relu()
            return first + (self.b(first.relu()) + x)

    model = nets.enliven(nets.Classifier(nn.Sequential(nets.norm_conv(3, 8), Twice()), 8), IMAGES)
    found = ends.find_ends(model, IMAGES)
    assert found["features.1.a"].shortcut_event == found["features.1.b"].shortcut_event
    kept = {"features.0.0": np.arange(6)}
    assert logit_error(model, cut_and_recover("sequential", model, kept)) < logit_error(
        model, cut_and_recover("none", model, kept)
    )


class Breaks(nn.Module):
    """Raises in one of several chunks."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.armed, self.calls = error, False, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.armed
        if self.calls == 3:
            raise self.error
        return x


@pytest.mark.parametrize("batch_size", [7, 32, 63])
@torch.no_grad()
def test_chunks_change_nothing_but_rounding(batch_size: int) -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    kept = {"features.0.0": np.arange(6), "features.1.conv1": np.arange(3)}
    whole = cut_and_recover("sequential", model, kept, batch_size=64).state_dict()
    chunked = cut_and_recover("sequential", model, kept, batch_size=batch_size).state_dict()
    torch.testing.assert_close(chunked, whole, rtol=1e-3, atol=1e-4)
    again = cut_and_recover("sequential", model, kept, batch_size=batch_size).state_dict()
    assert all(torch.equal(chunked[name], again[name]) for name in again)


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_an_error_in_the_network_is_raised_once_and_leaves_nothing_behind(error: BaseException) -> None:
    breaks = Breaks(error)
    model = nets.enliven(nets.chain(breaks), IMAGES)
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    recovery = SequentialLeastSquares(surgeon, IMAGES, Calibration(positions=20, batch_size=16))
    kept = {"features.0.0": np.arange(5)}
    small = surgeon.cut(kept)
    next(m for m in small.modules() if isinstance(m, Breaks)).armed = True
    with pytest.raises(type(error)):
        recovery.recover(small, kept)
    assert not [t for t in threading.enumerate() if t.name == "amc-lockstep"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())


def test_grad_mode_is_as_it_was() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    small = cut_and_recover("sequential", model, {"features.1.conv1": np.arange(3)}, batch_size=16)
    assert torch.is_grad_enabled()
    assert all(p.requires_grad and p.grad_fn is None for p in small.parameters())


def test_wide_layers_need_no_gram_matrix() -> None:
    """More features than rows: the minimum-norm change, with no worse fit."""
    model = nets.enliven(nets.flat(), IMAGES[:10])
    kept = {"0.0": np.array([0, 1, 2, 4])}
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    small, plain = surgeon.cut(kept), surgeon.cut(kept)
    SequentialLeastSquares(surgeon, IMAGES[:10], Calibration(positions=20, damping=1e-6)).recover(small, kept)
    assert logit_error(model, small, IMAGES[:10]) < 1e-3 * logit_error(model, plain, IMAGES[:10])


FAMILIES = ["resnet18", "resnet20", "mobilenet_v1", "mobilenet_v2", "regnet_y_400mf", "googlenet"]


@pytest.mark.parametrize("network", FAMILIES)
@torch.no_grad()
def test_every_family_is_recovered(get_ready: Callable[[str], Network], network: str) -> None:
    """Streams, projections, depthwise and grouped layers, 1×1 layers and the classifier among them."""
    ready = get_ready(network)
    images = torch.randn(32, *ready.example.shape[1:], generator=torch.Generator().manual_seed(0))
    kept = {g.name: np.arange(g.channels).reshape(g.step, -1)[:, ::2].reshape(-1)
            for g in ready.groups if g.frozen is None}  # fmt: skip
    surgeon = Surgeon(ready.model, ready.groups)
    plain, small = surgeon.cut(kept), surgeon.cut(kept)
    SequentialLeastSquares(surgeon, images, Calibration(positions=4, batch_size=16)).recover(small, kept)
    assert logit_error(ready.model, small, images) < 0.1 * logit_error(ready.model, plain, images)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())
    cut = [n for n in ends.find_ends(ready.model, images) if surgeon.kept_positions(n, "in", kept) is not None]
    unchanged = [n for n in cut if torch.equal(small.get_submodule(n).weight, plain.get_submodule(n).weight)]
    assert not unchanged
    assert len(cut) > 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": 0}, "recovery.positions=0: give a whole number of at least 1"),
        ({"positions": "x"}, "recovery.positions=x: give a whole number of at least 1"),
        ({"damping": -1}, "recovery.damping=-1: give a number of at least 0"),
        ({"damping": "x"}, "recovery.damping=x: give a number of at least 0"),
        ({"batch_size": 0}, "recovery.batch_size=0: give a whole number of at least 1"),
        ({"dampning": 1}, "recovery.dampning: unknown; give one of positions, damping, batch_size"),
    ],
)
@pytest.mark.parametrize("name", ["least_squares", "sequential"])
def test_wrong_settings_are_one_line(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(AmcError) as caught:
        cut_and_recover(name, nets.chain(), {}, **settings)
    assert str(caught.value) == message
