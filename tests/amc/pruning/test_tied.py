"""One keep ratio for what all blocks have in common."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from amc.core.types import PruningPlan
from amc.models.cifar_resnet import resnet20
from amc.pruning.counting import count_macs
from amc.pruning.network import Network, trace_network
from amc.pruning.pruner import Pruner
from amc.pruning.surgery import Surgeon, rank_channels
from tests.support.attentive import IMAGES, NETWORKS


@cache
def traced(name: str, depth: bool = False) -> Network:
    torch.manual_seed(0)
    model, example = (resnet20(10), IMAGES) if name == "resnet20" else NETWORKS[name]()
    return trace_network(model, example, prune_depth=depth, uniform_per_axis=True)


def pruner(network: Network, seed: int = 0) -> Pruner:
    rng = np.random.default_rng(seed)
    ranking = {g.name: rank_channels(g, rng.random(g.channels)) for g in network.members if g.frozen is None}
    return Pruner(network.groups, Surgeon(network.model, network.members), ranking, lambda small, kept: None)


def names(network: Network) -> list[str]:
    return [g.name for g in network.groups if g.frozen is None]


def test_one_group_for_each_axis() -> None:
    assert names(traced("llama")) == [
        "model.layers.*.self_attn.q_proj", "model.layers.*.self_attn.o_proj", "model.layers.*.mlp.gate_proj",
    ]  # fmt: skip
    assert {g.channels for g in traced("llama").groups[0].parts} == {2}


def test_blocks_of_other_sizes_are_other_groups() -> None:
    found = {g.name: [m.name for m in g.members] for g in traced("resnet20").groups}
    assert found["layer2.*.conv1"] == ["layer2.0.conv1", "layer2.1.conv1", "layer2.2.conv1"]


def test_all_branches_of_a_block_are_one() -> None:
    network = traced("llama", depth=True)
    assert [n for n in names(network) if "branch" in n] == ["model.layers.0:branch", "model.layers.1:branch"]
    plan = PruningPlan.make(network.groups, {"model.layers.1:branch": 0})
    left = {name.split(".")[2] for name in pruner(network).cut(plan).state_dict() if ".layers." in name}
    assert left == {"0"}


@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("name", ["llama", "vit", "swin", "resnet20", "t5"])
def test_costs_of_random_plans_are_counted_ones(name: str, depth: bool) -> None:
    network, rng = traced(name, depth), np.random.default_rng(1)
    for _ in range(3):
        counts = {g.name: g.round_channels(rng.uniform(0.2, 1.4)) for g in network.groups if g.frozen is None}
        plan = PruningPlan.make(network.groups, counts)
        small = pruner(network).cut(plan)
        cost = network.cost_model.cost(plan)
        assert cost.macs == count_macs(small, network.example)
        assert cost.params == sum(p.numel() for p in small.parameters())


def test_members_keep_their_own_channels() -> None:
    network = traced("llama")
    plan = PruningPlan.make(network.groups, {"model.layers.*.mlp.gate_proj": 20})
    kept = pruner(network).kept(plan)
    first, second = (kept[f"model.layers.{i}.mlp.gate_proj"] for i in range(2))
    assert len(first) == len(second) == 20
    assert not np.array_equal(first, second)


def test_a_group_stays_whole_with_any_member() -> None:
    torch.manual_seed(0)
    model, example = NETWORKS["llama"]()
    network = trace_network(model, example, uniform_per_axis=True, freeze=["model.layers.1.mlp.up_proj"])
    group = next(g for g in network.groups if g.name == "model.layers.*.mlp.gate_proj")
    assert group.frozen == "frozen by the user (model.layers.1.mlp.up_proj)"
