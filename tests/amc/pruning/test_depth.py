"""Residual branches that are dropped as a whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amc.core.errors import AmcError
from amc.core.types import Metrics, PruningPlan
from amc.models.cifar_resnet import resnet20
from amc.pruning.attention import sized_attention
from amc.pruning.budget import Budget
from amc.pruning.counting import count_macs
from amc.pruning.inputs import outputs_of, run
from amc.pruning.layers import unfused
from amc.pruning.masked import Masked
from amc.pruning.network import Network, trace_network
from amc.pruning.skipped import Skipped, skipped_modules
from amc.pruning.surgery import Surgeon
from amc.rewards import accuracy
from envs.channel_pruning import ChannelPruningEnv
from tests.support.attentive import IDS, IMAGES, NETWORKS

GONE = np.zeros(0, dtype=np.int64)


class Encoder(nn.Module):
    """Of torch's own layers, which have a fused kernel for the whole of them."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.inside, self.encoder, self.head = nn.Linear(5, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.inside(x)).mean(1))


@cache
def traced(name: str) -> Network:
    torch.manual_seed(0)
    if name == "resnet20":
        return trace_network(resnet20(10), IMAGES, prune_depth=True)
    if name == "encoder":
        return trace_network(Encoder(), torch.randn(2, 7, 5), prune_depth=True)
    model, example = NETWORKS[name]()
    return trace_network(model, example, prune_depth=True)


def branches(network: Network) -> list[str]:
    return [g.name for g in network.groups if g.branch is not None and g.frozen is None]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("resnet20", 7),
        ("encoder", 4),
        ("llama", 4),
        ("gpt2", 4),
        ("vit", 4),
        ("timm vit", 4),
        ("torch vit", 4),
        ("swin", 8),
    ],
)
def test_every_branch_is_found_before_what_lies_in_it(name: str, number: int) -> None:
    network = traced(name)
    assert len(branches(network)) == number
    names = [g.name for g in network.groups]
    inside = [(g, branch) for g in network.groups for branch in g.within]
    assert inside
    assert all(names.index(branch) < names.index(g.name) for g, branch in inside)


@pytest.mark.parametrize("name", ["resnet20", "encoder", "llama", "gpt2", "t5", "vit", "timm vit", "torch vit", "swin"])
@torch.no_grad()
def test_without_a_branch_is_with_its_summand_zero(name: str) -> None:
    network = traced(name)
    summands = {g.name: g.branch.summand for g in network.groups if g.branch is not None}
    for chosen in (branches(network)[::2], branches(network)[1::2], branches(network)):
        small = Surgeon(network.model, network.groups).cut(dict.fromkeys(chosen, GONE)).eval()
        with sized_attention(network.model), unfused(), Masked({}, (), [summands[one] for one in chosen]):
            expected = outputs_of(run(network.model, network.example))
        for a, b in zip(outputs_of(run(small, network.example)), expected, strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("name", ["resnet20", "encoder", "llama", "t5", "timm vit", "torch vit", "swin"])
def test_costs_of_random_plans_are_counted_ones(name: str) -> None:
    network, rng = traced(name), np.random.default_rng(0)
    for _ in range(3):
        free = [g for g in network.groups if g.frozen is None]
        plan = PruningPlan.make(network.groups, {g.name: g.round_channels(rng.uniform(0.2, 1.5)) for g in free})
        small = Surgeon(network.model, network.groups).cut({g.name: np.arange(plan[g.name]) for g in free})
        cost = network.cost_model.cost(plan)
        assert cost.macs == count_macs(small, network.example)
        assert cost.params == sum(p.numel() for p in small.parameters())


def test_a_branch_has_all_that_goes_with_it() -> None:
    network = traced("llama")
    group = next(g for g in network.groups if g.name == "model.layers.0.self_attn:branch")
    small = Surgeon(network.model, network.groups).cut({group.name: GONE})
    assert set(skipped_modules(small)) == {"model.layers.0.self_attn", "model.layers.0.input_layernorm"}
    assert group.macs == count_macs(network.model, network.example) - count_macs(small, network.example)
    dense, left = (sum(p.numel() for p in m.parameters()) for m in (network.model, small))
    assert group.params == dense - left


def test_generates_without_its_first_attention() -> None:
    """transformers counts the tokens that are cached in the first attention layer, which is gone."""
    network = traced("llama")
    small = Surgeon(network.model, network.groups).cut({"model.layers.0.self_attn:branch": GONE}).eval()
    written = small.generate(IDS, max_new_tokens=6, do_sample=False)
    for n in range(IDS.shape[1], written.shape[1]):
        assert int(small(written[:, :n]).logits[0, -1].argmax()) == int(written[0, n])
    assert network.model.config.use_cache


def test_trains() -> None:
    network = traced("encoder")
    small = Surgeon(network.model, network.groups).cut({branches(network)[0]: GONE}).train()
    small(network.example).sum().backward()
    assert all(p.grad is not None for p in small.parameters())


def test_one_that_changes_the_size_stays_with_a_reason() -> None:
    from torchvision.models import resnet18

    network = trace_network(resnet18(num_classes=4), IMAGES, prune_depth=True)
    reasons = {g.name: g.frozen for g in network.groups if g.branch is not None}
    assert reasons["layer1.1:branch"] is None
    assert "does not run without it" in (reasons["layer2.0:branch"] or "")


def test_not_the_whole_input() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
            self.position = nn.Parameter(torch.randn(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x) + self.position)

    assert branches(trace_network(Net(), torch.randn(1, 4), prune_depth=True)) == []


def test_shared_weights_stay() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.c.weight = self.b.weight

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.a(x)
            x = x + self.b(x).relu()
            return self.last(x + self.c(x).relu())

    assert branches(trace_network(Net(), torch.randn(1, 4), prune_depth=True)) == ["a:branch"]


def test_what_lies_in_a_dropped_branch_counts_as_whole() -> None:
    groups = traced("resnet20").groups
    inside = next(g for g in groups if g.within)
    dropped = {inside.within[0]: 0}
    assert PruningPlan.make(groups, {**dropped, inside.name: 1}) == PruningPlan.make(groups, dropped)
    with pytest.raises(AmcError, match=r"keeps 0 of .* give 1"):
        PruningPlan.make(groups, {inside.name: 0})


def test_frozen_by_any_layer_in_it() -> None:
    network = trace_network(resnet20(10), IMAGES, prune_depth=True, freeze=["layer1.0.conv2"])
    reasons = {g.name: g.frozen for g in network.groups if g.branch is not None}
    assert reasons["layer1.0:branch"] == "frozen by the user (layer1.0.conv2)"
    assert reasons["layer1.1:branch"] is None


def test_constraints_keep_or_drop_it() -> None:
    cost_model = traced("resnet20").cost_model

    def bounds(constraints: dict[str, dict[str, float]]) -> tuple[int, int]:
        found = Budget(cost_model, "macs", 0.5, constraints=constraints).bounds["layer1.0:branch"]
        return found.lowest, found.highest

    assert bounds({}) == (0, 1)
    assert bounds({"layer1.*": {"max_keep": 0.9}}) == (0, 1)
    assert bounds({"layer1.*": {"min_keep": 0.5}}) == (1, 1)
    assert bounds({"layer1.0:branch": {"keep": 1}}) == (1, 1)
    assert bounds({"layer1.0:branch": {"max_keep": 0.5}}) == (0, 0)


def test_walk_drops_what_is_asked_for_little() -> None:
    network = traced("resnet20")
    budget = Budget(network.cost_model, "macs", 0.5)
    env = ChannelPruningEnv(network.cost_model, budget, lambda _: Metrics(0.5, 1.0, 4), accuracy, enforcement="project")
    env.reset()
    plan = None
    for group in budget.groups:
        *_, info = env.step(np.array([0.01 if group.name == "layer3.1:branch" else 0.9], dtype=np.float32))
        plan = info.get("plan", plan)
    assert plan is not None
    assert [name for name in branches(network) if plan[name] == 0] == ["layer3.1:branch"]
    assert network.cost_model.cost(plan).macs <= 0.5 * network.cost_model.cost().macs


def test_stand_in_has_the_plain_attributes() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    stand_in = Skipped(attention, (True, False))
    x = torch.randn(2, 3, 8)
    output, weights = stand_in(x, x, x)
    assert stand_in.batch_first
    assert stand_in.in_proj_weight is None
    assert weights is None
    assert torch.equal(output, torch.zeros_like(x))
