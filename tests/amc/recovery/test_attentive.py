"""Least squares where rows are tokens: feed-forward widths, heads, windows, the stream behind norms over channels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amc.core.types import LayerGroup
from amc.importance.magnitude import magnitude_scores
from amc.importance.reconstruction import reconstruction_scores
from amc.pruning.layers import watched
from amc.pruning.network import Network, trace_network
from amc.pruning.surgery import Kept, Surgeon, rank_channels
from amc.recovery import make_recovery
from amc.recovery.calibration import Calibration
from tests.support.attentive import Decoder, swin, timm_vit, torch_vit

IMAGES = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(1))
IDS = torch.randint(40, (24, 12), generator=torch.Generator().manual_seed(1))


class FeedForward(nn.Module):
    """A language model with one gated feed-forward layer behind a norm, without biases."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(40, 16), nn.RMSNorm(16)
        self.gate, self.up, self.down = (nn.Linear(*sizes, bias=False) for sizes in ((16, 24), (16, 24), (24, 16)))
        self.head = nn.Linear(16, 40, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        y = self.norm(x)
        return self.head(x + self.down(nn.functional.silu(self.gate(y)) * self.up(y)))  # type: ignore[no-any-return]


NETWORKS = {
    "timm vit": (lambda: timm_vit()[0], IMAGES),
    "torch vit": (lambda: torch_vit()[0], IMAGES),
    "swin": (lambda: swin()[0], IMAGES),
    "decoder": (Decoder, IDS),
    "feed-forward": (FeedForward, IDS),
    "tied": (lambda: FeedForward(tied=True), IDS),
}


@cache
def traced(name: str) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():  # layer scales of 1e-5, biases and tokens of zero
            if bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(0.3 * torch.randn(parameter.shape)).add_(0.3)
    return trace_network(model.eval(), inputs[:1]), inputs


def inner_groups(network: Network) -> list[LayerGroup]:
    """Heads and feed-forward widths."""
    found = [g for g in network.groups if g.frozen is None and not g.residual]
    return found or [g for g in network.groups if g.frozen is None]


def half(network: Network, groups: list[LayerGroup]) -> tuple[dict[str, np.ndarray], Kept]:
    rng = np.random.default_rng(0)
    ranking = {g.name: rng.permutation(g.channels) for g in network.groups if g.frozen is None}
    return ranking, {g.name: np.sort(ranking[g.name][: max(1, g.channels // 2)]) for g in groups}


@pytest.mark.parametrize("recovery", ["least_squares", "sequential"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tied"])
@torch.no_grad()
def test_it_comes_closer_to_the_dense_network(name: str, recovery: str) -> None:
    network, inputs = traced(name)
    ranking, kept = half(network, inner_groups(network))
    surgeon = Surgeon(network.model, network.groups)
    recover = make_recovery(recovery, surgeon, network.groups, ranking, inputs, positions=64, batch_size=8)
    alone, refitted = surgeon.cut(kept).eval(), surgeon.cut(kept).eval()
    recover(refitted, kept)
    dense = network.model(inputs)
    before, after = ((m(inputs) - dense).square().mean() for m in (alone, refitted))
    assert after < 0.9 * before


@pytest.mark.parametrize("name", ["feed-forward", "timm vit"])
@torch.no_grad()
def test_it_is_the_least_squares_solution_and_never_worse_than_nothing(name: str) -> None:
    network, inputs = traced(name)
    layer, group = {
        "feed-forward": ("down", "gate"),
        "timm vit": ("blocks.0.attn.proj", "blocks.0.attn.qkv"),
    }[name]  # fmt: skip
    ranking, _ = half(network, [])
    groups = [g for g in network.groups if g.name == group]
    kept = {group: np.sort(ranking[group][: groups[0].channels // 2])}
    surgeon = Surgeon(network.model, network.groups)
    recover = make_recovery("least_squares", surgeon, network.groups, ranking, inputs, positions=10_000, damping=1e-6)
    small = surgeon.cut(kept)
    left_alone = small.get_submodule(layer).weight.clone()
    recover(small, kept)
    rows, goal = inputs_and_outputs(network.model, layer, inputs)
    positions = surgeon.kept_positions(layer, "in", kept)
    assert positions is not None
    rows = rows[:, torch.as_tensor(positions)]
    refitted = small.get_submodule(layer)
    bias = None if refitted.bias is None else torch.ones(len(rows), 1)
    full = rows if bias is None else torch.cat([rows, bias], 1)
    best = full @ torch.linalg.lstsq(full.double(), goal.double()).solution.float()
    found = nn.functional.linear(rows, refitted.weight, refitted.bias)
    old_bias = None if bias is None else network.model.get_submodule(layer).bias
    untouched = nn.functional.linear(rows, left_alone, old_bias)
    optimum, mine, nothing = ((goal - y).square().mean() for y in (best, found, untouched))
    assert 0.9999 * optimum <= mine <= 1.01 * optimum + 1e-9
    assert mine <= nothing


def inputs_and_outputs(model: nn.Module, layer: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    seen: list[tuple[Tensor, Tensor]] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, i, o: seen.append((i[0], o)))
    with watched(model, [handle]):
        model(inputs)
    ((x, y),) = seen
    return x.flatten(0, -2), y.flatten(0, -2)


def test_heads_are_scored_as_blocks() -> None:
    network, inputs = traced("timm vit")
    heads = next(g for g in network.groups if g.name == "blocks.0.attn.qkv")
    magnitudes = magnitude_scores("l1", network.model, [heads])[heads.name]
    qkv = network.model.get_submodule("blocks.0.attn.qkv").weight.detach().abs().sum(1).view(3, 4, 8).sum((0, 2))
    proj = network.model.get_submodule("blocks.0.attn.proj").weight.detach().abs().sum(0).view(4, 8).sum(1)
    expected = (qkv + proj) / (qkv + proj).mean()
    np.testing.assert_allclose(magnitudes, expected.double().numpy(), rtol=1e-5)
    order = reconstruction_scores(network.model, [heads], inputs, Calibration(positions=16))[heads.name]
    assert sorted(rank_channels(heads, order)) == [0, 1, 2, 3]


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn_scale"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_group_has_scores(name: str, criterion: str) -> None:
    network, _ = traced(name)
    groups = [g for g in network.groups if g.frozen is None]
    for group in groups:
        scores = magnitude_scores(criterion, network.model, groups)[group.name]
        assert scores.shape == (group.channels,)
        assert np.isfinite(scores).all()
        assert len(np.unique(scores)) == group.channels  # tokens, scales and embeddings count, too


@pytest.mark.parametrize("recovery", ["least_squares", "sequential"])
@torch.no_grad()
def test_tied_weights_are_left_alone(recovery: str) -> None:
    network, inputs = traced("tied")
    ranking, kept = half(network, [g for g in network.groups if g.frozen is None])
    surgeon = Surgeon(network.model, network.groups)
    small = surgeon.cut(kept)
    before = small.get_parameter("embed.weight").clone()
    make_recovery(recovery, surgeon, network.groups, ranking, inputs)(small, kept)
    assert small.get_parameter("head.weight") is small.get_parameter("embed.weight")
    assert torch.equal(small.get_parameter("embed.weight"), before)
