from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from amc.core.errors import AmcError
from amc.core.types import LayerGroup
from amc.pruning.groups import trace
from amc.pruning.network import Network
from amc.pruning.surgery import Ranking, Surgeon
from amc.recovery import gather as gather_module
from amc.recovery import make_recovery
from amc.recovery.calibration import Calibration
from amc.recovery.static import StaticLeastSquares
from tests.support import nets

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Kept = dict[str, np.ndarray]


def behind(consumer: nn.Module, outputs: int, pool: bool = True) -> Callable[[], nn.Module]:
    """A network in which ``consumer`` reads six channels whose removal it is to make up for."""

    def make() -> nn.Module:
        head = nn.Linear(outputs, 4)
        middle = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pool else []
        return nn.Sequential(nets.norm_conv(3, 6), consumer, nn.ReLU(), *middle, head)

    return make


CONSUMERS = {
    "1x1": behind(nn.Conv2d(6, 5, 1), 5),
    "3x3 stride padding": behind(nn.Conv2d(6, 5, 3, stride=2, padding=1), 5),
    "dilation": behind(nn.Conv2d(6, 5, 3, padding=2, dilation=2), 5),
    "same": behind(nn.Conv2d(6, 5, (3, 2), padding="same"), 5),
    "no bias": behind(nn.Conv2d(6, 5, 3, bias=False), 5),
    "norm": behind(nn.Sequential(nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5)), 5),
    "linear": behind(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)), 5, pool=False),
    "flatten": behind(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)), 5, pool=False),
    "grouped": behind(nn.Conv2d(6, 6, 3, groups=2), 6),
    "depthwise": behind(nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 5, 1)), 5),
}


def ranked(groups: tuple[LayerGroup, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random order that goes round the convolution groups."""
    ranking = {}
    for g in groups:
        width = g.channels // g.step
        parts = [rng.permutation(width) + i * width for i in range(g.step)]
        ranking[g.name] = np.stack(parts, axis=1).reshape(-1)
    return ranking


def layer_errors(dense: nn.Module, small: nn.Module, surgeon: Surgeon, kept: Kept) -> dict[str, float]:
    """How far each consumer is from the dense layer's outputs, on the dense inputs that are left to it."""
    errors = {}
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    layers = [n for n, m in dense.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles = [
        dense.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: seen.update({n: (i[0], o)})) for n in layers
    ]
    with torch.no_grad():
        dense(IMAGES)
        for handle in handles:
            handle.remove()
        for name in layers:
            inputs = surgeon.kept_positions(name, "in", kept)
            outputs = surgeon.kept_positions(name, "out", kept)
            x, y = seen[name]
            if inputs is not None:
                dim = x.dim() - 1 if isinstance(dense.get_submodule(name), nn.Linear) else 1
                found = small.get_submodule(name)(x.index_select(dim, torch.as_tensor(inputs)))
                expected = y if outputs is None else y.index_select(1, torch.as_tensor(outputs))
                norm = dict(small.named_modules()).get(name[:-1] + "1")  # its batch norm holds the fitted bias
                if isinstance(norm, nn.BatchNorm2d):
                    whole = dict(dense.named_modules())[name[:-1] + "1"]
                    means = whole.running_mean if outputs is None else whole.running_mean[torch.as_tensor(outputs)]
                    found = found - norm.running_mean[:, None, None] + means[:, None, None]
                errors[name] = float((found - expected).square().sum())
    return errors


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("consumer", CONSUMERS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_no_layer_is_worse_than_left_alone(consumer: str, seed: int) -> None:
    """On its own calibration data: all positions of all images, for any channels kept."""
    model = nets.enliven(CONSUMERS[consumer](), IMAGES)
    groups = trace(model, IMAGES)
    surgeon, rng = Surgeon(model, groups), np.random.default_rng(seed)
    free = [g for g in groups if g.frozen is None]
    ranking = ranked(tuple(free), rng)
    kept = {g.name: np.sort(ranking[g.name][: g.step * int(rng.integers(1, g.channels // g.step + 1))]) for g in free}
    static = StaticLeastSquares(surgeon, groups, ranking, IMAGES, Calibration(positions=1000))
    fitted = surgeon.cut(kept)
    static.recover(fitted, kept)
    alone = layer_errors(model, surgeon.cut(kept), surgeon, kept)
    after = layer_errors(model, fitted, surgeon, kept)
    assert alone
    for name, error in after.items():
        assert error <= alone[name] * 1.001 + 1e-4, name


@pytest.mark.parametrize("consumer", ["1x1", "3x3 stride padding", "norm", "linear", "flatten", "grouped", "no bias"])
def test_a_duplicate_channel_costs_nothing(consumer: str) -> None:
    """Channel 1 is channel 0 twice over, so its consumers can do without it."""
    model = nets.enliven(CONSUMERS[consumer](), IMAGES)
    conv, norm = model[0][0], model[0][1]
    with torch.no_grad():
        for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean):
            tensor[1] = tensor[0]
        norm.running_var[1] = norm.running_var[0]
    groups = trace(model, IMAGES)
    surgeon, name = Surgeon(model, groups), groups[0].name
    # a grouped consumer must lose one channel of each convolution group: the other one is a duplicate as well
    if consumer == "grouped":
        with torch.no_grad():
            for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor[4] = tensor[3]
        kept, order = {name: np.array([0, 2, 3, 5])}, [0, 3, 2, 5, 1, 4]
    else:
        kept, order = {name: np.array([0, 2, 3, 4, 5])}, [5, 0, 3, 2, 4, 1]
    ranking = {g.name: np.arange(g.channels) for g in groups} | {name: np.array(order)}
    small = surgeon.cut(kept)
    with torch.no_grad():
        before = (small(IMAGES) - model(IMAGES)).abs().max()
        StaticLeastSquares(surgeon, groups, ranking, IMAGES, Calibration(damping=1e-6)).recover(small, kept)
        after = (small(IMAGES) - model(IMAGES)).abs().max()
    assert after < 0.02 * before


def everything_kept(network: Network) -> Ranking:
    return {g.name: np.arange(g.channels) for g in network.groups if g.frozen is None}


@pytest.mark.parametrize("network", ["googlenet", "regnet_y_400mf", "efficientnet_b0", "resnet20"])
def test_every_family_is_recovered(get_ready: Callable[[str], Network], network: str) -> None:
    ready = get_ready(network)
    images = torch.randn(4, *ready.example.shape[1:])
    ranking = everything_kept(ready)
    free = {g.name: g for g in ready.groups if g.frozen is None}
    kept = {n: np.sort(ranking[n][: max(g.step, g.channels // (2 * g.step) * g.step)]) for n, g in free.items()}
    kept = {n: np.concatenate([np.arange(len(k) // g.step) + i * (g.channels // g.step) for i in range(g.step)])
            for (n, k), g in zip(kept.items(), free.values(), strict=True)}  # fmt: skip
    surgeon = Surgeon(ready.model, ready.groups)
    small, plain = surgeon.cut(kept), surgeon.cut(kept)
    make_recovery("least_squares", surgeon, ready.groups, ranking, images, positions=4)(small, kept)
    with torch.no_grad():
        assert torch.isfinite(small(images)).all()
        assert not torch.allclose(small(images), plain(images), rtol=1e-2)


@pytest.mark.parametrize("bias", [True, False])
def test_wide_layers_are_solved_by_rows(monkeypatch: pytest.MonkeyPatch, bias: bool) -> None:
    """The same solution without the Gram matrix, and no more rows than are allowed."""
    model = nets.enliven(nets.flat(), IMAGES)
    model[3] = nn.Linear(24, 5, bias=bias)
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    kept = {"0.0": np.array([0, 2, 3])}
    ranking = {"0.0": np.array([0, 2, 3, 1, 4, 5]), "3": np.arange(5)}
    results = []
    for largest in (6000, 10):
        monkeypatch.setattr(gather_module, "MAX_GRAM_FEATURES", largest)
        small = surgeon.cut(kept)
        StaticLeastSquares(surgeon, groups, ranking, IMAGES, Calibration(damping=1e-6, batch_size=10)).recover(
            small, kept
        )
        results.append(small[3].weight.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-2, atol=1e-3)
    monkeypatch.setattr(gather_module, "MAX_ROWS", 7)
    rows = gather_module.Gatherer(model, ["3"], 1, 0).run(IMAGES, 10)["3"]
    assert [r.shape for r in rows] == [(7, 25)]


def test_layers_that_lose_no_inputs_are_left_alone() -> None:
    model = nets.enliven(nets.residual(), IMAGES)
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    static = StaticLeastSquares(surgeon, groups, {g.name: np.arange(g.channels) for g in groups}, IMAGES)
    kept = {"features.1.conv1": np.arange(3)}
    small = surgeon.cut(kept)
    static.recover(small, kept)
    changed = {
        n for n, value in small.state_dict().items() if not torch.equal(value, surgeon.cut(kept).state_dict()[n])
    }
    assert changed == {"features.1.conv2.weight", "features.1.bn2.running_mean"}


def test_recovery_repeats_itself_and_leaves_the_model() -> None:
    model = nets.enliven(nets.residual(), IMAGES).train()
    groups = trace(model, IMAGES)
    surgeon = Surgeon(model, groups)
    ranking = {g.name: np.arange(g.channels) for g in groups}
    kept = {"features.0.0": np.arange(5), "features.1.conv1": np.arange(2)}
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        small = surgeon.cut(kept)
        make_recovery("least_squares", surgeon, groups, ranking, IMAGES, positions=5, seed=3)(small, kept)
        states.append(small.state_dict())
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("name", ["least_squares", "sequential", "bn", "none"])
def test_recovery_names_the_device_of_every_tensor(name: str) -> None:
    """A tensor made on torch's default device would fail on a network that lies elsewhere."""
    for make in (nets.residual, nets.grouped, nets.flat, CONSUMERS["no bias"]):
        model = nets.enliven(make(), IMAGES)
        groups = trace(model, IMAGES)
        surgeon = Surgeon(model, groups)
        ranking = {g.name: np.arange(g.channels) for g in groups}
        kept = {groups[0].name: np.arange(groups[0].channels - groups[0].step)}
        kept = {n: np.delete(np.arange(g.channels), np.arange(0, g.channels, g.channels // g.step)) for n, g in
                ((g.name, g) for g in groups if g.name in kept)}  # fmt: skip
        with torch.device("meta"):
            small = surgeon.cut(kept)
            make_recovery(name, surgeon, groups, ranking, IMAGES)(small, kept)
        assert {t.device.type for t in small.state_dict().values()} == {"cpu"}


def test_damaged_activations_are_one_clear_line() -> None:
    model = nets.enliven(nets.chain(), IMAGES)
    groups = trace(model, IMAGES)
    ranking = {g.name: np.arange(g.channels) for g in groups}
    images = IMAGES.clone()
    images[3, 0, 0, 0] = float("nan")
    with pytest.raises(AmcError, match="recovery=least_squares: the calibration activations have NaN"):
        make_recovery("least_squares", Surgeon(model, groups), groups, ranking, images)
