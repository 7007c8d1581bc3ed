from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.pruning.budget import Budget
from amc.pruning.cost import Rest
from amc.pruning.latency import GRID, LatencyCostModel, measure_ms, measure_tables
from amc.pruning.layers import LayerShape
from amc.pruning.network import trace_network
from tests.support import nets

EVERY = np.arange(8)


def group(name: str, *where: tuple[str, str]) -> LayerGroup:
    slices = tuple(ChannelSlice(layer, axis, EVERY, EVERY) for layer, axis in where)  # type: ignore[arg-type]
    return LayerGroup(name, "conv1x1", 8, 1, False, 3, 1, 1, 1, 1, 0, 0, slices)


GROUPS = (group("a", ("a", "out"), ("b", "in")), group("b", ("b", "out")))
LAYERS = (LayerShape("a", 8, 3, 1, 1), LayerShape("b", 8, 8, 1, 1))
# a: 8 ms in proportion to its outputs; b: 10 · (share of outputs) · (share of inputs) + 1
TABLES = {
    "a": [[8 * out for _ in GRID] for out in GRID],
    "b": [[10 * out * inp + 1 for inp in GRID] for out in GRID],
}


def model(total_ms: float = 20.0) -> LatencyCostModel:
    return LatencyCostModel(GROUPS, LAYERS, Rest(), TABLES, total_ms)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (8, 8, 8 + 11 + 1),  # the last 1 ms is what no layer accounts for
        (4, 8, 4 + 6 + 1),
        (4, 4, 4 + 3.5 + 1),
        (6, 8, 6 + 8.5 + 1),
        (5, 8, 5 + 7.25 + 1),  # 5/8 lies half way between 0.5 and 0.75
        (5, 3, 5 + (10 * 0.625 * 0.375 + 1) + 1),
        (1, 1, 1 + (10 / 64 + 1) + 1),
    ],
)
def test_interpolation_by_hand(a: int, b: int, expected: float) -> None:
    cost = model().cost({"a": a, "b": b})
    assert cost.latency_ms == pytest.approx(expected, abs=1e-9)


def test_below_the_grid_the_first_entry_holds() -> None:
    every = np.arange(16)
    wide = LayerGroup("a", "conv1x1", 16, 1, False, 3, 1, 1, 1, 1, 0, 0, (ChannelSlice("a", "out", every, every),))
    single = LatencyCostModel([wide], [LayerShape("a", 16, 3, 1, 1)], Rest(), {"a": TABLES["a"]}, 8.0)
    assert single.cost({"a": 1}).latency_ms == single.cost({"a": 2}).latency_ms == 1.0


@given(st.data())
def test_more_channels_are_never_predicted_faster(data: st.DataObject) -> None:
    """Whatever noise was measured; a budget's clipping relies on it."""
    times = st.lists(st.lists(st.floats(0, 10), min_size=5, max_size=5), min_size=5, max_size=5)
    noisy = LatencyCostModel(GROUPS, LAYERS, Rest(), {"a": data.draw(times), "b": data.draw(times)}, 30.0)
    small = {n: data.draw(st.integers(1, 8)) for n in ("a", "b")}
    large = {n: data.draw(st.integers(k, 8)) for n, k in small.items()}
    fast, slow = noisy.cost(small).latency_ms, noisy.cost(large).latency_ms
    assert fast is not None
    assert slow is not None
    assert fast <= slow + 1e-9


def test_the_uncut_network_takes_what_was_measured() -> None:
    """Also with a depthwise layer, whose table has one axis that says nothing but noise."""
    table = [[out + noise for noise in (0.0, 0.1, 0.2, 0.3, 0.4)] for out in GRID]
    depthwise = (group("a", ("a", "out"), ("dw", "out")),)
    layers = (LayerShape("a", 8, 3, 1, 1), LayerShape("dw", 8, 0, macs_per_out=9, params_per_out=9))
    found = LatencyCostModel(depthwise, layers, Rest(), {"a": TABLES["a"], "dw": table}, 12.0)
    assert found.cost().latency_ms == pytest.approx(12.0)


def test_latency_budgets_are_kept() -> None:
    cost_model = model()
    budget = Budget(cost_model, "latency_ms", 0.5)
    partial: dict[str, int] = {}
    for g in budget.groups:
        partial[g.name] = budget.clip(g, 8, partial)
    latency = cost_model.cost(partial).latency_ms
    assert latency is not None
    assert latency <= 10.0
    # with one channel in b: a + (10 · a/8 · 1/8 + 1) + 1 is 8.94 ms for 6 channels and 10.09 ms for 7
    assert partial == {"a": 6, "b": 2}  # 6 + (10 · 6/8 · 2/8 + 1) + 1 = 9.875


def test_json_round_trip() -> None:
    data = json.loads(json.dumps(model().to_json()))
    assert data["grid"] == list(GRID)
    again = LatencyCostModel(GROUPS, LAYERS, Rest(), data["tables"], data["total_ms"])
    assert again.cost({"a": 3, "b": 5}) == model().cost({"a": 3, "b": 5})


def test_measured_tables_cover_every_mixing_layer() -> None:
    network, image = nets.depthwise().train(), torch.zeros(1, 3, 8, 8)
    tables, total = measure_tables(network, image)
    assert list(tables) == ["features.0.0", "features.1.0", "features.2.0", "fc"]
    assert all(np.shape(t) == (5, 5) and np.min(t) > 0 for t in tables.values())
    assert total > 0
    assert network.training
    assert not any(m._forward_pre_hooks for m in network.modules())


def test_equal_layers_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    monkeypatch.setattr("amc.pruning.latency._layer_ms", lambda module, *rest: measured.append(module) or 1.0)
    tables, _ = measure_tables(nets.residual(), torch.zeros(1, 3, 8, 8))
    assert len(tables) == 6
    assert len(measured) == 25 * 4  # stem, both conv1, both conv2, fc


def test_measured_latency_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.25))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    networks = [nets.chain(), nets.residual()]
    assert measure_ms(networks, torch.zeros(1, 3, 4, 4), repeats=3) == [250.0, 250.0]


def test_a_saved_table_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = nets.chain(), torch.zeros(1, 3, 8, 8)
    measured = trace_network(network, image, latency=True).cost_model
    assert isinstance(measured, LatencyCostModel)
    monkeypatch.setattr("amc.pruning.network.measure_tables", None)
    again = trace_network(network, image, latency=measured.to_json()).cost_model
    assert again.cost({"features.0.0": 3}) == measured.cost({"features.0.0": 3})
