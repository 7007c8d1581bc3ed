from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amc.core.errors import AmcError
from amc.core.places import ChannelSlice
from amc.core.types import LayerGroup
from amc.pruning.budget import Budget
from amc.pruning.cost import CostModel, CostTerms, Part, Rest
from amc.pruning.layers import LayerShape

MIN_KEEPS = st.sampled_from([0.05, 0.1, 0.3, 0.5])
ROUNDS = st.sampled_from([1, 2, 8])


@st.composite
def cost_models(draw: st.DrawFn) -> CostModel:
    """A chain of convolutions; some write to the stream of an earlier one, some groups are frozen."""
    count = draw(st.integers(1, 6))
    steps = [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(count)]
    sizes = [step * draw(st.integers(1, 12)) for step in steps]
    slices: list[list[ChannelSlice]] = [[] for _ in sizes]
    layers, reads, inputs = [], None, 3

    def occurs(owner: int, layer: str, axis: str) -> None:
        every = np.arange(sizes[owner])
        slices[owner].append(ChannelSlice(layer, axis, every, every))  # type: ignore[arg-type]

    order = [*range(count), *draw(st.lists(st.integers(0, count - 1), max_size=4))]
    for i, owner in enumerate(order):
        name, positions = f"conv{i}", draw(st.integers(1, 20))
        if reads is not None:
            occurs(reads, name, "in")
        occurs(owner, name, "out")
        layers.append(LayerShape(name, sizes[owner], inputs, 9.0 * positions, 9.0, 0.0, 1.0))
        reads, inputs = owner, sizes[owner]
    free = draw(st.integers(0, count - 1))  # at least this one can be pruned
    groups = [
        LayerGroup(
            f"g{i}",
            "conv3x3",
            n,
            s,
            False,
            3,
            8,
            8,
            1,
            3,
            0,
            0,
            tuple(w),
            None if i == free else draw(st.sampled_from([None, None, "x"])),
        )
        for i, (n, s, w) in enumerate(zip(sizes, steps, slices, strict=True))
    ]
    return CostModel(groups, layers, Rest((Part(CostTerms.none(len(groups), draw(st.integers(0, 50)))),)))


def reachable(model: CostModel, cost: str, min_keep: float, channel_round: int) -> float:
    smallest = {g.name: g.min_channels(min_keep, channel_round) for g in model.groups if g.frozen is None}
    return model.value(cost, model.counts(smallest)) / model.value(cost, model.counts({}))


@given(cost_models(), st.data(), st.sampled_from(["macs", "params"]), MIN_KEEPS, ROUNDS, st.floats(0, 1))
@settings(max_examples=150)
def test_any_policy_ends_within_the_budget(
    model: CostModel, data: st.DataObject, cost: str, min_keep: float, channel_round: int, slack: float
) -> None:
    """And every clipped action is the largest that the rest of the walk can still pay for."""
    lowest = reachable(model, cost, min_keep, channel_round)
    keep = min(1.0, lowest + slack * (1 - lowest) + 1e-9)
    budget = Budget(model, cost, keep, min_keep, channel_round)
    full = model.value(cost, model.counts({}))
    partial: dict[str, int] = {}
    for g in budget.groups:
        asked = g.round_channels(data.draw(st.floats(0.001, 1)), channel_round)
        clipped = budget.clip(g, asked, partial)
        floor, unit = g.min_channels(min_keep, channel_round), g.unit(channel_round)
        asked = max(asked, floor)
        allowed = [c for c in range(floor, asked + 1) if c % unit == 0 or c in (asked, floor)]
        fitting = [
            c for c in allowed if model.value(cost, model.counts({**budget.floor, **partial, g.name: c})) <= keep * full
        ]
        assert clipped == max(fitting)
        assert clipped % g.step == 0
        partial[g.name] = clipped
    assert model.value(cost, model.counts(partial)) <= keep * full


@given(cost_models(), MIN_KEEPS, ROUNDS)
def test_impossible_budgets_name_the_smallest_reachable_value(
    model: CostModel, min_keep: float, channel_round: int
) -> None:
    lowest = reachable(model, "macs", min_keep, channel_round)
    with pytest.raises(AmcError) as caught:
        Budget(model, "macs", lowest * 0.99, min_keep, channel_round)
    named = re.search(r"smallest reachable value is ([\d.]+) of the macs", str(caught.value))
    assert named is not None
    assert float(named[1]) == pytest.approx(lowest, abs=5e-5)


def one_group(channels: int = 10) -> CostModel:
    every = np.arange(channels)
    group = LayerGroup(
        "a", "conv1x1", channels, 1, False, 3, 1, 1, 1, 1, 0, 0, (ChannelSlice("a", "out", every, every),)
    )
    return CostModel([group], [LayerShape("a", channels, 3, macs_per_pair=1.0, params_per_pair=1.0)])


def test_clip_by_hand() -> None:
    model = one_group()
    (group,) = model.groups
    budget = Budget(model, "macs", keep=0.55, min_keep=0.3)  # 30 MACs, 3 for each channel: 16.5 pay for 5
    assert [budget.clip(group, n, {}) for n in (1, 3, 4, 5, 6, 10)] == [3, 3, 4, 5, 5, 5]
    rounded = Budget(model, "macs", keep=0.55, min_keep=0.1, channel_round=4)
    assert [rounded.clip(group, n, {}) for n in (4, 8, 10)] == [4, 4, 4]


def test_an_action_within_the_budget_passes() -> None:
    model = one_group()
    assert Budget(model, "macs", keep=1.0).clip(model.groups[0], 10, {}) == 10


def test_without_a_budget_every_action_from_min_keep_on_passes() -> None:
    model = one_group()
    budget = Budget(model, keep=None, min_keep=0.2)
    assert budget.limit == float("inf")
    assert [budget.clip(model.groups[0], n, {}) for n in (1, 2, 7, 10)] == [2, 2, 7, 10]


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.01, float("nan")])
def test_keep_is_a_fraction(keep: float) -> None:
    with pytest.raises(AmcError, match=r"budget\.keep=.*\(0, 1\]"):
        Budget(one_group(), "macs", keep)


@pytest.mark.parametrize("min_keep", [0.0, 1.5])
def test_min_keep_is_a_fraction(min_keep: float) -> None:
    with pytest.raises(AmcError, match=r"min_keep=.*\(0, 1\]"):
        Budget(one_group(), "macs", 0.5, min_keep)


def test_unknown_costs_are_refused() -> None:
    with pytest.raises(AmcError, match="macs, params, latency_ms"):
        Budget(one_group(), "flops", 0.5)
    with pytest.raises(AmcError, match="no latency table"):
        Budget(one_group(), "latency_ms", 0.5)


def test_zero_prunable_groups_are_refused_with_the_reasons() -> None:
    groups = [
        LayerGroup(f"g{i}", "conv3x3", 8, 1, False, 3, 8, 8, 1, 3, 0, 0, (), reason)
        for i, reason in enumerate(["frozen by the user", "frozen by the user", "network output"])
    ]
    with pytest.raises(AmcError, match=r"zero prunable groups.*2 × frozen by the user; 1 × network output"):
        Budget(CostModel(groups, []), keep=None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": "half"}, "budget.keep=half: give a number in (0, 1], or budget=none for no budget"),
        ({"keep": True}, "budget.keep=true: give a number in (0, 1], or budget=none for no budget"),
        ({"min_keep": "x"}, "budget.min_keep=x: give a number in (0, 1]"),
        ({"channel_round": 0}, "budget.channel_round=0: give a whole number of at least 1"),
        ({"channel_round": 2.5}, "budget.channel_round=2.5: give a whole number of at least 1"),
    ],
)
def test_wrong_numbers_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(AmcError) as caught:
        Budget(one_group(), **settings)  # type: ignore[arg-type]
    assert str(caught.value) == message
