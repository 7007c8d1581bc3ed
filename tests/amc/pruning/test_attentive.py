"""Networks with heads, streams, norms over channels and several inputs, cut at random plans."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amc.core.types import LayerGroup
from amc.pruning.attention import SizedAttention, fit_to_weights
from amc.pruning.counting import count_macs
from amc.pruning.coupling import couplings
from amc.pruning.inputs import outputs_of, run
from amc.pruning.layers import record_calls, unfused
from amc.pruning.masked import Masked
from amc.pruning.network import Network, trace_network
from amc.pruning.numbers import numbers_of, set_known_numbers
from amc.pruning.surgery import Kept, Surgeon, resized
from tests.support.attentive import IDS, NETWORKS, Decoder, two_stages


@cache
def traced(name: str) -> Network:
    torch.manual_seed(0)
    model, example = NETWORKS[name]()
    return trace_network(model, example)


def free(network: Network) -> dict[str, LayerGroup]:
    return {g.name: g for g in network.groups if g.frozen is None}


def a_plan(network: Network, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    counts = {name: g.round_channels(rng.uniform(0.1, 1)) for name, g in free(network).items()}
    return {
        name: np.sort(rng.permutation(free(network)[name].channels)[:count]).astype(np.int64)
        for name, count in counts.items()
    }


def masked_outputs(network: Network, kept: Kept, *, whole_heads: bool = True) -> list[Tensor]:
    """Of the dense network in float64, whose removed channels nobody sees."""
    model = network.model
    found = couplings(model, network.example, record_calls(model, network.example), whole_heads=whole_heads)
    channels = {c.producers[0]: c.atoms or {} for c in found.all}
    removed = {root for name in kept for root, channel in channels[name].items() if channel not in set(kept[name])}
    twin = Surgeon(model, network.groups).zeroed(kept)
    with unfused(), Masked(found.selections, removed):
        return outputs_of(run(twin, network.example))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in ("torch vit", "detector")])
@torch.no_grad()
def test_cut_is_masked_and_costs_what_was_predicted(name: str, seed: int) -> None:
    network = traced(name)
    kept = a_plan(network, seed)
    small = Surgeon(network.model, network.groups).cut(kept).eval()
    for actual, expected in zip(outputs_of(run(small, network.example)), masked_outputs(network, kept), strict=True):
        assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()
    check_costs(network, kept, small)


@pytest.mark.parametrize("name", ["llama", "gpt2", "vit", "t5"])
@torch.no_grad()
def test_width_of_heads_is_cut_alike_in_all_heads(name: str) -> None:
    torch.manual_seed(0)
    model, example = NETWORKS[name]()
    network = trace_network(model, example, head_unit="width")
    whole = {(g.name, g.kind, g.channels) for g in free(traced(name)).values()}
    assert any((g.name, g.kind, g.channels) not in whole for g in free(network).values())
    kept = a_plan(network, 0)
    small = Surgeon(model, network.groups).cut(kept).eval()
    expected = masked_outputs(network, kept, whole_heads=False)
    for a, b in zip(outputs_of(run(small, example)), expected, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    check_costs(network, kept, small)


def test_width_stays_where_code_scales_by_it() -> None:
    """``scaled_dot_product_attention`` divides by the root of the width unless it is told a scale."""
    torch.manual_seed(0)
    model, example = NETWORKS["timm vit"]()
    groups = {g.name: g for g in trace_network(model, example, head_unit="width").groups}
    assert "does not agree" in (groups["blocks.0.attn.qkv"].frozen or "")


def check_costs(network: Network, kept: Kept, small: nn.Module) -> None:
    cost = network.cost_model.cost({name: len(channels) for name, channels in kept.items()})
    assert cost.macs == count_macs(small, network.example)
    assert cost.params == sum(p.numel() for p in small.parameters())


@pytest.mark.parametrize("name", ["torch vit", "detector"])
def test_cut_runs_and_costs_what_was_predicted(name: str) -> None:
    network = traced(name)
    assert len(free(network)) >= 0.8 * len(network.groups)
    kept = a_plan(network, 0)
    small = Surgeon(network.model, network.groups).cut(kept).eval()
    expected, actual = (outputs_of(run(m, network.example)) for m in (network.model, small))
    assert [t.shape[1:] for t in actual] == [t.shape[1:] for t in expected]
    check_costs(network, kept, small)


def test_costs_that_depend_on_what_is_found_freeze_nothing() -> None:
    torch.manual_seed(0)
    network = trace_network(*two_stages())
    assert len(free(network)) >= 0.85 * len(network.groups)


def test_heads_are_units_and_key_value_groups_stay_whole() -> None:
    groups = free(traced("llama"))
    heads = groups["model.layers.0.self_attn.q_proj"]
    assert heads.channels == 2  # 4 heads of queries on 2 of keys
    places = {s.layer.rpartition(".")[2]: len(s.positions) for s in heads.slices}
    assert places == {"q_proj": 32, "k_proj": 16, "v_proj": 16, "o_proj": 32}
    feed_forward = groups["model.layers.0.mlp.gate_proj"]
    assert {(s.layer.rpartition(".")[2], s.axis) for s in feed_forward.slices} == {
        ("gate_proj", "out"), ("up_proj", "out"), ("down_proj", "in"),
    }  # fmt: skip
    assert sum(g.residual for g in groups.values()) == 1  # one stream over the whole network


def test_a_width_that_stands_for_heads_is_cut_with_them() -> None:
    (group,) = free(traced("decoder")).values()
    assert group.channels == 4
    assert {(t.tensor, t.dim) for t in group.tensors} == {("embed.weight", 1), ("norm.weight", 0), ("norm.bias", 0)}
    assert ("", "n_head") in {(s.module, s.attribute) for s in group.sizes}


def test_numbers_come_back_from_a_cut_network() -> None:
    model = Decoder().eval()
    network = trace_network(model, IDS)
    small = Surgeon(model, network.groups).cut({next(iter(free(network))): np.array([0, 2])})
    again = resized(model, small.state_dict())
    for own, cut in zip(again.modules(), small.modules(), strict=True):
        set_known_numbers(own, numbers_of(cut))
    assert again.n_head == small.n_head == 2
    assert torch.equal(again(IDS), small(IDS))
    with pytest.raises(ValueError, match="Decoder keeps no whole number 'n_heads'"):
        set_known_numbers(again, {"n_heads": 2})


MASKS = torch.tensor([[False, False, True], [False, True, True]])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "bias": False},
        {"kdim": 6, "vdim": 5},
        {"add_bias_kv": True, "add_zero_attn": True},
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"key_padding_mask": MASKS},
        {"attn_mask": torch.randn(4, 3)},
        {
            "attn_mask": torch.triu(torch.ones(4, 3, dtype=torch.bool), 1),
            "key_padding_mask": MASKS,
            "need_weights": False,
        },
        {"attn_mask": torch.randn(4, 4, 3)},
    ],
)
@torch.no_grad()
def test_attention_by_its_weights_is_torchs(options: dict[str, object], call: dict[str, object]) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **options).eval()  # type: ignore[arg-type]
    sizes = (8, options.get("kdim", 8), options.get("vdim", 8))
    q, k, v = (torch.randn(length, 2, size) for length, size in zip((4, 3, 3), sizes, strict=True))
    if options.get("batch_first"):
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    expected = attention(q, k, v, **call)
    attention.__class__ = SizedAttention
    actual = attention(q, k, v, **call)
    torch.testing.assert_close(actual, expected)


def test_attention_that_torch_can_still_be_stays_torchs() -> None:
    attention = nn.MultiheadAttention(8, 2)
    fit_to_weights(attention)
    assert type(attention) is nn.MultiheadAttention
